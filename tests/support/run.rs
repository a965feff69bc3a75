//! The program under test, run as a user runs it.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::pool::Pool;

/// One run of remand, with an environment of its own.
pub(crate) struct Run {
    command: Command,
    input: Option<Vec<u8>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status; -1 when a signal ended it.
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    command: String,
}

/// remand with arguments.
pub(crate) fn remand<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remand"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    // HOME is where no config file of the user's can be found.
    command.env("HOME", env!("CARGO_TARGET_TMPDIR")).env("LC_ALL", "C.UTF-8");
    for name in ["PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Run { command, input: None }
}

impl Run {
    /// On this pool.
    pub(crate) fn on(mut self, pool: &Pool) -> Self {
        self.command.arg("--pool").arg(pool.name());
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn in_directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Started by another program, which gets the same environment and no other directory.
    pub(crate) fn through(self, outer: impl FnOnce(&Command) -> Command) -> Self {
        let mut command = outer(&self.command);
        command.env_clear().stdin(Stdio::null());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self { command, input: self.input }
    }

    /// Gives it these bytes on its standard input.
    pub(crate) fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(bytes);
        self
    }

    /// The command, for a caller that starts it by itself.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end.
    pub(crate) fn end(mut self) -> Ended {
        let described = format!("{:?}", self.command.get_args().collect::<Vec<&OsStr>>());
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().expect("remand");
        let writer = self.input.map(|bytes| {
            let mut stdin = child.stdin.take().expect("a pipe");
            // A program that stops reading early is what some tests are about.
            std::thread::spawn(move || drop(stdin.write_all(&bytes)))
        });
        let output = child.wait_with_output().expect("remand");
        if let Some(writer) = writer {
            writer.join().expect("the writer");
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status.code().unwrap_or(-1);
        Ended { status, stdout: output.stdout, stderr, command: described }
    }

    /// Runs it, and fails the test unless it ends with `status`.
    #[track_caller]
    pub(crate) fn ends(self, status: i32) -> Ended {
        let ended = self.end();
        ended.expect(status);
        ended
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn expect(&self, status: i32) {
        assert_eq!(self.status, status, "{}", self.describe());
    }

    /// Fails the test unless standard error holds `words`.
    #[track_caller]
    pub(crate) fn tells(&self, words: &str) {
        assert!(self.stderr.contains(words), "nothing about {words:?}: {}", self.describe());
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("text on standard output")
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}")))
            .collect()
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "remand {} ended with {}\nstdout: {}\nstderr: {}",
            self.command,
            self.status,
            String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(4000)]),
            self.stderr.chars().take(4000).collect::<String>()
        )
    }
}

/// The most memory that a child had at once so far, in bytes, as the kernel counts it; `None` where that is not told, or not yet.
pub(crate) fn peak_bytes(child: &Child) -> Option<usize> {
    let told = |name: &str| PathBuf::from(format!("/proc/{}/{name}", child.id()));
    // Whoever starts a child goes on a moment before it has memory of its own; until then that of the tests is told.
    if std::fs::read_link(told("exe")).ok()? == std::env::current_exe().ok()? {
        return None;
    }
    let text = std::fs::read_to_string(told("status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? * 1024)
}

/// Exports `name` to `destination` with further options; panics unless that works.
#[track_caller]
pub(crate) fn export(pool: &Pool, name: &str, destination: &Path, options: &[&str]) -> Ended {
    remand(["export"]).on(pool).args(options).arg(name).arg(destination).ends(0)
}

/// Restores `source` with further options; panics unless that works.
#[track_caller]
pub(crate) fn restore(pool: &Pool, source: &Path, options: &[&str]) -> Ended {
    remand(["restore"]).on(pool).args(options).arg(source).ends(0)
}

impl Run {
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments.iter().map(OsString::from));
        self
    }
}
