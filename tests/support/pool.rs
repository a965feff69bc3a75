//! Storage pools in libioc's layout, on every backend that this machine has.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::at::At;
use super::compare::What;
use super::{Scratch, skipped, workload};

/// Where test pools can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A plain directory below this one.
    Dir(PathBuf),
    /// A directory below this one, which is on btrfs and of which subvolumes are made.
    Btrfs(PathBuf),
    /// A dataset below this one.
    Zfs(String),
}

impl Place {
    /// A directory on the file system of the build directory: there is always one.
    pub(crate) fn dir() -> Self {
        Self::Dir(PathBuf::from(env!("CARGO_TARGET_TMPDIR")))
    }

    /// A ZFS pool, where tests/run (or someone) has provided one.
    pub(crate) fn zfs(group: &str) -> Option<Self> {
        let dataset = std::env::var("REMAND_TEST_ZPOOL").ok().filter(|dataset| !dataset.is_empty());
        if dataset.is_none() {
            skipped(&format!("{group} on zfs"), "REMAND_TEST_ZPOOL names no dataset to make test pools in");
        }
        dataset.map(Self::Zfs)
    }

    /// A directory on btrfs or XFS, where tests/run (or someone) has provided one.
    fn on(file_system: &str, group: &str) -> Option<PathBuf> {
        let variable = format!("REMAND_TEST_{}", file_system.to_uppercase());
        let path = std::env::var_os(&variable).filter(|value| !value.is_empty());
        if path.is_none() {
            skipped(&format!("{group} on {file_system}"), &format!("{variable} names no directory"));
        }
        path.map(PathBuf::from)
    }

    /// A pool of subvolumes.
    pub(crate) fn btrfs(group: &str) -> Option<Self> {
        let path = Self::on("btrfs", group)?;
        super::root_for(&format!("{group} on btrfs")).then_some(Self::Btrfs(path))
    }

    /// Plain directories on a file system that can share extents.
    pub(crate) fn xfs(group: &str) -> Option<Self> {
        Self::on("xfs", group).map(Self::Dir)
    }

    /// Every place that there is. Those that are missing are announced as skipped.
    pub(crate) fn all(group: &str) -> Vec<Self> {
        let mut places = vec![Self::dir()];
        places.extend(Self::xfs(group));
        places.extend(Self::on("btrfs", group).map(Self::Dir));
        places.extend(Self::btrfs(group));
        places.extend(Self::zfs(group));
        places
    }

    pub(crate) fn is_zfs(&self) -> bool {
        matches!(self, Self::Zfs(_))
    }

    pub(crate) fn is_btrfs(&self) -> bool {
        matches!(self, Self::Btrfs(_))
    }

    /// Whether parts of a jail can be datasets.
    pub(crate) fn has_datasets(&self) -> bool {
        !matches!(self, Self::Dir(_))
    }
}

/// How much is in a test pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Ten entries: for tests about what the program does, not about what is in a tree.
    Small,
    /// [`workload::common`]: what every file system keeps.
    Common,
    /// [`workload`].
    Full,
}

/// A storage pool, removed at the end of the test.
pub(crate) struct Pool {
    place: Place,
    /// What `--pool` takes.
    name: String,
    directory: PathBuf,
    /// Holds the directory; on ZFS the dataset has its own.
    scratch: Option<Scratch>,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn empty(place: &Place) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let pool = match place {
            Place::Dir(parent) | Place::Btrfs(parent) => {
                let scratch = Scratch::below(parent);
                let directory = scratch.join("pool");
                std::fs::create_dir(&directory).expect("a directory for the pool");
                let name = directory.to_str().expect("a readable path");
                // On btrfs every directory is a pool of subvolumes unless one says otherwise.
                let plain = !place.has_datasets() && At::open(parent).file_system() == BTRFS;
                let name = if plain { format!("dir:{name}") } else { name.to_owned() };
                Self { place: place.clone(), name, directory, scratch: Some(scratch) }
            }
            Place::Zfs(parent) => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("{parent}/test-{}-{number}", std::process::id());
                zfs(["create", &name]);
                let directory = zfs(["get", "-H", "-o", "value", "mountpoint", &name]);
                Self { place: place.clone(), name, directory: directory.into(), scratch: None }
            }
        };
        pool.make("jails");
        pool.make("releases");
        pool
    }

    /// A pool with release `base-1.0` and jail `web01`, which changed since it was cloned.
    pub(crate) fn with_jail(place: &Place, size: Size) -> Self {
        let pool = Self::with_release(place, size);
        pool.jail("web01", "base-1.0", size);
        pool
    }

    /// A pool with release `base-1.0` alone.
    pub(crate) fn with_release(place: &Place, size: Size) -> Self {
        let pool = Self::empty(place);
        pool.release("base-1.0", size);
        pool
    }

    /// What `--pool` takes: a dataset's name, or a path.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn is_zfs(&self) -> bool {
        self.place.is_zfs()
    }

    /// Where the pool is mounted.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.join(below)
    }

    /// The root of jail `name`.
    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.directory.join("jails").join(name).join("root")
    }

    /// Makes a dataset, or a directory where there are no datasets.
    pub(crate) fn make(&self, name: &str) {
        let path = self.path(name);
        match self.place {
            Place::Zfs(_) => drop(zfs(["create", &format!("{}/{name}", self.name)])),
            // As a manager would: what holds resources is a plain directory.
            Place::Btrfs(_) if name.contains('/') && !name.ends_with("base-1.0") => {
                subvolume(["create".as_ref(), path.as_os_str()]);
            }
            _ => std::fs::create_dir(&path)
                .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display())),
        }
    }

    /// Makes a release, on ZFS with snapshot `p0`, on btrfs read-only.
    pub(crate) fn release(&self, name: &str, size: Size) {
        self.make(&format!("releases/{name}"));
        self.make(&format!("releases/{name}/root"));
        fill_release(&self.path(&format!("releases/{name}/root")), size);
        if self.is_zfs() {
            zfs(["snapshot", &format!("{}/releases/{name}/root@p0", self.name)]);
        }
        if self.place.is_btrfs() {
            read_only(&self.path(&format!("releases/{name}/root")), true);
        }
    }

    /// Makes a jail whose root is a changed clone of a release; with datasets `data` and `data/db` where there are datasets.
    pub(crate) fn jail(&self, name: &str, release: &str, size: Size) {
        self.bare_jail(name, release, size);
        if self.place.has_datasets() {
            self.datasets(name);
        }
    }

    /// The same without datasets beside the root.
    pub(crate) fn bare_jail(&self, name: &str, release: &str, size: Size) {
        let jail = format!("jails/{name}");
        self.make(&jail);
        let root = format!("{jail}/root");
        if self.is_zfs() {
            let origin = format!("{}/releases/{release}/root@p0", self.name);
            zfs(["clone", &origin, &format!("{}/{root}", self.name)]);
        } else if self.place.is_btrfs() {
            let base = self.path(&format!("releases/{release}/root"));
            subvolume(["snapshot".as_ref(), base.as_os_str(), self.path(&root).as_os_str()]);
        } else {
            self.make(&root);
            fill_release(&self.path(&root), size);
        }
        match size {
            Size::Small => small_change(&At::open(&self.path(&root))),
            Size::Common => workload::common::change_jail(&At::open(&self.path(&root))),
            Size::Full => drop(workload::change_jail(&self.path(&root))),
        }
        self.jail_files(name, release);
    }

    /// Whether a dataset on ZFS is mounted with all below it.
    pub(crate) fn is_mounted(&self, dataset: &str) -> bool {
        let full = format!("{}/{dataset}", self.name());
        zfs(["list", "-H", "-r", "-t", "filesystem", "-o", "mounted", &full])
            .lines()
            .all(|mounted| mounted == "yes")
    }

    /// Makes a snapshot on ZFS.
    pub(crate) fn snapshot(&self, dataset: &str, name: &str) {
        zfs(["snapshot", &format!("{}/{dataset}@{name}", self.name)]);
    }

    /// Makes a jail on ZFS whose root is an unchanged clone of a snapshot.
    pub(crate) fn clone_of(&self, snapshot: &str, name: &str) {
        self.make(&format!("jails/{name}"));
        zfs(["clone", &format!("{}/{snapshot}", self.name), &format!("{}/jails/{name}/root", self.name)]);
        let release = snapshot.split('/').nth(1).expect("releases/NAME/root@SNAPSHOT");
        self.jail_files(name, release);
    }

    /// `data` and `data/db` of a jail; directories where there are no datasets.
    pub(crate) fn datasets(&self, jail: &str) {
        let parts = ["data", "data/db"].map(|part| format!("jails/{jail}/{part}"));
        for part in &parts {
            self.make(part);
        }
        for (part, seed) in parts.iter().zip([8000, 7000]).rev() {
            workload::common::fill_data(&At::open(&self.path(part)), seed);
        }
    }

    /// The files beside a jail's root.
    fn jail_files(&self, name: &str, release: &str) {
        let jail = self.path(&format!("jails/{name}"));
        std::fs::write(jail.join("config.json"), config(name, release)).expect("a config");
        std::fs::write(jail.join("fstab"), fstab(&jail, &self.directory)).expect("an fstab");
        std::fs::write(jail.join("notes.txt"), "a file beside the config\n").expect("notes");
        let nested = jail.join("hooks").join("pre");
        std::fs::create_dir_all(&nested).expect("a nested directory");
        std::fs::write(nested.join("start.sh"), "#!/bin/sh\nexit 0\n").expect("a nested file");
    }

    /// What a comparison with this pool cannot see.
    pub(crate) fn unseen(&self) -> Vec<What> {
        // ZFS and btrfs allocate when its transaction group is written, and compresses zeros: blocks tell nothing.
        if self.place.has_datasets() { vec![What::Sparse] } else { vec![] }
    }

    /// Removes a directory of the pool with its subvolumes, if it is there.
    pub(crate) fn delete(&self, name: &str) {
        let path = self.path(name);
        if self.place.is_btrfs() {
            delete_subvolumes(&path);
        }
        super::at::remove_tree(&path);
    }

    /// Names of the jails that a user sees.
    pub(crate) fn jails(&self) -> Vec<String> {
        names(&self.path("jails"))
    }

    /// What remand keeps in this pool beside locks and caches: staging areas, views and, on ZFS, snapshots that are not the
    /// releases'. Empty when nothing was left behind.
    pub(crate) fn remains(&self) -> Vec<String> {
        let mut found = Vec::new();
        for area in ["staging", "views", "snapshots"] {
            let directory = self.path(".remand").join(area);
            found.extend(names(&directory).into_iter().map(|name| format!(".remand/{area}/{name}")));
        }
        if self.is_zfs() {
            let list =
                zfs(["list", "-H", "-r", "-t", "filesystem,volume,snapshot", "-o", "name", &self.name]);
            found.extend(
                list.lines()
                    .filter(|line| {
                        line.contains("@remand-") || line.contains("/staging/") || line.contains("/views/")
                    })
                    .map(ToOwned::to_owned),
            );
        }
        found.sort();
        found
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if std::env::var_os("REMAND_TEST_KEEP").is_some() {
            return;
        }
        match self.place {
            Place::Dir(_) => return,
            Place::Btrfs(_) => return delete_subvolumes(&self.directory),
            Place::Zfs(_) => {}
        }
        if !destroy(&self.name) {
            super::announce(&format!("LEFT {}", self.name));
        }
    }
}

/// Destroys a dataset with all below it, and clones outside of it. zfs-fuse is busy for a moment after it was used.
pub(crate) fn destroy(dataset: &str) -> bool {
    (0..50).any(|_| {
        let done = Command::new("zfs").args(["destroy", "-R", "-f", dataset]).output();
        done.is_ok_and(|output| output.status.success()) || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            false
        }
    })
}

/// Magic number of btrfs.
const BTRFS: i64 = 0x9123_683e;

/// Runs `btrfs subvolume`; panics when it fails.
pub(crate) fn subvolume<const N: usize>(arguments: [&OsStr; N]) {
    let output = Command::new("btrfs").arg("subvolume").args(arguments).output().expect("btrfs(8)");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a subvolume read-only, or writable.
pub(crate) fn read_only(path: &Path, read_only: bool) {
    let output = Command::new("btrfs")
        .args(["property", "set", "-f"])
        .arg(path)
        .args(["ro", if read_only { "true" } else { "false" }])
        .output()
        .expect("btrfs(8)");
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
}

/// The subvolumes at and below a directory, the deepest last, sorted. Their directories have one inode number.
pub(crate) fn subvolumes(directory: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut rest = vec![directory.to_owned()];
    while let Some(path) = rest.pop() {
        let is_subvolume = std::fs::symlink_metadata(&path).is_ok_and(|data| data.ino() == 256);
        if is_subvolume {
            found.push(path.clone());
        }
        let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
        rest.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    found.sort();
    found
}

fn delete_subvolumes(directory: &Path) {
    for path in subvolumes(directory).into_iter().rev() {
        let done = Command::new("btrfs").args(["-q", "subvolume", "delete"]).arg(&path).output();
        if !done.is_ok_and(|output| output.status.success()) {
            super::announce(&format!("LEFT {}", path.display()));
        }
    }
}

/// Runs zfs(8) and returns what it prints; panics when it fails.
pub(crate) fn zfs<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> String {
    super::turn::take();
    let mut command = Command::new("zfs");
    command.args(arguments).env("LC_ALL", "C");
    let output = command.output().expect("zfs(8)");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Names in a directory, sorted; none if there is no such directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = match std::fs::read_dir(directory) {
        Ok(entries) => {
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
        }
        Err(_) => Vec::new(),
    };
    names.sort();
    names
}

pub(crate) fn fill_release(root: &Path, size: Size) {
    match size {
        Size::Small => small_release(&At::open(root)),
        Size::Common => workload::common::build_release(&At::open(root)),
        Size::Full => drop(workload::build_release(root)),
    }
}

fn small_release(root: &At) {
    let etc = root.mkdir("etc");
    etc.write("passwd", "root:*:0:0:Charlie &:/root:/bin/sh\n");
    etc.write("conf", workload::text(1, 900));
    etc.write("mode", "changes its mode alone\n");
    root.mkdir("bin").write("tool", workload::noise(2, 2000));
    root.dir("bin").symlink("link", "tool");
    root.mkdir("old").write("gone", "the jail deletes this\n");
    for name in
        ["etc/passwd", "etc/conf", "etc/mode", "bin/tool", "bin/link", "old/gone", "etc", "bin", "old", "."]
    {
        root.set_mtime(name, workload::RELEASE_TIME);
    }
}

pub(crate) fn small_change(root: &At) {
    let etc = root.dir("etc");
    etc.write("conf", workload::text(3, 1000));
    etc.chmod("mode", 0o600);
    root.dir("old").unlink("gone");
    let srv = root.mkdir("srv");
    srv.write("new", workload::text(4, 600));
    srv.link("new-link", &srv, "new");
    srv.symlink("absolute", "/etc/passwd");
    srv.symlink("out", "../../../../../etc/shadow");
    for name in ["etc/conf", "srv/new", "srv/absolute", "srv/out", "etc", "old", "srv", "."] {
        root.set_mtime(name, workload::JAIL_TIME);
    }
}

/// A config as libioc writes them: dotted and nested keys, text beside native types.
pub(crate) fn config(name: &str, release: &str) -> String {
    format!(
        r#"{{
    "basejail": "no",
    "boot": true,
    "defaultrouter": "192.168.24.1",
    "hostid": "4c4c4544-0051-3310-8051-b4c04f4a3433",
    "host_hostname": "{name}.example.org",
    "host_hostuuid": "{name}",
    "interfaces": "vnet0:bridge0",
    "ip4_addr": "vnet0|192.168.24.2/24",
    "release": "{release}",
    "resource_limits.memoryuse": "2G",
    "securelevel": 2,
    "user": {{
        "comment": "grüße, \"quoted\" and nested",
        "list": [1, 2.5, null, true]
    }},
    "vnet": "yes",
    "vnet0_mac": "63ecac12d0f8,63ecac12d0f9"
}}
"#
    )
}

/// An fstab with entries below the jail, beside it, with comments and with every way to write a space.
pub(crate) fn fstab(jail: &Path, pool: &Path) -> String {
    let (jail, pool) = (jail.display(), pool.display());
    format!(
        "# Mounts of a jail: {jail}/root stays as it is in a comment\n\
         /usr/share\t{jail}/root/mnt/media\tnullfs\tro\t0\t0 # shared by all jails\n\
         {jail}/data\t{jail}/root/var/lib/data\tnullfs\trw\t0\t0\n\
         {pool}/jails/web012/files   {jail}/root/mnt/my\\040files  ufs  rw  0  0\n\
         /srv/two\\ words {jail}/root/mnt/two\\ words ufs ro 0 0\n\
         \n\
         tmpfs\t{jail}/root/tmp\ttmpfs\trw,mode=1777\t0\t0\n"
    )
}
