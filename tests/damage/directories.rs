//! Damage of archives in DIRECTORY format.

use std::path::{Path, PathBuf};

use remand::archive::{Error, Source};

use super::sight::see_source;
use super::support::announce;
use super::support::at::{self, At};
use super::support::pool::names;
use super::support::run::remand;
use super::{Archives, share};

/// All regular files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names(directory) {
        let path = directory.join(name);
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_bit_of_every_file() {
    let archives = Archives::new();
    let whole = archives.export("web01", &["--format", "directory"]);
    let before = see_source(Source::Path(whole.clone())).unwrap();
    let mut tried = 0;
    for path in files(&whole) {
        let bytes = std::fs::read(&path).unwrap();
        for bit in (0..bytes.len() * 8).step_by(share(37)) {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &changed).unwrap();
            tried += 1;
            let what = format!("bit {bit} of {}", path.display());
            match see_source(Source::Path(whole.clone())) {
                Ok(_) => panic!("MISSED: {what}"),
                Err(Error::Damaged(_) | Error::Refused(_)) => {}
                Err(error) => panic!("{what}: {error:?}"),
            }
            if tried % 400 == 200 {
                archives.is_undone(&whole, &what);
            }
        }
        for length in (0..bytes.len()).step_by(512 / share(1).min(2)) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(see_source(Source::Path(whole.clone())).is_err(), "MISSED: cut of {}", path.display());
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(see_source(Source::Path(whole)).unwrap() == before);
    announce(&format!("DAMAGE directory: {tried} flipped bits, 0 missed"));
}

#[test]
fn files_that_are_missing_or_something_else() {
    let archives = Archives::new();
    let whole = archives.export("web01", &["--format", "directory"]);
    remand(["verify"]).arg(&whole).ends(0);
    let change = |what: &str, change: &dyn Fn(&At)| {
        let copy = archives.scratch.join("copy");
        let done = std::process::Command::new("cp").arg("-a").arg(&whole).arg(&copy).status();
        assert!(done.is_ok_and(|status| status.success()));
        change(&At::open(&copy));
        Archives::is_found(&copy, what);
        archives.is_undone(&copy, what);
        at::remove_tree(&copy);
    };
    for name in names(&whole) {
        change(&format!("without {name}"), &|root| root.remove(&name));
    }
    change("without a file", &|root| root.dir("root/srv").unlink("new"));
    change("with a file more", &|root| root.dir("root/srv").write("more", "x"));
    change("with two files swapped", &|root| {
        root.dir("root").rename("srv/new", "x");
        root.dir("root").rename("etc/conf", "srv/new");
        root.dir("root").rename("x", "etc/conf");
    });
    change("with a symlink in place of a directory", &|root| {
        root.dir("root").rename("srv", "srv-elsewhere");
        root.dir("root").symlink("srv", "srv-elsewhere");
    });
    change("with a file that is a symlink", &|root| {
        root.dir("root/srv").unlink("new");
        root.dir("root/srv").symlink("new", "/etc/passwd");
    });
    change("with a directory in place of a file", &|root| {
        root.dir("root/srv").unlink("new");
        drop(root.dir("root/srv").mkdir("new"));
    });
}
