//! What is mounted in a pool: deleting a subvolume detaches what is mounted in it, and takes the files from under a mount of it.

use crate::{Error, Result};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: Vec<u8>,
    /// Which directory of the file system is mounted.
    root: Vec<u8>,
    point: Vec<u8>,
}

/// Fails if something is mounted at or below `path`, or if what is there is mounted somewhere else.
pub(super) fn check_unused(path: &Path) -> Result<()> {
    const TABLE: &str = "/proc/self/mountinfo";
    let text = std::fs::read(TABLE).map_err(|source| Error::io("read", TABLE, source))?;
    match in_the_way(&text, path.as_os_str().as_bytes()) {
        None => Ok(()),
        Some((point, true)) => Err(Error::MountedOver(lossy(&point))),
        Some((point, false)) => Err(Error::Busy {
            subject: path.display().to_string(),
            detail: format!("it is mounted at {}", lossy(&point)),
        }),
    }
}

/// The mount point that is in the way of a path, by the text of the table, and whether it lies in it.
pub(crate) fn in_the_way(table: &[u8], path: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mounts: Vec<_> = table.split(|byte| *byte == b'\n').filter_map(parse).collect();
    user(&mounts, path).map(|(point, inside)| (point.to_vec(), inside))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The mount point that is in the way, and whether it lies in `path`.
fn user<'a>(mounts: &'a [Mount], path: &[u8]) -> Option<(&'a [u8], bool)> {
    if let Some(below) = mounts.iter().find(|mount| rest(&mount.point, path).is_some()) {
        return Some((&below.point, true));
    }
    let holder =
        mounts.iter().rev().max_by_key(|mount| rest(path, &mount.point).map(|_| mount.point.len()))?;
    let root = holder.root.strip_suffix(b"/").unwrap_or(&holder.root);
    let inside = [root, b"/", rest(path, &holder.point)?].concat();
    let same = mounts.iter().filter(|mount| mount.device == holder.device);
    same.map(|mount| (mount.root.as_slice(), mount.point.as_slice()))
        .find(|(root, _)| rest(root, &inside).is_some())
        .map(|(_, point)| (point, false))
}

/// What of `path` lies below `above`; "" if they are the same.
fn rest<'a>(path: &'a [u8], above: &[u8]) -> Option<&'a [u8]> {
    let above = above.strip_suffix(b"/").unwrap_or(above);
    let rest = path.strip_prefix(above)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

/// `36 35 98:0 /root /point options… - type source options`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(2);
    let device = fields.next()?.to_vec();
    Some(Mount { device, root: unescape(fields.next()?), point: unescape(fields.next()?) })
}

/// Blanks, line ends and backslashes are written as `\` and three octal digits.
fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&first, behind)) = text.split_first() {
        let digits = behind.get(..3).filter(|digits| digits.iter().all(|digit| matches!(digit, b'0'..=b'7')));
        match digits {
            Some(digits) if first == b'\\' => {
                let code = digits.iter().fold(0u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
                plain.push(u8::try_from(code & 0xFF).unwrap_or_default());
                text = &behind[3..];
            }
            _ => {
                plain.push(first);
                text = behind;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Mount> {
        let text = br"22 1 8:1 / / rw - ext4 /dev/a rw
30 22 0:40 /pools /srv/a\040b rw shared:1 - btrfs /dev/b rw
31 30 0:41 / /srv/a\040b/jails/x/root/proc rw - proc proc rw
32 22 0:40 /pools/jails/y/root/tmp /mnt/inner rw - btrfs /dev/b rw
33 22 0:40 /pools/jails/y2 /mnt/other rw - btrfs /dev/b rw";
        text.split(|byte| *byte == b'\n').filter_map(parse).collect()
    }

    #[test]
    fn tells_what_is_in_the_way() {
        let mounts = table();
        assert_eq!(mounts.len(), 5);
        let user = |path: &str| user(&mounts, path.as_bytes()).map(|(point, below)| (lossy(point), below));
        assert_eq!(user("/srv/a b/jails/x"), Some(("/srv/a b/jails/x/root/proc".into(), true)));
        assert_eq!(user("/srv/a b/jails/x/root/proc"), Some(("/srv/a b/jails/x/root/proc".into(), true)));
        assert_eq!(user("/srv/a b/jails/x/root/pro"), None);
        assert_eq!(user("/srv/a b/jails/y"), Some(("/mnt/inner".into(), false)));
        assert_eq!(user("/srv/a b/jails/y2"), Some(("/mnt/other".into(), false)));
        assert_eq!(user("/srv/a b/jails/y/root/tmp/z"), None);
        assert_eq!(user("/srv/a b/jails/z"), None);
        assert_eq!(user("/srv/plain"), None);
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(unescape(br"a\040b\011\012\134\0"), b"a b\t\n\\\\0");
        assert_eq!(unescape(br"\"), b"\\");
    }
}
