//! Containers of lxc(7), in its default directory.

use remand_backends::Result;
use remand_backends::process::{Program, installed};

use super::{Hold, Instance, Root, Running, Supervisor, Turn, is_subject};

const LS: &str = "lxc-ls";
const INFO: &str = "lxc-info";
const ROOT: &str = "lxc.rootfs.path";

/// See the module.
pub(super) struct Containers;

impl Supervisor for Containers {
    fn name(&self) -> &'static str {
        "lxc"
    }

    fn running(&self) -> Result<Option<Running>> {
        if !installed(LS) || !installed(INFO) {
            return Ok(None);
        }
        let mut running = Running::default();
        for name in Program::new(LS, ["-1"]).output()?.split_whitespace() {
            if is_subject(name) {
                // One that has gone in between is none.
                let shown = Program::new(INFO, ["-n", name, "-s", "-c", ROOT]).output().unwrap_or_default();
                match parse(name, &shown) {
                    Some(Found::Runs(instance)) => running.instances.push(instance),
                    Some(Found::Stopped(root)) => running.stopped.push(root),
                    None => {}
                }
            }
        }
        Ok(Some(running))
    }

    fn program(&self, hold: Hold, turn: Turn, subject: &str) -> Option<Program> {
        let program = match (hold, turn) {
            (Hold::Stop, Turn::Begin) => "lxc-stop",
            (Hold::Stop, Turn::End) => "lxc-start",
            (Hold::Freeze, Turn::Begin) => "lxc-freeze",
            (Hold::Freeze, Turn::End) => "lxc-unfreeze",
        };
        installed(program).then(|| Program::new(program, ["-n", subject]))
    }

    fn enter(&self, name: &str) -> Vec<String> {
        ["lxc-attach", "--clear-env", "-n", name, "--"].map(str::to_owned).into()
    }
}

enum Found {
    Runs(Instance),
    Stopped(Root),
}

/// A state and the path of the root, which can have the kind of its storage before it. The root of an overlay is no resource's.
fn parse(name: &str, shown: &str) -> Option<Found> {
    let value = |key: &str, sign: char| {
        shown.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(sign)).map(str::trim)
    };
    let state = value("State", ':')?;
    let path = value(ROOT, '=')?;
    let path = ["dir:", "btrfs:"].iter().find_map(|kind| path.strip_prefix(kind)).unwrap_or(path);
    let root = Root::Path(path.starts_with('/').then_some(path)?.into());
    let is_frozen = matches!(state, "FROZEN" | "FREEZING");
    match state {
        "STOPPED" => Some(Found::Stopped(root)),
        "ABORTING" => None,
        // Also what begins or ends to run.
        _ => Some(Found::Runs(Instance {
            name: name.to_owned(),
            controlled_as: Some(name.to_owned()),
            root,
            is_frozen,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_have_a_state_and_a_root() {
        let info = |state: &str, path: &str| {
            parse("a", &format!("State:          {state}\nlxc.rootfs.path = {path}\n"))
        };
        let root = || Root::Path("/srv/jails/a/root".into());
        let runs = |found| matches!(found, Some(Found::Runs(one)) if one.root == root() && !one.is_frozen);
        assert!(
            runs(info("RUNNING", "dir:/srv/jails/a/root")) && runs(info("STARTING", "/srv/jails/a/root"))
        );
        assert!(matches!(info("FROZEN", "/srv/jails/a/root"), Some(Found::Runs(one)) if one.is_frozen));
        assert!(
            matches!(info("STOPPED", "btrfs:/srv/jails/a/root"), Some(Found::Stopped(at)) if at == root())
        );
        assert!(info("RUNNING", "overlay:/lower:/upper").is_none());
        assert!(parse("a", "State: RUNNING\n").is_none());
    }
}
