//! Jails of FreeBSD, which jls(8) knows all of. They are stopped and started by the manager whose layout the pool has. No manager freezes
//! jails, and stopping all their processes by signals would be seen by those who wait for them: so they are not frozen.

use remand_backends::process::{Program, installed};
use remand_backends::{Error, Result};
use serde_json::Value;

use super::{Hold, Instance, Root, Running, Supervisor, Turn};

const JLS: &str = "jls";
const IOC: &str = "ioc";
const IOCAGE: &str = "iocage";

/// See the module.
pub(super) struct Jails {
    /// Programs of the layout's manager, the likelier one first.
    managers: [&'static str; 2],
}

impl Jails {
    pub(super) fn of(layout: &str) -> Self {
        Self { managers: if layout == "iocage" { [IOCAGE, IOC] } else { [IOC, IOCAGE] } }
    }
}

impl Supervisor for Jails {
    fn name(&self) -> &'static str {
        "jail"
    }

    fn running(&self) -> Result<Option<Running>> {
        if !installed(JLS) {
            return Ok(None);
        }
        let program = Program::new(JLS, ["--libxo=json", "jid", "name", "path"]);
        let printed = program.output()?;
        let parsed = parse(&printed);
        let instances =
            parsed.ok_or_else(|| Error::Output { command: program.display(), line: printed.clone() })?;
        Ok(Some(Running { instances, is_all: true, ..Running::default() }))
    }

    fn program(&self, hold: Hold, turn: Turn, subject: &str) -> Option<Program> {
        let manager = self.managers.into_iter().find(|manager| installed(manager))?;
        match (hold, turn) {
            (Hold::Stop, Turn::Begin) => Some(Program::new(manager, ["stop", subject])),
            (Hold::Stop, Turn::End) => Some(Program::new(manager, ["start", subject])),
            (Hold::Freeze, _) => None,
        }
    }

    fn enter(&self, name: &str) -> Vec<String> {
        vec!["jexec".into(), name.into()]
    }
}

/// A jail is entered by its number. Its manager knows it by the name of its resource, which is not that of the jail.
fn parse(printed: &str) -> Option<Vec<Instance>> {
    let all: Value = serde_json::from_str(printed).ok()?;
    let jails = all.get("jail-information")?.get("jail");
    let jails = jails.map_or(Some([].as_slice()), |jails| jails.as_array().map(Vec::as_slice))?;
    let instance = |jail: &Value| {
        // Some versions print numbers as text.
        let number = match jail.get("jid")? {
            Value::String(text) => text.parse::<u32>().ok()?,
            number => u32::try_from(number.as_u64()?).ok()?,
        };
        let root = Root::Path(jail.get("path")?.as_str()?.into());
        Some(Instance { name: number.to_string(), controlled_as: None, root, is_frozen: false })
    };
    jails.iter().map(instance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jails_are_known_by_their_path() {
        let printed = r#"{"__version": "2", "jail-information": {"jail": [
            {"jid":7,"name":"ioc-web01","path":"/iocage/jails/web01/root"},
            {"jid":"8","name":"ioc-a*b","path":"/iocage/jails/a.b/root"}]}}"#;
        let found = parse(printed).unwrap();
        assert_eq!(found[0].name, "7");
        assert_eq!(found[1].root, Root::Path("/iocage/jails/a.b/root".into()));
        assert_eq!(parse(r#"{"jail-information": {"jail": []}}"#).unwrap(), []);
        assert_eq!(parse(r#"{"jail-information": {}}"#).unwrap(), []);
        for odd in ["", "{}", r#"{"jail-information": {"jail": [{"jid": 1}]}}"#, "jls: unknown option"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
