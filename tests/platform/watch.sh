# shellcheck shell=bash
# watch PID FILE LANE SECONDS: watches a process group that prints into FILE, for a lane of tests with a zfs-fuse of its own.
#
# zfs-fuse waits for itself for ever at times: a zfs(8) that is at it for minutes tells, or silence of so many SECONDS (0: however long).
# Then LANE/hung is made and the daemon killed, so that whoever waits for it fails. After more silence the process group is killed.

# Seconds that no zfs(8) takes here, and in which what waited for the daemon has ended.
MOST_ZFS=180 MOST_AFTER=300

# Whether a zfs(8) or zpool(8) of this mount namespace is that old.
old_zfs() {
  local pid age here
  here=$(readlink /proc/self/ns/mnt)
  while read -r pid age; do
    if [ "$age" -gt "$MOST_ZFS" ] && [ "$(readlink "/proc/$pid/ns/mnt")" = "$here" ]; then return 0; fi
  done < <(ps -C zfs,zpool -o pid=,etimes=)
  return 1
}

watch() {
  local pid=$1 file=$2 lane=$3 most=$4 size=-1 now since=$SECONDS
  is_silent() { [ "$most" != 0 ] && [ $((SECONDS - since)) -gt $((most + $1)) ]; }
  while sleep 5; do
    now=$(stat -c %s "$file")
    if [ "$now" != "$size" ]; then size=$now since=$SECONDS; fi
    if [ ! -e "$lane/hung" ] && { old_zfs || is_silent 0; }; then
      : >"$lane/hung"
      echo 'tests/run: zfs-fuse is ended' >>"$file"
      tests/platform/zfs-fuse.sh kill || true
    fi
    if is_silent "$MOST_AFTER"; then
      echo 'tests/run: killed' >>"$file"
      kill -KILL -- "-$pid" 2>/dev/null || true
      return
    fi
  done
}
