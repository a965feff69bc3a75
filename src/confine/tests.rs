use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

/// Whether the kernel confines; if not, what cannot be tested is told.
fn confines() -> bool {
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("file");
    let denied = run(&Allowed::nothing(), || Ok(fs::write(&outside, "x").is_err())).unwrap();
    if !denied {
        eprintln!("SKIPPED confinement: the kernel has no Landlock");
    }
    denied
}

#[test]
fn nothing_is_changed_outside_of_what_is_allowed() {
    if !confines() {
        return;
    }
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim");
    fs::write(&victim, "safe").unwrap();
    fs::create_dir(outside.path().join("empty")).unwrap();
    symlink(outside.path(), inside.path().join("door")).unwrap();
    let kinds = run(&Allowed::nothing().and_below(inside.path()), || {
        let door = inside.path().join("door");
        let attempts = [
            fs::write(outside.path().join("new"), "x"),
            fs::write(&victim, "x"),
            fs::write(door.join("victim"), "x"),
            fs::write(door.join("new"), "x"),
            fs::remove_file(&victim),
            fs::remove_dir(outside.path().join("empty")),
            fs::create_dir(outside.path().join("directory")),
            symlink("x", outside.path().join("link")),
            fs::rename(&victim, inside.path().join("stolen")),
            fs::hard_link(&victim, inside.path().join("stolen")),
            Command::new("/bin/true").status().map(drop),
            std::net::TcpStream::connect("127.0.0.1:9").map(drop),
        ];
        fs::write(inside.path().join("file"), "x").unwrap();
        fs::create_dir(inside.path().join("directory")).unwrap();
        fs::hard_link(inside.path().join("file"), inside.path().join("directory/link")).unwrap();
        fs::rename(inside.path().join("file"), inside.path().join("directory/file")).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
        Ok(attempts.map(|attempt| attempt.map_err(|error| error.kind())))
    })
    .unwrap();
    // What would be moved to where more is allowed is on another file system, as it were.
    let denied = |kind: ErrorKind| matches!(kind, ErrorKind::PermissionDenied | ErrorKind::CrossesDevices);
    let let_through: Vec<_> = kinds.iter().filter(|kind| !kind.is_err_and(denied)).collect();
    // Kernels before 6.7 know nothing of TCP.
    assert!(let_through.iter().all(|kind| **kind == Err(ErrorKind::ConnectionRefused)), "{kinds:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
}

#[test]
fn threads_are_confined_with_the_one_that_starts_them_and_nobody_else_is() {
    if !confines() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let attempt = |name: &str| fs::write(place.path().join(name), "x").is_ok();
    let inner =
        run(&Allowed::nothing(), || Ok(std::thread::scope(|scope| scope.spawn(|| attempt("a")).join())));
    assert!(!inner.unwrap().unwrap());
    assert!(attempt("b"));
}

#[test]
fn programs_are_run_outside() {
    let program = remand_backends::process::Program::new("sh", ["-c", "echo x > /dev/null && echo done"]);
    let output = run(&Allowed::nothing(), || program.output().map_err(Error::backend("run it"))).unwrap();
    assert_eq!(output, "done\n");
}

#[test]
fn where_directories_are_allowed_nothing_else_is() {
    if !confines() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let allowed = Allowed { directories: vec![place.path().to_owned()], ..Allowed::default() };
    let file = run(&allowed, || {
        fs::create_dir(place.path().join("a")).unwrap();
        fs::remove_dir(place.path().join("a")).unwrap();
        Ok(fs::write(place.path().join("file"), "x"))
    });
    assert_eq!(file.unwrap().unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
#[should_panic(expected = "as a test")]
fn a_panic_is_passed_on() {
    let _: Result<()> = run(&Allowed::nothing(), || panic!("as a test"));
}
