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
        let [source, target] = fields(line);
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

/// The first two fields of a line, decoded; empty where it is a comment or has none.
fn fields(line: &[u8]) -> [Vec<u8>; 2] {
    let mut at = 0;
    let mut comment = false;
    [(); 2].map(|()| {
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
