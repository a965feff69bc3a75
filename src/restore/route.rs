//! Where a member of an archive belongs: to which resource, and to which part of it.

use std::cmp::Ordering;

use super::plan::{Plan, Target};
use super::work::Work;
use crate::archive::MemberName;
use crate::config::Form;
use crate::tree::TreePath;

/// A part of a resource in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Section {
    Config,
    Fstab,
    Files,
    /// By its place in the plan.
    Dataset(usize),
}

/// Of the resources that are restored.
#[derive(Default)]
pub(super) struct Routes {
    /// In the order of [`by_components`], none within another: the reader has made sure of that.
    places: Vec<(TreePath, usize, Section)>,
}

/// A member's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the works.
    pub(super) work: usize,
    pub(super) section: Section,
    /// Path in the section; the root for what is one file.
    pub(super) path: TreePath,
}

fn by_components(a: &TreePath, b: &TreePath) -> Ordering {
    a.components().cmp(b.components())
}

impl Routes {
    pub(super) fn new(works: &[Work<'_>]) -> Self {
        let all = works.iter().enumerate().flat_map(|(work, of)| {
            sections(&of.plan).into_iter().map(move |(path, section)| (path, work, section))
        });
        let mut places: Vec<_> = all.collect();
        places.sort_by(|(a, ..), (b, ..)| by_components(a, b));
        Self { places }
    }

    /// `None` for a member of a resource that is not restored.
    pub(super) fn find(&self, name: &MemberName) -> Option<Place> {
        let after = self.places.partition_point(|(path, ..)| by_components(path, name.path()).is_le());
        let (path, work, section) = &self.places[after.checked_sub(1)?];
        let path = name.below(path)?;
        let is_file = matches!(section, Section::Config | Section::Fstab);
        (path.is_root() || !is_file).then_some(Place { work: *work, section: *section, path })
    }
}

fn sections(plan: &Plan) -> Vec<(TreePath, Section)> {
    let mut found = vec![(plan.files.clone(), Section::Files)];
    found.extend(plan.config.clone().map(|path| (path, Section::Config)));
    found.extend(plan.fstab.clone().map(|path| (path, Section::Fstab)));
    let datasets = plan.datasets.iter().enumerate();
    found.extend(datasets.filter_map(|(at, target)| Some((target.member.clone()?, Section::Dataset(at)))));
    found
}

/// Whether something is in the way of an entry: another dataset, or the config.
pub(super) fn is_taken(plan: &Plan, place: &Place) -> bool {
    match place.section {
        Section::Config | Section::Fstab => false,
        Section::Dataset(at) => is_shadowed(&plan.datasets, &plan.datasets[at].name, &place.path),
        Section::Files => {
            let first = place.path.components().next();
            let fstab = plan.fstab.iter().filter_map(|fstab| fstab.split()).map(|(_, name)| name);
            let configs = plan.form.map(hides).unwrap_or_default().into_iter().map(str::as_bytes);
            configs.chain(fstab).any(|own| first == Some(own)) || is_shadowed(&plan.datasets, "", &place.path)
        }
    }
}

/// The files that no other file of the resource may be: the config, and what a manager would take for it.
fn hides(form: Form) -> Vec<&'static str> {
    let at = Form::ALL.iter().position(|other| *other == form).unwrap_or_default();
    Form::ALL[..=at].iter().filter_map(|form| form.file()).collect()
}

/// Whether `path`, in a dataset called `dataset` ("" is the resource's own directory), is or lies below the place of another dataset.
fn is_shadowed(targets: &[Target], dataset: &str, path: &TreePath) -> bool {
    targets.iter().any(|target| {
        let below = match dataset {
            "" => Some(target.name.as_str()),
            dataset => target.name.strip_prefix(dataset).and_then(|rest| rest.strip_prefix('/')),
        };
        below.is_some_and(|place| {
            let rest = path.as_bytes().strip_prefix(place.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::Encoding;
    use crate::archive::testing::one_tree;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    /// A jail with datasets `root`, `root/in`, `data` and `data/db`, and a config.
    fn plan() -> Plan {
        let mut record = one_tree().resources.remove(0);
        let root = record.datasets[0].clone();
        for name in ["root/in", "data", "data/db"] {
            let mut dataset = root.clone();
            (dataset.name, dataset.member) = (name.into(), crate::export::plan::member(name, Encoding::Tree));
            record.datasets.push(dataset);
        }
        (record.config, record.fstab) = (Some("config.json".into()), None);
        super::super::plan::plan(&record, None, false).unwrap()
    }

    #[test]
    fn a_member_belongs_to_the_part_whose_place_is_above_it() {
        let plan = plan();
        let mut places: Vec<_> =
            sections(&plan).into_iter().map(|(path, section)| (path, 3, section)).collect();
        places.sort_by(|(a, ..), (b, ..)| by_components(a, b));
        let routes = Routes { places };
        let find = |text: &str| {
            let place = routes.find(&MemberName::new(path(text)))?;
            assert_eq!(place.work, 3);
            Some((place.section, place.path))
        };
        assert_eq!(find("config.json"), Some((Section::Config, TreePath::root())));
        assert_eq!(find("config.json/x"), None);
        assert_eq!(find("fstab"), None);
        assert_eq!(find("files/a/b"), Some((Section::Files, path("a/b"))));
        assert_eq!(find("root.tree"), Some((Section::Dataset(0), TreePath::root())));
        assert_eq!(find("root.tree/in/x"), Some((Section::Dataset(0), path("in/x"))));
        assert_eq!(find("root.tree-2"), None);
        assert_eq!(find("data.tree/x"), Some((Section::Dataset(2), path("x"))));
        assert_eq!(find("data/db.tree/x"), Some((Section::Dataset(3), path("x"))));
        assert_eq!(find("data/x"), None);
        assert_eq!(find("a"), None);
    }

    #[test]
    fn a_config_hides_itself_and_what_comes_before_it() {
        let files: Vec<_> = Form::ALL.iter().filter_map(|form| form.file()).collect();
        let mut hidden = 0;
        for form in Form::ALL {
            hidden += usize::from(form.file().is_some());
            assert_eq!(hides(form), files[..hidden], "{form:?}");
        }
    }

    /// Otherwise a member could lie where a dataset or the config is put.
    #[test]
    fn what_lies_in_the_place_of_something_else_is_taken() {
        let mut plan = plan();
        let taken =
            |plan: &Plan, section, text: &str| is_taken(plan, &Place { work: 0, section, path: path(text) });
        for (section, text, expected) in [
            (Section::Files, "config.json", true),
            (Section::Files, "config.json/x", true),
            (Section::Files, "config.json.old", false),
            (Section::Files, "sub/config.json", false),
            (Section::Files, "fstab", false),
            (Section::Files, "root", true),
            (Section::Files, "root/x", true),
            (Section::Files, "roots", false),
            (Section::Files, "data/db", true),
            (Section::Dataset(0), "in", true),
            (Section::Dataset(0), "in/x", true),
            (Section::Dataset(0), "inner", false),
            (Section::Dataset(0), "data/db", false),
            (Section::Dataset(2), "db", true),
            (Section::Dataset(2), "dbx", false),
            (Section::Dataset(2), "in", false),
            (Section::Dataset(3), "db", false),
        ] {
            assert_eq!(taken(&plan, section, text), expected, "{section:?} {text}");
        }
        assert!(!is_taken(&plan, &Place { work: 0, section: Section::Config, path: TreePath::root() }));
        plan.fstab = Some(path("fstab"));
        assert!(taken(&plan, Section::Files, "fstab"));
    }
}
