//! Compares two trees completely: type, mode, owner, mtime, size, content, link target, device number, extended
//! attributes, ACLs, flags, hard links and sparseness, at any depth and under any name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::Path;

use rustix::fs::FileType;

use super::at::At;

/// What two entries can differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Missing,
    Extra,
    Type,
    Mode,
    Owner,
    Mtime,
    Device,
    Target,
    Xattr,
    Acl,
    Flags,
    Size,
    Content,
    Sparse,
    Links,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    pub(crate) what: What,
    pub(crate) path: Vec<u8>,
    pub(crate) detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.escape_ascii().to_string();
        let end = path.len().saturating_sub(120);
        write!(f, "{:?} {}{}: {}", self.what, if end > 0 { "…" } else { "" }, &path[end..], self.detail)
    }
}

/// All differences between two directories, themselves included.
pub(crate) fn trees(wanted: &Path, got: &Path) -> Vec<Difference> {
    trees_without(wanted, got, &[])
}

/// The same, with some kinds left out.
pub(crate) fn trees_without(wanted: &Path, got: &Path, ignored: &[What]) -> Vec<Difference> {
    let mut comparer = Comparer { ignored, found: Vec::new(), groups: Default::default() };
    let (wanted, got) = (At::open(wanted), At::open(got));
    comparer.attributes(&wanted, &got, b".", b".");
    comparer.directory(&wanted, &got, b"");
    comparer.hard_links();
    comparer.found.sort();
    comparer.found
}

/// Panics with the first differences if there are any.
#[track_caller]
pub(crate) fn assert_same(wanted: &Path, got: &Path) {
    assert_none(&trees(wanted, got), wanted, got);
}

/// The same, with some kinds left out.
#[track_caller]
pub(crate) fn assert_same_without(wanted: &Path, got: &Path, ignored: &[What]) {
    assert_none(&trees_without(wanted, got, ignored), wanted, got);
}

#[track_caller]
fn assert_none(found: &[Difference], wanted: &Path, got: &Path) {
    let list: Vec<String> = found.iter().take(25).map(ToString::to_string).collect();
    assert!(
        found.is_empty(),
        "{} differences between {} and {}:\n{}",
        found.len(),
        wanted.display(),
        got.display(),
        list.join("\n")
    );
}

type Groups = BTreeMap<(u64, u64), BTreeSet<Vec<u8>>>;

struct Comparer<'a> {
    ignored: &'a [What],
    found: Vec<Difference>,
    /// Names by device and inode, wanted and got.
    groups: [Groups; 2],
}

impl Comparer<'_> {
    fn add(&mut self, what: What, path: &[u8], detail: impl Into<String>) {
        if !self.ignored.contains(&what) {
            self.found.push(Difference { what, path: path.to_vec(), detail: detail.into() });
        }
    }

    fn directory(&mut self, wanted: &At, got: &At, path: &[u8]) {
        let names: [BTreeSet<Vec<u8>>; 2] = [wanted, got].map(|side| side.names().into_iter().collect());
        for name in names[0].union(&names[1]) {
            let here = if path.is_empty() { name.clone() } else { [path, b"/", name].concat() };
            match (names[0].contains(name), names[1].contains(name)) {
                (true, false) => self.one_sided(0, wanted, name, &here),
                (false, _) => self.one_sided(1, got, name, &here),
                (true, true) => self.both(wanted, got, name, &here),
            }
        }
    }

    fn one_sided(&mut self, side: usize, directory: &At, name: &[u8], path: &[u8]) {
        self.note_links(side, directory, name, path);
        let kind = directory.kind(name);
        self.add([What::Missing, What::Extra][side], path, format!("{kind:?}"));
        if kind == FileType::Directory {
            let below = directory.dir(name);
            for child in below.names() {
                self.one_sided(side, &below, &child, &[path, b"/", child.as_slice()].concat());
            }
        }
    }

    fn note_links(&mut self, side: usize, directory: &At, name: &[u8], path: &[u8]) {
        let stat = directory.stat(name);
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory && stat.st_nlink > 1 {
            self.groups[side].entry((stat.st_dev, stat.st_ino)).or_default().insert(path.to_vec());
        }
    }

    fn both(&mut self, wanted: &At, got: &At, name: &[u8], path: &[u8]) {
        let kinds = (wanted.kind(name), got.kind(name));
        if kinds.0 != kinds.1 {
            self.add(What::Type, path, format!("{:?} became {:?}", kinds.0, kinds.1));
            self.note_links(0, wanted, name, path);
            self.note_links(1, got, name, path);
            return;
        }
        self.note_links(0, wanted, name, path);
        self.note_links(1, got, name, path);
        self.attributes(wanted, got, name, path);
        match kinds.0 {
            FileType::RegularFile => self.content(wanted, got, name, path),
            FileType::Directory => self.directory(&wanted.dir(name), &got.dir(name), path),
            FileType::Symlink => {
                let (a, b) = (wanted.target(name), got.target(name));
                if a != b {
                    self.add(What::Target, path, format!("{} became {}", a.escape_ascii(), b.escape_ascii()));
                }
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                let (a, b) = (wanted.stat(name).st_rdev, got.stat(name).st_rdev);
                if a != b {
                    self.add(What::Device, path, format!("{a:x} became {b:x}"));
                }
            }
            _ => {}
        }
    }

    fn attributes(&mut self, wanted: &At, got: &At, name: &[u8], path: &[u8]) {
        let (a, b) = (wanted.stat(name), got.stat(name));
        if a.st_mode != b.st_mode && FileType::from_raw_mode(a.st_mode) != FileType::Symlink {
            self.add(What::Mode, path, format!("{:o} became {:o}", a.st_mode, b.st_mode));
        }
        if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid) {
            self.add(
                What::Owner,
                path,
                format!("{}:{} became {}:{}", a.st_uid, a.st_gid, b.st_uid, b.st_gid),
            );
        }
        let (mtime_a, mtime_b) = ((a.st_mtime, a.st_mtime_nsec), (b.st_mtime, b.st_mtime_nsec));
        if mtime_a != mtime_b {
            self.add(What::Mtime, path, format!("{mtime_a:?} became {mtime_b:?}"));
        }
        self.xattrs(wanted, got, name, path);
        if matches!(FileType::from_raw_mode(a.st_mode), FileType::RegularFile | FileType::Directory) {
            match (wanted.flags(name), got.flags(name)) {
                (Ok(a), Ok(b)) if a == b => {}
                (a, b) => self.add(What::Flags, path, format!("{a:x?} became {b:x?}")),
            }
        }
    }

    fn xattrs(&mut self, wanted: &At, got: &At, name: &[u8], path: &[u8]) {
        let sides: Vec<BTreeMap<_, _>> = [wanted, got]
            .map(|side| side.xattrs(name).expect("extended attributes").into_iter().collect())
            .into();
        for attribute in sides[0].keys().chain(sides[1].keys()).collect::<BTreeSet<_>>() {
            let (a, b) = (sides[0].get(attribute), sides[1].get(attribute));
            if a != b {
                let text = attribute.to_string_lossy();
                let what = if text.contains("posix_acl") { What::Acl } else { What::Xattr };
                let change = match (a, b) {
                    (_, None) => "lost",
                    (None, _) => "added",
                    _ => "differs",
                };
                self.add(what, path, format!("{text} {change}"));
            }
        }
    }

    fn content(&mut self, wanted: &At, got: &At, name: &[u8], path: &[u8]) {
        let (a, b) = (wanted.stat(name), got.stat(name));
        if a.st_size != b.st_size {
            self.add(What::Size, path, format!("{} became {}", a.st_size, b.st_size));
            return;
        }
        let sparse = a.st_blocks * 512 < a.st_size / 10 * 9;
        if sparse && b.st_blocks * 512 > a.st_blocks * 512 + 65536 {
            let (a, b) = (a.st_blocks * 512, b.st_blocks * 512);
            self.add(What::Sparse, path, format!("{a} allocated bytes became {b}"));
        }
        if !same_bytes(&wanted.path_of(name), &got.path_of(name)) {
            self.add(What::Content, path, "");
        }
    }

    fn hard_links(&mut self) {
        let groups = std::mem::take(&mut self.groups).map(|groups| {
            let mut by_name = BTreeMap::new();
            for names in groups.into_values().filter(|names| names.len() > 1) {
                for name in &names {
                    by_name.insert(name.clone(), names.clone());
                }
            }
            by_name
        });
        for name in groups[0].keys().chain(groups[1].keys()).collect::<BTreeSet<_>>() {
            let sizes = [0, 1].map(|side: usize| groups[side].get(name).map_or(1, BTreeSet::len));
            if groups[0].get(name) != groups[1].get(name) {
                self.add(What::Links, name, format!("{} names became {}, or other ones", sizes[0], sizes[1]));
            }
        }
    }
}

fn same_bytes(a: &Path, b: &Path) -> bool {
    let mut files = [a, b].map(|path| std::fs::File::open(path).expect("a file"));
    let mut buffers = [vec![0; 1 << 18], vec![0; 1 << 18]];
    loop {
        let lengths = [0, 1].map(|side| fill(&mut files[side], &mut buffers[side]));
        if lengths[0] != lengths[1] || buffers[0][..lengths[0]] != buffers[1][..lengths[1]] {
            return false;
        }
        if lengths[0] == 0 {
            return true;
        }
    }
}

fn fill(file: &mut std::fs::File, buffer: &mut [u8]) -> usize {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]).expect("a readable file") {
            0 => break,
            more => length += more,
        }
    }
    length
}
