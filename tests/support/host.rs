//! A host with managers of containers that are none: programs of theirs that keep their state in files. They take the places of the real
//! ones in a mount namespace of each run of remand, so that remand looks for them where it always does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::Run;
use super::{Scratch, program_for, root_for};

/// Where remand looks for programs before the directory that the fakes are put in.
const EARLIER: [&str; 4] = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"];
const FAKES: [&str; 12] = [
    "jls",
    "jexec",
    "ioc",
    "machinectl",
    "systemctl",
    "lxc-ls",
    "lxc-info",
    "lxc-freeze",
    "lxc-unfreeze",
    "lxc-stop",
    "lxc-start",
    "lxc-attach",
];

/// One script for all. A file `fail-NAME` lets a program fail, `slow-NAME` lets it take some seconds.
const SCRIPT: &str = r#"#!/bin/sh
s=@STATE@
me=${0##*/}
read -r state <"$s/state"
read -r subject <"$s/subject"
read -r root <"$s/root"
change() {
    echo "$me $*" >>"$s/log"
    [ ! -e "$s/slow-$me" ] || sleep 4
    if [ -e "$s/fail-$me" ]; then echo "$me cannot do it" >&2; exit 1; fi
}
case $me in
jls) [ "$state" = RUNNING ] && one="{\"jid\":7,\"name\":\"ioc-other\",\"path\":\"$root\"}"
    echo "{\"__version\": \"2\", \"jail-information\": {\"jail\": [$one]}}" ;;
ioc) change "$@"; case $1 in
    stop) [ "$state" != STOPPED ] || exit 1; echo STOPPED >"$s/state" ;;
    start) [ "$state" = STOPPED ] || { echo "already running" >&2; exit 1; }; echo RUNNING >"$s/state" ;;
    esac ;;
lxc-ls) echo "$subject" ;;
lxc-info) printf 'State:          %s\nlxc.rootfs.path = dir:%s\n' "$state" "$root" ;;
lxc-freeze) change "$@"; echo FROZEN >"$s/state" ;;
lxc-unfreeze) change "$@"; echo RUNNING >"$s/state" ;;
lxc-stop) change "$@"; echo STOPPED >"$s/state" ;;
lxc-start) change "$@"; echo RUNNING >"$s/state" ;;
lxc-attach|jexec) change "$@"
    while [ $# -gt 0 ] && [ "$1" != /usr/bin/env ]; do shift; done; exec "$@" ;;
machinectl) case $1 in
    list) [ "$state" = STOPPED ] || echo "$subject container systemd-nspawn debian 12 -" ;;
    show) printf 'Unit=%s\nLeader=%s\nRootDirectory=%s\n' "systemd-nspawn@$subject.service" $$ "$root" ;;
    esac ;;
systemctl) case $1 in
    show) case $state in FROZEN) echo FreezerState=frozen ;; *) echo FreezerState=running ;; esac ;;
    freeze) change "$@"; echo FROZEN >"$s/state" ;;
    thaw) change "$@"; echo RUNNING >"$s/state" ;;
    stop) change "$@"; echo STOPPED >"$s/state" ;;
    start) change "$@"; echo RUNNING >"$s/state" ;;
    esac ;;
esac
"#;

/// See the module.
pub(crate) struct Host {
    scratch: Scratch,
    programs: Vec<&'static str>,
}

impl Host {
    /// A host with the programs whose names begin with one of `prefixes`, on which what is called `subject` runs at `root`. `None` where
    /// this machine cannot have one.
    pub(crate) fn new(group: &str, prefixes: &[&str], subject: &str, root: &Path) -> Option<Self> {
        if !cfg!(target_os = "linux") || !root_for(group) {
            return None;
        }
        program_for(group, "unshare")?;
        let scratch = Scratch::new();
        let (state, fakes) = (scratch.join("state"), scratch.join("fakes"));
        fs::create_dir(&state).unwrap();
        fs::create_dir(&fakes).unwrap();
        let is_wanted = |name: &&&str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let programs: Vec<_> = FAKES.iter().filter(is_wanted).copied().collect();
        for name in &programs {
            let path = fakes.join(name);
            fs::write(&path, SCRIPT.replace("@STATE@", state.to_str().unwrap())).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        for (name, text) in
            [("state", "RUNNING"), ("subject", subject), ("root", root.to_str().unwrap()), ("log", "")]
        {
            fs::write(state.join(name), text).unwrap();
        }
        Some(Self { scratch, programs })
    }

    pub(crate) fn state_file(&self, name: &str) -> PathBuf {
        self.scratch.join("state").join(name)
    }

    pub(crate) fn state(&self) -> String {
        fs::read_to_string(self.state_file("state")).unwrap().trim().to_owned()
    }

    pub(crate) fn set_state(&self, state: &str) {
        fs::write(self.state_file("state"), state).unwrap();
    }

    /// What was done, a line each.
    pub(crate) fn log(&self) -> Vec<String> {
        fs::read_to_string(self.state_file("log")).unwrap().lines().map(str::to_owned).collect()
    }

    pub(crate) fn forget_log(&self) {
        fs::write(self.state_file("log"), "").unwrap();
    }

    /// Lets a program `fail`, or be `slow`.
    pub(crate) fn trouble(&self, how: &str, program: &str, on: bool) {
        let path = self.state_file(&format!("{how}-{program}"));
        if on {
            fs::write(path, "").unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// A run that meets these programs. It has the process id that remand gets.
    pub(crate) fn on(&self, run: Run) -> Run {
        run.through(|command| {
            let fakes = self.scratch.join("fakes");
            let mut script = format!("set -e; mount --bind '{}' /usr/local/sbin\n", fakes.display());
            for name in &self.programs {
                for real in EARLIER.map(|directory| Path::new(directory).join(name)) {
                    if real.is_file() {
                        let line =
                            format!("mount --bind '{}' '{}'\n", fakes.join(name).display(), real.display());
                        script.push_str(&line);
                    }
                }
            }
            script.push_str("exec \"$@\"");
            let mut outer = Command::new("unshare");
            outer.args(["--mount", "--propagation", "private", "/bin/sh", "-c", &script, "sh"]);
            outer.arg(command.get_program()).args(command.get_args());
            outer
        })
    }
}
