//! `remand list`.

use std::collections::BTreeMap;

use remand::event::{Observer, Warning};
use remand::records::{Annotations, Records};
use remand::resource::{Base, Basejail, Resource, ResourceKind, kind_name};
use serde_json::json;

use super::annotate::annotations_record;
use super::args::List;
use super::failure::Failure;
use super::render::{Console, Outcome, table::table};
use super::{Session, open_pool, path_name};

pub(super) fn run(session: &Session, args: &List) -> Result<Outcome, Failure> {
    let pool = open_pool(&args.place, &args.place.config()?)?;
    let resources = pool.resources()?;
    let known = match Records::existing_of_pool(&pool) {
        Ok(None) => Ok(All::new()),
        Ok(Some(records)) => records.all_annotations(),
        Err(error) => Err(error),
    };
    // Tags are an extra here; the resources are there without them.
    let known = known.unwrap_or_else(|error| {
        let chain = super::failure::chain(&error).join(": ");
        let message = format!("tags and keep flags are not shown: {chain}");
        session.console.warning(&Warning { subject: pool.label(), message });
        All::new()
    });
    show(&session.console, &resources, &known)
}

/// What people gave the resources of a pool.
type All = BTreeMap<(ResourceKind, String), Annotations>;

fn show(console: &Console, resources: &[Resource], known: &All) -> Result<Outcome, Failure> {
    let nothing = Annotations::default();
    let given = |resource: &Resource| known.get(&(resource.kind, resource.name.clone())).unwrap_or(&nothing);
    let mut outcome = Outcome::default();
    outcome.result.insert("command".into(), "list".into());
    outcome.result.insert("resources".into(), resources.len().into());
    if console.is_json() {
        for resource in resources {
            console.record("resource", &record(resource, given(resource)))?;
        }
    } else if resources.is_empty() {
        outcome.summary.push("The pool holds no resources".into());
    } else if console.verbosity() > 0 {
        let rows: Vec<_> = resources.iter().map(|resource| long_row(resource, given(resource))).collect();
        console.data(&table(["KIND", "NAME", "BASE", "DATASETS", "KEEP", "TAGS", "DIRECTORY"], &rows))?;
    } else {
        let rows: Vec<_> = resources
            .iter()
            .map(|resource| {
                let [kind, name, base, datasets, keep, tags, _] = long_row(resource, given(resource));
                [kind, name, base, datasets, keep, tags]
            })
            .collect();
        console.data(&table(["KIND", "NAME", "BASE", "DATASETS", "KEEP", "TAGS"], &rows))?;
    }
    Ok(outcome)
}

fn names(resource: &Resource) -> Vec<&str> {
    resource.datasets.iter().map(|part| part.name.as_str()).collect()
}

/// Names of the datasets, and whether a release provides a part of them.
fn datasets(resource: &Resource) -> String {
    let basejail = resource.basejail.as_ref().map(|kind| format!(" ({} basejail)", kind.name()));
    format!("{}{}", names(resource).join(","), basejail.unwrap_or_default())
}

fn long_row(resource: &Resource, given: &Annotations) -> [String; 7] {
    [
        kind_name(resource.kind).into(),
        resource.name.clone(),
        resource.base.as_ref().map_or_else(|| "-".into(), Base::label),
        datasets(resource),
        if given.keep { "yes" } else { "-" }.into(),
        if given.tags.is_empty() { "-".into() } else { given.tags.join(",") },
        path_name(&resource.directory),
    ]
}

fn record(resource: &Resource, given: &Annotations) -> serde_json::Value {
    let mut value = json!({
        "kind": kind_name(resource.kind),
        "name": resource.name,
        "base": resource.base.as_ref().map(Base::label),
        "basejail": resource.basejail.as_ref().map(Basejail::name),
        "datasets": names(resource),
        "directory": path_name(&resource.directory),
    });
    for (name, field) in annotations_record(given) {
        value[name] = field;
    }
    value
}

#[cfg(test)]
mod tests {
    use remand::resource::Part;
    use remand_backends::{DatasetName, Snapshot, SnapshotName};

    use super::*;
    use crate::cli::render::tests::{Transcript, json, plain};

    fn resource(kind: ResourceKind, directory: &str, base: Option<&str>, parts: &[&str]) -> Resource {
        let dataset = DatasetName::new(directory).unwrap();
        let part = |name: &&str| Part {
            name: (*name).into(),
            dataset: dataset.join(name).unwrap(),
            kind: remand_backends::DatasetKind::FileSystem,
            directory: None,
            base: None,
        };
        let snapshot = Snapshot {
            dataset: DatasetName::new("releases/14.2-RELEASE/root").unwrap(),
            name: Some(SnapshotName::new("p3").unwrap()),
        };
        Resource {
            kind,
            name: directory.rsplit('/').next().unwrap().into(),
            directory: format!("/iocage/{directory}").into(),
            config: None,
            fstab: false,
            basejail: None,
            base: base.map(|name| Base {
                kind: ResourceKind::Release,
                name: name.into(),
                snapshot,
                parted_seconds: Some(0),
            }),
            datasets: parts.iter().map(part).collect(),
            enclosed: Vec::new(),
            dataset,
        }
    }

    fn resources() -> Vec<Resource> {
        let parts = ["root", "data", "data/db"];
        vec![
            resource(ResourceKind::Jail, "jails/web01", Some("14.2-RELEASE"), &parts),
            resource(ResourceKind::Release, "releases/14.2-RELEASE", None, &["root"]),
        ]
    }

    fn known() -> All {
        let tags = vec!["daily".into(), "www".into()];
        let given = Annotations { tags, note: Some("main site".into()), keep: true };
        All::from([((ResourceKind::Jail, "web01".into()), given)])
    }

    #[test]
    fn table_and_json() {
        let Transcript { console, out, .. } = plain(0);
        show(&console, &resources(), &known()).unwrap();
        insta::assert_snapshot!("list_text", out.text());
        let Transcript { console, out, .. } = json();
        let outcome = show(&console, &resources(), &known());
        console.finish(outcome);
        insta::assert_snapshot!("list_json", out.text());
    }
}
