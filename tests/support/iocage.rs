//! Storage pools in iocage's layout.

use std::path::Path;
use std::process::Command;

use super::at::At;
use super::pool::{Place, Pool, Size, small_change, subvolume, zfs};
use super::workload;

impl Pool {
    /// An empty pool as iocage makes it.
    pub(crate) fn empty_iocage(place: &Place) -> Self {
        let pool = Self::empty(place);
        for name in ["templates", "images", "log", "download"] {
            pool.make(name);
        }
        let defaults = "{\n    \"CONFIG_VERSION\": \"29\",\n    \"boot\": 0,\n    \"template\": 0\n}";
        std::fs::write(pool.path("defaults.json"), defaults).expect("the defaults");
        pool
    }

    /// One with release `base-1.0` alone.
    pub(crate) fn iocage_with_release(place: &Place) -> Self {
        let pool = Self::empty_iocage(place);
        pool.release("base-1.0", Size::Small);
        pool
    }

    /// One with release `base-1.0`, its clones `jails/web01` and `templates/web`, and `jails/blog`, a clone of the template.
    pub(crate) fn iocage(place: &Place) -> Self {
        let pool = Self::iocage_with_release(place);
        pool.clone_root("releases/base-1.0", "web01", "jails/web01");
        small_change(&At::open(&pool.root("web01")));
        pool.files("jails/web01", &jail("web01"));
        pool.clone_root("releases/base-1.0", "web", "templates/web");
        small_change(&At::open(&pool.path("templates/web/root")));
        pool.files("templates/web", &template("web"));
        pool.template_jail("blog", "web");
        pool
    }

    /// A jail that is a clone of a template.
    pub(crate) fn template_jail(&self, name: &str, template: &str) {
        let jail = format!("jails/{name}");
        self.clone_root(&format!("templates/{template}"), name, &jail);
        template_change(&At::open(&self.root(name)));
        self.files(&jail, &of_template(name, template));
    }

    /// Makes a dataset whose root is a clone of that of another, from a snapshot with this name.
    pub(crate) fn clone_root(&self, from: &str, snapshot: &str, to: &str) {
        self.make(to);
        let (from, to) = (format!("{from}/root"), format!("{to}/root"));
        match self.place() {
            Place::Zfs(_) => {
                let origin = format!("{}/{from}@{snapshot}", self.name());
                zfs(["snapshot", &origin]);
                zfs(["clone", &origin, &format!("{}/{to}", self.name())]);
            }
            Place::Btrfs(_) => {
                subvolume(["snapshot".as_ref(), self.path(&from).as_os_str(), self.path(&to).as_os_str()]);
            }
            Place::Dir(_) => {
                let done = Command::new("cp").arg("-a").arg(self.path(&from)).arg(self.path(&to)).output();
                assert!(done.expect("cp(1)").status.success());
            }
        }
    }

    /// The files beside a root.
    pub(crate) fn files(&self, resource: &str, config: &str) {
        let directory = self.path(resource);
        std::fs::write(directory.join("config.json"), config).expect("a config");
        std::fs::write(directory.join("fstab"), fstab(&directory)).expect("an fstab");
    }

    /// Makes a jail a basejail: what its release provides is emptied, and lines of its fstab mount it.
    pub(crate) fn make_basejail(&self, name: &str) {
        let root = At::open(&self.root(name));
        let bin = root.dir("bin");
        bin.unlink("tool");
        bin.unlink("link");
        for name in ["bin", "."] {
            root.set_mtime(name, workload::JAIL_TIME);
        }
        let line = self.mount_line("base-1.0", name);
        std::fs::write(self.path(&format!("jails/{name}/fstab")), line).expect("an fstab");
        self.configure(&format!("jails/{name}"), &[("basejail", 1.into())]);
    }

    /// The line that mounts a release's `bin` over that of a jail.
    pub(crate) fn mount_line(&self, release: &str, jail: &str) -> String {
        let pool = self.directory().display();
        format!("{pool}/releases/{release}/root/bin\t{pool}/jails/{jail}/root/bin\tnullfs\tro\t0\t0\n")
    }

    /// Sets keys of a config.
    pub(crate) fn configure(&self, resource: &str, keys: &[(&str, serde_json::Value)]) {
        let mut config = self.config(resource);
        for (key, value) in keys {
            config[key] = value.clone();
        }
        std::fs::write(self.path(resource).join("config.json"), config.to_string()).expect("a config");
    }

    /// A config.
    pub(crate) fn config(&self, resource: &str) -> serde_json::Value {
        let bytes = std::fs::read(self.path(resource).join("config.json")).expect("a config");
        serde_json::from_slice(&bytes).expect("JSON")
    }
}

/// A change to a root that [`small_change`] has changed before.
fn template_change(root: &At) {
    root.dir("etc").write("conf", workload::text(5, 700));
    root.dir("srv").unlink("new-link");
    root.dir("srv").write("own", workload::text(6, 500));
    for name in ["etc/conf", "srv/own", "etc", "srv", "."] {
        root.set_mtime(name, (workload::JAIL_TIME.0 + 60, 5));
    }
}

/// A config as iocage writes them: sorted keys, numbers for switches, the release with its patch level.
fn jail(name: &str) -> String {
    format!(
        r#"{{
    "CONFIG_VERSION": "29",
    "boot": 1,
    "cloned_release": "base-1.0",
    "host_hostname": "{name}",
    "host_hostuuid": "{name}",
    "ip4_addr": "vnet0|192.168.24.2/24",
    "jail_zfs_dataset": "iocage/jails/{name}/data",
    "release": "base-1.0-p4",
    "vnet": 1
}}"#
    )
}

fn template(name: &str) -> String {
    jail(name)
        .replace("    \"vnet\": 1", "    \"template\": 1,\n    \"type\": \"template\",\n    \"vnet\": 1")
}

fn of_template(name: &str, template: &str) -> String {
    let source = format!("    \"source_template\": \"{template}\",\n    \"vnet\": 1");
    jail(name).replace("    \"vnet\": 1", &source)
}

/// As iocage writes it, and a user's own mount.
fn fstab(directory: &Path) -> String {
    format!("/usr/share\t{}/root/mnt\tnullfs\tro\t0\t0 # Added by iocage\n", directory.display())
}
