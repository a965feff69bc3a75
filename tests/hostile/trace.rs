//! Proof that nothing outside of staging is touched: every system call that can change a file is looked at, of remand and of all programs
//! that it runs.
//!
//! Honest and hostile archives are restored under strace(1). What is opened for writing, made, linked, renamed, removed, or gets other
//! attributes must lie below the pool's `.remand`; besides there is the rename that makes the resource visible, and the null device.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::support::bundle::Bundle;
use crate::support::pool::{Place, Pool, Size};
use crate::support::run::{Run, export, remand};
use crate::support::{Scratch, program_for};
use crate::trap::Trap;

/// Calls that change something by a path or a descriptor, as strace calls them.
const CALLS: &str = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,link,linkat,rename,renameat,renameat2,\
    unlink,unlinkat,rmdir,truncate,ftruncate,chmod,fchmod,fchmodat,?fchmodat2,chown,lchown,fchown,fchownat,utime,utimes,futimesat,utimensat,\
    setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,fallocate,mount,umount2,pivot_root,chroot";

/// Runs it under strace; the calls, a line each.
fn traced(run: Run, scratch: &Scratch) -> (i32, Vec<String>) {
    let log = scratch.join("trace");
    let inner = run.into_command();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "4096", "-e", &format!("trace={CALLS}"), "-o"]).arg(&log);
    command.arg(inner.get_program()).args(inner.get_args()).env_clear();
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    (output.status.code().unwrap_or(-1), whole_lines(&text))
}

/// Calls that another thread's interrupted are told in two parts.
fn whole_lines(text: &str) -> Vec<String> {
    let mut open: std::collections::HashMap<&str, String> = std::collections::HashMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            open.insert(thread, begun.to_owned());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            let begun = open.remove(thread).unwrap_or_default();
            lines.push(begun + rest);
        } else {
            lines.push(call.to_owned());
        }
    }
    lines
}

/// The paths that a call names, each joined to its directory's.
fn paths(call: &str) -> Vec<PathBuf> {
    let Some((_, arguments)) = call.split_once('(') else { return Vec::new() };
    let arguments = arguments.rsplit_once(") = ").map_or(arguments, |(arguments, _)| arguments);
    let mut found = Vec::new();
    let mut above: Option<PathBuf> = None;
    let mut rest = arguments;
    while !rest.is_empty() {
        if let Some(text) = rest.strip_prefix('"') {
            let end = text.find('"').unwrap_or(text.len());
            let path = Path::new(&text[..end]);
            found.push(above.take().map_or_else(|| path.to_owned(), |above| above.join(path)));
            rest = text.get(end + 1..).unwrap_or_default();
        } else if let Some(text) = rest.strip_prefix('<') {
            let end = text.find('>').unwrap_or(text.len());
            // A descriptor without a path after it is what is meant itself.
            found.extend(above.replace(PathBuf::from(text[..end].trim_end_matches("(deleted)"))));
            rest = text.get(end + 1..).unwrap_or_default();
        } else {
            let step = rest.chars().next().map_or(1, char::len_utf8);
            rest = &rest[step..];
        }
    }
    found.extend(above);
    found
}

/// As a path is meant, without looking at links.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
        plain
    })
}

/// Whether a call can have changed what it names.
fn changes(call: &str) -> bool {
    let failed = call.rsplit_once(") = ").is_some_and(|(_, result)| result.starts_with('-'));
    let name = call.split('(').next().unwrap_or_default();
    let writes =
        || ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"].iter().any(|flag| call.contains(flag));
    !failed && (!name.starts_with("open") || writes())
}

/// Fails if anything was changed that is not `allowed`.
#[track_caller]
fn only_touches(calls: &[String], allowed: &dyn Fn(&str, &Path) -> bool) -> usize {
    let mut seen = 0;
    for call in calls.iter().filter(|call| changes(call)) {
        // The target of a symbolic link is a text.
        let mut named = paths(call);
        if call.starts_with("symlink") {
            named.remove(0);
        }
        for path in named {
            // Pipes, sockets and terminals have no place.
            let text = path.to_string_lossy();
            if text.starts_with("pipe:") || text.starts_with("socket:") || text.starts_with("anon_inode:") {
                continue;
            }
            seen += 1;
            assert!(allowed(call, &plain(&path)), "{} in {call}", path.display());
        }
    }
    seen
}

/// What a restore in a pool may touch.
fn within(pool: &Path) -> impl Fn(&str, &Path) -> bool {
    let (state, jails) = (pool.join(".remand"), pool.join("jails"));
    move |call, path| {
        let publishes = call.starts_with("renameat2") && call.contains("RENAME_NOREPLACE");
        // Making the state directory; the rename, and the time of the directory that it changes.
        path.starts_with(&state)
            || path == Path::new("/dev/null")
            || path == jails.join("web01") && (publishes || call.starts_with("utimensat"))
            || path == jails && (call.starts_with("utimensat") || call.starts_with("futimens"))
            || path.starts_with("/proc/self/fd")
    }
}

fn hostile(honest: &Bundle) -> Vec<(&'static str, Bundle)> {
    let with = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = honest.clone();
        change(&mut bundle);
        bundle
    };
    vec![
        ("honest", honest.clone()),
        ("leaves", with(&|bundle| bundle.add_copy("root/srv/new", "root/../../evil"))),
        (
            "behind a link",
            with(&|bundle| {
                bundle.add_copy("root/srv/absolute", "root/srv/door");
                bundle.add_copy("root/srv/new", "root/srv/door/evil");
            }),
        ),
        ("unannounced", with(&|bundle| bundle.add_copy("root/srv/new", "evil"))),
        ("twice", with(&|bundle| bundle.add_copy("root/srv/new", "root/srv/new"))),
        ("damaged", with(&|bundle| bundle.member("./root/srv/new").data[0] ^= 1)),
        (
            "manifest",
            with(&|bundle| {
                let mut manifest = bundle.manifest();
                manifest["resources"][0]["name"] = "../../evil".into();
                bundle.set_manifest(&manifest);
                bundle.reseal();
            }),
        ),
    ]
}

#[test]
fn nothing_outside_of_staging_is_touched() {
    let group = "hostile: trace";
    if program_for(group, "strace").is_none() {
        return;
    }
    let (trap, honest) = Trap::new();
    let allowed = within(trap.target.directory());
    for (what, bundle) in hostile(&honest) {
        let (tar, directory) = (trap.scratch.join("a.tar"), trap.scratch.join("a"));
        bundle.save(&tar);
        let _ = std::fs::remove_dir_all(&directory);
        bundle.save_directory(&directory);
        for archive in [&tar, &directory] {
            let (status, calls) = traced(remand(["restore"]).on(&trap.target).arg(archive), &trap.scratch);
            let seen = only_touches(&calls, &allowed);
            assert_eq!(status == 0, what == "honest", "{what}: {status}");
            assert!(seen > 20 || what != "honest", "{seen} of {} calls", calls.len());
            trap.target.delete("jails/web01");
            for command in ["verify", "info"] {
                let (_, calls) = traced(remand([command]).arg(archive), &trap.scratch);
                only_touches(&calls, &|_, path| path == Path::new("/dev/null"));
                assert!(calls.len() > 3, "{what}");
            }
        }
    }
}

/// The same with streams, and the programs that take them.
#[test]
fn nothing_outside_of_staging_is_touched_by_a_stream() {
    let group = "hostile: trace of streams";
    let (Some(_), Some(place)) = (program_for(group, "strace"), Place::btrfs(group)) else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    let target = Pool::empty(&place);
    export(&source, "web01", &scratch.join("a.tar"), &["--standalone"]);
    let (status, calls) = traced(remand(["restore"]).on(&target).arg(scratch.join("a.tar")), &scratch);
    assert_eq!(status, 0, "{calls:?}");
    let allowed = within(target.directory());
    // btrfs-receive(8) is in the directory that it receives into, and calls that its root.
    let confined =
        calls.iter().position(|call| call.starts_with("chroot(")).expect("btrfs receive is confined");
    assert!(paths(&calls[confined])[0].starts_with(target.path(".remand/staging")), "{}", calls[confined]);
    let inside = |call: &str, path: &Path| {
        allowed(call, path) || call.starts_with("chroot(") || is_relative(call, path)
    };
    assert!(only_touches(&calls, &inside) > 20);
}

/// Paths of a stream lie in the root that its program has.
fn is_relative(call: &str, path: &Path) -> bool {
    let path = path.to_string_lossy();
    let inside = path.trim_start_matches('/');
    // What a link points to is a text.
    (call.starts_with("symlink") || !call.contains(".."))
        && (inside.is_empty() || inside.starts_with("remand-"))
}
