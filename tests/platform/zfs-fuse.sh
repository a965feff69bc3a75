#!/bin/sh
# zfs-fuse.sh: a throw-away zpool for tests, on a file, served by a private zfs-fuse.
#
#   zfs-fuse.sh start DIR   make DIR/pool.img and a zpool on it, mounted at DIR/mnt; print the zpool's name
#   zfs-fuse.sh stop DIR    destroy exactly that zpool and its file
#   zfs-fuse.sh answers     whether a daemon does
#   zfs-fuse.sh kill        kill the daemon, if it is one that this script started; its zpools are gone for good
#   zfs-fuse.sh words       print what the daemon said, and how it ended
#
# Needs root, /dev/fuse and Debian's package zfs-fuse. DIR must be absolute, and is made if it is absent.
#
# zfs-fuse listens on one fixed socket, so a machine has one daemon. It is started by the first "start" that finds
# none, shared by all zpools (their names are random), and ended by the "stop" that removes the last one. A daemon
# that was there before (Debian's init script) is used as it is and never ended. All of that happens under one lock.
#
# Exit status: 0 done; 1 failed, with the reason on standard error, nothing left; 2 usage; 77 cannot run here.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
umask 022

# Whose these are is the machine's matter and not DIR's: every checkout shares the one daemon.
state=/run/remand-zfs-fuse
size=${REMAND_TEST_POOL_SIZE:-4G}

say() { echo "zfs-fuse.sh: $*" >&2; }
die() { say "$1"; exit "${2:-1}"; }

# The start time of a process, which tells it from a later one of the same id. A dead one that nobody has waited for has none.
born() { sed -n '/) Z /!s/.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# The id of the daemon that this script started, if it still runs.
our_daemon() {
  [ -s "$state/daemon" ] || return 1
  read -r pid since < "$state/daemon"
  [ -n "$since" ] && [ "$(born "$pid")" = "$since" ] || return 1
  echo "$pid"
}

daemon_answers() { timeout 20 zpool list -H -o name > /dev/null 2>&1; }

start_daemon() {
  mkdir -p /run/zfs /var/lib/zfs    # of the socket, and of a cache file that we do not use
  : > "$state/log"
  rm -f "$state/pid"
  # A session of its own, so that a Ctrl-C in the terminal of the tests does not take the mounts away; and
  # without the lock's descriptor.
  # shellcheck disable=SC2016  # expanded by that shell
  setsid sh -c '
    zfs-fuse --no-daemon --no-kstat-mount --enable-xattr &
    echo "$!" > "$1"
    wait "$!"
    echo "zfs-fuse ended with status $?"
  ' sh "$state/pid" < /dev/null >> "$state/log" 2>&1 8>&- &
  n=0
  until [ -s "$state/pid" ]; do
    n=$((n + 1))
    [ "$n" -le 100 ] || die "the daemon does not start"
    sleep 0.1
  done
  pid=$(cat "$state/pid")
  echo "$pid $(born "$pid")" > "$state/daemon"
  n=0
  until daemon_answers; do
    n=$((n + 1))
    if [ "$n" -gt 100 ] || ! our_daemon > /dev/null; then
      tail -n 5 "$state/log" >&2
      stop_daemon
      die "the daemon does not start"
    fi
    sleep 0.1
  done
}

# Kills it, and waits until it is gone. What a file system of FUSE is asked then fails, when the last descriptor of its device is closed.
kill_daemon() {
  pid=$(our_daemon) || return 1
  kill -KILL "$pid"
  n=0
  while our_daemon > /dev/null; do
    n=$((n + 1))
    [ "$n" -le 200 ] || die "daemon $pid does not end"
    sleep 0.1
  done
}

stop_daemon() {
  pid=$(our_daemon) || { rm -f "$state/daemon"; return 0; }
  kill "$pid" 2>/dev/null || true
  n=0
  while our_daemon > /dev/null; do
    n=$((n + 1))
    [ "$n" != 150 ] || kill -KILL "$pid" 2>/dev/null || true
    [ "$n" -le 200 ] || die "daemon $pid does not end"
    sleep 0.1
  done
  rm -f "$state/daemon"
}

destroy() {
  dir=$1
  # One that waits for itself would have us wait too.
  daemon_answers || kill_daemon || true
  if [ -s "$dir/pool" ]; then
    pool=$(cat "$dir/pool")
    n=0
    while timeout 20 zpool list -H -o name "$pool" > /dev/null 2>&1; do
      timeout 60 zpool destroy -f "$pool" 2> "$dir/err" && break
      n=$((n + 1))
      if [ "$n" -gt 25 ]; then
        cat "$dir/err" >&2
        # Somebody has it open for longer than we wait (a process in another mount namespace, say). Nobody needs it any more.
        [ "$(timeout 20 zpool list -H -o name)" = "$pool" ] && kill_daemon || return 1
        break
      fi
      sleep 0.2
    done
  fi
  # What a daemon that died left mounted: the uppermost takes those below along, which cannot be reached through it any more.
  mounted() { awk -v d="$dir/mnt" '$2 == d || index($2, d "/") == 1 { print $2 }' /proc/self/mounts | sort; }
  n=0
  while [ -n "$(mounted)" ]; do
    umount -l "$(printf '%b' "$(mounted | head -n 1)")" || true
    n=$((n + 1))
    [ "$n" -le 100 ] || die "still mounted: $(mounted | head -n 1)"
  done
  rm -f "$dir/pool.img" "$dir/pool" "$dir/err"
  rmdir "$dir/mnt" 2>/dev/null || true
  rmdir "$dir" 2>/dev/null || true
  # The last one takes the daemon along, if it is ours.
  if our_daemon > /dev/null && [ -z "$(timeout 20 zpool list -H -o name)" ]; then stop_daemon; fi
}

start() {
  dir=$1
  [ ! -e "$dir/pool.img" ] || die "$dir has a zpool already: stop it first"
  if our_daemon > /dev/null || daemon_answers; then :; else start_daemon; fi
  mkdir -p "$dir/mnt"
  pool=rt$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
  truncate -s "$size" "$dir/pool.img"
  echo "$pool" > "$dir/pool"
  trap 'destroy "$dir"' EXIT
  zpool create -o cachefile=none -m "$dir/mnt" "$pool" "$dir/pool.img" >&2
  mountpoint -q "$dir/mnt" || die "$pool is not mounted"
  trap - EXIT
  echo "$pool"
}

case $*:$# in
  answers:1) daemon_answers; exit ;;
  kill:1)
    kill_daemon || die "no daemon of ours runs"
    exit ;;
  words:1) cat "$state/log"; exit ;;
esac
[ $# = 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
case $2 in /*[!A-Za-z0-9._/-]*) die "$2: zpool(8) of zfs-fuse takes no such path" 2 ;; /*) ;; *) die "$2 is not absolute" 2 ;; esac
[ "$(id -u)" = 0 ] || die "needs root" 77
command -v zfs-fuse > /dev/null || die "zfs-fuse is not installed" 77
[ -c /dev/fuse ] || modprobe fuse 2>/dev/null || die "there is no /dev/fuse" 77
mkdir -p "$state"
exec 8> "$state/lock"
flock -w 60 8 || die "another start or stop holds $state/lock"
case $1 in
  start) start "$2" ;;
  stop) destroy "$2" ;;
  *) die "unknown command $1" 2 ;;
esac
