//! Where the mounts of an fstab lead.

use std::path::Path;

use super::{decode, field_end, path_bytes};

/// A mount that leads out of where one expects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// What is mounted lies outside of the pool.
    From(Vec<u8>),
    /// It is mounted outside of the resource.
    To(Vec<u8>),
}

/// The mounts of a resource in `own`, of a pool in `pool`, that lead out of them; each with the number of its line.
pub(crate) fn outside(text: &[u8], pool: &Path, own: &Path) -> Vec<(usize, Leads)> {
    let mut found = Vec::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let [source, target]: [_; 2] = fields(line);
        // Not every file system has a path as its source.
        if source.starts_with(b"/") && !is_in(&source, pool) {
            found.push((number + 1, Leads::From(source)));
        }
        if !matches!(&target[..], b"" | b"none") && !is_in(&target, own) {
            found.push((number + 1, Leads::To(target)));
        }
    }
    found
}

/// What directories of this host and devices are mounted of which `exists` says that they are not there, each with the number of its line.
/// What lies in `own` came with the archive.
pub(crate) fn missing(text: &[u8], own: &Path, exists: &dyn Fn(&[u8]) -> bool) -> Vec<(usize, Vec<u8>)> {
    let mut found = Vec::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let [source, _, kind, options] = fields(line);
        let binds = |option: &[u8]| matches!(option, b"bind" | b"rbind");
        let is_directory = matches!(&kind[..], b"nullfs" | b"unionfs" | b"bind")
            || options.split(|&byte| byte == b',').any(binds);
        // What is in Linux's shared memory are files.
        let is_device = source.starts_with(b"/dev/") && !source.starts_with(b"/dev/shm/");
        let is_path = source.starts_with(b"/") && (is_directory || is_device);
        if is_path && !is_in(&source, own) && !exists(&source) {
            found.push((number + 1, source));
        }
    }
    found
}

/// The first fields of a line, decoded; empty where it is a comment or has none.
fn fields<const COUNT: usize>(line: &[u8]) -> [Vec<u8>; COUNT] {
    let mut at = 0;
    let mut comment = false;
    [(); COUNT].map(|()| {
        let start = at + line[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        at = field_end(line, start);
        comment |= line.get(start) == Some(&b'#');
        if comment { Vec::new() } else { decode(&line[start..at]).0 }
    })
}

fn is_in(path: &[u8], directory: &Path) -> bool {
    let rest = path.strip_prefix(path_bytes(directory));
    rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        && !path.split(|&byte| byte == b'/').any(|part| part == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_found_where_it_has_to_be_a_path() {
        let missing = |line: &str| {
            let there = |path: &[u8]| path.starts_with(b"/there");
            let found = missing(format!("\n{line}\n").as_bytes(), Path::new("/p/jails/x"), &there);
            assert!(found.iter().all(|(number, _)| *number == 2));
            !found.is_empty()
        };
        for bad in [
            "/gone /p/jails/x/root/a nullfs ro 0 0",
            "/my\\040files /p/jails/x/root/a nullfs",
            "/gone /p/jails/x/root/a none ro,rbind 0 0",
            "/dev/da7s1 /p/jails/x/root/a ufs rw 0 0",
            "/p/jails/x2 /p/jails/x/root/a nullfs",
        ] {
            assert!(missing(bad), "{bad}");
        }
        for good in [
            "/there/a /p/jails/x/root/a nullfs ro 0 0",
            "/p/jails/x/data /p/jails/x/root/a nullfs rw 0 0",
            "tmpfs /p/jails/x/root/tmp tmpfs rw 0 0",
            "UUID=1-2 /p/jails/x/root/a ext4 rw 0 0",
            "host:/gone /p/jails/x/root/a nfs rw 0 0",
            "/gone.img /p/jails/x/root/a ext4 loop 0 0",
            "/dev/shm/gone.img /p/jails/x/root/a ext4 loop 0 0",
            "# /gone /a nullfs",
            "",
        ] {
            assert!(!missing(good), "{good}");
        }
    }

    #[test]
    fn what_leads_out_is_found_at_path_boundaries() {
        let found = |line: &str| -> Vec<Leads> {
            let found =
                outside(format!("# x\n{line}\n").as_bytes(), Path::new("/p"), Path::new("/p/jails/x"));
            assert!(found.iter().all(|(number, _)| *number == 2));
            found.into_iter().map(|(_, leads)| leads).collect()
        };
        let (from, to) = (|path: &str| Leads::From(path.into()), |path: &str| Leads::To(path.into()));
        for good in [
            "/p/releases/1/root/bin /p/jails/x/root/bin nullfs ro 0 0",
            "proc\t/p/jails/x/root/proc procfs rw 0 0",
            "  # /etc /etc nullfs",
            "",
            "/p/swap none swap",
        ] {
            assert_eq!(found(good), [], "{good}");
        }
        assert_eq!(found("/etc /p/jails/x/root/etc nullfs"), [from("/etc")]);
        assert_eq!(found("/p/../etc /p/jails/x/root/etc nullfs"), [from("/p/../etc")]);
        assert_eq!(found("/pool /p/jails/x/root nullfs"), [from("/pool")]);
        assert_eq!(found("/p/a /etc nullfs"), [to("/etc")]);
        assert_eq!(found("/p/a /p/jails/x2 nullfs"), [to("/p/jails/x2")]);
        assert_eq!(found("/p/a /p/jails/x/root/\\056\\056/../b nullfs"), [to("/p/jails/x/root/../../b")]);
        assert_eq!(found("/etc /etc"), [from("/etc"), to("/etc")]);
    }
}
