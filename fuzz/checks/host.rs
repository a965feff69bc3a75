//! What other programs and the system tell.

use remand_backends::zfs::diff::parse as diff;
use remand_backends::zfs::parse;
use remand_backends::{DatasetName, fuzzing};

/// Whether a path stays in its tree.
fn stays(path: &[u8]) -> bool {
    path.is_empty() || path.split(|&byte| byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
}

/// Any line is not understood, or hints whose paths are inside the dataset.
pub(super) fn zfs_diff(data: &[u8]) {
    for line in data.split(|&byte| byte == b'\n') {
        for mount in [&b""[..], b"/tank/web 1"] {
            let Some(change) = diff::line(line, mount) else { continue };
            for hint in change.hints() {
                let path = hint.path();
                assert!(stays(path) && !path.contains(&0));
            }
        }
    }
}

/// What zfs(8) prints is not understood, or comes back as it is when it is printed by the same rules.
pub(super) fn zfs_output(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(listed) = parse::listed(text) {
        assert_eq!(listed.len(), text.lines().count());
        for (one, line) in listed.iter().zip(text.lines()) {
            let kind = if one.volume { "volume" } else { "filesystem" };
            let origin = one.origin.as_deref().unwrap_or("-");
            let mounted = if one.mounted { "yes" } else { line.split('\t').nth(2).unwrap_or_default() };
            assert_eq!(format!("{}\t{kind}\t{mounted}\t{origin}\t{}", one.name, one.mountpoint), line);
            assert!(one.directory().is_none_or(|path| path.is_absolute() && one.mounted));
        }
    }
    if let Ok(rows) = parse::columns::<3>(text) {
        assert!(rows.iter().map(|row| row.join("\t")).eq(text.lines()));
    }
    let half = text.len() / 2;
    if let Some((names, pairs)) = text.split_at_checked(half)
        && let names = names.lines().collect::<Vec<_>>()
        && let Some(found) = parse::properties(&names, pairs)
    {
        let printed: Vec<_> = found.iter().map(|(name, value)| format!("{name}\t{value}")).collect();
        assert!(printed.iter().eq(pairs.lines()));
        assert!(found.iter().map(|(name, _)| name).eq(names));
    }
    let _ = (parse::estimate(text), parse::failure(text), parse::features(text));
    let _ = (parse::stream_kind(data), remand_backends::zfs::resume::point(text));
    for path in ["/", "/tank/a b"] {
        if let Some(name) = parse::mounted_dataset(text, path) {
            // Another one of the same name may be mounted elsewhere.
            assert!(parse::mounted_at(text, name).is_some_and(|path| path.is_absolute()));
        }
    }
}

/// Any line is not understood, or a path as rsync(1) means it.
pub(super) fn rsync_output(data: &[u8]) {
    use remand::fuzzing::{RsyncLine, rsync_line};
    for line in data.split(|&byte| byte == b'\n') {
        let Some(found) = rsync_line(line) else { continue };
        let (code, path) = match &found {
            RsyncLine::Differs(path) => (&b".f........."[..], path),
            RsyncLine::Deleted(path) => (&b"*deleting  "[..], path),
            RsyncLine::Remark => continue,
        };
        // Printed as rsync prints it, it is the same.
        let mut printed = [code, b"|"].concat();
        for (at, &byte) in path.iter().enumerate() {
            let looks_escaped = byte == b'\\' && path.get(at + 1) == Some(&b'#');
            if looks_escaped || !(b' '..=b'~').contains(&byte) {
                printed.extend_from_slice(format!("\\#{byte:03o}").as_bytes());
            } else {
                printed.push(byte);
            }
        }
        if path.is_empty() {
            printed.extend_from_slice(b"./");
        }
        // A directory's slash is not of its name.
        let same = rsync_line(&printed) == Some(found.clone());
        assert!(same || path.ends_with(b"/") || path == b".", "{found:?}");
    }
}

/// Tables of mounts, rc.conf, and what a pool has written for itself.
pub(super) fn files(data: &[u8]) {
    for path in [&b"/srv/a b/jails/x"[..], b"/", b"/srv"] {
        if let Some((point, inside)) = fuzzing::mount_in_the_way(data, path) {
            let path = path.strip_suffix(b"/").unwrap_or(path);
            assert!(!inside || point.starts_with(path), "{}", point.escape_ascii());
        }
    }
    let name = fuzzing::snapshot_name(data);
    assert!(name.as_str().len() <= 255 && DatasetName::new(name.as_str()).is_ok());
    let Ok(text) = std::str::from_utf8(data) else { return };
    for dataset in fuzzing::rc_conf_datasets(text) {
        assert!(DatasetName::new(&dataset).is_ok_and(|name| !name.as_str().is_empty()));
    }
    super::prints_the_same("remembered datasets", data, |data| {
        fuzzing::remembered(std::str::from_utf8(data).ok()?)
    });
}
