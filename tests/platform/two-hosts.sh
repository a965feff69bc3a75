#!/bin/bash
# two-hosts.sh POOL REMOTE REMOTE-POOL: exports jails from the ZFS pool POOL on this host and restores them on the host REMOTE (reached
# by ssh without questions, as root) in the pool REMOTE-POOL, and compares with rsync. Both datasets are made by this script and
# must not exist. Needs remand (in PATH, or REMAND=/path), zfs, rsync, setfacl and setfattr on both hosts.
set -euo pipefail

pool=${1:?POOL} remote=${2:?REMOTE} there=${3:?REMOTE-POOL}
remand=${REMAND:-remand}
failed=0

# shellcheck disable=SC2029 # names of this side are meant
far() { ssh "$remote" "$@"; }
check() { # check WHAT COMMAND...
  local what=$1; shift
  if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; failed=$((failed + 1)); fi
}
status() { # status WANTED COMMAND...
  local wanted=$1 got=0; shift
  "$@" || got=$?
  [ "$got" = "$wanted" ] || { echo "status $got, not $wanted: $*" >&2; return 1; }
}
# Everything that rsync can tell: content, types, modes, owners, times, links, ACLs, xattrs.
same() { # same LOCAL-DIRECTORY REMOTE-DIRECTORY
  local differences
  differences=$(rsync -naHAXS --numeric-ids --checksum --delete --itemize-changes "$1/" "$remote:$2/")
  [ -z "$differences" ] || { echo "$differences" | head -5 >&2; return 1; }
}

# The same files on both hosts, as if each had fetched the release on its own.
fetch() {
  local root=$1
  mkdir -p "$root"/{etc,bin,var/log,usr/share}
  for i in $(seq 200); do printf 'file %s\n%s\n' "$i" "$(seq "$i")" > "$root/usr/share/f$i"; done
  head -c 300000 /dev/zero | tr '\0' 'x' > "$root/bin/tool"
  ln "$root/bin/tool" "$root/bin/tool2"; ln -s tool "$root/bin/link"; chmod 4755 "$root/bin/tool"
  setfattr -n user.note -v release "$root/etc"; echo base > "$root/etc/conf"
  setfacl -m u:1000:rw "$root/etc/conf" 2>/dev/null || true
  find "$root" -exec touch -h -d @1750000000 {} +
}
make_release() {
  zfs create -p "$1/releases/base-1.0"
  zfs create -o xattr=sa -o acltype=posix "$1/releases/base-1.0/root"
  zfs create "$1/jails"
  fetch "$(zfs get -H -o value mountpoint "$1/releases/base-1.0/root")"
}
change() {
  local root=$1
  echo changed > "$root/etc/conf"; rm "$root"/usr/share/f1?; chmod 600 "$root/usr/share/f2"; chown 77:78 "$root/usr/share/f3"
  setfattr -n user.tag -v x "$root/usr/share/f4"; ln "$root/usr/share/f5" "$root/var/five"
  printf 'y' | dd of="$root/usr/share/f6" conv=notrunc status=none; touch -d @1750000000 "$root/usr/share/f6"
  rm "$root/bin/link"; mkdir "$root/bin/link"; echo in > "$root/bin/link/inside"
  mkfifo "$root/var/fifo"; mknod "$root/var/null" c 1 3; truncate -s 64M "$root/var/sparse"; echo tail >> "$root/var/sparse"
  head -c 3000000 /dev/urandom > "$root/var/random"; printf x > "$root/var/new
line"; ln -s ../../../../etc/shadow "$root/var/out"
  setfattr -n security.capability -v 0sAQAAAgAEAAAAAAAAAAAAAAAAAAA= "$root/bin/tool2" || true
}

zfs create "$pool"; make_release "$pool"
zfs snapshot "$pool/releases/base-1.0/root@p0"
jail=$pool/jails/web01
zfs create "$jail"; zfs clone "$pool/releases/base-1.0/root@p0" "$jail/root"
zfs create -o quota=500M -o com.example:who="two hosts" "$jail/data"; zfs create "$jail/data/db"
home=$(zfs get -H -o value mountpoint "$jail")
change "$home/root"
# OpenZFS 2.3 shows a wrong mode for a file that was chowned until the dataset is mounted anew; snapshots have the right one.
zfs unmount "$jail/root"; zfs mount "$jail/root"
for i in $(seq 50); do head -c 20000 /dev/urandom > "$home/data/d$i"; echo "$i" > "$home/data/db/r$i"; done
zfs snapshot -r "$jail/data@first"; echo second > "$home/data/d1"; zfs snapshot -r "$jail/data@second"; echo third > "$home/data/d1"
printf '{\n    "release": "base-1.0",\n    "host_hostuuid": "web01",\n    "ip4_addr": "vnet0|10.0.0.5/24"\n}\n' > "$home/config.json"
printf '/srv %s/root/mnt nullfs ro 0 0\n' "$home" > "$home/fstab"; echo keep > "$home/notes.txt"

far zfs create "$there"
# The other host fetches the release itself: equal content, other GUIDs.
far "$(declare -f fetch make_release); make_release '$there'; zfs snapshot '$there/releases/base-1.0/root@mine'"
away=$(far zfs get -H -o value mountpoint "$there")

"$remand" list --pool "$pool"
"$remand" export -q --pool "$pool" web01 /tmp/delta.tar.gz
check "a differential restore through a pipe onto the host's own release" \
  status 0 sh -c "'$remand' export -q --pool '$pool' web01 - | ssh '$remote' '$remand' restore -q --pool '$there' -"
for part in root data data/db; do check "differential: $part is equal" same "$home/$part" "$away/jails/web01/$part"; done
check "config.json is equal" sh -c "ssh '$remote' cat '$away/jails/web01/config.json' | cmp - '$home/config.json'"
check "fstab points to the new place" sh -c "ssh '$remote' cat '$away/jails/web01/fstab' | grep -q '$away/jails/web01/root/mnt'"
check "the other files are there" far test -f "$away/jails/web01/notes.txt"
check "the restored root is a clone of the host's release" \
  sh -c "ssh '$remote' zfs get -H -o value origin '$there/jails/web01/root' | grep -q base-1.0/root@mine"
check "a local property is there" sh -c "ssh '$remote' zfs get -H -o value com.example:who '$there/jails/web01/data' | grep -q 'two hosts'"
check "the quota is there" sh -c "ssh '$remote' zfs get -H -o value quota '$there/jails/web01/data' | grep -q 500M"
check "the transport snapshots are gone" sh -c "! ssh '$remote' zfs list -H -t snapshot -o name -r '$there/jails' | grep remand-"
check "nothing is left on this host" sh -c "! zfs list -H -t all -o name -r '$pool' | grep -E '@remand-|/(staging|views)/'"

check "a standalone restore under another name" \
  status 0 sh -c "'$remand' export -q --standalone --pool '$pool' web01 - | ssh '$remote' '$remand' restore -q --name alone --pool '$there' -"
check "standalone: the root is equal" same "$home/root" "$away/jails/alone/root"
check "the second jail has no address of the first" sh -c "! ssh '$remote' grep -q 10.0.0.5 '$away/jails/alone/config.json'"

check "a recursive standalone restore" \
  status 0 sh -c "'$remand' export -q --standalone --recursive --pool '$pool' web01 - | ssh '$remote' '$remand' restore -q --name history --pool '$there' -"
check "recursive: data is equal" same "$home/data" "$away/jails/history/data"
check "recursive: the history is there" \
  sh -c "test \"\$(ssh '$remote' zfs list -H -t snapshot -o name -r '$there/jails/history' | grep -cE 'data(/db)?@(first|second)')\" = 4"
check "recursive: an old state is readable" \
  sh -c "ssh '$remote' cat '$away/jails/history/data/.zfs/snapshot/second/d1' | grep -qx second"

scp -q /tmp/delta.tar.gz "$remote:/tmp/delta.tar.gz"
check "the name is taken: status 12" status 12 far "$remand" restore -q --pool "$there" /tmp/delta.tar.gz
far "echo other > '$away/releases/base-1.0/root/usr/share/f100'; zfs snapshot '$there/releases/base-1.0/root@other'; zfs create -p '$there-2/releases/base-1.0'; \
  zfs send '$there/releases/base-1.0/root@other' | zfs receive '$there-2/releases/base-1.0/root'"
check "another base: status 21" status 21 far "$remand" restore -q --pool "$there-2" /tmp/delta.tar.gz
check "the right snapshot is found beside a newer one" status 0 far "$remand" restore -q --name again --pool "$there" /tmp/delta.tar.gz
check "no base: status 20" status 20 far "zfs create '$there-3' && '$remand' restore -q --pool '$there-3' /tmp/delta.tar.gz"
check "a mismatch that is allowed goes on" \
  status 0 far "$remand" restore -q --allow-base-mismatch --pool "$there-2" /tmp/delta.tar.gz

echo "$failed failed"
[ "$failed" = 0 ]
