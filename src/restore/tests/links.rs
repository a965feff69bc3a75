//! Hard links between trees lead to what they say, wherever that came to be.

use super::*;

#[test]
fn a_link_gets_the_content_of_the_tree_that_it_leads_into() {
    let host = Host::new();
    let members = [
        ("jails/a/files", ""),
        ("jails/a/files/note", "a note"),
        ("jails/a/root.tree", ""),
        ("jails/a/root.tree/file", "of a"),
        ("jails/a/data.tree", ""),
        ("jails/a/data.tree/file", "of data"),
        ("jails/b/root.tree", ""),
        // The same name in two trees, one right after the other.
        ("jails/b/root.tree/one", "->jails/a/root.tree/file"),
        ("jails/b/root.tree/two", "->jails/a/data.tree/file"),
        ("jails/b/root.tree/three", "->jails/a/files/note"),
    ];
    let path = with_datasets(&host, &[("data", Encoding::Tree)], &members);
    host.restore(&path, &Options::default()).unwrap();
    for (name, text) in [("one", "of a"), ("two", "of data"), ("three", "a note")] {
        let found = std::fs::read_to_string(host.path("jails/b/root").join(name)).unwrap();
        assert_eq!(found, text, "{name}");
    }
    host.is_clean();
}

/// What comes of a resource after it failed waits on the shelf for those that have other names of it.
#[test]
fn a_link_to_a_resource_that_failed_midway_gets_what_came_later() {
    let host = Host::new();
    let path = host.path("two.tar");
    let sink = Box::new(FileSink::create(&path, false, "x").unwrap());
    let mut writer = Writer::tar(sink, Compression::None, &std::env::temp_dir()).unwrap();
    writer.manifest(&two_jails(), 0).unwrap();
    let directory = |path: &str| line(path, Kind::Directory, 0);
    let file = |path: &str| line(path, Kind::File, 4);
    writer.member(directory("jails/a/root.tree"), Body::Empty, 1).unwrap();
    // No file system has such a name.
    let long = file(&format!("jails/a/root.tree/{}", "n".repeat(300)));
    writer.member(long, Body::Content(&mut MemoryContent::new(b"long".to_vec())), 1).unwrap();
    let shared = Line { shared: vec![1], group: Some(1), ..file("jails/a/root.tree/file") };
    writer.member(shared, Body::Content(&mut MemoryContent::new(b"of a".to_vec())), 1).unwrap();
    let link = |path: &str, to: &str, shared: Vec<u32>| {
        let role = Role::Link { to: MemberName::new(TreePath::new(to.as_bytes()).unwrap()) };
        Line { role, shared, group: Some(1), ..file(path) }
    };
    let second = link("jails/a/root.tree/second", "jails/a/root.tree/file", vec![1]);
    writer.member(second, Body::Empty, 1).unwrap();
    writer.member(directory("jails/b/root.tree"), Body::Empty, 1).unwrap();
    for (name, to) in [("file", "file"), ("other", "second")] {
        let link = link(&format!("jails/b/root.tree/{name}"), &format!("jails/a/root.tree/{to}"), vec![]);
        writer.member(link, Body::Empty, 1).unwrap();
    }
    writer.finish().unwrap();
    assert!(host.restore(&path, &Options::default()).is_err());
    host.is_clean();
    host.restore(&path, &Options { keep_going: true, ..Options::default() }).unwrap();
    assert_eq!(host.names("jails"), ["b"]);
    for name in ["file", "other"] {
        assert_eq!(std::fs::read(host.path("jails/b/root").join(name)).unwrap(), b"of a", "{name}");
    }
    host.is_clean();
}

#[test]
fn a_link_to_what_was_not_kept_names_it() {
    let host = Host::new();
    let path = host.path("two.tar");
    // Nothing says that b has a name of this file.
    let members = [&TWO[..], &[("jails/b/root.tree/link", "->jails/a/root.tree/file")]].concat();
    archive(&path, &two_jails(), &members, None);
    let error = host.restore(&path, &selected(&["b"])).unwrap_err();
    assert!(error.to_string().contains("is a link to ./jails/a/root.tree/file, which is missing"), "{error}");
    host.is_clean();
}

/// An archive of jail `web` with these members, to be restored onto a base that lacks some of them.
fn onto_another_base(host: &Host, members: &[(&str, &str)]) -> (PathBuf, Options) {
    let whole = exported(host);
    host.put("releases/next/root/etc/conf", "as released\n");
    let path = host.path("links.tar");
    let mut manifest = manifest_of(&whole);
    let record = &mut manifest.resources[0];
    record.config = None;
    let mut data = record.datasets[0].clone();
    (data.name, data.encoding, data.member) = ("data".to_owned(), Encoding::Tree, "data.tree".to_owned());
    record.datasets.push(data);
    archive(&path, &manifest, members, None);
    let options = Options {
        name: Some("copy".to_owned()),
        base: Some("next".to_owned()),
        on_conflict: Some(OnConflict::Theirs),
        ..Options::default()
    };
    (path, options)
}

#[test]
fn a_link_to_what_another_base_lacks_is_a_conflict() {
    let host = Host::new();
    // A file that is not there, and one in a directory that is not there.
    let members =
        [("root", ""), ("root/one", "->root/etc/none"), ("root/two", "->root/none/x"), ("data.tree", "")];
    let (path, options) = onto_another_base(&host, &members);
    host.restore(&path, &options).unwrap();
    let warnings = host.warnings();
    let lost = warnings.iter().filter(|warning| warning.contains("which this base does not have"));
    assert_eq!(lost.count(), 2, "{warnings:?}");
    host.is_clean();
}

/// No base has to do with what lies in other datasets.
#[test]
fn a_link_to_what_another_dataset_lacks_is_lost() {
    let host = Host::new();
    let members = [
        ("root", ""),
        ("data.tree", ""),
        ("data.tree/none/file", "x"),
        ("data.tree/link", "->data.tree/none/file"),
    ];
    let (path, options) = onto_another_base(&host, &members);
    assert!(host.restore(&path, &options).is_err());
    host.is_clean();
    host.warnings();
    let salvage = Some(Salvage { unproven: false });
    let report = host.restore(&path, &Options { salvage, ..options }).unwrap();
    let warnings = host.warnings();
    assert_eq!(report.resources[0].salvaged.map(|toll| toll.lost), Some(2), "{warnings:?}");
    assert!(!warnings.iter().any(|warning| warning.contains("which this base does not have")));
    host.is_clean();
}

/// Asks, when something becomes visible, what is open in staging: whoever has that in a thread of its own, which nothing is kept from.
struct Looker {
    ask: Mutex<std::sync::mpsc::Sender<()>>,
    answers: Mutex<std::sync::mpsc::Receiver<Vec<PathBuf>>>,
    seen: Mutex<Option<Vec<PathBuf>>>,
}

impl Observer for Looker {
    fn event(&self, event: &Event) {
        if event.step == crate::event::Step::Publish && self.seen.lock().unwrap().is_none() {
            self.ask.lock().unwrap().send(()).unwrap();
            *self.seen.lock().unwrap() = Some(self.answers.lock().unwrap().recv().unwrap());
        }
    }

    fn warning(&self, _: &Warning) {}
}

/// A file system that is unmounted for its new name must not be in use.
#[test]
fn nothing_is_open_in_what_becomes_visible() {
    let host = Host::new();
    let path = host.path("two.tar");
    let members = [&TWO[..], &[("jails/b/root.tree/link", "->jails/a/root.tree/file")]].concat();
    archive(&path, &two_jails(), &members, None);
    let staging = host.path(".remand/staging");
    let (ask, asked) = std::sync::mpsc::channel();
    let (answer, answers) = std::sync::mpsc::channel();
    let looker = Looker { ask: Mutex::new(ask), answers: Mutex::new(answers), seen: Mutex::default() };
    std::thread::spawn(move || {
        for () in asked {
            let open = std::fs::read_dir("/proc/self/fd").unwrap();
            let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
            answer.send(open.filter(|path| path.starts_with(&staging)).collect()).unwrap();
        }
    });
    let interrupted = Arc::new(AtomicBool::new(false));
    restore(&host.pool, &Options::default(), Input::Path(path), &looker, &interrupted).unwrap();
    assert_eq!(looker.seen.into_inner().unwrap(), Some(vec![]));
    assert_eq!(std::fs::read(host.path("jails/b/root/link")).unwrap(), b"of a");
}
