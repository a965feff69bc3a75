//! All that can be seen of a tree, as text.

use std::fmt::Write as _;
use std::path::Path;

use rustix::fs::FileType;

use super::support::at::At;

/// A line for each entry below a directory of a pool: type, mode, owner, group, links, time, name; then content, target and attributes.
pub(crate) fn listing(pool: &Path, name: &str) -> String {
    let mut text = String::new();
    add(&At::open(&pool.join(name)), name.as_bytes(), pool, &mut text);
    text
}

/// Where the pool is differs from run to run, and so do mounts in an fstab.
fn anywhere(content: &[u8], pool: &Path) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    text.replace(pool.to_str().expect("a readable path"), "POOL").into_bytes()
}

fn add(directory: &At, path: &[u8], pool: &Path, text: &mut String) {
    let mut names = directory.names();
    names.sort();
    for name in names {
        let below = [path, b"/", &name].concat();
        let stat = directory.stat(&name);
        let kind = directory.kind(&name);
        let (letter, what) = match kind {
            FileType::RegularFile => {
                let content = directory.read(&name);
                let content = if name == b"fstab" { anywhere(&content, pool) } else { content };
                ('f', format!("{} bytes {}", content.len(), &blake3::hash(&content).to_hex()[..16]))
            }
            FileType::Directory => ('d', String::new()),
            FileType::Symlink => ('l', format!("-> {}", directory.target(&name).escape_ascii())),
            other => ('?', format!("{other:?}")),
        };
        let links = if kind == FileType::Directory { 0 } else { stat.st_nlink };
        // What a jail's manager would change, or this restore makes anew, has a time of its own.
        let made_new = [&b"config.json"[..], b"fstab"].contains(&&name[..]);
        let time = if made_new || path.split(|byte| *byte == b'/').count() < 3 && kind == FileType::Directory
        {
            "-".to_owned()
        } else {
            format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec)
        };
        let mode = stat.st_mode & 0o7777;
        let _ = write!(
            text,
            "{letter} {mode:04o} {} {} {links} {time} {}",
            stat.st_uid,
            stat.st_gid,
            below.escape_ascii()
        );
        let _ = if what.is_empty() { writeln!(text) } else { writeln!(text, " {what}") };
        for (xattr, value) in directory.xattrs(&name).unwrap_or_default() {
            let xattr = xattr.to_string_lossy().into_owned();
            if xattr.starts_with("user.") {
                let _ = writeln!(text, "  {xattr}: {}", value.escape_ascii());
            }
        }
        if kind == FileType::Directory {
            add(&directory.dir(&name), &below, pool, text);
        }
    }
}
