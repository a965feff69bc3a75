//! libioc's layout: `jails/NAME/{config.json,fstab,root}`, `releases/NAME/root`, `base/NAME/root/…` for basejails. A
//! template is a jail whose config says so.

mod basejail;

use std::path::Path;

use remand_backends::{Backend, Dataset, DatasetName};

use super::Arrival;
use super::ioc::{self, Arrangement, has_release, without_patch_level};
use crate::config::{Config, Dialect, View, is_true};
use crate::error::{Error, Result};
use crate::resource::{Base, Basejail, ResourceKind, Selector};

const RELEASE: &str = "release";
const SOURCE_TEMPLATE: &str = "source_template";

/// libioc's layout.
#[derive(Debug)]
pub struct Libioc;

impl Arrangement for Libioc {
    const NAME: &'static str = "libioc";
    const DIALECT: Dialect = Dialect::Libioc;
    const DIRECTORIES: &'static [(&'static str, ResourceKind)] =
        &[("jails", ResourceKind::Jail), ("releases", ResourceKind::Release)];

    fn above(kind: ResourceKind) -> Option<&'static str> {
        match kind {
            ResourceKind::Jail | ResourceKind::Template => Some("jails"),
            ResourceKind::Release => Some("releases"),
            ResourceKind::Plain => None,
        }
    }

    fn kind(kind: ResourceKind, config: Option<&Config>) -> ResourceKind {
        let says = config.and_then(|config| config.get("template")).is_some_and(|value| is_true(&value));
        if kind == ResourceKind::Jail && says { ResourceKind::Template } else { kind }
    }

    fn configured_bases(config: &Config) -> Vec<Selector> {
        // libioc has no key for a template that a jail was made of. A jail that comes from iocage still has that of iocage.
        let template =
            config.get(SOURCE_TEMPLATE).map(|name| Selector { kind: ResourceKind::Template, name });
        let release = config.get(RELEASE).map(|name| Selector { kind: ResourceKind::Release, name });
        template.into_iter().chain(release).collect()
    }

    fn basejail(_: &Path, view: &View) -> Result<Option<Basejail>> {
        Ok(basejail::configured(view))
    }

    fn base_of_part(backend: &dyn Backend, part: &str, dataset: &Dataset) -> Result<Option<Base>> {
        basejail::base_of_part(backend, part, dataset)
    }

    fn base_part(release: &str, part: &str) -> Result<DatasetName> {
        basejail::place(release, part)
    }

    fn adapt(backend: &dyn Backend, config: &mut Config, arrival: &Arrival<'_>) -> Result<Vec<String>> {
        let mut notices = Vec::new();
        match arrival.other_base() {
            Some(Selector { kind: ResourceKind::Release, name }) => {
                config.set(RELEASE, name);
                if config.get("cloned_release").is_some() {
                    config.set("cloned_release", name);
                }
                config.remove(SOURCE_TEMPLATE);
            }
            Some(Selector { name, .. }) if config.get(SOURCE_TEMPLATE).is_some() => {
                config.set(SOURCE_TEMPLATE, name);
            }
            _ => {}
        }
        if arrival.layout == Self::NAME {
            return Ok(notices);
        }
        if arrival.kind == ResourceKind::Template {
            config.set("template", "yes");
            notices.push("libioc keeps templates among its jails".into());
        }
        // One that is restored along with it is not visible yet.
        let comes = |name: &str| {
            let base = arrival.has.as_ref().filter(|base| base.kind == ResourceKind::Release);
            base.is_some_and(|base| base.name == name)
        };
        let has = |name: &str| Ok::<_, Error>(comes(name) || has_release::<Self>(backend, name)?);
        if let Some(release) = config.get(RELEASE)
            && let Some(plain) = without_patch_level(&release)
            && !has(&release)?
            && has(plain)?
        {
            notices.push(format!("its release is {plain} now, as this pool has it; it was {release}"));
            config.set(RELEASE, plain);
        }
        Ok(notices)
    }

    /// libioc mounts the release's directories at each start by itself, and skips lines that do the same.
    fn adapt_fstab(_: &dyn Backend, _: &[u8], _: &Config, _: &Arrival<'_>) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Form;
    use crate::layout::Layout;

    /// A pool with these releases, and what becomes of a config in it.
    fn adapted(text: &str, releases: &[&str], arrival: &Arrival<'_>) -> (Config, Vec<String>) {
        let pool = tempfile::tempdir().unwrap();
        for release in releases {
            std::fs::create_dir_all(pool.path().join(format!("releases/{release}/root"))).unwrap();
        }
        let backend = remand_backends::open(&format!("dir:{}", pool.path().display())).unwrap();
        let mut config = Config::parse(Form::Json, text.into(), "config.json").unwrap();
        let notices = Libioc.adapt(backend.as_ref(), &mut config, arrival).unwrap();
        (config, notices)
    }

    fn arrival(kind: ResourceKind, layout: &str) -> Arrival<'_> {
        let (had, directories) = (None, Vec::new());
        Arrival { kind, old_name: "web", name: "web", layout, had, has: None, directories }
    }

    #[test]
    fn what_iocage_means_otherwise_is_translated_and_the_rest_stays() {
        let text = r#"{"boot": "yes", "template": "no", "release": "14.2-RELEASE-p3", "securelevel": "1"}"#;
        let (config, notices) = adapted(text, &["14.2-RELEASE"], &arrival(ResourceKind::Template, "iocage"));
        let values = ["boot", "template", "release", "securelevel"].map(|key| config.get(key).unwrap());
        assert_eq!((values, notices.len()), (["yes", "yes", "14.2-RELEASE", "1"].map(Into::into), 2));
        // The release comes in the same run.
        let mut with_release = arrival(ResourceKind::Jail, "iocage");
        with_release.had = Some("release:14.2-RELEASE".parse().unwrap());
        with_release.has.clone_from(&with_release.had);
        let (config, _) = adapted(text, &[], &with_release);
        assert_eq!(config.get("release").as_deref(), Some("14.2-RELEASE"));
        // A release that the pool has under that name, or not at all, is nobody's guess.
        for releases in [&["14.2-RELEASE", "14.2-RELEASE-p3"][..], &[]] {
            let (config, _) = adapted(text, releases, &arrival(ResourceKind::Template, "iocage"));
            assert_eq!(config.get("release").as_deref(), Some("14.2-RELEASE-p3"));
        }
    }

    #[test]
    fn its_own_configs_change_with_the_base_alone() {
        let text = r#"{"release": "14.2-RELEASE-p3", "boot": 1, "CONFIG_VERSION": "29"}"#;
        let mut own = arrival(ResourceKind::Jail, "libioc");
        let (config, notices) = adapted(text, &["14.2-RELEASE"], &own);
        assert_eq!((config.into_bytes(), notices.len()), (text.as_bytes().to_vec(), 0));
        own.has = Some("release:14.3-RELEASE".parse().unwrap());
        let (config, _) = adapted(text, &[], &own);
        assert_eq!(
            (config.get("release").as_deref(), config.get("cloned_release")),
            (Some("14.3-RELEASE"), None)
        );
        own.has = Some("template:web".parse().unwrap());
        assert_eq!(adapted(text, &[], &own).0.into_bytes(), text.as_bytes());
    }
}
