//! What an export will write, decided before anything is touched.

use remand_backends::{Capabilities, DatasetKind};

use crate::archive::manifest::{Encoding, Mode};
use crate::error::{Error, Result};
use crate::resource::{Basejail, Part, Resource};
use crate::tree::TreePath;

/// Decisions of one export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Differential or standalone.
    pub mode: Mode,
    /// The datasets in the order in which they are written.
    pub datasets: Vec<PlannedDataset>,
    /// Directories of the root whose content belongs to a release, and is left out.
    pub base_directories: Vec<TreePath>,
}

/// How one dataset travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDataset {
    /// Name relative to the resource.
    pub name: String,
    /// Form.
    pub encoding: Encoding,
    /// The member, or the directory of its members, below the resource's prefix. Empty where it has none.
    pub member: String,
    /// Whether its own snapshots are in the stream.
    pub history: bool,
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // four independent switches of the command line
pub struct Wishes {
    /// Everything, also where there is a base.
    pub standalone: bool,
    /// With the datasets' own snapshots.
    pub recursive: bool,
    /// Trees, also where the backend has streams.
    pub portable: bool,
    /// The form of the backend's native streams, if it has such.
    pub native: Option<Encoding>,
}

/// Decides.
pub fn plan(resource: &Resource, capabilities: Capabilities, wishes: Wishes) -> Result<Plan> {
    if wishes.recursive && wishes.portable {
        return Err(Error::Usage(
            "Snapshots travel in native streams only: --recursive and --portable exclude each other".into(),
        ));
    }
    if wishes.recursive && !capabilities.consistent_while_running {
        return Err(Error::Usage(
            "--recursive needs a backend that has snapshots; a plain directory has none".into(),
        ));
    }
    let mode =
        if wishes.standalone || resource.base.is_none() { Mode::Standalone } else { Mode::Differential };
    let mut datasets: Vec<PlannedDataset> = Vec::new();
    for part in &resource.datasets {
        let native = wishes.native.filter(|_| !wishes.portable && part.kind != DatasetKind::Directory);
        if part.kind == DatasetKind::Volume && native.is_none() {
            return Err(Error::Unsupported(format!(
                "The dataset {} is a volume, which travels as a native stream only; leave --portable out",
                part.name
            )));
        }
        let encoding = match (part.name.as_str(), mode, native) {
            ("root", Mode::Differential, _) => Encoding::Delta,
            _ if part.base.is_some() && !wishes.standalone => Encoding::Base,
            _ => whole(part, wishes),
        };
        datasets.push(PlannedDataset::new(part, encoding, wishes));
    }
    check_members(&datasets)?;
    let base_directories = match &resource.basejail {
        // A native stream is of the dataset as it is.
        Some(Basejail::Mounted(paths)) if !wishes.standalone && !datasets[0].encoding.is_native() => {
            paths.clone()
        }
        _ => Vec::new(),
    };
    Ok(Plan { mode, datasets, base_directories })
}

/// How a part travels with all that is in it.
fn whole(part: &Part, wishes: Wishes) -> Encoding {
    let native = wishes.native.filter(|_| !wishes.portable && part.kind != DatasetKind::Directory);
    native.unwrap_or(Encoding::Tree)
}

impl Plan {
    /// Lets a dataset travel whole that is a clone of a release's, but changed since.
    pub(crate) fn keep_whole(&mut self, part: &Part, wishes: Wishes) -> Result<()> {
        if let Some(planned) = self.datasets.iter_mut().find(|planned| planned.name == part.name) {
            *planned = PlannedDataset::new(part, whole(part, wishes), wishes);
        }
        check_members(&self.datasets)
    }
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// The member of a dataset, empty where it has none. Below `root` and `files`, whose names are directories of the archive, a directory of its own
/// keeps the members of datasets apart from the entries in there.
pub fn member(name: &str, encoding: Encoding) -> String {
    let place = match name.split_once('/') {
        Some((first @ ("root" | "files"), rest)) => format!("{first}.datasets/{rest}"),
        _ => name.to_owned(),
    };
    match encoding {
        Encoding::Delta => place,
        Encoding::Tree => format!("{place}.tree"),
        Encoding::Zfs => format!("{place}.zfs"),
        Encoding::Btrfs => format!("{place}.btrfs"),
        Encoding::Base => String::new(),
    }
}

/// Two datasets whose members lie in each other (a dataset `a` as a tree and one that is called `a.tree/b`) cannot be in one
/// archive.
fn check_members(datasets: &[PlannedDataset]) -> Result<()> {
    for one in datasets {
        for other in datasets {
            let apart = one.name == other.name || one.member.is_empty();
            if !apart && (one.member == other.member || is_below(&one.member, &other.member)) {
                return Err(Error::Unsupported(format!(
                    "The datasets {} and {} cannot be in one archive; rename one",
                    one.name, other.name
                )));
            }
        }
    }
    Ok(())
}

impl PlannedDataset {
    fn new(part: &Part, encoding: Encoding, wishes: Wishes) -> Self {
        let name = part.name.clone();
        let member = member(&name, encoding);
        Self { name, encoding, member, history: encoding.is_native() && wishes.recursive }
    }

    /// The part of the resource that this is about.
    pub fn part<'a>(&self, resource: &'a Resource) -> &'a Part {
        resource
            .datasets
            .iter()
            .find(|part| part.name == self.name)
            .expect("a plan is made from its resource")
    }
}

#[cfg(test)]
mod tests {
    use remand_backends::{DatasetName, Snapshot};

    use super::*;
    use crate::resource::{Base, ResourceKind};

    const ZFS: Capabilities = Capabilities {
        consistent_while_running: true,
        atomic_recursive: true,
        clones: true,
        incremental: true,
        native_diff: false,
        datasets_are_bases: false,
    };

    fn resource(names: &[&str], base: bool) -> Resource {
        let dataset = DatasetName::new("jails/web01").unwrap();
        let part = |name: &&str| Part {
            name: (*name).to_owned(),
            dataset: dataset.join(name).unwrap(),
            kind: if name.ends_with("vol") { DatasetKind::Volume } else { DatasetKind::FileSystem },
            directory: None,
            base: None,
        };
        let snapshot = Snapshot { dataset: DatasetName::new("releases/x/root").unwrap(), name: None };
        Resource {
            kind: ResourceKind::Jail,
            name: "web01".into(),
            dataset: dataset.clone(),
            directory: "/jails/web01".into(),
            config: Some(crate::config::Form::Json),
            view: None,
            fstab: true,
            basejail: None,
            base: base.then(|| Base {
                kind: ResourceKind::Release,
                name: "x".into(),
                snapshot,
                parted_seconds: Some(0),
            }),
            datasets: names.iter().map(part).collect(),
            enclosed: Vec::new(),
        }
    }

    fn members(plan: &Plan) -> Vec<(&str, Encoding, &str)> {
        plan.datasets.iter().map(|d| (d.name.as_str(), d.encoding, d.member.as_str())).collect()
    }

    #[test]
    fn a_base_makes_it_differential_and_other_datasets_are_streams() {
        let r = resource(&["root", "data", "data/db", "root/bin", "files/x"], true);
        let plan = plan(&r, ZFS, Wishes { native: Some(Encoding::Zfs), ..Wishes::default() }).unwrap();
        assert_eq!(plan.mode, Mode::Differential);
        assert_eq!(
            members(&plan),
            [
                ("root", Encoding::Delta, "root"),
                ("data", Encoding::Zfs, "data.zfs"),
                ("data/db", Encoding::Zfs, "data/db.zfs"),
                ("root/bin", Encoding::Zfs, "root.datasets/bin.zfs"),
                ("files/x", Encoding::Zfs, "files.datasets/x.zfs"),
            ]
        );
    }

    #[test]
    fn recursive_streams_carry_each_its_own_history() {
        let r = resource(&["root", "data", "data/db", "root/bin"], false);
        let plan =
            plan(&r, ZFS, Wishes { native: Some(Encoding::Zfs), recursive: true, ..Wishes::default() })
                .unwrap();
        assert_eq!(plan.mode, Mode::Standalone);
        assert!(plan.datasets.iter().all(|dataset| dataset.history));
        assert_eq!(
            members(&plan),
            [
                ("root", Encoding::Zfs, "root.zfs"),
                ("data", Encoding::Zfs, "data.zfs"),
                ("data/db", Encoding::Zfs, "data/db.zfs"),
                ("root/bin", Encoding::Zfs, "root.datasets/bin.zfs"),
            ]
        );
    }

    #[test]
    fn without_streams_everything_is_a_tree_and_a_volume_an_error() {
        let plain = Capabilities { consistent_while_running: false, clones: false, ..ZFS };
        let wishes = Wishes { standalone: true, ..Wishes::default() };
        let r = resource(&["root"], true);
        assert_eq!(members(&plan(&r, plain, wishes).unwrap()), [("root", Encoding::Tree, "root.tree")]);
        let error = plan(
            &resource(&["root", "vol"], true),
            ZFS,
            Wishes { portable: true, native: Some(Encoding::Zfs), ..wishes },
        )
        .unwrap_err();
        assert!(error.to_string().contains("vol is a volume"), "{error}");
        let error = plan(&r, plain, Wishes { recursive: true, ..wishes }).unwrap_err();
        assert_eq!(error.exit_status(), 2);
    }

    #[test]
    fn clones_of_a_releases_datasets_have_no_member_unless_everything_was_asked_for() {
        let mut r = resource(&["root", "root/bin", "root/usr"], true);
        r.datasets[1].base.clone_from(&r.base);
        let wishes = Wishes { native: Some(Encoding::Zfs), ..Wishes::default() };
        let mut plan = super::plan(&r, ZFS, wishes).unwrap();
        let bin = ("root/bin", Encoding::Base, "");
        assert_eq!(members(&plan)[1..], [bin, ("root/usr", Encoding::Zfs, "root.datasets/usr.zfs")]);
        let whole = ("root/bin", Encoding::Zfs, "root.datasets/bin.zfs");
        plan.keep_whole(&r.datasets[1], wishes).unwrap();
        assert_eq!(members(&plan)[1], whole);
        let standalone = super::plan(&r, ZFS, Wishes { standalone: true, ..wishes }).unwrap();
        assert_eq!(members(&standalone)[1], whole);
    }

    #[test]
    fn base_directories_are_left_out_of_trees_and_never_of_streams() {
        let mut r = resource(&["root"], true);
        let paths = vec![TreePath::new(b"bin").unwrap()];
        r.basejail = Some(Basejail::Mounted(paths.clone()));
        let wishes = Wishes { native: Some(Encoding::Zfs), ..Wishes::default() };
        let left_out = |r: &Resource, wishes| plan(r, ZFS, wishes).unwrap().base_directories;
        assert_eq!(left_out(&r, wishes), paths);
        assert_eq!(left_out(&r, Wishes { standalone: true, portable: true, ..wishes }), []);
        r.base = None;
        assert_eq!(left_out(&r, wishes), []);
        assert_eq!(left_out(&r, Wishes { portable: true, ..wishes }), paths);
    }

    #[test]
    fn members_that_lie_in_each_other_are_refused() {
        let wishes = Wishes { portable: true, native: Some(Encoding::Zfs), ..Wishes::default() };
        let error = plan(&resource(&["root", "a", "a.tree/b"], false), ZFS, wishes).unwrap_err();
        assert!(error.to_string().contains("a.tree/b"), "{error}");
    }
}
