//! Commands that the user wants to be run around the snapshot.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use remand_backends::process::search_path;

use crate::error::{Error, Result};
use crate::event::Step;
use crate::resource::{Resource, kind_name};
use crate::run::Run;
use crate::running::{Ended, Limits, Survey};
use crate::step::Steps;

/// Where commands run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookPlace {
    /// On the host.
    #[default]
    Host,
    /// In the resource, if it runs. Otherwise there is nothing to do for them.
    Resource,
}

/// Commands for sh(1), for each resource of which a snapshot is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Before the snapshot. If one fails, nothing is made of the resource.
    pub before: Vec<String>,
    /// After the snapshot, or after the failure of what came before it. If one fails that is a warning.
    pub after: Vec<String>,
    /// Where.
    pub place: HookPlace,
    /// How long each may take.
    pub timeout: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        let timeout = Duration::from_secs(60);
        Self { before: Vec::new(), after: Vec::new(), place: HookPlace::default(), timeout }
    }
}

impl Hooks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

/// One command, when it is its turn.
pub(super) struct Call<'a> {
    pub(super) hooks: &'a Hooks,
    pub(super) command: &'a str,
    pub(super) step: Step,
    pub(super) resource: &'a Resource,
    pub(super) pool: String,
    /// The snapshot, where the backend has such.
    pub(super) snapshot: Option<&'a str>,
    /// How what is between the commands ended, for those after it.
    pub(super) result: Option<&'static str>,
    /// What runs, where that matters.
    pub(super) survey: Option<&'a Survey>,
    /// The user's wish to stop, where that matters.
    pub(super) interrupted: Option<&'a AtomicBool>,
}

impl Call<'_> {
    /// `pre-snapshot`.
    fn name(&self) -> &'static str {
        if self.step == Step::PreSnapshot { "pre-snapshot" } else { "post-snapshot" }
    }

    /// Runs it; what it says is told.
    pub(super) fn run(&self, run: &Run, steps: &Steps<'_>) -> Result<()> {
        let command = match self.hooks.place {
            HookPlace::Host => self.on_host(),
            HookPlace::Resource => {
                let Some(command) = self.within()? else {
                    steps.skip(self.step, Some(self.command), "it does not run");
                    return Ok(());
                };
                command
            }
        };
        steps.run(self.step, Some(self.command), None, |_| {
            let limits = Limits { timeout: self.hooks.timeout, interrupted: self.interrupted };
            let subject = format!("{} of {}", self.name(), self.resource.name);
            let mut tell = |line: &str| steps.notice(&subject, line.to_owned());
            let ended = run.apart(|| crate::running::run(command, &limits, &mut tell));
            match ended.map_err(|error| self.failed(format!("cannot be run: {error}")))? {
                Ended::With(status) if status.success() => Ok(()),
                Ended::With(status) => Err(self.failed(format!("failed ({status})"))),
                Ended::TimedOut => {
                    Err(self.failed(format!("was ended after {} s", self.hooks.timeout.as_secs_f64())))
                }
                Ended::Interrupted => Err(Error::Interrupted),
            }
        })
    }

    fn failed(&self, reason: String) -> Error {
        Error::Hook {
            name: self.name(),
            resource: self.resource.label(),
            command: self.command.to_owned(),
            reason,
        }
    }

    /// With the environment of this process, as anything that its user starts.
    fn on_host(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        let root = self.resource.root().directory.as_deref().unwrap_or(Path::new(""));
        command.args(["-c", self.command]).current_dir("/").stdin(Stdio::null());
        command.envs(self.environment(&root.to_string_lossy()));
        command
    }

    /// `None` if the resource does not run.
    fn within(&self) -> Result<Option<Command>> {
        let Some(survey) = self.survey else { return Ok(None) };
        let Some((supervisor, instance)) = survey.instance(self.resource) else {
            return match survey.runs(self.resource) {
                None if self.resource.kind == crate::resource::ResourceKind::Jail => {
                    let why = survey.why_unknown();
                    Err(self.failed(format!("cannot be run: it is unknown whether it runs: {why}")))
                }
                _ => Ok(None),
            };
        };
        let mut words = supervisor.enter(&instance.name).into_iter();
        let program = words.next().unwrap_or_default();
        let mut command = Command::new(program);
        // Nothing of the host's environment is of use in there.
        command.env_clear().env("PATH", search_path()).env("LC_ALL", "C").current_dir("/");
        command.args(words).arg("/usr/bin/env").arg(format!("PATH={}", search_path()));
        command.args(self.environment("/").into_iter().map(|(name, value)| format!("{name}={value}")));
        command.args(["/bin/sh", "-c", self.command]).stdin(Stdio::null());
        Ok(Some(command))
    }

    fn environment(&self, root: &str) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("REMAND_HOOK", self.name().to_owned()),
            ("REMAND_KIND", kind_name(self.resource.kind).to_owned()),
            ("REMAND_RESOURCE", self.resource.name.clone()),
            ("REMAND_ROOT", root.to_owned()),
            ("REMAND_POOL", self.pool.clone()),
            ("REMAND_SNAPSHOT", self.snapshot.unwrap_or_default().to_owned()),
        ];
        all.extend(self.result.map(|result| ("REMAND_RESULT", result.to_owned())));
        all
    }
}
