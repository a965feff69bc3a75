//! Containers that systemd-machined(8) knows, most of them of systemd-nspawn(1). A service can be stopped and started again; one that
//! somebody started by hand is a scope, which cannot be started, but be frozen as well.

use remand_backends::Result;
use remand_backends::process::{Program, installed};

use super::{Hold, Instance, Root, Running, Supervisor, Turn, is_subject};

const MACHINECTL: &str = "machinectl";
const SYSTEMCTL: &str = "systemctl";

/// See the module.
pub(super) struct Machines;

impl Supervisor for Machines {
    fn name(&self) -> &'static str {
        "machine"
    }

    fn running(&self) -> Result<Option<Running>> {
        if !installed(MACHINECTL) || !installed(SYSTEMCTL) {
            return Ok(None);
        }
        let listed = Program::new(MACHINECTL, ["list", "--no-legend", "--no-pager", "--full"]).output()?;
        let mut instances = Vec::new();
        for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
            if !is_subject(name) {
                continue;
            }
            let properties = ["RootDirectory", "Unit", "Leader"].map(|name| format!("--property={name}"));
            let shown =
                Program::new(MACHINECTL, ["show", name].map(str::to_owned).into_iter().chain(properties));
            // One that has ended in between is none.
            let Ok(shown) = shown.output() else { continue };
            let Some(mut instance) = parse(&shown) else { continue };
            if let Some(unit) = &instance.controlled_as {
                let asked = Program::new(SYSTEMCTL, ["show", "--property=FreezerState", unit.as_str()]);
                let state = asked.output().unwrap_or_default();
                instance.is_frozen =
                    value(&state, "FreezerState").is_some_and(|state| state.starts_with("fr"));
            }
            instances.push(instance);
        }
        Ok(Some(Running { instances, ..Running::default() }))
    }

    fn program(&self, hold: Hold, turn: Turn, subject: &str) -> Option<Program> {
        let verb = match (hold, turn) {
            (Hold::Stop, Turn::Begin) => "stop",
            (Hold::Stop, Turn::End) => "start",
            (Hold::Freeze, Turn::Begin) => "freeze",
            (Hold::Freeze, Turn::End) => "thaw",
        };
        let can = match subject.rsplit_once('.') {
            Some((_, "service")) => true,
            Some((_, "scope")) => hold == Hold::Freeze,
            _ => false,
        };
        can.then(|| Program::new(SYSTEMCTL, [verb, subject]))
    }

    fn enter(&self, name: &str) -> Vec<String> {
        super::processes::enter(name)
    }
}

fn value<'a>(shown: &'a str, name: &str) -> Option<&'a str> {
    shown
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .filter(|value| !value.is_empty())
}

/// It is entered by the first of its processes.
fn parse(shown: &str) -> Option<Instance> {
    let root = value(shown, "RootDirectory").filter(|path| path.starts_with('/') && *path != "/")?;
    let leader: u32 = value(shown, "Leader")?.parse().ok()?;
    let unit = value(shown, "Unit").filter(|unit| is_subject(unit)).map(str::to_owned);
    Some(Instance {
        name: leader.to_string(),
        // Without a unit nothing can be done to it.
        controlled_as: Some(unit.unwrap_or_default()),
        root: Root::Path(root.into()),
        is_frozen: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_a_root_a_leader_and_a_unit() {
        let found =
            parse("RootDirectory=/srv/jails/a/root\nUnit=systemd-nspawn@a.service\nLeader=4711\n").unwrap();
        assert_eq!(
            (found.name.as_str(), found.controlled_as.as_deref()),
            ("4711", Some("systemd-nspawn@a.service"))
        );
        assert_eq!(found.root, Root::Path("/srv/jails/a/root".into()));
        // A virtual machine has no root, and the host's is not that of a container.
        assert_eq!(parse("Unit=machine-vm.scope\nLeader=1\nRootDirectory=\n"), None);
        assert_eq!(parse("RootDirectory=/\nUnit=init.scope\nLeader=1\n"), None);
    }

    #[test]
    fn only_what_can_be_started_again_is_stopped() {
        let line = |hold, turn, unit| Machines.program(hold, turn, unit).map(|program| program.display());
        let service = "systemd-nspawn@a.service";
        let started = line(Hold::Stop, Turn::End, service);
        assert_eq!(started.as_deref(), Some("systemctl start systemd-nspawn@a.service"));
        assert_eq!(line(Hold::Stop, Turn::Begin, "machine-a.scope"), None);
        let frozen = line(Hold::Freeze, Turn::Begin, "machine-a.scope");
        assert_eq!(frozen.as_deref(), Some("systemctl freeze machine-a.scope"));
        assert_eq!(line(Hold::Freeze, Turn::End, ""), None);
    }
}
