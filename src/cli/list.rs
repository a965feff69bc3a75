//! `remand list`.

use std::collections::BTreeMap;

use remand::config::Form;
use remand::event::{Observer, Warning};
use remand::records::{Annotations, Records};
use remand::resource::{Base, Basejail, Resource, ResourceKind, kind_name};
use remand::running::Survey;
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
    let survey = Survey::take(pool.layout());
    let runs: Vec<_> = resources.iter().map(|resource| survey.runs(resource)).collect();
    show(&session.console, &resources, &runs, &known)
}

/// What people gave the resources of a pool.
type All = BTreeMap<(ResourceKind, String), Annotations>;

fn show(
    console: &Console,
    resources: &[Resource],
    runs: &[Option<bool>],
    known: &All,
) -> Result<Outcome, Failure> {
    let all = || resources.iter().zip(runs.iter().copied());
    let nothing = Annotations::default();
    let given = |resource: &Resource| known.get(&(resource.kind, resource.name.clone())).unwrap_or(&nothing);
    let mut outcome = Outcome::default();
    outcome.result.insert("command".into(), "list".into());
    outcome.result.insert("resources".into(), resources.len().into());
    if console.is_json() {
        for (resource, runs) in all() {
            console.record("resource", &record(resource, runs, given(resource)))?;
        }
    } else if resources.is_empty() {
        outcome.summary.push("The pool holds no resources".into());
    } else if console.verbosity() > 0 {
        let rows: Vec<_> = all().map(|(resource, runs)| long_row(resource, runs, given(resource))).collect();
        let head = ["KIND", "NAME", "RUNS", "BASE", "DATASETS", "KEEP", "TAGS", "DIRECTORY"];
        console.data(&table(head, &rows))?;
    } else {
        let rows: Vec<_> = all()
            .map(|(resource, runs)| {
                let [kind, name, runs, base, datasets, keep, tags, _] =
                    long_row(resource, runs, given(resource));
                [kind, name, runs, base, datasets, keep, tags]
            })
            .collect();
        console.data(&table(["KIND", "NAME", "RUNS", "BASE", "DATASETS", "KEEP", "TAGS"], &rows))?;
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

fn long_row(resource: &Resource, runs: Option<bool>, given: &Annotations) -> [String; 8] {
    [
        kind_name(resource.kind).into(),
        resource.name.clone(),
        // What nobody can tell is not stopped.
        runs.map_or("-", |runs| if runs { "yes" } else { "no" }).into(),
        resource.base.as_ref().map_or_else(|| "-".into(), Base::label),
        datasets(resource),
        if given.keep { "yes" } else { "-" }.into(),
        if given.tags.is_empty() { "-".into() } else { given.tags.join(",") },
        path_name(&resource.directory),
    ]
}

fn record(resource: &Resource, runs: Option<bool>, given: &Annotations) -> serde_json::Value {
    let mut value = json!({
        "kind": kind_name(resource.kind),
        "name": resource.name,
        "running": runs,
        "base": resource.base.as_ref().map(Base::label),
        "basejail": resource.basejail.as_ref().map(Basejail::name),
        "config": resource.config.map(Form::name),
        "view": resource.view,
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
    use remand::config::View;
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
            config: (kind == ResourceKind::Jail).then_some(Form::Ucl),
            view: (kind == ResourceKind::Jail).then(|| View { boot: true, ..View::default() }),
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
        let runs = [Some(true), None];
        show(&console, &resources(), &runs, &known()).unwrap();
        insta::assert_snapshot!("list_text", out.text());
        let Transcript { console, out, .. } = json();
        let outcome = show(&console, &resources(), &runs, &known());
        console.finish(outcome);
        insta::assert_snapshot!("list_json", out.text());
    }
}
