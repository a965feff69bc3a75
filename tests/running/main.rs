//! What runs: it is told, commands run around the snapshot, and what is stopped or frozen goes on whatever happens.
#![cfg(target_os = "linux")]

mod held;
#[allow(clippy::duplicate_mod)] // every test binary has its own
#[path = "../support/mod.rs"]
mod support;

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::host::Host;
use support::pool::{Place, Pool, Size};
use support::run::{Run, remand};
use support::{Scratch, program_for, root_for};

const GROUP: &str = "running";

fn pool() -> (Scratch, Pool) {
    (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Small))
}

/// A host on which lxc has a container at the root of jail `web01`.
fn lxc(pool: &Pool) -> Option<Host> {
    Host::new(GROUP, &["lxc-"], "c1", &pool.root("web01"))
}

/// Files that tell of runs.
fn records(pool: &Pool) -> Vec<String> {
    support::pool::names(&pool.path(".remand/runs"))
}

/// Nothing of a run is left in the pool, and no archive but `kept`.
#[track_caller]
fn nothing_is_left(pool: &Pool, scratch: &Scratch, kept: &[&str]) {
    assert_eq!((pool.remains(), records(pool)), (Vec::new(), Vec::new()));
    assert_eq!(support::pool::names(scratch.path()), kept);
}

/// Whether the roots of all processes are to be seen, of which a sandbox can hide some from root too.
fn sees_all() -> bool {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path().join("root")));
    let hidden = |root: &std::path::PathBuf| {
        root.metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    !processes.filter(|root| !root.starts_with("/proc/self")).any(|root| hidden(&root))
}

/// What the list says of what does not run, where somebody knows that.
fn stopped(is_known: bool) -> serde_json::Value {
    if is_known { false.into() } else { serde_json::Value::Null }
}

fn listed(pool: &Pool, host: Option<&Host>) -> serde_json::Value {
    let run = remand(["list", "--json"]).on(pool);
    let lines = host.map_or_else(|| remand(["list", "--json"]).on(pool), |host| host.on(run)).ends(0).json();
    lines.iter().find(|line| line["resource"]["name"] == "web01").unwrap()["resource"]["running"].clone()
}

#[test]
fn the_list_says_what_runs_by_what_each_manager_says() {
    let (_scratch, pool) = pool();
    for prefixes in [&["lxc-"][..], &["machinectl", "systemctl"], &["jls"]] {
        let Some(host) = Host::new(GROUP, prefixes, "web02", &pool.root("web01")) else { return };
        assert_eq!(listed(&pool, Some(&host)), true, "{prefixes:?}");
        host.set_state("STOPPED");
        let knows_all = prefixes != ["machinectl", "systemctl"] || sees_all();
        assert_eq!(listed(&pool, Some(&host)), stopped(knows_all), "{prefixes:?}");
        // A name says nothing.
        let Some(other) = Host::new(GROUP, prefixes, "web01", Path::new("/nowhere/else")) else { return };
        assert_eq!(listed(&pool, Some(&other)), stopped(prefixes == ["jls"] || sees_all()), "{prefixes:?}");
    }
    let Some(host) = lxc(&pool) else { return };
    let text = host.on(remand(["list"]).on(&pool)).ends(0).text();
    let columns = |name: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.contains(name)).unwrap();
        line.split_whitespace().take(3).map(str::to_owned).collect()
    };
    assert_eq!(columns("NAME"), ["KIND", "NAME", "RUNS"]);
    assert_eq!(columns("web01"), ["jail", "web01", "yes"]);
    assert_eq!(columns("release"), ["release", "base-1.0", "-"]);
}

#[test]
fn a_process_whose_root_it_is_runs() {
    let (_scratch, pool) = pool();
    if !root_for(GROUP) {
        return;
    }
    let Some(python) = program_for(GROUP, "python3") else { return };
    assert_eq!(listed(&pool, None), stopped(sees_all()));
    let script = "import os, sys; os.chroot(sys.argv[1]); print('there', flush=True); sys.stdin.read()";
    let mut child = std::process::Command::new(python)
        .args(["-c", script])
        .arg(pool.root("web01"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    assert_eq!(listed(&pool, None), true);
    // Nobody knows who could stop it.
    let scratch = Scratch::new();
    let ended = remand(["export", "--stop", "web01"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(1);
    ended.tells("can stop it");
    nothing_is_left(&pool, &scratch, &[]);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(listed(&pool, None), stopped(sees_all()));
}

#[test]
fn who_cannot_look_says_that_it_is_unknown() {
    let (_scratch, pool) = pool();
    if !root_for(GROUP) || program_for(GROUP, "setpriv").is_none() {
        return;
    }
    let run = remand(["list"]).on(&pool).through(|command| {
        let mut outer = std::process::Command::new("setpriv");
        outer.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
        outer.arg(command.get_program()).args(command.get_args());
        outer
    });
    let ended = run.end();
    let line = ended.stdout.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"jail"));
    let line = String::from_utf8_lossy(line.unwrap_or_else(|| panic!("{}", ended.describe()))).into_owned();
    // Root without capabilities may look at processes that have none either, which are not all.
    assert!(["-", "no"].contains(&line.split_whitespace().nth(2).unwrap()), "{line}");
}

fn start(run: Run) -> Child {
    run.into_command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("remand")
}

#[track_caller]
fn wait_for(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn export(pool: &Pool, options: &[&str], to: &Path) -> Run {
    remand(["export"]).on(pool).args(options).arg("web01").arg(to)
}

#[test]
fn commands_run_around_it_in_their_order_with_what_they_need_to_know() {
    let (scratch, pool) = pool();
    let log = scratch.join("log");
    let line = |what: &str| {
        format!(
            "echo {what} $REMAND_HOOK $REMAND_KIND $REMAND_RESOURCE $REMAND_ROOT $REMAND_POOL $REMAND_RESULT >>{}",
            log.display()
        )
    };
    let (one, two, three) = (line("1"), line("2"), line("3"));
    let options = ["--pre-snapshot", &one, "--pre-snapshot", &two, "--post-snapshot", &three];
    let ended = export(&pool, &options, &scratch.join("a.tar.gz")).ends(0);
    let about = format!("jail web01 {} {}", pool.root("web01").display(), pool.name());
    let expected = format!("1 pre-snapshot {about}\n2 pre-snapshot {about}\n3 post-snapshot {about} ok\n");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), expected);
    ended.tells("PreSnapshot@web01");
    // What they say is told, and whose it is.
    let options = ["--pre-snapshot", "echo to the log; echo aside >&2"];
    let ended = export(&pool, &options, &scratch.join("b.tar.gz")).ends(0);
    ended.tells("note: pre-snapshot of web01: to the log");
    ended.tells("note: pre-snapshot of web01: aside");
    nothing_is_left(&pool, &scratch, &["a.tar.gz", "b.tar.gz", "log"]);
}

#[test]
fn the_config_file_has_commands_too() {
    let (scratch, pool) = pool();
    let (config, log) = (scratch.join("remand.toml"), scratch.join("log"));
    let text = format!(
        "pre-snapshot = ['echo a >>{0}']\npost-snapshot = ['echo b >>{0}']\nhook-timeout = '5s'\n",
        log.display()
    );
    std::fs::write(&config, text).unwrap();
    let run = |options: &[&str], name: &str| {
        export(&pool, options, &scratch.join(name)).env("REMAND_CONFIG", &config).ends(0)
    };
    run(&[], "1.tar");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "a\nb\n");
    run(&["--no-hooks"], "2.tar");
    run(&["--pre-snapshot", "true"], "3.tar");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "a\nb\n");
    std::fs::write(&config, "hook-timeout = 'soon'\n").unwrap();
    export(&pool, &[], &scratch.join("4.tar")).env("REMAND_CONFIG", &config).ends(2).tells("hook-timeout");
}

#[test]
fn a_command_that_fails_before_the_snapshot_fails_the_export_and_what_it_did_is_undone() {
    let (scratch, pool) = pool();
    let log = scratch.join("log");
    let post = format!("echo $REMAND_RESULT >>{}", log.display());
    for (command, reason) in [
        ("exit 7", "failed (exit status: 7): exit 7"),
        ("kill -9 $$", "signal: 9"),
        ("sleep 600", "was ended after 1 s"),
    ] {
        let options = ["--pre-snapshot", command, "--post-snapshot", &post, "--hook-timeout", "1s"];
        export(&pool, &options, &scratch.join("a.tar.gz")).ends(1).tells(reason);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "failed\n", "{command}");
        std::fs::remove_file(&log).unwrap();
        nothing_is_left(&pool, &scratch, &[]);
    }
}

#[test]
fn a_command_that_fails_after_the_snapshot_is_a_warning() {
    let (scratch, pool) = pool();
    let ended = export(&pool, &["--post-snapshot", "exit 4"], &scratch.join("a.tar.gz")).ends(3);
    ended
        .tells("warning: web01: The post-snapshot command of the jail web01 failed (exit status: 4): exit 4");
    remand(["verify"]).arg(scratch.join("a.tar.gz")).ends(0);
    nothing_is_left(&pool, &scratch, &["a.tar.gz"]);
}

#[test]
fn what_a_command_leaves_in_the_background_holds_nobody_up() {
    let (scratch, pool) = pool();
    let pid = scratch.join("pid");
    let (pre, post) = (
        format!("sleep 300 & echo $! >{}", pid.display()),
        format!("kill $(cat {}) && rm {0}", pid.display()).replace("{0}", pid.to_str().unwrap()),
    );
    let begin = Instant::now();
    export(&pool, &["--pre-snapshot", &pre, "--post-snapshot", &post], &scratch.join("a.tar.gz")).ends(0);
    assert!(begin.elapsed() < Duration::from_secs(120));
    nothing_is_left(&pool, &scratch, &["a.tar.gz"]);
}

#[test]
fn an_interrupt_ends_a_command_and_rolls_back() {
    let (scratch, pool) = pool();
    let log = scratch.join("log");
    let (pre, post) = (format!("echo >{}; sleep 600", log.display()), format!("rm {}", log.display()));
    let run = export(&pool, &["--pre-snapshot", &pre, "--post-snapshot", &post], &scratch.join("a.tar.gz"));
    let mut child = start(run);
    wait_for("the command", || log.exists());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    nothing_is_left(&pool, &scratch, &[]);
}

#[test]
fn with_keep_going_only_what_fails_is_left_out() {
    let (scratch, pool) = pool();
    pool.jail("web02", "base-1.0", Size::Small);
    let log = scratch.join("log");
    let pre = "[ $REMAND_RESOURCE != web01 ]";
    let post = format!("echo $REMAND_RESOURCE >>{}", log.display());
    let archive = scratch.join("a.tar.gz");
    let all = |options: &[&str]| {
        let options: Vec<_> =
            ["--pre-snapshot", pre, "--post-snapshot", &post].iter().chain(options).copied().collect();
        remand(["export"]).on(&pool).args(&options).args(&["web01", "web02"]).arg(&archive)
    };
    all(&[]).ends(1).tells("jail web01");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "web01\n");
    std::fs::remove_file(&log).unwrap();
    all(&["--keep-going"]).ends(3).tells("jail web01: failed, and is not in the archive");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "web01\nweb02\n");
    let info = remand(["info"]).arg(&archive).ends(0).text();
    assert!(info.contains("web02"), "{info}");
    nothing_is_left(&pool, &scratch, &["a.tar.gz", "log"]);
}

#[test]
fn commands_run_in_what_runs_and_are_skipped_where_nothing_does() {
    let (scratch, pool) = pool();
    let Some(host) = lxc(&pool) else { return };
    let log = scratch.join("log");
    let pre = format!("echo $REMAND_ROOT $REMAND_RESOURCE >>{}", log.display());
    let options = ["--hook-in", "jail", "--pre-snapshot", &pre];
    host.on(export(&pool, &options, &scratch.join("a.tar.gz"))).ends(0);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "/ web01\n");
    assert!(
        host.log()[0].starts_with("lxc-attach --clear-env -n c1 -- /usr/bin/env PATH="),
        "{:?}",
        host.log()
    );
    host.set_state("STOPPED");
    host.on(export(&pool, &options, &scratch.join("b.tar.gz"))).ends(0).tells("SKIPPED (it does not run)");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "/ web01\n");
}
