//! Random trees on a file system, exported from a pool and restored into another.

use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arbitrary::{Result, Unstructured};
use remand::archive::Format;
use remand::event::Silent;
use remand::export::{self, Codec, Destination};
use remand::input::Input;
use remand::pool::Pool;
use remand::restore;
use remand::selector::{Purpose, Selection};
use rustix::fs::FileType;

// Each takes what it needs of these.
#[allow(dead_code)] // the tests use the rest
#[path = "../../tests/support/at.rs"]
mod at;
#[allow(dead_code)] // the tests use the rest
#[path = "../../tests/support/compare.rs"]
mod compare;

use at::At;

/// As the tests say what they cannot do.
fn announce(message: &str) {
    eprintln!("{message}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

const RELEASE: &str = "releases/base-1.0/root";
const JAIL: &str = "jails/web01";
const NAMES: [&[u8]; 7] = [b"a", b"b", b"etc", b"long name \xc3\xbc", b"\xff\xfe", b"-n", b"a\nb\\"];

/// The release that both pools have: the same at any time.
fn release(place: &Path) {
    std::fs::create_dir_all(place).expect("memory takes it");
    let root = At::open(place);
    let etc = root.mkdir("etc");
    etc.write("a", "the base's");
    etc.write("passwd", "root:0");
    etc.symlink("b", "../a");
    root.write("a", vec![b'a'; 5000]);
    root.link("b", &root, "a");
    root.mkdir("d").mkdir("a").write("a", "deep");
    root.write_sparse("sparse", 100_000, &[(50_000, b"middle")]);
    for (directory, name) in [(&etc, "a"), (&etc, "passwd"), (&etc, "b"), (&root, "a"), (&root, "sparse")] {
        directory.set_mtime(name, (1_000_000_000, 5));
    }
    let d = root.dir("d");
    d.dir("a").set_mtime("a", (1_000_000_000, 5));
    d.set_mtime("a", (1_000_000_000, 5));
    for name in ["etc", "d", "."] {
        root.set_mtime(name, (1_000_000_000, 5));
    }
}

/// Where in the tree something is done: a directory that exists.
fn directory(u: &mut Unstructured<'_>, root: &Path) -> Result<PathBuf> {
    let mut path = root.to_path_buf();
    for _ in 0..u.int_in_range(0..=3)? {
        let at = At::open(&path);
        let mut below = at.names();
        below.retain(|name| at.kind(name) == FileType::Directory);
        if below.is_empty() {
            break;
        }
        path.push(std::ffi::OsString::from_vec(u.choose(&below)?.clone()));
    }
    Ok(path)
}

fn change(u: &mut Unstructured<'_>, root: &Path, is_root: bool) -> Result<()> {
    let at = At::open(&directory(u, root)?);
    let name = *u.choose(&NAMES)?;
    let there = at.names().iter().any(|known| known == name);
    let kind = there.then(|| at.kind(name));
    if !there || u.ratio(1, 3)? {
        if there {
            at.remove(name);
        }
        return create(u, &at, name, root, is_root);
    }
    match u.int_in_range(0..=5)? {
        0 if kind != Some(FileType::Symlink) => at.chmod(name, u.int_in_range(0..=0o7777)? | 0o700),
        1 if is_root => {
            at.try_chown(name, u.int_in_range(0..=70_000)?, u.arbitrary::<u16>()?.into()).expect("root may");
        }
        2 => {
            let time = (i64::from(u.arbitrary::<i32>()?), u.int_in_range(0..=999_999_999)?);
            at.set_mtime(name, time);
        }
        3 if is_root && matches!(kind, Some(FileType::RegularFile | FileType::Directory)) => {
            at.try_set_xattr(name, "trusted.fuzz", u.arbitrary::<&[u8]>()?).expect("root may");
        }
        4 => {
            let to = *u.choose(&NAMES)?;
            if !at.names().iter().any(|known| known == to) {
                at.rename(name, to);
            }
        }
        _ if kind == Some(FileType::RegularFile) => at.write(name, u.arbitrary::<&[u8]>()?),
        _ => at.remove(name),
    }
    Ok(())
}

fn create(u: &mut Unstructured<'_>, at: &At, name: &[u8], root: &Path, is_root: bool) -> Result<()> {
    match u.int_in_range(0..=7)? {
        0 | 1 => at.write(name, u.arbitrary::<&[u8]>()?),
        2 => drop(at.mkdir(name)),
        3 => {
            let target = if u.arbitrary()? { &b"../../etc/passwd"[..] } else { u.arbitrary()? };
            let mut target = target.to_vec();
            target.retain(|byte| *byte != 0);
            target.truncate(200);
            target.push(b'x');
            at.symlink(name, target);
        }
        4 => {
            let offset = u.int_in_range(0..=60_000)?;
            at.write_sparse(name, offset + u.int_in_range(1..=60_000)?, &[(offset, b"x")]);
        }
        5 => {
            let other = At::open(&directory(u, root)?);
            let mut files = other.names();
            files.retain(|name| other.kind(name) != FileType::Directory);
            if !files.is_empty() {
                // A link to what was just made in its own place is none.
                at.link(name, &other, u.choose(&files)?);
            }
        }
        6 if is_root => {
            let path = at.path_of(name);
            let kind = *u.choose(&[FileType::Fifo, FileType::CharacterDevice, FileType::Socket])?;
            let device = rustix::fs::makedev(u.int_in_range(1..=200)?, u.int_in_range(0..=255)?);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::from_raw_mode(0o600), device)
                .expect("root may");
        }
        _ => at.write(name, vec![u.arbitrary::<u8>()?; u.int_in_range(0..=70_000)?]),
    }
    Ok(())
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let scratch = scratch.expect("a directory");
    let pools = [scratch.path().join("a"), scratch.path().join("b")];
    for pool in &pools {
        release(&pool.join(RELEASE));
        std::fs::create_dir(pool.join("jails")).expect("memory takes it");
    }
    let jail = pools[0].join(JAIL);
    release(&jail.join("root"));
    std::fs::write(jail.join("config.json"), r#"{"id": "web01", "release": "base-1.0"}"#)
        .expect("memory takes it");
    let is_root = is_root();
    for _ in 0..u.int_in_range(0..=12)? {
        change(u, &jail.join("root"), is_root)?;
    }
    let codec = *u.choose(&[Codec::None, Codec::Gzip, Codec::Zstd])?;
    let format = if u.ratio(1, 4)? { Format::Directory } else { Format::Tar };
    let selection =
        Selection::parse(Purpose::Export, &["web01".into()], false, &[], None, jiff::Timestamp::UNIX_EPOCH);
    let options = export::Options {
        standalone: u.ratio(1, 3)?,
        format: Some(format),
        codec: (format == Format::Tar).then_some(codec),
        ..export::Options::new(selection.expect("it is a name"))
    };
    let archive = scratch.path().join("archive");
    let never = Arc::new(AtomicBool::new(false));
    let open = |pool: &PathBuf| Pool::open(pool.to_str().expect("it is text")).expect("it is a pool");
    let dest = Destination::Path { path: archive.clone(), force: false };
    let report = export::export(&open(&pools[0]), &options, dest, &Silent, &never).expect("nothing is wrong");
    assert_eq!((report.warnings, report.failed.len()), (0, 0));
    if u.arbitrary()? {
        remand::verify::verify(Input::Path(archive.clone()), &Silent, &never).expect("it was written");
    }
    let input = Input::Path(archive);
    let report = restore::restore(&open(&pools[1]), &restore::Options::default(), input, &Silent, &never)
        .expect("nothing is wrong");
    assert_eq!(report.warnings, 0);
    compare::assert_same(&jail, &pools[1].join(JAIL));
    Ok(())
}

/// What is exported is restored, with all its attributes.
pub(super) fn tree(data: &[u8]) {
    // An input that is too short is nothing to check.
    let _ = check(&mut Unstructured::new(data));
}
