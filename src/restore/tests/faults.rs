//! What could not be undone keeps the run's record, so that `remand cleanup` finds it.

use super::*;

fn keep_going() -> Options {
    Options { keep_going: true, ..Options::default() }
}

/// Whether the record of a run is left.
fn has_record(host: &Host) -> bool {
    !host.names(".remand/runs").is_empty()
}

/// Ids of those whose records are there.
fn runs(host: &Host) -> Vec<String> {
    host.names(".remand/runs").into_iter().filter(|name| crate::run::is_run_id(name)).collect()
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

/// Makes what is in the way of a jail when that is about to become visible.
struct InTheWay<'a>(&'a Host, &'static str);

impl Observer for InTheWay<'_> {
    fn event(&self, event: &Event) {
        let is_its = event.subject.as_deref() == Some(&format!("jail {}", self.1));
        if event.step == crate::event::Step::Publish && is_its {
            let _ = std::fs::create_dir(self.0.path("jails").join(self.1));
        }
    }

    fn warning(&self, _: &Warning) {}
}

/// `cleanup` would make the rest visible of what is on record as whole.
#[test]
fn what_was_taken_back_is_no_longer_on_record_as_whole() {
    let host = Host::twisted(Twist { stuck: Some("staging"), ..Twist::default() });
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, None);
    let interrupted = Arc::new(AtomicBool::new(false));
    let input = Input::Path(path);
    let outcome = restore(&host.pool, &Options::default(), input, &InTheWay(&host, "b"), &interrupted);
    assert_eq!(outcome.unwrap_err().exit_status(), 12);
    assert_eq!(host.names("jails"), ["b"]);
    assert_eq!(host.names("jails/b"), [""; 0]);
    let [run] = &runs(&host)[..] else { panic!("one run") };
    let mut file = std::fs::File::open(host.path(".remand/runs").join(run)).unwrap();
    let record = crate::run::read_record(&mut file);
    assert!(record.operation == "restore" && record.publish.is_empty(), "{record:?}");
    assert_eq!(host.names(".remand/staging").len(), 2);
}

/// Counts what the record of the run says when the first resource is about to become visible.
struct OnRecord<'a>(&'a Host, Mutex<Option<usize>>);

impl Observer for OnRecord<'_> {
    fn event(&self, event: &Event) {
        let mut count = self.1.lock().unwrap();
        if event.step == crate::event::Step::Publish && count.is_none() {
            let [run] = &runs(self.0)[..] else { panic!("one run") };
            let mut file = std::fs::File::open(self.0.path(".remand/runs").join(run)).unwrap();
            *count = Some(crate::run::read_record(&mut file).publish.len());
        }
    }

    fn warning(&self, _: &Warning) {}
}

#[test]
fn several_are_on_record_as_whole_before_the_first_is_visible() {
    // Of one there is nothing to go on with: it is visible or it is not.
    for (words, on_record) in [(&["a"][..], 0), (&["a", "b"][..], 2)] {
        let host = Host::new();
        let path = host.path("two.tar");
        archive(&path, &two_jails(), &TWO, None);
        let interrupted = Arc::new(AtomicBool::new(false));
        let observer = OnRecord(&host, Mutex::default());
        restore(&host.pool, &selected(words), Input::Path(path), &observer, &interrupted).unwrap();
        assert_eq!(*observer.1.lock().unwrap(), Some(on_record), "{words:?}");
        host.is_clean();
    }
}

/// Takes the staging dataset of the first resource for itself when that is told of a release.
struct Stager<'a>(&'a Host);

impl Observer for Stager<'_> {
    fn event(&self, _: &Event) {}

    fn warning(&self, _: &Warning) {}

    fn notice(&self, _: &Warning) {
        let [run] = &runs(self.0)[..] else { return };
        std::fs::create_dir_all(self.0.path(".remand/staging").join(format!("{run}-00000"))).unwrap();
    }
}

#[test]
fn a_snapshot_that_cannot_be_removed_keeps_the_record() {
    for stuck in [None, Some("base-1.0")] {
        let host = Host::twisted(Twist { stuck, snapshots: Some(vec![]), ..Twist::default() });
        host.put("base/base-1.0/root/bin/tool", "x");
        let mut manifest = two_jails();
        let mut part = manifest.resources[0].datasets[0].clone();
        (part.name, part.encoding) = ("root/bin".to_owned(), Encoding::Base);
        part.member = crate::export::plan::member(&part.name, part.encoding);
        part.base = Some(crate::archive::manifest::BaseRecord {
            kind: crate::resource::ResourceKind::Release,
            name: "base-1.0".to_owned(),
            snapshot: Some("gone".to_owned()),
            guid: None,
            fingerprint: None,
        });
        manifest.resources[0].datasets.push(part);
        let path = host.path("two.tar");
        archive(&path, &manifest, &TWO, None);
        let interrupted = Arc::new(AtomicBool::new(false));
        let report =
            restore(&host.pool, &keep_going(), Input::Path(path), &Stager(&host), &interrupted).unwrap();
        let failed: Vec<_> = report.resources.iter().filter_map(|one| one.failed.as_deref()).collect();
        assert!(matches!(failed[..], [one] if one.contains("staging")), "{failed:?}");
        assert_eq!(host.names("jails"), ["b"]);
        assert_eq!(has_record(&host), stuck.is_some(), "{stuck:?}");
    }
}
