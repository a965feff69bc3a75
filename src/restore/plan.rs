//! What a restore will make, decided from the manifest before anything is touched.
//!
//! A manifest comes from outside. Its names decide where things are made, so each is checked, and each member must be
//! the one that an export would have written.

use crate::archive::manifest::{
    BaseRecord, DatasetRecord, Encoding, EntryFlags, Mode, ResourceKind, ResourceRecord,
};
use crate::config::{Assignment, Form};
use crate::error::{Error, Result};
use crate::export::plan::member;
use crate::resource::{check_name, kind_name};
use crate::tree::TreePath;

/// A dataset that will be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name relative to the resource.
    pub(crate) name: String,
    pub(crate) encoding: Encoding,
    /// The member, or the directory of its members, where there are such.
    pub(crate) member: Option<TreePath>,
    /// What it is a clone of, of a dataset that is cloned again.
    pub(crate) base: Option<BaseRecord>,
    /// File flags that its stream does not hold.
    pub(crate) flags: Vec<(TreePath, String)>,
    /// Properties that it had of its own.
    pub(crate) properties: std::collections::BTreeMap<String, String>,
}

/// Decisions of one restore.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) record: ResourceRecord,
    /// Name that it gets.
    pub(crate) name: String,
    pub(crate) config: Option<TreePath>,
    pub(crate) form: Option<Form>,
    /// What the user sets in it.
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) fstab: Option<TreePath>,
    pub(crate) files: TreePath,
    pub(crate) datasets: Vec<Target>,
    /// Whether another tool wrote the archive, which need not say what its base held.
    pub(crate) is_foreign: bool,
}

/// Decides on one resource. `name` is the name that the user wants.
pub(crate) fn plan(record: &ResourceRecord, name: Option<&str>, is_foreign: bool) -> Result<Plan> {
    check_record(record, is_foreign)?;
    if let Some(name) = name {
        check_name(name)?;
    }
    let prefix =
        member_path(record.prefix.strip_prefix("./").unwrap_or(&record.prefix).trim_end_matches('/'))?;
    let below = |member: &str| -> Result<TreePath> {
        let member = member_path(member)?;
        Ok(member.components().fold(prefix.clone(), |path, part| path.join(part)))
    };
    Ok(Plan {
        name: name.unwrap_or(&record.name).to_owned(),
        config: record.config.as_deref().map(below).transpose()?,
        form: record.config.as_deref().and_then(Form::of_member),
        assignments: Vec::new(),
        fstab: record.fstab.as_deref().map(below).transpose()?,
        files: below("files")?,
        datasets: record
            .datasets
            .iter()
            .map(|dataset| {
                let member = (dataset.encoding != Encoding::Base).then(|| below(&dataset.member));
                target(dataset, member.transpose()?)
            })
            .collect::<Result<_>>()?,
        record: record.clone(),
        is_foreign,
    })
}

fn target(dataset: &DatasetRecord, member: Option<TreePath>) -> Result<Target> {
    remand_backends::DatasetName::new(&dataset.name).map_err(|error| Error::Refused(error.to_string()))?;
    Ok(Target {
        name: dataset.name.clone(),
        encoding: dataset.encoding,
        member,
        base: dataset.base.clone(),
        flags: dataset.flags.iter().map(entry_flags).collect::<Result<_>>()?,
        properties: dataset.properties.clone(),
    })
}

fn entry_flags(entry: &EntryFlags) -> Result<(TreePath, String)> {
    let path = entry.path().and_then(|path| TreePath::new(&path).ok());
    let path =
        path.ok_or_else(|| Error::Refused("its manifest has flags of something that is no path".into()))?;
    Ok((path, entry.flags.clone()))
}

fn check_record(record: &ResourceRecord, is_foreign: bool) -> Result<()> {
    let refuse = |reason: String| Err(Error::Refused(reason));
    if check_name(&record.name).is_err() {
        return refuse(format!(
            "its resource has the name {:?}",
            crate::tree::path::printable(record.name.as_bytes())
        ));
    }
    let is_base = |base: &BaseRecord| matches!(base.kind, ResourceKind::Release | ResourceKind::Template);
    if let Some(base) = record.base.as_ref().filter(|base| !is_base(base)) {
        return refuse(format!("its base is a {}", kind_name(base.kind)));
    }
    if let Some(base) = record.base.as_ref().filter(|base| check_name(&base.name).is_err()) {
        return refuse(format!(
            "its base has the name {:?}",
            crate::tree::path::printable(base.name.as_bytes())
        ));
    }
    if let Some(base) = &record.as_base {
        let good = record.kind == ResourceKind::Release && check_name(&base.name).is_ok();
        if !good || base.fingerprint.is_none() || record.mode != Mode::Standalone {
            return refuse("its manifest says of a resource that it is a base, which it cannot be".into());
        }
    }
    if record.kind == ResourceKind::Plain {
        return refuse("it holds a plain dataset, which no layout of this version has a place for".into());
    }
    if record.config.as_deref().is_some_and(|config| Form::of_member(config).is_none()) {
        return refuse(format!("its config {:?} has a form that this version does not know", record.config));
    }
    if record.fstab.as_deref().is_some_and(|fstab| fstab != "fstab") {
        return refuse(format!("its fstab is {:?}", record.fstab));
    }
    match record.datasets.first() {
        Some(root)
            if root.name == "root"
                && (root.encoding == Encoding::Delta) == (record.mode == Mode::Differential) => {}
        _ => return refuse("its manifest has no root, or not in the form that its mode says".into()),
    }
    let base = record.base.as_ref().filter(|base| is_foreign || base.fingerprint.is_some());
    if record.mode == Mode::Differential && base.is_none() {
        return refuse("it is differential, but does not say against which base".into());
    }
    let mut names = std::collections::BTreeSet::new();
    for (at, dataset) in record.datasets.iter().enumerate() {
        let expected = dataset.member == member(&dataset.name, dataset.encoding);
        if !expected || !names.insert(&dataset.name) || (at > 0 && dataset.encoding == Encoding::Delta) {
            return refuse(format!(
                "its manifest says of the dataset {:?} what no export says",
                dataset.name
            ));
        }
        let is_part =
            |base: &&BaseRecord| base.kind == ResourceKind::Release && check_name(&base.name).is_ok();
        let base = dataset.base.as_ref().filter(is_part);
        if dataset.encoding == Encoding::Base && (at == 0 || base.is_none() || dataset.volume) {
            return refuse(format!(
                "its manifest does not say what the dataset {:?} is a clone of",
                dataset.name
            ));
        }
    }
    let left_out = &record.base_directories;
    let nowhere =
        left_out.iter().find(|dir| TreePath::new(dir.path.as_bytes()).map_or(true, |path| path.is_root()));
    if let Some(nowhere) = nowhere {
        return refuse(format!("its manifest has {:?} as a base directory", nowhere.path));
    }
    Ok(())
}

fn member_path(text: &str) -> Result<TreePath> {
    TreePath::new(text.as_bytes()).map_err(|error| Error::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::BaseDirectory;

    fn record(change: impl FnOnce(&mut ResourceRecord)) -> ResourceRecord {
        let dataset = |name: &str, encoding| DatasetRecord {
            name: name.into(),
            encoding,
            member: member(name, encoding),
            base: None,
            volume: false,
            flags: Vec::new(),
            properties: std::collections::BTreeMap::new(),
            snapshots: Vec::new(),
            bytes: None,
        };
        let mut record = ResourceRecord {
            kind: ResourceKind::Jail,
            name: "web01".into(),
            layout: "libioc".into(),
            backend: "zfs".into(),
            mountpoint: "/jails/web01".into(),
            prefix: "./".into(),
            mode: Mode::Standalone,
            base: None,
            as_base: None,
            snapshot: None,
            taken: None,
            consistent: true,
            config: Some("config.json".into()),
            view: None,
            fstab: None,
            base_directories: Vec::new(),
            properties: std::collections::BTreeMap::new(),
            datasets: vec![dataset("root", Encoding::Zfs), dataset("data", Encoding::Zfs)],
            revision: None,
            tags: Vec::new(),
            note: None,
            keep: false,
            records: Vec::new(),
        };
        change(&mut record);
        record
    }

    #[test]
    fn flags_are_those_of_the_entry_that_they_name() {
        for path in [&b""[..], b"etc/passwd", b"odd/\xff"] {
            let flags = EntryFlags::new(path, "schg".into());
            assert_eq!(entry_flags(&flags).unwrap(), (TreePath::new(path).unwrap(), "schg".to_owned()));
        }
        for path in [&b"../etc"[..], b"/etc", b"a//b"] {
            let error = entry_flags(&EntryFlags::new(path, "schg".into())).unwrap_err();
            assert_eq!(error.exit_status(), 23, "{error}");
        }
        assert!(entry_flags(&EntryFlags { flags: "schg".into(), ..EntryFlags::default() }).is_err());
    }

    #[test]
    fn a_good_one_is_planned() {
        let plan = plan(&record(|_| {}), Some("web02"), false).unwrap();
        assert_eq!(plan.name, "web02");
        assert_eq!(plan.datasets[1].member.as_ref().unwrap().as_bytes(), b"data.zfs");
    }

    #[test]
    fn a_base_that_came_along_is_a_whole_release() {
        let planned = |change: fn(&mut ResourceRecord)| {
            let base = BaseRecord {
                kind: ResourceKind::Release,
                name: "14.2-RELEASE".into(),
                snapshot: None,
                guid: None,
                fingerprint: Some(crate::change::FingerprintBuilder::new().finish()),
            };
            let mut record = record(|record| {
                (record.kind, record.as_base) = (ResourceKind::Release, Some(base));
            });
            change(&mut record);
            plan(&record, None, false)
        };
        assert!(planned(|_| {}).is_ok());
        let wrong: [fn(&mut ResourceRecord); 4] = [
            |record| record.kind = ResourceKind::Jail,
            |record| record.as_base.as_mut().unwrap().name = "../x".into(),
            |record| record.as_base.as_mut().unwrap().fingerprint = None,
            |record| {
                record.base = record.as_base.clone();
                record.mode = Mode::Differential;
                record.datasets[0].encoding = Encoding::Delta;
                record.datasets[0].member = member("root", Encoding::Delta);
            },
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let error = planned(change).unwrap_err().to_string();
            assert!(error.contains("which it cannot be"), "{number}: {error}");
        }
    }

    #[test]
    fn what_no_export_says_is_refused() {
        type Change = fn(&mut ResourceRecord);
        fn clone(r: &mut ResourceRecord, name: Option<&str>) {
            let base = name.map(|name| BaseRecord {
                kind: ResourceKind::Release,
                name: name.into(),
                snapshot: None,
                guid: None,
                fingerprint: None,
            });
            let volume = false;
            r.datasets[1] = DatasetRecord {
                encoding: Encoding::Base,
                member: String::new(),
                base,
                volume,
                ..r.datasets[1].clone()
            };
        }
        plan(&record(|r| clone(r, Some("14.2-RELEASE"))), None, false).unwrap();
        let attacks: [Change; 21] = [
            |r| r.name = "../../etc".into(),
            |r| r.name = "-rf".into(),
            |r| r.config = Some("../config.json".into()),
            |r| r.config = Some("config.yaml".into()),
            |r| r.datasets[1].name = "../x".into(),
            |r| r.datasets[1].member = "root.zfs".into(),
            |r| r.datasets[1].name = "root".into(),
            |r| r.mode = Mode::Differential,
            |r| r.datasets.clear(),
            |r| r.datasets[1].encoding = Encoding::Tree,
            |r| clone(r, None),
            |r| clone(r, Some("../x")),
            |r| {
                clone(r, Some("x"));
                r.datasets[1].member = "data.zfs".into();
            },
            |r| {
                clone(r, Some("x"));
                r.datasets[1].volume = true;
            },
            |r| {
                r.datasets[0].name = "other".into();
                r.datasets[0].member = member("other", Encoding::Zfs);
            },
            |r| r.datasets[1] = r.datasets[0].clone(),
            |r| {
                r.datasets[1].encoding = Encoding::Delta;
                r.datasets[1].member = member("data", Encoding::Delta);
            },
            |r| {
                r.as_base = Some(BaseRecord {
                    kind: ResourceKind::Release,
                    name: "x".into(),
                    snapshot: None,
                    guid: None,
                    fingerprint: None,
                });
            },
            |r| {
                clone(r, Some("x"));
                r.base = r.datasets[1].base.clone();
                r.base.as_mut().unwrap().kind = ResourceKind::Jail;
            },
            |r| {
                clone(r, Some("x"));
                r.datasets[1].base.as_mut().unwrap().kind = ResourceKind::Template;
            },
            |r| r.base_directories = vec![BaseDirectory { path: "../bin".into(), empty: true }],
        ];
        for (at, attack) in attacks.into_iter().enumerate() {
            assert_eq!(plan(&record(attack), None, false).unwrap_err().exit_status(), 23, "attack {at}");
        }
        assert_eq!(plan(&record(|_| {}), Some("../x"), false).unwrap_err().exit_status(), 2);
    }
}
