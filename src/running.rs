//! What runs of a pool's resources, and who can stop or freeze it.
//!
//! A *supervisor* knows what runs: jls(8), machinectl(1), lxc-info(1), and on Linux the kernel with its processes. What runs is matched
//! with a resource by the directory that is its root, never by a name. What nobody can tell is unknown, and not stopped.

mod guard;
mod jails;
mod limited;
mod lxc;
mod machines;
mod processes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use remand_backends::process::Program;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::resource::{Resource, ResourceKind};
use crate::undo::chain;

pub(crate) use guard::Guard;
pub(crate) use limited::{Ended, Limits, run};

/// How long a supervisor may take for what it is asked to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What is done to a resource that runs, and how that is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// It is stopped, and started again.
    Stop,
    /// Its processes are frozen, and thawed again.
    Freeze,
}

impl Hold {
    /// `stop`, `freeze`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Freeze => "freeze",
        }
    }

    /// `stopped`, `frozen`.
    pub fn state(self) -> &'static str {
        match self {
            Self::Stop => "stopped",
            Self::Freeze => "frozen",
        }
    }
}

/// Whether a [`Hold`] begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Begin,
    End,
}

/// What can tell what runs on this host, and maybe control it.
pub(crate) trait Supervisor: Sync {
    /// Name in messages and in records of runs.
    fn name(&self) -> &'static str;

    /// What runs; `None` where this host has no such supervisor.
    fn running(&self) -> remand_backends::Result<Option<Running>>;

    /// The program that begins or ends a hold; `None` where this supervisor cannot. `subject` is [`Instance::subject`].
    fn program(&self, hold: Hold, turn: Turn, subject: &str) -> Option<Program>;

    /// The words before those of a command that is to run within an instance.
    fn enter(&self, name: &str) -> Vec<String>;
}

/// What a supervisor tells.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) instances: Vec<Instance>,
    /// Roots of what is known, and does not run.
    pub(crate) stopped: Vec<Root>,
    /// Whether nothing else can run.
    pub(crate) is_all: bool,
}

/// Where the root of something is that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// In the view of this process.
    Path(PathBuf),
    /// Device and inode number, as Linux tells of processes.
    #[cfg(any(target_os = "linux", test))]
    Inode(u64, u64),
}

/// Something that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// What its supervisor knows it by when something is to run in it.
    pub(crate) name: String,
    /// What its supervisor knows it by when it is to be stopped; `None` if by the resource's name.
    pub(crate) controlled_as: Option<String>,
    pub(crate) root: Root,
    /// Somebody has frozen it.
    pub(crate) is_frozen: bool,
}

impl Root {
    fn is(&self, root: &Path) -> bool {
        match self {
            Self::Path(path) if path == root => true,
            Self::Path(path) => inode(path).is_some_and(|own| Some(own) == inode(root)),
            #[cfg(any(target_os = "linux", test))]
            Self::Inode(device, number) => inode(root) == Some((*device, *number)),
        }
    }
}

impl Instance {
    /// What its supervisor knows it by when it is to be stopped or frozen.
    pub(crate) fn subject(&self, resource: &Resource) -> String {
        self.controlled_as.clone().unwrap_or_else(|| resource.name.clone())
    }

    fn is_at(&self, root: &Path) -> bool {
        self.root.is(root)
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}

/// All that are asked, in this order: those that control what they know of before those that only know.
fn supervisors(layout: &str) -> Vec<Box<dyn Supervisor>> {
    vec![
        Box::new(jails::Jails::of(layout)),
        Box::new(machines::Machines),
        Box::new(lxc::Containers),
        Box::new(processes::Processes),
    ]
}

/// What runs on this host, as of one moment.
pub struct Survey {
    found: Vec<(Box<dyn Supervisor>, Running)>,
    /// Supervisors that gave no answer, and why.
    silent: Vec<String>,
}

impl Survey {
    /// Asks all supervisors that this host has. One that gives no answer stops nobody.
    pub fn take(layout: &dyn Layout) -> Self {
        let mut this = Self { found: Vec::new(), silent: Vec::new() };
        for supervisor in supervisors(layout.name()) {
            match supervisor.running() {
                Ok(Some(running)) => this.found.push((supervisor, running)),
                Ok(None) => {}
                Err(error) => {
                    let silent = format!("{}: {}", supervisor.name(), chain(&error));
                    tracing::debug!(silent, "no answer");
                    this.silent.push(silent);
                }
            }
        }
        this
    }

    /// Whether a resource runs, if anybody can tell. A release is not what runs, unless somebody works in it.
    pub fn runs(&self, resource: &Resource) -> Option<bool> {
        if self.instance(resource).is_some() {
            return Some(true);
        }
        let root = resource.root().directory.as_deref().filter(|_| resource.kind == ResourceKind::Jail)?;
        let knows =
            |running: &Running| running.is_all || running.stopped.iter().any(|stopped| stopped.is(root));
        self.found.iter().any(|(_, running)| knows(running)).then_some(false)
    }

    /// What runs in a resource's root, and whose it is.
    pub(crate) fn instance(&self, resource: &Resource) -> Option<(&dyn Supervisor, &Instance)> {
        let root = resource.root().directory.as_deref()?;
        self.found.iter().find_map(|(supervisor, running)| {
            let found = running.instances.iter().find(|instance| instance.is_at(root))?;
            Some((supervisor.as_ref(), found))
        })
    }

    /// Why it is unknown what runs, for people.
    pub(crate) fn why_unknown(&self) -> String {
        if self.silent.is_empty() {
            "nothing on this host tells this user what runs".to_owned()
        } else {
            self.silent.join("; ")
        }
    }
}

/// A resource that a run has stopped or frozen, or is about to: what it takes to undo that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which, as in `jail web01`.
    pub resource: String,
    /// Where its root is.
    pub root: PathBuf,
    /// What was done.
    pub hold: Hold,
    /// Who did it: the name of a supervisor.
    pub supervisor: String,
    /// What that one knows it by.
    pub subject: String,
}

impl Held {
    /// The program that ends it.
    pub(crate) fn end(&self, layout: &dyn Layout) -> Result<Program> {
        program(layout, self, Turn::End)
    }

    /// Thaws or starts it.
    pub(crate) fn undo(&self, layout: &dyn Layout) -> Result<()> {
        let program = self.end(layout)?;
        let ended = do_it(&program, None, None);
        match ended {
            Err(_) if self.is_over(layout) => Ok(()),
            ended => ended,
        }
    }

    /// Whether it runs and is not frozen, whoever has seen to that.
    pub(crate) fn is_over(&self, layout: &dyn Layout) -> bool {
        let survey = Survey::take(layout);
        survey.found.iter().any(|(supervisor, running)| {
            supervisor.name() == self.supervisor
                && running.instances.iter().any(|one| one.is_at(&self.root) && !one.is_frozen)
        })
    }
}

/// The program that begins or ends a hold.
pub(crate) fn program(layout: &dyn Layout, held: &Held, turn: Turn) -> Result<Program> {
    let supervisor = supervisors(layout.name()).into_iter().find(|one| one.name() == held.supervisor);
    // A record is trusted with what the supervisors of this host do, and with nothing else.
    let program = supervisor
        .filter(|_| is_subject(&held.subject))
        .and_then(|supervisor| supervisor.program(held.hold, turn, &held.subject));
    program.ok_or_else(|| {
        let what = if turn == Turn::End { "end" } else { "begin" };
        Error::Unsupported(format!(
            "Nothing on this host is known that can {what} that the {} is {} by {}",
            held.resource,
            held.hold.state(),
            held.supervisor
        ))
    })
}

/// What a supervisor knows an instance by: never something that its program takes for an option.
pub(crate) fn is_subject(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-:@*\\".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(good)
}

/// Runs a supervisor's program to its end. `holder` is passed on to it, as its standard input: whoever waits until nobody holds that waits for
/// the program, too.
pub(crate) fn do_it(
    program: &Program,
    holder: Option<std::os::fd::OwnedFd>,
    interrupted: Option<&std::sync::atomic::AtomicBool>,
) -> Result<()> {
    tracing::debug!(command = %program.display(), "run");
    let mut command = program.command().map_err(Error::backend(format!("run {}", program.display())))?;
    command.stdin(holder.map_or_else(std::process::Stdio::null, std::process::Stdio::from));
    let mut said = Vec::new();
    let ended =
        run(command, &Limits { timeout: PATIENCE, interrupted }, &mut |line| said.push(line.to_owned()));
    match ended.map_err(Error::io("run", program.display()))? {
        Ended::With(status) if status.success() => Ok(()),
        Ended::With(status) => {
            let source = program.failure(status.to_string(), said.join("\n"));
            Err(Error::Backend { action: format!("run {}", program.display()), source })
        }
        Ended::TimedOut => {
            let reason = format!("it was ended after {} s", PATIENCE.as_secs());
            let source = program.failure(reason, said.join("\n"));
            Err(Error::Backend { action: format!("run {}", program.display()), source })
        }
        Ended::Interrupted => Err(Error::Interrupted),
    }
}

#[cfg(test)]
mod tests;
