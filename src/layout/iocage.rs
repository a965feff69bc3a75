//! iocage's layout: `jails/NAME/{config.json,fstab,root}`, `templates/NAME` of the same form, `releases/NAME/root`.
//!
//! A jail is a clone of the root of a release or of a template, from a snapshot that has the jail's name. A jail that becomes a template
//! moves from `jails` to `templates` with all its datasets. Its config says the release with the patch level
//! that it has now (`release`), and the name of the release that it was cloned from (`cloned_release`; a thick jail, which is a
//! copy, has none).

mod basejail;

use std::path::Path;

use remand_backends::{Backend, DatasetName};

use super::Arrival;
use super::ioc::Arrangement;
use crate::config::{Config, Dialect, View, is_true};
use crate::error::{Error, Result};
use crate::resource::{Basejail, ResourceKind, Selector};

/// iocage's layout.
#[derive(Debug)]
pub struct Iocage;

impl Arrangement for Iocage {
    const NAME: &'static str = "iocage";
    const DIALECT: Dialect = Dialect::Iocage;
    const DIRECTORIES: &'static [(&'static str, ResourceKind)] = &[
        ("jails", ResourceKind::Jail),
        ("templates", ResourceKind::Template),
        ("releases", ResourceKind::Release),
    ];

    fn above(kind: ResourceKind) -> Option<&'static str> {
        Self::DIRECTORIES.iter().find(|(_, of)| *of == kind).map(|(above, _)| *above)
    }

    /// iocage looks for a name in both places, and fails where it is in both.
    fn rivals(kind: ResourceKind) -> &'static [ResourceKind] {
        match kind {
            ResourceKind::Jail => &[ResourceKind::Template],
            ResourceKind::Template => &[ResourceKind::Jail],
            _ => &[],
        }
    }

    fn kind(kind: ResourceKind, _: Option<&Config>) -> ResourceKind {
        kind
    }

    fn configured_bases(config: &Config) -> Vec<Selector> {
        let source = |(key, kind)| config.get(key).map(|name| Selector { kind, name });
        let keys = [
            ("source_template", ResourceKind::Template),
            ("cloned_release", ResourceKind::Release),
            ("release", ResourceKind::Release),
        ];
        keys.into_iter().filter_map(source).collect()
    }

    fn basejail(directory: &Path, view: &View) -> Result<Option<Basejail>> {
        basejail::configured(directory, view)
    }

    fn base_part(release: &str, part: &str) -> Result<DatasetName> {
        Err(Error::Unsupported(format!(
            "The dataset {part} is a clone of one of the release {release}, which iocage's layout does not have; export \
             it with --standalone"
        )))
    }

    fn adapt(_: &dyn Backend, config: &mut Config, arrival: &Arrival<'_>) -> Result<Vec<String>> {
        let mut notices = Vec::new();
        match arrival.other_base() {
            Some(Selector { kind: ResourceKind::Release, name }) => {
                config.set("release", name);
                config.set("cloned_release", name);
                config.remove("source_template");
            }
            Some(Selector { name, .. }) => config.set("source_template", name),
            None => {}
        }
        if arrival.layout != Self::NAME {
            translate(config, arrival, &mut notices);
        }
        if arrival.layout != Self::NAME || arrival.name != arrival.old_name {
            // Paths are made of it.
            if config.get("host_hostuuid").as_deref() != Some(arrival.name) {
                config.set("host_hostuuid", arrival.name);
                notices.push(format!("host_hostuuid is {} now: iocage finds a resource by it", arrival.name));
            }
            let data = |name: &str| format!("iocage/jails/{name}/data");
            if config.get("jail_zfs_dataset") == Some(data(arrival.old_name)) {
                config.set("jail_zfs_dataset", &data(arrival.name));
            }
        }
        Ok(notices)
    }

    fn adapt_fstab(
        backend: &dyn Backend,
        text: &[u8],
        config: &Config,
        arrival: &Arrival<'_>,
    ) -> Result<Option<Vec<u8>>> {
        if arrival.layout == Self::NAME || !is_mounted(config) {
            return Ok(None);
        }
        basejail::with_mounts(backend, text, config, arrival)
    }
}

/// Whether it is a basejail of the kind that iocage knows.
fn is_mounted(config: &Config) -> bool {
    config.get("basejail").is_some_and(|value| is_true(&value))
        && config.get("basejail_type").as_deref() != Some("zfs")
}

/// What another manager writes otherwise.
fn translate(config: &mut Config, arrival: &Arrival<'_>, notices: &mut Vec<String>) {
    match &arrival.has {
        Some(Selector { kind: ResourceKind::Template, name }) => config.set("source_template", name),
        Some(base) if config.get("cloned_release").is_none() => config.set("cloned_release", &base.name),
        _ => {}
    }
    let is_template = config.get("template").is_some_and(|value| is_true(&value));
    if arrival.kind == ResourceKind::Template {
        config.set("template", "1");
        config.set("type", "template");
        notices.push("iocage keeps templates apart from its jails".into());
    } else if is_template {
        config.set("template", "0");
        notices.push(format!(
            "says that it is a template, and is a jail here: `iocage set template=1 {}` makes it one",
            arrival.name
        ));
    }
    if config.get("basejail_type").as_deref() == Some("zfs") {
        notices
            .push("is a zfs basejail, which iocage does not know: nobody clones its directories anew".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Form;
    use crate::layout::Layout;

    fn arrival<'a>(kind: ResourceKind, layout: &'a str, has: Option<&str>) -> Arrival<'a> {
        let has: Option<Selector> = has.map(|name| name.parse().unwrap());
        Arrival {
            kind,
            old_name: "web01",
            name: "web01",
            layout,
            had: has.clone(),
            has,
            directories: Vec::new(),
        }
    }

    fn adapted(text: &str, arrival: &Arrival<'_>) -> (Config, Vec<String>) {
        let pool = tempfile::tempdir().unwrap();
        let backend = remand_backends::open(&format!("dir:{}", pool.path().display())).unwrap();
        let mut config = Config::parse(Form::Json, text.into(), "config.json").unwrap();
        let notices = Iocage.adapt(backend.as_ref(), &mut config, arrival).unwrap();
        (config, notices)
    }

    #[test]
    fn its_own_configs_stay_byte_for_byte() {
        let text = r#"{"boot": "yes", "template": 1, "host_hostuuid": "a-uuid", "CONFIG_VERSION": "29"}"#;
        for base in [None, Some("release:14.2-RELEASE"), Some("template:web")] {
            let (config, notices) = adapted(text, &arrival(ResourceKind::Jail, "iocage", base));
            assert_eq!((config.into_bytes(), notices.len()), (text.as_bytes().to_vec(), 0));
        }
    }

    #[test]
    fn another_base_is_named_and_another_name_is_where_paths_are_made_of_it() {
        let text = r#"{"release": "14.2-RELEASE-p3", "cloned_release": "14.2-RELEASE", "source_template": "web",
            "host_hostuuid": "web01", "jail_zfs_dataset": "iocage/jails/web01/data"}"#;
        let mut other = arrival(ResourceKind::Jail, "iocage", Some("template:web"));
        other.has = Some("release:14.3-RELEASE".parse().unwrap());
        other.name = "web02";
        let (config, notices) = adapted(text, &other);
        let get = |key: &str| config.get(key);
        assert_eq!((get("release"), get("cloned_release")), (Some("14.3-RELEASE".into()), get("release")));
        assert_eq!(get("source_template"), None);
        assert_eq!(get("host_hostuuid").as_deref(), Some("web02"));
        assert_eq!(get("jail_zfs_dataset").as_deref(), Some("iocage/jails/web02/data"));
        assert_eq!(notices.len(), 1);
        other.has = Some("template:db".parse().unwrap());
        let (config, _) = adapted(text, &other);
        assert_eq!(config.get("source_template").as_deref(), Some("db"));
        assert_eq!(config.get("release").as_deref(), Some("14.2-RELEASE-p3"));
    }

    #[test]
    fn what_libioc_writes_is_translated() {
        let text = r#"{"release": "14.2-RELEASE", "template": "yes", "odd": "yes"}"#;
        let from = |kind| arrival(kind, "libioc", Some("release:14.2-RELEASE"));
        let (config, notices) = adapted(text, &from(ResourceKind::Template));
        let values = ["template", "type", "odd", "cloned_release", "host_hostuuid"];
        let values = values.map(|key| config.get(key).unwrap());
        assert_eq!(values, ["1", "template", "yes", "14.2-RELEASE", "web01"]);
        assert!(notices.iter().any(|notice| notice.contains("apart")), "{notices:?}");
        let (config, notices) = adapted(text, &from(ResourceKind::Jail));
        assert_eq!(config.get("template").as_deref(), Some("0"));
        assert!(notices.iter().any(|notice| notice.contains("iocage set template=1")), "{notices:?}");
    }
}
