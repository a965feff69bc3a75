//! `remand list`.

use remand::resource::{Base, Basejail, Resource, kind_name};
use serde_json::json;

use super::args::List;
use super::failure::Failure;
use super::render::{Console, Outcome, table::table};
use super::{Session, open_pool, path_name};

pub(super) fn run(session: &Session, args: &List) -> Result<Outcome, Failure> {
    let pool = open_pool(&args.place, &args.place.config()?)?;
    show(&session.console, &pool.resources()?)
}

fn show(console: &Console, resources: &[Resource]) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    outcome.result.insert("command".into(), "list".into());
    outcome.result.insert("resources".into(), resources.len().into());
    if console.is_json() {
        for resource in resources {
            console.record("resource", &record(resource))?;
        }
    } else if resources.is_empty() {
        outcome.summary.push("The pool holds no resources".into());
    } else if console.verbosity() > 0 {
        let rows: Vec<_> = resources.iter().map(long_row).collect();
        console.data(&table(["KIND", "NAME", "BASE", "DATASETS", "DIRECTORY"], &rows))?;
    } else {
        let rows: Vec<_> = resources
            .iter()
            .map(|resource| {
                let [kind, name, base, datasets, _] = long_row(resource);
                [kind, name, base, datasets]
            })
            .collect();
        console.data(&table(["KIND", "NAME", "BASE", "DATASETS"], &rows))?;
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

fn long_row(resource: &Resource) -> [String; 5] {
    [
        kind_name(resource.kind).into(),
        resource.name.clone(),
        resource.base.as_ref().map_or_else(|| "-".into(), Base::label),
        datasets(resource),
        path_name(&resource.directory),
    ]
}

fn record(resource: &Resource) -> serde_json::Value {
    json!({
        "kind": kind_name(resource.kind),
        "name": resource.name,
        "base": resource.base.as_ref().map(Base::label),
        "basejail": resource.basejail.as_ref().map(Basejail::name),
        "datasets": names(resource),
        "directory": path_name(&resource.directory),
    })
}

#[cfg(test)]
mod tests {
    use remand::resource::{Part, ResourceKind};
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
            base: base.map(|name| Base { name: name.into(), snapshot, parted_seconds: Some(0) }),
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

    #[test]
    fn table_and_json() {
        let Transcript { console, out, .. } = plain(0);
        show(&console, &resources()).unwrap();
        insta::assert_snapshot!("list_text", out.text());
        let Transcript { console, out, .. } = json();
        let outcome = show(&console, &resources());
        console.finish(outcome);
        insta::assert_snapshot!("list_json", out.text());
    }
}
