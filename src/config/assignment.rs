//! What a user sets in the config of what is restored: `KEY=VALUE`, or `NAME:KEY=VALUE` of one resource.

use super::form::{check_key, check_value};
use crate::error::{Error, Result};
use crate::resource::{ResourceKind, Selector, label};

/// A key that gets a value, or is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The resource, by its name in the archive; all where none is said.
    pub resource: Option<Selector>,
    /// The key, dotted where it is in a section.
    pub key: String,
    /// Its value; `None` where it is taken away.
    pub value: Option<String>,
}

impl Assignment {
    /// `[NAME:]KEY=VALUE`.
    pub fn set(word: &str) -> Result<Self> {
        let (left, value) =
            word.split_once('=').ok_or_else(|| wrong(word, "write KEY=VALUE, or NAME:KEY=VALUE"))?;
        check_value(value).map_err(|reason| wrong(word, &reason))?;
        Self::parse(word, left, Some(value.to_owned()))
    }

    /// `[NAME:]KEY`.
    pub fn unset(word: &str) -> Result<Self> {
        Self::parse(word, word, None)
    }

    fn parse(word: &str, left: &str, value: Option<String>) -> Result<Self> {
        let (resource, key) = match left.rsplit_once(':') {
            Some((name, key)) => (Some(name.parse::<Selector>()?), key),
            None => (None, left),
        };
        check_key(key).map_err(|reason| wrong(word, &reason))?;
        Ok(Self { resource, key: key.to_owned(), value })
    }

    /// Those that are for one resource: what is said of it alone wins over what is said of all. The same key twice is an error.
    pub(crate) fn of(all: &[Self], kind: ResourceKind, name: &str) -> Result<Vec<Self>> {
        let mut found: Vec<Self> = Vec::new();
        for own in [true, false] {
            let mine = |resource: &Selector| (resource.kind, resource.name.as_str()) == (kind, name);
            let before = found.len();
            for one in all.iter().filter(|one| own == one.resource.is_some()) {
                if !one.resource.as_ref().is_none_or(mine) {
                    continue;
                }
                match found.iter().position(|other| other.key == one.key) {
                    None => found.push(one.clone()),
                    Some(at) if at < before => {}
                    Some(_) => {
                        let what = label(kind, name);
                        return Err(Error::Usage(format!("{} of the {what} is set or unset twice", one.key)));
                    }
                }
            }
        }
        Ok(found)
    }
}

fn wrong(word: &str, reason: &str) -> Error {
    let word = crate::tree::path::printable(word.as_bytes());
    Error::Usage(format!("{word:?} sets nothing in a config: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_a_key_and_maybe_a_resource() {
        let one = Assignment::set("user.comment=a=b:c").unwrap();
        assert_eq!(
            (one.resource, one.key.as_str(), one.value.as_deref()),
            (None, "user.comment", Some("a=b:c"))
        );
        let one = Assignment::set("release:14.2-RELEASE:boot=").unwrap();
        assert_eq!((one.resource.unwrap().kind, one.value.as_deref()), (ResourceKind::Release, Some("")));
        let one = Assignment::unset("web01:boot").unwrap();
        assert_eq!((one.resource.unwrap().name.as_str(), one.value), ("web01", None));
        for bad in ["boot", "=x", "a b=c", "../x:boot=1", "a..b=1", ".a=1", "a=\u{1b}", "what:web:boot=1"] {
            assert_eq!(Assignment::set(bad).unwrap_err().exit_status(), 2, "{bad}");
        }
        for bad in ["", "a=b", "web01:", "x y"] {
            assert_eq!(Assignment::unset(bad).unwrap_err().exit_status(), 2, "{bad}");
        }
    }

    #[test]
    fn what_is_said_of_one_wins_over_what_is_said_of_all() {
        let all: Vec<_> = ["boot=no", "web01:boot=yes", "db:x=1", "y=2"]
            .iter()
            .map(|word| Assignment::set(word).unwrap())
            .collect();
        let of = |name| {
            let found = Assignment::of(&all, ResourceKind::Jail, name).unwrap();
            let text = |one: &Assignment| format!("{}={}", one.key, one.value.as_deref().unwrap_or_default());
            found.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(of("web01"), ["boot=yes", "y=2"]);
        assert_eq!(of("db"), ["x=1", "boot=no", "y=2"]);
        let twice = [Assignment::set("a=1").unwrap(), Assignment::unset("a").unwrap()];
        assert_eq!(Assignment::of(&twice, ResourceKind::Jail, "web01").unwrap_err().exit_status(), 2);
    }
}
