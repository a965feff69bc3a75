//! What is refused before anything is made, and why.

use super::super::work::misplaced;
use super::*;
use crate::config::Assignment;

/// The error of a restore and of a dry run, which say the same and leave nothing.
#[track_caller]
fn refused(host: &Host, archive: &Path, options: &Options) -> Error {
    let interrupted = Arc::new(AtomicBool::new(false));
    let foreseen = dry_run(&host.pool, options, Input::Path(archive.to_owned()), &host.told, &interrupted);
    let error = host.restore(archive, options).unwrap_err();
    assert_eq!(foreseen.unwrap_err().to_string(), error.to_string());
    host.is_clean();
    error
}

#[test]
fn what_remand_decides_by_itself_is_not_set() {
    let assigned = |layout: &str, assignment: &str| {
        let host = Host::new();
        let path = host.path("two.tar");
        let mut manifest = two_jails();
        manifest.resources[0].layout = layout.to_owned();
        let members = [&[("jails/a/config.json", "{\"id\": \"a\"}")][..], &TWO].concat();
        archive(&path, &manifest, &members, None);
        let assignments = vec![Assignment::set(assignment).unwrap()];
        let error = refused(&host, &path, &Options { assignments, ..selected(&["a"]) });
        assert_eq!(host.names("jails"), [""; 0]);
        error.to_string()
    };
    for layout in ["libioc", "iocage", "something"] {
        for (assignment, instead) in [("id=x", "--name"), ("release=x", "--base")] {
            let told = assigned(layout, assignment);
            assert!(told.contains("cannot be set") && told.ends_with(instead), "{layout}: {told}");
        }
    }
}

#[test]
fn a_stream_that_the_pool_cannot_receive_is_refused() {
    for encoding in [Encoding::Zfs, Encoding::Btrfs] {
        let host = Host::new();
        let path = with_datasets(&host, &[("data", encoding)], &TWO);
        let told = refused(&host, &path, &selected(&["a"])).to_string();
        assert!(
            told.contains("The dataset data is a native stream") && told.contains("--portable"),
            "{told}"
        );
        assert_eq!(host.names("jails"), [""; 0]);
    }
}

#[test]
fn what_lies_in_the_place_of_a_resource_stays() {
    let host = Host::new();
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, None);
    std::fs::write(host.path("jails/a"), "no jail").unwrap();
    assert_eq!(refused(&host, &path, &selected(&["a"])).exit_status(), 12);
    std::fs::remove_file(host.path("jails/a")).unwrap();
    std::os::unix::fs::symlink("nowhere", host.path("jails/a")).unwrap();
    assert_eq!(refused(&host, &path, &selected(&["a"])).exit_status(), 12);
    assert_eq!(std::fs::read_link(host.path("jails/a")).unwrap(), Path::new("nowhere"));
}

#[test]
fn a_link_that_cannot_be_made_is_damage_only_where_its_target_is_missing() {
    let failed = |kind: std::io::ErrorKind| crate::tree::Error::Io {
        action: "link",
        path: "file".into(),
        source: kind.into(),
    };
    let file = line("root/link", Kind::File, 0);
    let to = MemberName::new(TreePath::new(b"root/file").unwrap());
    let link = Line { role: Role::Link { to }, ..file.clone() };
    let told = misplaced(&link)(failed(std::io::ErrorKind::NotFound));
    let Error::Archive(archive::Error::Damaged(told)) = told else { panic!("{told}") };
    assert_eq!(told, "./root/link is a link to ./root/file, which is missing");
    for (line, kind) in [(&link, std::io::ErrorKind::PermissionDenied), (&file, std::io::ErrorKind::NotFound)]
    {
        let told = misplaced(line)(failed(kind));
        assert!(!matches!(told, Error::Archive(_)), "{told}");
    }
}

/// It is the archive's or the user's matter then, and no other resource would fare better.
#[test]
fn some_errors_are_those_of_the_whole_restore() {
    use super::super::visitor::is_fatal;
    let text = || "why".to_owned();
    let damaged = Error::Archive(archive::Error::Damaged(text()));
    for error in [Error::Interrupted, damaged, Error::Refused(text()), Error::Usage(text())] {
        assert!(is_fatal(&error), "{error}");
    }
    for error in [Error::Exists(text()), Error::Unsupported(text())] {
        assert!(!is_fatal(&error), "{error}");
    }
}

/// With one of several resources, and leave to go on without those that fail.
#[test]
fn what_is_fatal_is_not_gone_on_from() {
    let keep_going = || Options { keep_going: true, ..Options::default() };
    let host = Host::new();
    let path = host.path("two.tar");
    let members = [&[("jails/a/config.json", "{\"id\": \"a\"}")][..], &TWO].concat();
    archive(&path, &two_jails(), &members, None);
    let assignments = vec![Assignment::set("a:id=x").unwrap()];
    let error = host.restore(&path, &Options { assignments, ..keep_going() }).unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    assert_eq!(host.names("jails"), [""; 0]);
    let members = [&[("jails/a/root.tree", ""), ("jails/a/root.tree/none/x", "1")][..], &TWO[2..]].concat();
    let path = host.path("damaged.tar");
    archive(&path, &two_jails(), &members, None);
    let error = host.restore(&path, &keep_going()).unwrap_err();
    assert!(matches!(error, Error::Archive(archive::Error::Damaged(_))), "{error}");
    assert_eq!(host.names("jails"), [""; 0]);
    host.is_clean();
    // Where there is one alone nothing is left to go on with.
    std::fs::create_dir(host.path("jails/b")).unwrap();
    let error = host.restore(&path, &Options { keep_going: true, ..selected(&["b"]) }).unwrap_err();
    assert_eq!((error.exit_status(), host.warnings()), (12, vec![]));
}

/// As long as the config stays what it is, its form says what it can hold.
#[test]
fn a_key_that_properties_cannot_have_is_refused_where_they_stay_properties() {
    for (layout, other) in [("libioc", false), ("iocage", true), ("something", false)] {
        let host = Host::new();
        let path = host.path("two.tar");
        let mut manifest = two_jails();
        manifest.resources[0].layout = layout.to_owned();
        manifest.resources[0].config = Some("properties.json".to_owned());
        let text = r#"{"org.freebsd.iocage:tag": "a"}"#;
        let members = [&[("jails/a/properties.json", text)][..], &TWO].concat();
        archive(&path, &manifest, &members, None);
        let assignments = vec![Assignment::set("Boot=x").unwrap()];
        let options = Options { assignments, ..selected(&["a"]) };
        let interrupted = Arc::new(AtomicBool::new(false));
        let foreseen = dry_run(&host.pool, &options, Input::Path(path), &host.told, &interrupted);
        let told = foreseen.map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(told.contains("no capital letters"), !other, "{layout}: {told}");
    }
}

#[test]
fn what_a_run_has_left_half_visible_is_told_from_what_is_there() {
    use crate::run::{Publish, Record};
    let host = Host::new();
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, None);
    for name in ["a", "b"] {
        std::fs::create_dir(host.path("jails").join(name)).unwrap();
    }
    let state = host.pool.backend().state_directory().unwrap();
    let mut record = Record::new("restore", "jail a".to_owned());
    let (from, to) = (".remand/staging/x".to_owned(), "jails/a".to_owned());
    record.publish = vec![Publish { resource: "jail a".to_owned(), from, to, times: Vec::new() }];
    std::fs::create_dir_all(state.join("runs")).unwrap();
    // Written by nobody who would hold it.
    let path_of_run = state.join("runs").join(crate::run::new_id());
    std::fs::write(path_of_run, serde_json::to_vec(&record).unwrap()).unwrap();
    for (name, unfinished) in [("a", true), ("b", false)] {
        let error = host.restore(&path, &selected(&[name])).unwrap_err();
        assert_eq!(matches!(error, Error::Unfinished { .. }), unfinished, "{name}: {error}");
    }
}

#[test]
fn records_that_are_none_are_named() {
    let host = Host::new();
    let path = host.path("two.tar");
    let mut manifest = two_jails();
    manifest.resources[0].tags = vec!["good".to_owned(), "no tag\n".to_owned()];
    archive(&path, &manifest, &TWO, None);
    host.restore(&path, &Options::default()).unwrap();
    let warnings = host.warnings();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.starts_with("jail a: of its records this was not taken over: "), "{warning}");
}

/// It is not even read.
#[test]
fn what_is_damaged_and_not_selected_is_no_matter() {
    let host = Host::new();
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, None);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|window| window == b"of a").unwrap();
    bytes[at] = b'X';
    std::fs::write(&path, bytes).unwrap();
    assert!(host.restore(&path, &selected(&["a"])).is_err());
    host.restore(&path, &selected(&["b"])).unwrap();
    assert_eq!(host.names("jails"), ["b"]);
    host.is_clean();
}
