//! DIRECTORY archives: files that are something else, and files that somebody changes.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::run::remand;
use crate::support::{bundle::Bundle, is_root, while_disturbed};
use crate::trap::{Trap, cost};

fn saved(trap: &Trap, bundle: &Bundle) -> PathBuf {
    let path = trap.scratch.join("hostile");
    let _ = std::fs::remove_dir_all(&path);
    bundle.save_directory(&path);
    path
}

fn mkfifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
}

/// Puts something else where a file of the archive is.
type Replace = fn(&Path);

#[test]
fn files_that_are_something_else() {
    let (trap, bundle) = Trap::new();
    let mut others: Vec<(&str, Replace)> = vec![
        ("FIFO", mkfifo),
        ("link", |path| symlink("/etc/passwd", path).unwrap()),
        ("link to itself", |path| symlink(path, path).unwrap()),
        ("directory", |path| std::fs::create_dir(path).unwrap()),
        ("socket", |path| {
            drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        }),
    ];
    if is_root() {
        others.push(("device", |path| {
            let (kind, zero) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 5));
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, zero).unwrap();
        }));
    }
    for (what, replace) in others {
        for file in ["manifest.json", "index.jsonl", "config.json", "root/srv/new"] {
            let archive = saved(&trap, &bundle);
            std::fs::remove_file(archive.join(file)).unwrap();
            // A socket's path is short.
            let place = std::env::current_dir().unwrap();
            let short = trap.scratch.join("s");
            replace(&short);
            std::fs::rename(&short, archive.join(file)).unwrap();
            drop(place);
            trap.refuses(&format!("{what} as {file}"), &archive, &[22, 23]);
        }
    }
}

#[test]
fn directories_that_are_links() {
    let (trap, bundle) = Trap::new();
    for directory in ["root", "root/srv", "files"] {
        let archive = saved(&trap, &bundle);
        let aside = trap.scratch.join("aside");
        std::fs::rename(archive.join(directory), &aside).unwrap();
        symlink(&aside, archive.join(directory)).unwrap();
        trap.refuses(directory, &archive, &[22, 23]);
        std::fs::remove_dir_all(&aside).unwrap();
    }
}

#[test]
fn files_that_nobody_announced() {
    let (trap, bundle) = Trap::new();
    for extra in ["evil", "root/evil", "root/srv/evil", "files/evil"] {
        let archive = saved(&trap, &bundle);
        std::fs::write(archive.join(extra), "x").unwrap();
        trap.refuses(extra, &archive, &[22, 23]);
    }
}

/// Whoever can write to the directory changes it while it is read. What is restored is one of the two, or nothing.
#[test]
fn files_that_change_while_they_are_read() {
    let (trap, bundle) = Trap::new();
    let archive = saved(&trap, &bundle);
    let honest = std::fs::read(archive.join("root/srv/new")).unwrap();
    let evil = vec![b'e'; honest.len()];
    let swap = |content: &[u8]| {
        std::fs::write(archive.join("swap"), content).unwrap();
        // The directory has an unknown file for a moment, which is refused too.
        std::fs::rename(archive.join("swap"), archive.join("root/srv/new")).unwrap();
    };
    let both = || {
        swap(&evil);
        swap(&honest);
    };
    while_disturbed(both, || {
        for _ in 0..20 {
            let cost = cost(remand(["restore"]).on(&trap.target).arg(&archive), None);
            trap.check("swapped", "restore", &cost, &[0, 22, 23]);
            if cost.status == 0 {
                let restored = trap.target.root("web01").join("srv/new");
                assert_eq!(std::fs::read(restored).unwrap(), honest);
                trap.target.delete("jails/web01");
            }
            assert_eq!(trap.target.remains(), Vec::<String>::new());
        }
    });
}
