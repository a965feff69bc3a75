//! Processes of Linux whose root directory is a resource's: containers of any kind, and plain chroots. The kernel knows all of them, but
//! tells of others' processes only to root. Whoever started them is unknown, so they can be neither stopped nor frozen.

use remand_backends::Result;
use remand_backends::process::Program;

use super::{Hold, Running, Supervisor, Turn};

/// See the module.
pub(super) struct Processes;

impl Supervisor for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    #[cfg(not(target_os = "linux"))]
    fn running(&self) -> Result<Option<Running>> {
        Ok(None)
    }

    #[cfg(target_os = "linux")]
    fn running(&self) -> Result<Option<Running>> {
        linux::running().map(Some)
    }

    fn program(&self, _: Hold, _: Turn, _: &str) -> Option<Program> {
        None
    }

    fn enter(&self, name: &str) -> Vec<String> {
        enter(name)
    }
}

/// All namespaces of a process, and its root.
pub(super) fn enter(pid: &str) -> Vec<String> {
    ["nsenter", "--target", pid, "--all", "--root", "--wd"].map(str::to_owned).into()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::io::ErrorKind;
    use std::path::Path;

    use super::super::{Instance, Root, inode};
    use super::{Result, Running};

    pub(super) fn running() -> Result<Running> {
        let failed = |source| remand_backends::Error::Io { action: "read", subject: "/proc".into(), source };
        let own = inode(Path::new("/"));
        let mut seen = BTreeSet::new();
        let mut found = Running { is_all: true, ..Running::default() };
        for entry in std::fs::read_dir("/proc").map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            else {
                continue;
            };
            let root = Path::new("/proc").join(pid).join("root");
            match root.metadata() {
                Ok(_) => {
                    let place = inode(&root).filter(|place| Some(*place) != own);
                    if let Some((device, number)) = place.filter(|place| seen.insert(*place)) {
                        found.instances.push(Instance {
                            name: pid.to_owned(),
                            controlled_as: Some(String::new()),
                            root: Root::Inode(device, number),
                            is_frozen: false,
                        });
                    }
                }
                Err(error) if error.kind() == ErrorKind::PermissionDenied => found.is_all = false,
                // It has ended.
                Err(_) => {}
            }
        }
        Ok(found)
    }
}
