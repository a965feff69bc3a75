//! The calls on snapshots that have two implementations: zfs(8) as a process, and `libzfs_core` by the crate libzetta, which starts
//! none (feature `libzetta`).
//!
//! Both keep the same contract, on full names that were validated before. A snapshot carries remand's mark from the moment that it
//! exists, so that whatever a crash leaves is found.

use super::RUN;
use crate::Result;
use std::fmt::Debug;
use std::io::Read;
use std::sync::Arc;

#[cfg(feature = "libzetta")]
mod lzc;
mod process;
#[cfg(feature = "libzetta")]
mod sent;

use process::Process;

/// Environment variable that forces an engine, for comparison and emergencies.
const VARIABLE: &str = "REMAND_ZFS_ENGINE";

/// How snapshots are made, sent and destroyed.
pub(super) trait ZfsEngine: Send + Sync + Debug {
    /// Makes a snapshot of each dataset, or of each and all below, in one transaction, marked with [`RUN`].
    fn snapshot(&self, datasets: &[String], name: &str, recursive: bool) -> Result<()>;

    /// Destroys a snapshot, of one dataset or of it and all below; waits some seconds for what is busy. Absent is success, and so
    /// is absent here and there.
    fn destroy_snapshots(&self, dataset: &str, name: &str, recursive: bool) -> Result<()>;

    /// Begins to send. The reader fails at its end if sending failed; dropped before, it ends the sending.
    fn send(&self, sending: &Sending) -> Result<Box<dyn Read + Send>>;
}

/// One `zfs send`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    /// Full name.
    pub(super) snapshot: String,
    /// Full name of an older snapshot: what came after it, up to the other one, snapshot by snapshot.
    pub(super) after: Option<String>,
    /// As the blocks lie in the pool, encrypted ones without their key.
    pub(super) raw: bool,
}

impl Sending {
    /// The arguments for zfs(8); `options` come first.
    pub(super) fn arguments<'a>(&'a self, options: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = [&["send"], options].concat();
        arguments.extend(self.raw.then_some("-w"));
        arguments.extend(self.after.iter().flat_map(|after| ["-I", after]));
        arguments.push(&self.snapshot);
        arguments
    }
}

/// The engine for a pool: libzetta where it is compiled in and its kernel knows the pool (which is not zfs-fuse's then), and
/// zfs(8) elsewhere; or the one that the environment names.
pub(super) fn choose(root: &str) -> Result<Arc<dyn ZfsEngine>> {
    let wanted = std::env::var_os(VARIABLE).unwrap_or_default();
    choose_by(&wanted.to_string_lossy(), root)
}

fn choose_by(wanted: &str, root: &str) -> Result<Arc<dyn ZfsEngine>> {
    let engine = match wanted {
        "" => libzetta(root).unwrap_or_else(|why| {
            tracing::debug!(%why, "libzetta is not used");
            Arc::new(Process)
        }),
        "process" => Arc::new(Process),
        "libzetta" => libzetta(root)?,
        _ => {
            let reason = "REMAND_ZFS_ENGINE takes process or libzetta";
            return Err(crate::name::invalid(wanted, "ZFS engine", reason).into());
        }
    };
    tracing::debug!(?engine, "ZFS engine");
    Ok(engine)
}

#[cfg(feature = "libzetta")]
fn libzetta(root: &str) -> Result<Arc<dyn ZfsEngine>> {
    Ok(Arc::new(lzc::Lzc::open(root)?))
}

#[cfg(not(feature = "libzetta"))]
fn libzetta(root: &str) -> Result<Arc<dyn ZfsEngine>> {
    let what = "the ZFS engine libzetta, which was not compiled in,";
    Err(crate::Error::Unsupported { subject: root.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_zfs() {
        let mut sending = Sending { snapshot: "t/a@2".to_owned(), after: None, raw: false };
        assert_eq!(sending.arguments(&[]), ["send", "t/a@2"]);
        sending.raw = true;
        sending.after = Some("t/a@1".to_owned());
        assert_eq!(sending.arguments(&["-n", "-P"]), ["send", "-n", "-P", "-w", "-I", "t/a@1", "t/a@2"]);
    }

    #[test]
    fn the_environment_decides_and_nothing_is_guessed() {
        let name = |wanted| choose_by(wanted, "no-such-pool").map(|engine| format!("{engine:?}"));
        assert_eq!(name("process").unwrap(), "Process");
        // Where no kernel knows the pool.
        assert_eq!(name("").unwrap(), "Process");
        assert!(name("libzetta").is_err());
        let error = name("Libzetta").unwrap_err().to_string();
        assert!(error.contains("Libzetta") && error.contains(VARIABLE), "{error}");
    }
}
