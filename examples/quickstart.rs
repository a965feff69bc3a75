//! A tour of remand that needs nothing but a directory: makes a small pool with a release and a changed jail, exports the jail to
//! a tar.gz and to a directory, restores both into a second pool, and compares.
//!
//! ```text
//! cargo run --release --example quickstart [DIRECTORY]
//! ```
//!
//! Everything happens in DIRECTORY (`./remand-quickstart` by default), which must not exist, and which stays to play with. Root sees
//! owners, devices and modes of every kind; anybody else what a user may have.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use remand::archive::Format;
use remand::event::{Observer, Silent};
use remand::export::{self, Destination};
use remand::input::Input;
use remand::pool::Pool;
use remand::restore;

type Outcome<T> = Result<T, Box<dyn StdError>>;

const USAGE: &str = "usage: quickstart [DIRECTORY]";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().map_or_else(|| PathBuf::from("remand-quickstart"), PathBuf::from);
    if arguments.next().is_some() || directory.as_os_str().as_encoded_bytes().starts_with(b"-") {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match tour(&directory) {
        Ok(differences) if differences.is_empty() => ExitCode::SUCCESS,
        Ok(differences) => {
            for difference in differences {
                eprintln!("quickstart: differs: {difference}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("quickstart: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// The whole tour. Returns what differs between the jail and what was restored.
fn tour(directory: &Path) -> Outcome<Vec<String>> {
    fs::create_dir(directory).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{} exists already; remove it, or name another directory", directory.display())
        }
        _ => format!("cannot make {}: {error}", directory.display()),
    })?;
    let directory = directory.canonicalize()?;
    let (pool_a, pool_b) = (directory.join("pool-a"), directory.join("pool-b"));
    let archives = directory.join("archives");
    fs::create_dir(&archives)?;

    println!("Two storage pools, in libioc's layout, on plain directories:");
    for pool in [&pool_a, &pool_b] {
        make_release(&pool.join("releases/base-1.0/root"))?;
        fs::create_dir(pool.join("jails"))?;
    }
    let jail = pool_a.join("jails/web01");
    make_release(&jail.join("root"))?;
    let left_out = change(&jail.join("root"))?;
    describe_jail(&jail)?;
    println!(
        "  {}  with release base-1.0 and jail web01, which changed since it was cloned",
        pool_a.display()
    );
    println!("  {}  with the same release, and no jail", pool_b.display());
    if !left_out.is_empty() {
        println!("  Left out, because it needs root: {}", left_out.join(", "));
    }

    let (file, tree) = (archives.join("web01.tar.gz"), archives.join("web01"));
    println!("\nExported what differs from the release:");
    export(&pool_a, &file, Format::Tar)?;
    export(&pool_a, &tree, Format::Directory)?;

    println!("\nRestored both in the second pool:");
    restore(&pool_b, &file, "web01")?;
    restore(&pool_b, &tree, "web02")?;

    let wanted = jail.join("root");
    let mut differences = Vec::new();
    let mut entries = 0;
    for name in ["web01", "web02"] {
        entries = compare(&wanted, &pool_b.join("jails").join(name).join("root"), &mut differences)?;
    }
    println!("\nCompared: {entries} entries, {} differences in each restored root", differences.len());
    println!("(type, mode, owner, time to the nanosecond, size, content, holes, link targets, hard links)");
    next_steps(&pool_a, &pool_b, &file);
    Ok(differences)
}

fn export(pool: &Path, destination: &Path, format: Format) -> Outcome<()> {
    let pool = open(pool)?;
    let options = export::Options { format: Some(format), ..export::Options::new("web01".parse()?) };
    let target = Destination::Path { path: destination.to_owned(), force: false };
    let report = export::export(&pool, &options, target, observer(), &AtomicBool::new(false))?;
    let counts = report.resources[0].counts;
    println!(
        "  {}  {} added, {} modified, {} with other attributes, {} deleted",
        destination.display(),
        counts.added,
        counts.modified,
        counts.metadata,
        counts.deleted
    );
    Ok(())
}

fn restore(pool: &Path, source: &Path, name: &str) -> Outcome<()> {
    let pool = open(pool)?;
    let options = restore::Options { name: Some(name.to_owned()), ..restore::Options::default() };
    let input = Input::Path(source.to_owned());
    let report = restore::restore(&pool, &options, input, observer(), &Arc::new(AtomicBool::new(false)))?;
    for restored in &report.resources {
        println!("  {}  from {}", restored.resource, source.display());
    }
    Ok(())
}

fn open(pool: &Path) -> Outcome<Pool> {
    let path = pool.to_str().ok_or("the directory's name is not UTF-8")?;
    // Plain directories, on btrfs too, where it would be a pool of subvolumes otherwise.
    Ok(Pool::open(&format!("dir:{path}"))?)
}

/// Who watches: nobody here. The command line draws a tree with progress bars.
fn observer() -> &'static dyn Observer {
    &Silent
}

fn put(root: &Path, name: &str, content: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap_or(root))?;
    fs::write(&path, content)?;
    fs::set_permissions(&path, Permissions::from_mode(mode))
}

/// Fills a release. Twice the same, so that pools and jail begin with equal trees.
fn make_release(root: &Path) -> io::Result<()> {
    put(root, "etc/passwd", "root:*:0:0:Charlie &:/root:/bin/sh\n", 0o644)?;
    put(root, "etc/rc.conf", "sshd_enable=\"NO\"\n", 0o644)?;
    put(root, "etc/motd", "Welcome\n", 0o644)?;
    put(root, "bin/sh", vec![0x7f; 40_000], 0o755)?;
    put(root, "usr/share/doc/README", "Documentation\n".repeat(100), 0o644)?;
    for number in 0..20 {
        put(root, &format!("usr/lib/lib{number}.so.1"), vec![number; 3000], 0o644)?;
        symlink(format!("lib{number}.so.1"), root.join(format!("usr/lib/lib{number}.so")))?;
    }
    settle(root)
}

/// One time for everything, down to the nanosecond.
fn settle(path: &Path) -> io::Result<()> {
    if path.is_symlink() {
        return set_time(path, 1_700_000_000);
    }
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            settle(&entry?.path())?;
        }
    }
    set_time(path, 1_700_000_000)
}

fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 123_456_789 },
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// What the jail did to its clone. Returns what could not be done without root.
fn change(root: &Path) -> io::Result<Vec<&'static str>> {
    fs::write(root.join("etc/rc.conf"), "sshd_enable=\"YES\"\nnginx_enable=\"YES\"\n")?;
    fs::remove_file(root.join("usr/share/doc/README"))?;
    fs::remove_file(root.join("usr/lib/lib7.so"))?;
    fs::set_permissions(root.join("etc/passwd"), Permissions::from_mode(0o640))?;
    // A file became a directory, and a link a file.
    fs::remove_file(root.join("etc/motd"))?;
    put(root, "etc/motd/10-header", "Welcome to web01\n", 0o644)?;
    fs::remove_file(root.join("usr/lib/lib8.so"))?;
    put(root, "usr/lib/lib8.so", "now a file\n", 0o644)?;
    put(root, "usr/local/www/index.html", "<h1>It works</h1>\n", 0o644)?;
    fs::hard_link(root.join("usr/local/www/index.html"), root.join("usr/local/www/default.html"))?;
    symlink("/etc/passwd", root.join("usr/local/absolute"))?;
    symlink("../../../../elsewhere", root.join("usr/local/leaves-the-tree"))?;
    put(root, "usr/local/a name\nof two lines", "any name will do\n", 0o600)?;
    let sparse = File::create(root.join("usr/local/sparse"))?;
    sparse.set_len(64 << 20)?;
    sparse.write_all_at(b"data after a hole", 32 << 20)?;
    sparse.set_modified(SystemTime::UNIX_EPOCH - Duration::from_millis(1500))?;
    if !rustix::process::geteuid().is_root() {
        return Ok(vec!["files of other owners", "a device", "a setuid program"]);
    }
    std::os::unix::fs::chown(root.join("usr/local/www"), Some(80), Some(80))?;
    put(root, "usr/local/bin/setuid", "privileged\n", 0o4755)?;
    let (null, mode) = (rustix::fs::makedev(1, 3), rustix::fs::Mode::from_raw_mode(0o666));
    let kind = rustix::fs::FileType::CharacterDevice;
    // Containers often forbid it, to root too.
    match rustix::fs::mknodat(rustix::fs::CWD, root.join("usr/local/null"), kind, mode, null) {
        Err(rustix::io::Errno::PERM) => Ok(vec!["a device"]),
        result => result.map(|()| Vec::new()).map_err(Into::into),
    }
}

/// What lies beside the jail's root.
fn describe_jail(jail: &Path) -> io::Result<()> {
    let config = r#"{
    "boot": "yes",
    "host_hostuuid": "web01",
    "ip4_addr": "vnet0|192.168.24.2/24",
    "release": "base-1.0",
    "vnet": "yes",
    "vnet0_mac": "63ecac12d0f8,63ecac12d0f9"
}
"#;
    put(jail, "config.json", config, 0o644)?;
    let fstab = format!("/srv/media\t{}/root/mnt/media\tnullfs\tro\t0\t0\n", jail.display());
    put(jail, "fstab", fstab, 0o644)?;
    put(jail, "notes.txt", "kept, too\n", 0o644)
}

/// Compares two trees, and returns how many entries the first has.
fn compare(wanted: &Path, got: &Path, differences: &mut Vec<String>) -> io::Result<usize> {
    let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
    collect(wanted, Path::new(""), &mut a)?;
    collect(got, Path::new(""), &mut b)?;
    for path in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
        let what = match (a.get(path), b.get(path)) {
            (Some(facts), Some(others)) => facts.differing_from(others).join(", "),
            (_, None) => "is missing".to_owned(),
            (None, _) => "is extra".to_owned(),
        };
        if !what.is_empty() {
            differences.push(format!("{}: {what}", path.to_string_lossy().escape_debug()));
        }
    }
    Ok(a.len())
}

/// What the comparison looks at.
struct Facts {
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    links: u64,
    device: u64,
    sparse: bool,
    /// Of a file, or the target of a link.
    content: Vec<u8>,
}

impl Facts {
    fn differing_from(&self, other: &Self) -> Vec<&'static str> {
        [
            ("type or mode", self.mode == other.mode),
            ("owner", self.owner == other.owner),
            ("time", self.time == other.time),
            ("hard links", self.links == other.links),
            ("device", self.device == other.device),
            ("holes", self.sparse == other.sparse),
            ("content or target", self.content == other.content),
        ]
        .into_iter()
        .filter_map(|(name, same)| (!same).then_some(name))
        .collect()
    }
}

fn collect(root: &Path, below: &Path, found: &mut BTreeMap<PathBuf, Facts>) -> io::Result<()> {
    let path = root.join(below);
    let metadata = path.symlink_metadata()?;
    let kind = metadata.file_type();
    let content = if kind.is_symlink() {
        fs::read_link(&path)?.into_os_string().into_encoded_bytes()
    } else if kind.is_file() {
        fs::read(&path)?
    } else {
        Vec::new()
    };
    let facts = Facts {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        time: (metadata.mtime(), metadata.mtime_nsec()),
        links: if kind.is_dir() { 0 } else { metadata.nlink() },
        device: if kind.is_char_device() || kind.is_block_device() { metadata.rdev() } else { 0 },
        sparse: metadata.blocks() * 512 < metadata.size() / 2,
        content,
    };
    found.insert(below.to_owned(), facts);
    if kind.is_dir() {
        for entry in fs::read_dir(&path)? {
            collect(root, &below.join(entry?.file_name()), found)?;
        }
    }
    Ok(())
}

/// Commands to try next.
fn next_steps(pool_a: &Path, pool_b: &Path, archive: &Path) {
    let (a, b, archive) = (pool_a.display(), pool_b.display(), archive.display());
    // The example lies in examples/ beside the program.
    let built = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.parent()?.join("remand")));
    let program = built.as_deref().map_or_else(|| "remand".into(), |path| path.display().to_string());
    println!("\nTry next:");
    if !built.is_some_and(|path| path.exists()) {
        println!("  cargo build --release");
    }
    println!("  {program} list --pool dir:{a}");
    println!("  {program} diff --pool dir:{a} web01");
    println!("  {program} info {archive}");
    println!("  {program} verify {archive}");
    println!("  {program} restore --pool dir:{b} --name web03 {archive}");
    println!("  {program} export --pool dir:{a} web01 - | {program} restore --pool dir:{b} --name web04 -");
    println!("  tar -tvzf {archive}");
}
