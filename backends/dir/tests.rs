use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

fn name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

fn pool() -> (tempfile::TempDir, Dir) {
    let directory = tempfile::tempdir().unwrap();
    let pool = Dir::open(directory.path()).unwrap().unwrap();
    (directory, pool)
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    root
}

/// Runs a program for a test; false (and a visible line) if it cannot do what is needed here.
fn can(program: &str, arguments: &[&str]) -> bool {
    let done = Command::new(program).args(arguments).status().is_ok_and(|status| status.success());
    if !done {
        eprintln!("SKIPPED: {program} {arguments:?} does not work here");
    }
    done
}

#[test]
fn only_a_directory_is_a_pool() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Dir::open(&directory.path().join("no")).unwrap().is_none());
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(Dir::open(&file).unwrap().is_none());
    assert!(Dir::open(&file.join("below")).unwrap().is_none());
    symlink(directory.path(), directory.path().join("link")).unwrap();
    let pool = Dir::open(&directory.path().join("link")).unwrap().unwrap();
    assert_eq!(pool.directory(), directory.path().canonicalize().unwrap());
}

#[test]
fn a_link_is_no_dataset_and_leads_nowhere() {
    let (directory, pool) = pool();
    std::fs::create_dir_all(directory.path().join("real/below")).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    assert!(pool.dataset(&name("real/below")).unwrap().is_some());
    assert!(pool.dataset(&name("link")).unwrap().is_none());
    assert!(pool.dataset(&name("link/below")).unwrap().is_none());
    assert!(matches!(pool.create(&name("link/new")), Err(Error::NotFound(_))));
    symlink("/etc", directory.path().join(".remand")).unwrap();
    assert!(pool.state_directory().is_err());
}

#[test]
fn a_tree_of_a_hundred_thousand_levels_is_removed() {
    // In memory where that can be: on a disk it takes minutes.
    let memory = Path::new("/dev/shm");
    let above = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = tempfile::tempdir_in(above).unwrap();
    let pool = Dir::open(directory.path()).unwrap().unwrap();
    let created = pool.create(&name("deep")).unwrap();
    let mut level = pool.find(created.dataset()).unwrap().unwrap();
    let long = "d".repeat(60);
    for _ in 0..100_000 {
        fs::mkdirat(&level, long.as_str(), Mode::RWXU).unwrap();
        level = fs::openat(&level, long.as_str(), DIRECTORY, Mode::empty()).unwrap();
    }
    drop(level);
    pool.destroy(created).unwrap();
    assert!(pool.dataset(&name("deep")).unwrap().is_none());
}

#[test]
fn many_entries_and_names_that_are_not_utf8_are_removed() {
    use std::os::unix::ffi::OsStrExt;
    let (directory, pool) = pool();
    let created = pool.create(&name("a")).unwrap();
    let path = directory.path().join("a");
    for number in 0..3000 {
        std::fs::create_dir(path.join(format!("d{number}"))).unwrap();
        std::fs::write(path.join(format!("d{number}/f")), "").unwrap();
        std::fs::write(path.join(format!("f{number}")), "").unwrap();
    }
    for odd in [&b"\xff\xfe"[..], b"new\nline", b"-rf", b" "] {
        std::fs::write(path.join(std::ffi::OsStr::from_bytes(odd)), "").unwrap();
    }
    fs::mknodat(CWD, path.join("fifo"), fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    std::fs::set_permissions(path.join("d7"), PermissionsExt::from_mode(0o000)).unwrap();
    if is_root() {
        pool.destroy(created).unwrap();
        assert!(!path.exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn immutable_and_append_only_entries_are_removed_but_stay_so_elsewhere() {
    if !is_root() {
        return;
    }
    let (directory, pool) = pool();
    let created = pool.create(&name("a")).unwrap();
    let path = directory.path().join("a");
    std::fs::create_dir_all(path.join("locked/below")).unwrap();
    std::fs::create_dir(path.join("growing")).unwrap();
    for file in ["immutable", "append", "locked/file", "locked/below/file", "growing/file"] {
        std::fs::write(path.join(file), "text").unwrap();
    }
    // Somebody's file that has a second name in the dataset.
    let outside = directory.path().join("outside");
    std::fs::write(&outside, "text").unwrap();
    std::fs::hard_link(&outside, path.join("linked")).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let immutable = ["immutable", "locked/file", "locked/below/file", "locked/below", "locked"];
    let flagged = immutable.iter().all(|entry| can("chattr", &["+i", &text(&path.join(entry))]))
        && can("chattr", &["+a", &text(&path.join("append"))])
        && can("chattr", &["+a", &text(&path.join("growing"))])
        && can("chattr", &["+i", &text(&outside)]);
    if flagged {
        pool.destroy(created).unwrap();
        assert!(!path.exists());
        assert!(std::fs::write(&outside, "changed").is_err(), "it must still be immutable");
    }
    can("chattr", &["-R", "-f", "-i", "-a", &text(directory.path())]);
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_removed_through_a_mount() {
    if !is_root() {
        return;
    }
    let (directory, pool) = pool();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let theirs = directory.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    std::fs::write(theirs.join("file"), "text").unwrap();
    let created = pool.create(&name("a")).unwrap();
    let inside = directory.path().join("a/x/mnt");
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::write(directory.path().join("a/kept"), "text").unwrap();
    // Of the same file system, so that the device alone does not tell.
    if !can("mount", &["--bind", &text(&theirs), &text(&inside)]) {
        return;
    }
    let kept = pool.destroy(created).unwrap_err();
    assert!(matches!(&kept.error, Error::MountedOver(at) if at.ends_with("a/x/mnt")));
    assert!(directory.path().join("a/kept").exists(), "it is known before anything is removed");
    assert_eq!(std::fs::read_to_string(theirs.join("file")).unwrap(), "text");
    assert!(can("umount", &[&text(&inside)]));
    pool.destroy(kept.token).unwrap();
    assert_eq!(std::fs::read_to_string(theirs.join("file")).unwrap(), "text");
}

#[test]
fn renaming_by_a_look_before_the_leap_does_not_replace_either() {
    let (directory, pool) = pool();
    let _created = [pool.create(&name("a")).unwrap(), pool.create(&name("empty")).unwrap()];
    let above = &pool.root;
    assert_eq!(pool.rename_checked((above, "a"), (above, "empty")).unwrap(), Err(Errno::EXIST));
    assert_eq!(pool.rename_checked((above, "a"), (above, "new")).unwrap(), Ok(()));
    assert!(directory.path().join("new").exists());
}

#[test]
fn a_leftover_that_is_a_file_is_found_and_removed() {
    let (_directory, pool) = pool();
    let state = pool.state_directory().unwrap();
    std::fs::write(state.join("staging/partial"), "text").unwrap();
    symlink("/etc", state.join("views/link")).unwrap();
    let found = pool.leftovers().unwrap();
    let wanted = [".remand/views/link", ".remand/staging/partial"].map(|text| Leftover::Dataset(name(text)));
    assert_eq!(found, wanted);
    for leftover in found {
        pool.destroy_leftover(&leftover).unwrap();
    }
    assert!(pool.leftovers().unwrap().is_empty());
    assert!(Path::new("/etc").exists());
}

#[test]
fn datasets_and_their_properties_are_remembered_wherever_they_go() {
    let (_directory, pool) = pool();
    pool.state_directory().unwrap();
    let jails = pool.create(&name("jails")).unwrap();
    let staged = pool.create(&name(".remand/staging/run")).unwrap();
    for part in ["root", "data", "data/db"] {
        let created = pool.create(&name(&format!(".remand/staging/run/{part}"))).unwrap();
        pool.set_property(&created, "org.example:note", &format!("of\n{part}")).unwrap();
    }
    pool.set_property(&staged, "quota", "1 G").unwrap();
    let web01 = pool.rename(staged, &name("jails/web01")).unwrap();
    let below = |above: &str| -> Vec<String> {
        pool.descendants(&name(above)).unwrap().iter().map(|found| found.name.to_string()).collect()
    };
    let all = ["jails/web01/data", "jails/web01/data/db", "jails/web01/root"];
    assert_eq!(below("jails/web01"), all);
    assert_eq!(below("jails/web01/data"), all[1..2]);
    assert_eq!(below("jails"), [""; 0], "only what was created in a dataset");
    let property = |of: &str, property: &str| pool.own_properties(&name(of)).unwrap().get(property).cloned();
    assert_eq!(property("jails/web01", "quota").as_deref(), Some("1 G"));
    assert_eq!(property("jails/web01/data/db", "org.example:note").as_deref(), Some("of\ndata/db"));
    // By hand, too.
    std::fs::rename(pool.directory().join("jails/web01"), pool.directory().join("jails/web02")).unwrap();
    std::fs::create_dir_all(pool.directory().join("jails/web01/data")).unwrap();
    assert_eq!(below("jails/web01"), [""; 0]);
    assert_eq!(below("jails/web02"), all.map(|name| name.replace("web01", "web02")));
    std::fs::rename(pool.directory().join("jails/web02/data"), pool.directory().join("jails/elsewhere"))
        .unwrap();
    assert_eq!(below("jails/web02"), ["jails/web02/root"], "what is gone is none");
    drop(web01);
    pool.destroy(jails).unwrap();
}

#[test]
fn a_part_that_is_renamed_takes_its_record_along() {
    let (_directory, pool) = pool();
    pool.state_directory().unwrap();
    let top = pool.create(&name("a")).unwrap();
    let part = pool.create(&name("a/b")).unwrap();
    let _below = pool.create(&name("a/b/c")).unwrap();
    pool.set_property(&part, "quota", "1").unwrap();
    let part = pool.rename(part, &name("z")).unwrap();
    assert_eq!(pool.descendants(&name("a")).unwrap(), []);
    assert_eq!(pool.descendants(&name("z")).unwrap()[0].name, name("z/c"));
    assert_eq!(pool.own_properties(&name("z")).unwrap()["quota"], "1");
    let record = pool.existing_state_directory().unwrap().unwrap().join("datasets");
    pool.destroy(part).unwrap();
    pool.destroy(top).unwrap();
    assert_eq!(std::fs::read_dir(record).unwrap().count(), 0, "nothing is remembered of what is destroyed");
}
