//! What could not be undone keeps the run's record, so that `remand cleanup` finds it.

use super::*;
use crate::event::Step;

/// Somebody makes this directory when the jail `b` becomes visible.
struct InTheWay(PathBuf);

impl Observer for InTheWay {
    fn event(&self, event: &Event) {
        if event.step == Step::Publish && event.subject.as_deref() == Some("jail b") {
            let _ = std::fs::create_dir(&self.0); // it begins and ends
        }
    }

    fn warning(&self, _: &Warning) {}
}

fn keep_going() -> Options {
    Options { keep_going: true, ..Options::default() }
}

/// Whether the record of a run is left.
fn has_record(host: &Host) -> bool {
    !host.names(".remand/runs").is_empty()
}

#[test]
fn a_stage_that_cannot_be_removed_keeps_the_record() {
    for stuck in [None, Some("staging")] {
        let host = Host::twisted(Twist { stuck, ..Twist::default() });
        let path = host.path("two.tar");
        archive(&path, &two_jails(), &TWO, Some(0));
        let report = host.restore(&path, &keep_going()).unwrap();
        assert!(report.resources.iter().any(|one| one.name == "b" && one.failed.is_none()));
        let told = host.notices().iter().any(|notice| notice.contains("remand cleanup"));
        assert_eq!((has_record(&host), told), (stuck.is_some(), stuck.is_some()), "{stuck:?}");
    }
}

#[test]
fn a_base_that_cannot_be_closed_keeps_the_record() {
    for stays_open in [false, true] {
        let mut host = Host::new();
        let whole = exported(&host);
        for (path, text) in [("etc/conf", "as released\n"), ("etc/other", "other\n"), ("etc/new", "new\n")] {
            host.put(&format!("releases/next/root/{path}"), text);
        }
        host.pool = Pool::twisted(host.directory.path(), Twist { stays_open, ..Twist::default() });
        let onto_next = Options { base: Some("next".to_owned()), ..keep_going() };
        let options = Options { name: Some("copy".to_owned()), ..onto_next.clone() };
        host.restore(&whole, &options).unwrap();
        assert_eq!(has_record(&host), stays_open);
        for name in host.names(".remand/runs") {
            std::fs::remove_file(host.path(".remand/runs").join(name)).unwrap();
        }
        // Of one that is left out while its base is open.
        let mut manifest = manifest_of(&whole);
        let mut failing = manifest.resources.remove(0);
        (failing.name, failing.prefix, failing.config) = ("a".into(), "./jails/a/".into(), None);
        manifest.resources = vec![failing, two_jails().resources.remove(1)];
        let path = host.path("two.tar");
        archive(&path, &manifest, &[("jails/a/root", ""), ("jails/b/root.tree", "")], Some(0));
        host.restore(&path, &onto_next).unwrap();
        assert_eq!(host.names("jails"), ["b", "copy", "web"]);
        assert_eq!(has_record(&host), stays_open);
    }
}

/// `remand cleanup` would make visible what the record says is whole.
#[test]
fn a_rename_that_is_taken_back_is_not_in_the_record_that_stays() {
    let host = Host::twisted(Twist { stuck: Some("staging"), ..Twist::default() });
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, None);
    let other = InTheWay(host.path("jails/b"));
    let interrupted = Arc::new(AtomicBool::new(false));
    let outcome =
        restore(&host.pool, &Options::default(), Input::Path(path.clone()), &other, &interrupted).map(drop);
    assert_eq!((outcome.is_err(), host.names("jails")), (true, vec!["b".to_owned()]));
    let [record, ..] = &host.names(".remand/runs")[..] else { panic!("a record") };
    let record = std::fs::read(host.path(".remand/runs").join(record)).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let publish = record["publish"].as_array().map_or(0, Vec::len);
    assert_eq!((&record["operation"], publish), (&"restore".into(), 0), "{record}");
}
