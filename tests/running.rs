//! What runs: it is told, commands run around the snapshot, and what is stopped or frozen goes on whatever happens.
#![cfg(target_os = "linux")]

#[allow(clippy::duplicate_mod)] // every test binary has its own
mod support;

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::host::Host;
use support::pool::{Place, Pool, Size};
use support::run::{Ended, remand};
use support::{Scratch, program_for, root_for, skipped};

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

fn export(pool: &Pool, options: &[&str], to: &Path) -> support::run::Run {
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

#[test]
fn what_runs_is_frozen_or_stopped_meanwhile_by_each_manager() {
    let (scratch, pool) = pool();
    let unit = "systemd-nspawn@m1.service";
    let cases: [(&[&str], &str, &str, [String; 2]); 5] = [
        (&["lxc-"], "m1", "--freeze", ["lxc-freeze -n m1".into(), "lxc-unfreeze -n m1".into()]),
        (&["lxc-"], "m1", "--stop", ["lxc-stop -n m1".into(), "lxc-start -n m1".into()]),
        (
            &["machinectl", "systemctl"],
            "m1",
            "--freeze",
            [format!("systemctl freeze {unit}"), format!("systemctl thaw {unit}")],
        ),
        (
            &["machinectl", "systemctl"],
            "m1",
            "--stop",
            [format!("systemctl stop {unit}"), format!("systemctl start {unit}")],
        ),
        (&["jls", "ioc"], "m1", "--stop", ["ioc stop web01".into(), "ioc start web01".into()]),
    ];
    for (number, (programs, subject, option, lines)) in cases.into_iter().enumerate() {
        let Some(host) = Host::new(GROUP, programs, subject, &pool.root("web01")) else { return };
        let pre = format!("echo pre >>{}", host.state_file("log").display());
        let post = pre.replace("echo pre", "echo post");
        let options = [option, "--pre-snapshot", &pre, "--post-snapshot", &post, "--json"];
        let ended = host.on(export(&pool, &options, &scratch.join(&format!("{number}.tar.gz")))).ends(0);
        let [begin, end] = &lines;
        assert_eq!(host.log(), ["pre", begin, end, "post"], "{option}");
        assert_eq!(host.state(), "RUNNING");
        let step = if option == "--stop" { "Start" } else { "Thaw" };
        let told = ended.json().into_iter().find(|line| line["step"] == step && line["state"] == "end");
        assert!(told.expect(step)["held_milliseconds"].is_u64());
        assert_eq!(pool.remains(), [""; 0]);
        // What does not run is not started.
        host.set_state("STOPPED");
        host.forget_log();
        let archive = scratch.join(&format!("{number}-stopped.tar.gz"));
        let ended = host.on(export(&pool, &[option], &archive)).end();
        if programs == ["machinectl", "systemctl"] && !sees_all() {
            ended.expect(1);
            ended.tells("It is unknown whether the jail web01 runs");
        } else {
            ended.expect(0);
            ended.tells("it does not run");
        }
        assert_eq!((host.log().len(), host.state().as_str()), (0, "STOPPED"), "{option}");
    }
}

#[test]
fn what_somebody_else_has_frozen_stays_so() {
    let (scratch, pool) = pool();
    let Some(host) = lxc(&pool) else { return };
    host.set_state("FROZEN");
    host.on(export(&pool, &["--freeze"], &scratch.join("a.tar.gz"))).ends(0).tells("it is frozen already");
    host.on(export(&pool, &["--stop"], &scratch.join("b.tar.gz"))).ends(1).tells("thaw it first");
    assert_eq!((host.log().len(), host.state().as_str()), (0, "FROZEN"));
    nothing_is_left(&pool, &scratch, &["a.tar.gz"]);
}

#[test]
fn a_jail_cannot_be_frozen_which_is_said_before_anything_is_done() {
    let (scratch, pool) = pool();
    let Some(host) = Host::new(GROUP, &["jls", "ioc"], "x", &pool.root("web01")) else { return };
    let options = ["--freeze", "--pre-snapshot", "exit 9"];
    host.on(export(&pool, &options, &scratch.join("a.tar.gz"))).ends(1).tells("can freeze it");
    nothing_is_left(&pool, &scratch, &[]);
}

#[test]
fn it_goes_on_when_holding_it_or_the_export_fails() {
    let (scratch, pool) = pool();
    let Some(host) = lxc(&pool) else { return };
    host.trouble("fail", "lxc-stop", true);
    let ended = host.on(export(&pool, &["--stop"], &scratch.join("a.tar.gz"))).ends(1);
    ended.tells("lxc-stop cannot do it");
    assert_eq!(host.state(), "RUNNING");
    assert_eq!(host.log(), ["lxc-stop -n c1", "lxc-start -n c1"]);
    nothing_is_left(&pool, &scratch, &[]);
    // The archive cannot be written.
    host.forget_log();
    let ended = host.on(export(&pool, &["--freeze"], Path::new("/dev/full/a.tar.gz"))).end();
    assert_ne!(ended.status, 0);
    assert_eq!(host.state(), "RUNNING");
    assert_eq!(pool.remains(), [""; 0]);
}

#[test]
fn what_cannot_be_thawed_is_told_and_left_to_cleanup() {
    let (scratch, pool) = pool();
    let Some(host) = lxc(&pool) else { return };
    host.trouble("fail", "lxc-unfreeze", true);
    let ended = host.on(export(&pool, &["--freeze"], &scratch.join("a.tar.gz"))).ends(3);
    ended.tells("the jail web01 is frozen still");
    assert_eq!(host.state(), "FROZEN");
    let listed = host.on(remand(["cleanup"]).on(&pool)).ends(0).text();
    assert!(listed.contains("jail web01 that is frozen by lxc"), "{listed}");
    host.on(remand(["cleanup", "--yes"]).on(&pool)).ends(3).tells("lxc-unfreeze cannot do it");
    host.trouble("fail", "lxc-unfreeze", false);
    host.on(remand(["cleanup", "--yes"]).on(&pool)).ends(0).tells("Let the jail web01 go on");
    assert_eq!(host.state(), "RUNNING");
    nothing_is_left(&pool, &scratch, &["a.tar.gz"]);
}

fn start(run: support::run::Run) -> Child {
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

/// The guards of a pool's runs: shells that have the record of one open.
fn guards(pool: &Pool) -> Vec<Pid> {
    let runs = pool.path(".remand/runs");
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_guard = |pid: &String| {
        let named = std::fs::read(format!("/proc/{pid}/cmdline"));
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        // While it runs something a shell puts its own output aside.
        let mut files = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        named.is_ok_and(|words| words.split(|&byte| byte == 0).any(|word| word == b"remand-guard"))
            && files.any(|path| path.starts_with(&runs))
    };
    processes.filter(is_guard).filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

fn kill(child: &mut Child) {
    kill_process(Pid::from_child(child), Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

/// Where an export is killed.
const MOMENTS: [(&str, &str); 4] = [
    // While the resource is being stopped, while the archive is written, while it is started again.
    ("slow", "lxc-stop"),
    ("hook", ""),
    ("read", ""),
    ("slow", "lxc-start"),
];

/// Starts an export of what runs, and returns when it is at that moment.
fn at_moment((how, program): (&str, &str), pool: &Pool, host: &Host) -> Child {
    host.set_state("RUNNING");
    host.forget_log();
    if how == "slow" {
        host.trouble("slow", program, true);
    }
    let hook = format!("echo hook >>{}; sleep 20", host.state_file("log").display());
    let options: Vec<&str> = match how {
        "hook" => vec!["--stop", "--pre-snapshot", &hook],
        _ => vec!["--stop"],
    };
    let run = remand(["export", "-c", "none"]).on(pool).args(&options).args(&["web01", "-"]);
    let mut command = host.on(run).into_command();
    let to = if how == "read" { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdout(to).stderr(Stdio::null()).spawn().unwrap();
    match how {
        "read" => child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap(),
        "hook" => wait_for("the command", || host.log() == ["hook"]),
        _ => wait_for(program, || host.log().iter().any(|line| line.starts_with(program))),
    }
    child
}

#[test]
fn killed_at_any_moment_it_goes_on_by_its_guard() {
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    let Some(host) = lxc(&pool) else { return };
    for moment in MOMENTS {
        let mut child = at_moment(moment, &pool, &host);
        assert_eq!(guards(&pool).len(), usize::from(moment.0 != "hook"), "{moment:?}");
        // Ctrl-C in a terminal reaches a process group, and not the guard.
        kill(&mut child);
        wait_for("the guard", || guards(&pool).is_empty());
        assert_eq!(host.state(), "RUNNING", "{moment:?}: {:?}", host.log());
        if moment.0 == "slow" {
            host.trouble("slow", moment.1, false);
        }
        // It has nothing to do, and says so by removing what is left.
        host.on(remand(["cleanup", "--yes"]).on(&pool)).ends(0);
        assert_eq!((records(&pool).len(), host.state().as_str()), (0, "RUNNING"), "{moment:?}");
    }
}

#[test]
fn killed_with_its_guard_it_goes_on_by_cleanup() {
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    let Some(host) = lxc(&pool) else { return };
    let mut child = at_moment(("read", ""), &pool, &host);
    assert_eq!(host.state(), "STOPPED");
    // The run lives as long as anybody works for it.
    let ended = host.on(remand(["cleanup", "--yes"]).on(&pool)).ends(0);
    assert_eq!((ended.text().as_str(), host.state().as_str()), ("", "STOPPED"));
    for guard in guards(&pool) {
        kill_process(guard, Signal::KILL).unwrap();
    }
    kill(&mut child);
    wait_for("the guard's end", || guards(&pool).is_empty());
    assert_eq!(host.state(), "STOPPED");
    let listed: Ended = host.on(remand(["cleanup"]).on(&pool)).ends(0);
    assert!(listed.text().contains("jail web01 that is stopped by lxc: it goes on"), "{}", listed.text());
    assert_eq!(host.state(), "STOPPED", "listing changes nothing");
    host.on(remand(["cleanup", "--yes"]).on(&pool)).ends(0).tells("Let the jail web01 go on");
    assert_eq!((records(&pool).len(), host.state().as_str()), (0, "RUNNING"));
}

#[test]
fn an_interrupt_lets_it_go_on() {
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    let Some(host) = lxc(&pool) else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = at_moment(("slow", "lxc-stop"), &pool, &host);
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        host.trouble("slow", "lxc-stop", false);
        assert_eq!((records(&pool).len(), host.state().as_str()), (0, "RUNNING"), "{:?}", host.log());
    }
}

fn with_snapshots(place: &Place) {
    let (scratch, pool) = (Scratch::new(), Pool::with_jail(place, Size::Small));
    let Some(host) = lxc(&pool) else { return };
    let log = host.state_file("log");
    let post = format!("echo $REMAND_SNAPSHOT >>{}", log.display());
    let ended = host
        .on(export(&pool, &["--freeze", "--post-snapshot", &post, "--json"], &scratch.join("a.tar.gz")))
        .ends(0);
    let log = host.log();
    assert_eq!(log[..2], ["lxc-freeze -n c1", "lxc-unfreeze -n c1"]);
    assert!(log[2].starts_with("remand-"), "{log:?}");
    // It goes on before anything is read.
    let steps: Vec<_> =
        ended.json().iter().filter(|line| line["state"] == "end").map(|line| line["step"].clone()).collect();
    let at = |step: &str| {
        steps.iter().position(|name| name == step).unwrap_or_else(|| panic!("{step} in {steps:?}"))
    };
    assert!(at("Freeze") < at("Snapshot") && at("Snapshot") < at("Thaw"), "{steps:?}");
    assert!(at("Thaw") < at("PostSnapshot") && at("PostSnapshot") < at("ExportConfig"), "{steps:?}");
    assert_eq!(pool.remains(), [""; 0]);
}

#[test]
fn it_goes_on_before_anything_is_read_on_btrfs() {
    if let Some(place) = Place::btrfs(GROUP) {
        with_snapshots(&place);
    }
}

#[test]
fn it_goes_on_before_anything_is_read_on_zfs() {
    // zfs-fuse mounts where its daemon sees it, and not where the fakes are.
    if !Path::new("/dev/zfs").exists() {
        skipped("running resources on zfs", "needs a kernel with ZFS");
    } else if let Some(place) = Place::zfs(GROUP) {
        with_snapshots(&place);
    }
}
