//! The command line is a thin client of the library: parse, one library call, render.
//!
//! ```text
//! args ─┐
//! config├─▶ export | restore | … ─▶ library ─▶ events ─▶ render
//! env  ─┘                              └─▶ Outcome | Failure ─▶ exit status
//! ```

mod annotate;
mod args;
mod cat;
mod cleanup;
mod completions;
mod config;
mod diff;
mod export;
mod failure;
mod info;
mod keys;
mod list;
mod log;
mod ls;
mod man;
mod render;
mod restore;
mod secrets;
mod signals;
mod stdin;
mod verify;

use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;

use args::{Arguments, Command, Place, Voice};
use config::Config;
use failure::{FAILED, Failure};
use remand::input::Input;
use remand::pool::Pool;
use render::{Console, Outcome, Stdout};

impl From<remand::error::Error> for Failure {
    fn from(error: remand::error::Error) -> Self {
        Self::new(&error, error.hint(), error.exit_status())
    }
}

/// Runs the process's command line.
pub(crate) fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let text = format!(
            "remand: This is a bug, please report it: {panic}\nhint: `remand cleanup` shows what is left\n"
        );
        // Standard error may be gone; there is nobody else to tell.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }));
    set_limits();
    match Arguments::try_parse() {
        Ok(arguments) => ExitCode::from(run(&arguments.command)),
        Err(error) => {
            // Help and version come this way too, with status 0.
            let status = u8::try_from(error.exit_code()).unwrap_or(FAILED);
            match error.print() {
                Err(failed) if status == 0 && failed.kind() != ErrorKind::BrokenPipe => {
                    ExitCode::from(FAILED)
                }
                _ => ExitCode::from(status),
            }
        }
    }
}

/// As many descriptors as the system allows: a run over many resources holds some of each. And no core dump, which would have what
/// others may not read.
fn set_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // If one is refused the limit is as it was.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

fn run(command: &Command) -> u8 {
    match command {
        Command::Export(args) => undoing(&args.voice, export::stdout(args), |s| export::run(s, args)),
        Command::Restore(args) => undoing(&args.voice, Stdout::Free, |s| restore::run(s, args)),
        Command::Ls(args) => reading(&args.voice, |s| ls::run(s, args)),
        Command::Cat(args) => undoing(&args.voice, Stdout::Taken, |s| cat::run(s, args)),
        Command::List(args) => reading(&args.voice, |s| list::run(s, args)),
        Command::Info(args) => reading(&args.voice, |s| info::run(s, args)),
        Command::Verify(args) => reading(&args.voice, |s| verify::run(s, args)),
        Command::Diff(args) => undoing(&args.voice, Stdout::Free, |s| diff::run(s, args)),
        Command::Cleanup(args) => undoing(&args.voice, Stdout::Free, |s| cleanup::run(s, args)),
        Command::Log(args) => reading(&args.voice, |s| log::run(s, args)),
        Command::Tag(args) => reading(&args.voice, |s| annotate::tag(s, args)),
        Command::Note(args) => reading(&args.voice, |s| annotate::note(s, args)),
        Command::Keep(args) => reading(&args.voice, |s| annotate::keep(s, args)),
        Command::Completions(args) => reading(&Voice::default(), |s| completions::run(s, args)),
        Command::Man(args) => reading(&Voice::default(), |s| man::run(s, args)),
    }
}

/// What every command has: someone to talk to, and the user's wish to stop.
struct Session {
    console: Arc<Console>,
    interrupted: Arc<AtomicBool>,
}

impl Session {
    fn new(voice: &Voice, stdout: Stdout) -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        let console = Arc::new(Console::standard(voice, stdout, Arc::clone(&interrupted)));
        render::log::start(&console);
        Self { console, interrupted }
    }
}

/// Runs a command that has nothing to undo: a signal ends it at once, even while it waits for a pipe.
fn reading(voice: &Voice, command: impl FnOnce(&Session) -> Result<Outcome, Failure>) -> u8 {
    let session = Session::new(voice, Stdout::Free);
    session.console.finish(command(&session))
}

/// Runs a command that undoes what it did when it is interrupted.
fn undoing(voice: &Voice, stdout: Stdout, command: impl FnOnce(&Session) -> Result<Outcome, Failure>) -> u8 {
    let session = Session::new(voice, stdout);
    let ended = match signals::watch(&session.interrupted) {
        Ok(()) => command(&session),
        // Without handlers an interruption would leave everything behind.
        Err(error) => Err(Failure::Error {
            chain: vec!["Cannot watch for signals".into(), error.to_string()],
            hint: None,
            status: FAILED,
        }),
    };
    session.console.finish(ended)
}

/// Opens the pool that the command line, the environment or the config file names, else the active one.
fn open_pool(place: &Place, config: &Config) -> Result<Pool, Failure> {
    Ok(find_pool(place, config)?)
}

fn find_pool(place: &Place, config: &Config) -> remand::error::Result<Pool> {
    // An empty REMAND_POOL is how a shell script unsets it.
    let named = place.pool.as_deref().filter(|pool| !pool.is_empty()).or(config.pool.as_deref());
    let layout = place.layout.or(config.layout).map(args::LayoutWord::name);
    Pool::find(named, layout)
}

impl Place {
    /// The config file's defaults.
    fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.config.as_deref())?)
    }
}

impl args::Settings {
    /// The config file's defaults.
    fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.config.as_deref())?)
    }
}

/// Where an archive is read from: `-` is standard input.
fn input(argument: &Path, interrupted: &Arc<AtomicBool>) -> Result<Input, Failure> {
    if !is_dash(argument) {
        return Ok(Input::Path(PathBuf::from(argument)));
    }
    if std::io::stdin().is_terminal() {
        return Err(Failure::usage("Standard input is a terminal, and an archive can't be typed"));
    }
    let pipe = stdin::Pipe::stdin(interrupted).map_err(|error| Failure::Error {
        chain: vec!["Cannot read standard input".into(), error.to_string()],
        hint: None,
        status: FAILED,
    })?;
    Ok(Input::Stream(Box::new(pipe)))
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A path for people.
fn path_name(path: &Path) -> String {
    remand::tree::path::printable(path.as_os_str().as_bytes())
}

/// What an archive is called in messages.
fn archive_name(path: &Path) -> String {
    if is_dash(path) { "standard input".into() } else { path_name(path) }
}

impl args::Patience {
    /// Whether to wait for a lock.
    fn waits(&self, config: &Config) -> bool {
        self.wait || !self.no_wait && config.wait.unwrap_or(false)
    }
}

impl args::Detection {
    /// The engine that was asked for; the library chooses where none was.
    fn engine(&self, config: &Config) -> Option<String> {
        let asked = if self.quick {
            Some("quick")
        } else {
            self.engine.or(config.engine).and_then(args::EngineWord::name)
        };
        asked.map(str::to_owned)
    }
}
