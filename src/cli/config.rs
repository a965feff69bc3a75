//! The config file: defaults for options.
//!
//! The command line wins over the environment, and both win over the file. A key that nobody knows is an
//! error, so that a misspelt one is not taken for a default.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::args::{CompressionWord, EngineWord, FormatWord, HookWord, LayoutWord};

/// Files of the system, of which the first that exists counts.
const SYSTEM: [&str; 2] = ["/usr/local/etc/remand.toml", "/etc/remand.toml"];

/// Defaults for options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// `--pool`.
    pub(crate) pool: Option<String>,
    /// `--layout`.
    pub(crate) layout: Option<LayoutWord>,
    /// `--format`.
    pub(crate) format: Option<FormatWord>,
    /// `--compression`, for destinations whose suffix names none.
    pub(crate) compression: Option<CompressionWord>,
    /// `--level`, for archives that are compressed with `compression`.
    pub(crate) level: Option<u32>,
    /// `--engine`.
    pub(crate) engine: Option<EngineWord>,
    /// `--wait`.
    pub(crate) wait: Option<bool>,
    /// Keys that are trusted, in the form of `--verify-key`.
    #[serde(default)]
    pub(crate) verify_key: Vec<String>,
    /// `--require-signature`.
    pub(crate) require_signature: Option<bool>,
    /// `--identity-file`.
    #[serde(default)]
    pub(crate) identity_file: Vec<PathBuf>,
    /// `--pre-snapshot`.
    #[serde(default)]
    pub(crate) pre_snapshot: Vec<String>,
    /// `--post-snapshot`.
    #[serde(default)]
    pub(crate) post_snapshot: Vec<String>,
    /// `--hook-in`.
    pub(crate) hook_in: Option<HookWord>,
    /// `--hook-timeout`.
    pub(crate) hook_timeout: Option<String>,
}

/// A config file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read.
    #[error("Cannot read the config file {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no TOML, or has a key or value that nobody knows.
    #[error("The config file {} is wrong{}: {message}", .path.display(), place(*.line))]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Where, counted from 1.
        line: Option<usize>,
        /// What.
        message: String,
    },
}

fn place(line: Option<usize>) -> String {
    line.map(|line| format!(" in line {line}")).unwrap_or_default()
}

/// Where a user's own file can be, from the environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Homes {
    /// `XDG_CONFIG_HOME`.
    pub(crate) xdg_config_home: Option<PathBuf>,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
}

impl Homes {
    /// Those of this process.
    pub(crate) fn from_environment() -> Self {
        let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self { xdg_config_home: directory("XDG_CONFIG_HOME"), home: directory("HOME") }
    }

    fn file(&self) -> Option<PathBuf> {
        let base =
            self.xdg_config_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".config")))?;
        Some(base.join("remand/config.toml"))
    }
}

impl Config {
    /// Reads `explicit` alone; or without it the system's file, and over it the user's, as far as they exist.
    pub(crate) fn load(explicit: Option<&Path>) -> Result<Self, Error> {
        let system: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        Self::load_from(explicit, &system, &Homes::from_environment())
    }

    fn load_from(explicit: Option<&Path>, system: &[PathBuf], homes: &Homes) -> Result<Self, Error> {
        // An empty REMAND_CONFIG is how a shell script unsets it.
        if let Some(path) = explicit.filter(|path| !path.as_os_str().is_empty()) {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
            return Self::parse(&text, path);
        }
        let mut config = Self::default();
        for path in system {
            if let Some(found) = Self::load_if_there(path)? {
                config = found;
                break;
            }
        }
        if let Some(path) = homes.file()
            && let Some(own) = Self::load_if_there(&path)?
        {
            config = own.over(config);
        }
        Ok(config)
    }

    fn load_if_there(path: &Path) -> Result<Option<Self>, Error> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path).map(Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(source) => Err(Error::Read { path: path.to_path_buf(), source }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let wrong = |line, message| Error::Wrong { path: path.to_path_buf(), line, message };
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            wrong(line, error.message().to_owned())
        })?;
        match (config.level, config.compression) {
            (Some(_), None) => return Err(wrong(None, "level needs compression beside it".into())),
            (Some(level), Some(method)) => {
                let highest = method.highest_level().unwrap_or(0);
                if level == 0 || level > highest {
                    return Err(wrong(None, format!("{} knows no level {level}", method.as_str())));
                }
            }
            (None, _) => {}
        }
        if let Some(Err(message)) = config.hook_timeout.as_deref().map(super::args::duration) {
            return Err(wrong(None, format!("hook-timeout: {message}")));
        }
        Ok(config)
    }

    /// This one's keys where set, else those of `below`.
    fn over(self, below: Self) -> Self {
        // A level belongs to the compression of its own file.
        let (compression, level) = if self.compression.is_some() {
            (self.compression, self.level)
        } else {
            (below.compression, below.level)
        };
        // Commands that belong together are those of one file.
        let hooks = if self.pre_snapshot.is_empty() && self.post_snapshot.is_empty() {
            (below.pre_snapshot, below.post_snapshot)
        } else {
            (self.pre_snapshot, self.post_snapshot)
        };
        Self {
            pre_snapshot: hooks.0,
            post_snapshot: hooks.1,
            hook_in: self.hook_in.or(below.hook_in),
            hook_timeout: self.hook_timeout.or(below.hook_timeout),
            pool: self.pool.or(below.pool),
            layout: self.layout.or(below.layout),
            format: self.format.or(below.format),
            compression,
            level,
            engine: self.engine.or(below.engine),
            wait: self.wait.or(below.wait),
            verify_key: if self.verify_key.is_empty() { below.verify_key } else { self.verify_key },
            require_signature: self.require_signature.or(below.require_signature),
            identity_file: if self.identity_file.is_empty() {
                below.identity_file
            } else {
                self.identity_file
            },
        }
    }
}
