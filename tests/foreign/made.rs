//! Archives of the other tools, made as they make them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::pool::Pool;
use crate::support::tar::{self, Member};
use crate::support::{program_for, skipped};

/// Who makes and reads libioc's archives.
#[derive(Clone, Debug)]
pub(crate) enum Libioc {
    Double,
    /// libioc itself, from this directory.
    Real(PathBuf),
}

impl Libioc {
    /// All that there are; none where they cannot run.
    pub(crate) fn all() -> Vec<Self> {
        if program_for("libioc", "python3").is_none() || program_for("libioc", "rsync").is_none() {
            return Vec::new();
        }
        let real =
            std::env::var_os("REMAND_TEST_LIBIOC").filter(|value| !value.is_empty()).map(PathBuf::from);
        if real.is_none() {
            skipped(
                "libioc itself",
                "REMAND_TEST_LIBIOC names no directory with its package; its double stands in",
            );
        }
        [Some(Self::Double), real.map(Self::Real)].into_iter().flatten().collect()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Real(_) => "libioc",
        }
    }

    fn run(&self, arguments: &[&Path], options: &[&str], dataset: Option<&str>) {
        let mut command = script("run.py");
        command.args(&arguments[..1]).args(&arguments[1..]).args(options);
        command.env_remove("REMAND_TEST_LIBIOC").env_remove("DATASET");
        if let Self::Real(path) = self {
            command.env("REMAND_TEST_LIBIOC", path);
        }
        if let Some(dataset) = dataset {
            command.env("DATASET", dataset);
        }
        ends_well(command);
    }

    /// Exports jail `web01`, whose release is `base-1.0`.
    pub(crate) fn export(&self, pool: &Pool, destination: &Path, options: &[&str]) {
        let (jail, release) = (pool.path("jails/web01"), pool.path("releases/base-1.0/root"));
        let dataset = pool.is_zfs().then(|| format!("{}/jails/web01", pool.name()));
        self.run(&[Path::new("export"), &jail, &release, destination], options, dataset.as_deref());
        // Its link to the release's snapshot.
        let _ = std::fs::remove_dir_all(pool.path("jails/web01.release"));
    }

    /// Restores as jail `name`.
    pub(crate) fn restore(&self, pool: &Pool, source: &Path, name: &str) {
        let (jail, release) = (pool.path(&format!("jails/{name}")), pool.path("releases/base-1.0/root"));
        let dataset = pool.is_zfs().then(|| format!("{}/jails/{name}", pool.name()));
        self.run(&[Path::new("restore"), source, &release, &jail], &[], dataset.as_deref());
    }
}

fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name));
    command
}

/// Runs a command, and returns what it printed.
fn ends_well(mut command: Command) -> String {
    let output = command.output().expect("a program");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Exports jail `web01` as iocage does.
pub(crate) fn iocage_export(pool: &Pool, directory: &Path, form: &str) -> PathBuf {
    let mut command = script("iocage.py");
    command.arg("export").arg(format!("{}/jails/web01", pool.name()));
    command.arg(directory).args([form, "2026-11-29"]);
    ends_well(command).trim_end().into()
}

/// Packs streams as iocage does, with the checksum beside.
pub(crate) fn iocage_pack(archive: &Path, streams: &[(&str, Vec<u8>)]) {
    let directory = archive.parent().expect("a directory");
    let mut command = script("iocage.py");
    command.arg("pack").arg(archive);
    for (name, bytes) in streams {
        let path = directory.join(name);
        std::fs::write(&path, bytes).expect("a stream");
        command.arg(path);
    }
    ends_well(command);
    for (name, _) in streams {
        std::fs::remove_file(directory.join(name)).expect("a stream");
    }
}

/// What begins as a stream of zfs-send(8) does, of a dataset and snapshot (`a/b@c`), and goes on with zeros.
pub(crate) fn stream(of: &str) -> Vec<u8> {
    let mut head = vec![0; 4096];
    head[8..16].copy_from_slice(&0x2_f5ba_cbac_u64.to_le_bytes());
    head[16..24].copy_from_slice(&1_u64.to_le_bytes());
    head[24..32].copy_from_slice(&1_780_000_000_u64.to_le_bytes());
    head[32..36].copy_from_slice(&2_u32.to_le_bytes());
    head[56..56 + of.len()].copy_from_slice(of.as_bytes());
    head
}

/// A config as libioc writes it.
pub(crate) fn config() -> Member {
    Member::new(b'0', "./config.json", "", br#"{"id": "web01", "release": "base-1.0"}"#)
}

pub(crate) fn directory(name: &str) -> Member {
    Member::new(b'5', name, "", b"")
}

pub(crate) fn file(name: &str, content: &[u8]) -> Member {
    Member::new(b'0', name, "", content)
}

/// Writes a tar file.
pub(crate) fn write(path: &Path, members: &[Member]) {
    std::fs::write(path, tar::write(members)).expect("a tar file");
}
