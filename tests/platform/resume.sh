#!/bin/bash
# resume.sh POOL OTHER DIRECTORY: exports a jail of the ZFS pool POOL with large datasets to archives in DIRECTORY, restores them in the
# pool OTHER on the same host, kills and interrupts that, and checks that a second restore goes on and gives the same. Both datasets are
# made by this script and must not exist. Needs OpenZFS 2, python3, remand (in PATH, or REMAND=/path), 1.5 GB in each place.
# shellcheck disable=SC2016,SC2317  # the words of `bash -c` are for the inner shell; the trap calls functions
set -euo pipefail

pool=${1:?POOL} other=${2:?OTHER} archives=${3:?DIRECTORY}
remand=${REMAND:-remand}
MIB=$((1024 * 1024))
failed=0

check() { # check WHAT COMMAND...
  local what=$1; shift
  if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; failed=$((failed + 1)); fi
}
status() { # status WANTED COMMAND...
  local wanted=$1 got=0; shift
  "$@" || got=$?
  [ "$got" = "$wanted" ] || { echo "status $got, not $wanted: $*" >&2; tail -5 "$work/log" >&2; return 1; }
}
directory() { zfs get -H -o value mountpoint "$1"; }
# Staged datasets of that name, and how much is in them.
staged() { zfs list -H -p -r -o name,used "$other/.remand/staging" 2>/dev/null | grep "/$1	" || true; }
tells() { grep -q -- "$1" "$work/log" || { cat "$work/log" >&2; return 1; }; }
sums() { (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2); }
same_files() { # same_files DATASET: in both pools
  [ "$(sums "$(directory "$pool/$1")")" = "$(sums "$(directory "$other/$1")")" ]
}
same_volume() { cmp "/dev/zvol/$pool/$1" "/dev/zvol/$other/$1"; }
guids() { zfs list -H -d 1 -t snapshot -o guid -s createtxg "$1"; }
same_guids() { [ "$(guids "$pool/$1")" = "$(guids "$other/$1")" ]; }

# Starts a restore, and sends it a signal when DATASET has MIB mebibytes. The status is that of the restore.
interrupted() { # interrupted SIGNAL DATASET MIB ARCHIVE [OPTION...]
  local signal=$1 dataset=$2 at=$3 archive=$4 restore used; shift 4
  "$remand" restore --pool "$other" "$@" "$archive" >"$work/log" 2>&1 & restore=$!
  while kill -0 "$restore" 2>/dev/null; do
    used=$(staged "$dataset" | awk '{ sum += $2 } END { print int(sum) }')
    if [ "$used" -ge $((at * MIB)) ]; then kill "-$signal" "$restore"; break; fi
    sleep 0.05
  done
  wait "$restore"
}
restore() { "$remand" restore --pool "$other" "$@" >"$work/log" 2>&1; }
# Nothing of any run is left.
clean() { [ -z "$(zfs list -H -r -o name "$other/.remand/staging" | tail -n +2)" ] && [ -z "$(ls "$(directory "$other")/.remand/runs")" ]; }
# Changes the byte of a file at a place: the one that is there may be any.
spoil() { # spoil FILE PLACE
  python3 -c 'import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2])); byte = file.read(1)[0]
    file.seek(int(sys.argv[2])); file.write(bytes([byte ^ 0xff]))' "$1" "$2"
}
forget() { zfs destroy -r "$other/jails/$1"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
zfs create "$pool"; zfs create "$other"
for one in "$pool" "$other"; do zfs create "$one/jails"; zfs create "$one/releases"; done

# jail NAME: with a root and nothing else.
jail() {
  zfs create "$pool/jails/$1"; zfs create "$pool/jails/$1/root"
  echo '{"id": "'"$1"'"}' > "$(directory "$pool/jails/$1")/config.json"
  echo root > "$(directory "$pool/jails/$1/root")/file"
}
random() { head -c $(($2 * MIB)) /dev/urandom > "$1"; }

jail files; zfs create "$pool/jails/files/data"; data=$(directory "$pool/jails/files/data")
random "$data/one" 100; random "$data/two" 220; for i in $(seq 300); do echo "$i" > "$data/small$i"; done
mkdir "$data/d"; random "$data/d/three" 20; setfattr -n user.note -v x "$data/d"
"$remand" export -q --pool "$pool" files "$archives/files"

check 'killed' status 137 interrupted KILL data 120 "$archives/files"
before=$SECONDS
check 'cleanup lists it as resumable' bash -c '"$0" cleanup --pool "$1" | grep -q "resumable: .* bytes received"' "$remand" "$other"
check 'goes on after a kill' status 0 restore "$archives/files"
echo "the second run took $((SECONDS - before)) s"
check 'it says so' tells 'bytes of it; that is not received again'
grep 'not received again' "$work/log"
check 'the files are the same' same_files jails/files/data
check 'nothing is left' clean
forget files

# A forged archive has the identity, manifest and GUIDs of the true one, and other content.
forge() { # forge STREAM: changes a byte of a block, and removes the checksums of its records that would show it
  python3 - "$1" <<'END'
import struct, sys
stream = open(sys.argv[1], 'r+b')
changed = False
while len(head := stream.read(312)) == 312:
    word = lambda at, form='<I': struct.unpack_from(form, head, at)[0]
    kind = word(0)
    # Of a plain stream.
    length = {0: word(4), 1: -(-word(28) // 8) * 8, 3: word(32, '<Q'), 7: word(16, '<Q')}.get(kind, 0)
    at = stream.tell()
    if kind != 0 and kind != 5:
        stream.seek(at - 32)
        stream.write(bytes(32))
    if kind == 3 and not changed and at > 8 << 20:
        stream.seek(at + 100)
        stream.write(b'forged content')
        changed = True
    stream.seek(at + length)
assert changed
END
}
cp -a "$archives/files" "$archives/forged"; forge "$archives/forged/data.zfs"
check 'killed while a forged archive is restored' status 137 interrupted KILL data 120 "$archives/forged"
check 'what it left is there' test -n "$(staged data)"
check 'the true archive does not go on with that' bash -c '! "$0" restore --pool "$1" "$2" 2>"$3"' "$remand" "$other" "$archives/files" "$work/log"
check 'it says so' tells 'is of other content'
check 'nothing is visible' bash -c '! zfs list -H -o name "$0" 2>/dev/null' "$other/jails/files"
check 'the next restore begins anew' status 0 restore "$archives/files"
check 'the files are the same' same_files jails/files/data
forget files
"$remand" cleanup -q --yes --pool "$other"
check 'nothing is left' clean
check 'killed' status 137 interrupted KILL data 120 "$archives/files"
check 'cleanup calls it resumable' bash -c '"$0" cleanup --pool "$1" | grep -q resumable' "$remand" "$other"
rm "$(directory "$other")"/.remand/runs/*.received
check 'cleanup does not call resumable what nothing was noted of' \
  bash -c 'found=$("$0" cleanup --pool "$1") && ! grep -q resumable <<< "$found"' "$remand" "$other"
check 'what nothing was noted of is not used' status 0 restore "$archives/files"
check 'it says so' tells 'it is not used'
check 'the files are the same' same_files jails/files/data
forget files
"$remand" cleanup -q --yes --pool "$other"
check 'nothing is left' clean
rm -rf "$archives/forged"

check 'interrupted' status 130 interrupted INT data 120 "$archives/files"
check 'the message tells what to do' tells 'run the same restore again'
check 'interrupted again' status 130 interrupted INT data 240 "$archives/files"
check 'goes on after two interrupts, under another name' status 0 restore --name other "$archives/files"
zfs rename "$other/jails/other" "$other/jails/files"
check 'the files are the same' same_files jails/files/data
check 'nothing is left' clean
forget files

check 'interrupted early: rolled back' status 130 interrupted INT data 5 "$archives/files"
check 'nothing is left' clean

# Another archive does not touch what the first has left; and damage is found in the rest too.
check 'interrupted' status 130 interrupted INT data 120 "$archives/files"
left=$(zfs list -H -r -o name "$other/.remand/staging" | grep '/data$')
jail small; "$remand" export -q --pool "$pool" small "$archives/small"
check 'another archive is restored' status 0 restore "$archives/small"
check 'what the first has left is there' zfs list -H -o name "$left"
cp -a "$archives/files/data.zfs" "$work/data.zfs"
spoil "$archives/files/data.zfs" $((300 * MIB))
check 'damage in the rest is refused' bash -c '! "$0" restore --pool "$1" "$2" 2>"$3"' "$remand" "$other" "$archives/files" "$work/log"
check 'nothing is visible' bash -c '! zfs list -H -o name "$0" 2>/dev/null' "$other/jails/files"
mv "$work/data.zfs" "$archives/files/data.zfs"
"$remand" cleanup -q --yes --pool "$other"
check 'nothing is left' clean
zfs destroy -r "$pool/jails/files"; rm -rf "$archives/files"

# History: interrupted in the second stream of two.
jail past; zfs create "$pool/jails/past/data"; data=$(directory "$pool/jails/past/data")
random "$data/one" 60; zfs snapshot "$pool/jails/past/data@monday"; random "$data/two" 80; rm "$data/one"
zfs snapshot "$pool/jails/past/data@tuesday"; random "$data/three" 120; echo x > "$data/four"
"$remand" export -q --recursive --pool "$pool" past "$archives/past"
check 'killed in a later snapshot' status 137 interrupted KILL data 190 "$archives/past"
check 'goes on' status 0 restore "$archives/past"
check 'it says so' tells 'not received again'
check 'the files are the same' same_files jails/past/data
check 'the snapshots are the same' same_guids jails/past/data
check 'nothing is left' clean
zfs destroy -r "$pool/jails/past"; forget past; rm -rf "$archives/past"

# A volume, and what is encrypted.
echo 'pass phrase' > "$work/key"
secret=(-o encryption=on -o keyformat=passphrase -o "keylocation=file://$work/key")
jail raw; zfs create "${secret[@]}" "$pool/jails/raw/secret"
check 'a portable one needs a word' status 2 "$remand" export -q --portable --pool "$pool" raw "$archives/plain"
zfs create -s -V 160M "$pool/jails/raw/vol"
zfs create -s -V 100M "${secret[@]}" "$pool/jails/raw/vault"
random "$(directory "$pool/jails/raw/secret")/one" 130
udevadm settle 2>/dev/null || sleep 2
random "/dev/zvol/$pool/jails/raw/vol" 150; random "/dev/zvol/$pool/jails/raw/vault" 90; sync
"$remand" export -q --pool "$pool" raw "$archives/raw"
check 'killed in an encrypted dataset' status 137 interrupted KILL secret 90 "$archives/raw"
check 'goes on, killed in an encrypted volume' status 137 interrupted KILL vault 50 "$archives/raw"
check 'goes on, killed in a volume' status 137 interrupted KILL vol 80 "$archives/raw"
check 'goes on' status 0 restore "$archives/raw"
check 'it tells of the keys' tells "zfs load-key $other/jails/raw/secret"
for one in secret vault; do zfs load-key -L "file://$work/key" "$other/jails/raw/$one" || true; zfs mount "$other/jails/raw/$one" 2>/dev/null || true; done
udevadm settle 2>/dev/null || sleep 2
check 'the encrypted files are the same' same_files jails/raw/secret
check 'the volume is the same' same_volume jails/raw/vol
check 'the encrypted volume is the same' same_volume jails/raw/vault
check 'nothing is left' clean
zfs destroy -r "$pool"; zfs destroy -r "$other"
[ "$failed" = 0 ] && echo 'resume: all good'
exit $((failed > 0))
