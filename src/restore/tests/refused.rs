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
