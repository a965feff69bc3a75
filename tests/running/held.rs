//! What is stopped or frozen for the snapshot goes on, whatever happens.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::support::host::Host;
use super::support::pool::{Place, Pool, Size};
use super::support::run::{Ended, remand};
use super::support::{Scratch, skipped};
use super::{GROUP, export, lxc, nothing_is_left, pool, records, sees_all, wait_for};

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
    // It outlives whoever is killed, in a mount namespace that holds every file system; so it ends with the test.
    let (log, state) = (host.state_file("log"), host.state_file("state"));
    let hook = format!("echo hook >>{}; while [ -e {} ]; do sleep 0.1; done", log.display(), state.display());
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
