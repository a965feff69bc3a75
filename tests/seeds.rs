//! The seeds of the fuzz targets, by the same functions: what a target has found once stays found.

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::path::{Path, PathBuf};

/// The seeds of a target.
fn seeds(target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let found =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty(), "{} is empty", directory.display());
    found
}

/// Those of `cli_config` are read by a test beside the config file's own.
#[test]
fn seeds_hold_what_must_hold() {
    for (target, check) in checks::ALL {
        for seed in seeds(target) {
            let bytes = std::fs::read(&seed).unwrap();
            let outcome = std::panic::catch_unwind(|| check(&bytes));
            assert!(outcome.is_ok(), "{}", seed.display());
        }
    }
}

/// A target that nobody replays would be none.
#[test]
fn each_target_has_seeds_and_a_check() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut targets: Vec<_> = std::fs::read_dir(targets)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    targets.sort();
    let mut known: Vec<_> = checks::ALL.iter().map(|(name, _)| *name).chain(["cli_config"]).collect();
    known.sort_unstable();
    assert_eq!(targets, known);
    assert!(targets.iter().all(|target| !seeds(target).is_empty()));
}

/// What the writers make today is in the tree. With `REMAND_WRITE_SEEDS` set it is written there.
#[test]
fn made_seeds_are_those_of_the_writers() {
    let write = std::env::var_os("REMAND_WRITE_SEEDS").is_some();
    for (target, name, bytes) in checks::seeds() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let path = directory.join(&name);
        if write {
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            kept == bytes || target == "archive",
            "{target}/{name} is old: REMAND_WRITE_SEEDS=1 makes it anew"
        );
    }
}
