//! remand exports jails and containers from a storage pool as small archives and restores them, byte
//! for byte and attribute for attribute, on another host.
//!
//! # Concepts
//!
//! A [`pool::Pool`] is a backend (ZFS or plain directories, crate `remand_backends`) and a [`layout`] of what
//! lies in it. A [`resource::Resource`] is what is exported and restored: a jail or a release. It has *datasets*, each
//! snapshotted by itself: `root`, `data`, `data/db`. Its root was cloned from a *base*, a release at one snapshot. A
//! *differential* export holds what differs from the base, a *standalone* one everything.
//!
//! # The way of a file
//!
//! ```text
//! export   plan ─▶ snapshot ─▶ change ─▶ entry ─▶ index line + member ─▶ gzip/zstd ─▶ sink ─▶ rename
//! restore  source ─▶ members, digests ─▶ staging ─▶ index, seal ─▶ rename
//! ```
//!
//! - [`export`] decides what to write ([`export::plan`]), takes a snapshot, and asks [`change`] what differs from the base.
//! - [`change`] has several engines that name candidates, and one comparer that decides.
//! - [`tree`] reads and writes entries with all their attributes, relative to descriptors and never through a link.
//! - [`archive`] is the format: TAR or DIRECTORY, manifest first, index and seal last.
//! - [`restore`] builds in a staging dataset what a reader yields, and makes it visible by one rename.
//! - What libioc and iocage wrote is recognised when it is opened, and becomes an archive on its way to the reader (`foreign`).
//! - [`listing`] and [`extract`] show and take single files of an archive, which a [`locator`] names.
//! - [`verify`], [`diff`] and [`cleanup`] are the other operations; each takes options and an [`event::Observer`] and returns a
//!   report. The command line is a thin client of them.
//!
//! # What always holds
//!
//! - Nothing that exists is overwritten; nothing is visible before it is whole and durable.
//! - What a failed or interrupted operation made is undone, each effect by the proof of its creation. What a crash leaves carries
//!   the id of its [`run`], and [`cleanup`] finds it.
//! - Everything is read from one snapshot, where the backend has snapshots.
//! - An archive is hostile until proven otherwise.
//! - Nothing is dropped in silence: what could not be kept is a [`event::Warning`].
//!
//! # Example
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::sync::atomic::AtomicBool;
//!
//! use remand::event::Silent;
//! use remand::export::{self, Destination};
//! use remand::input::Input;
//! use remand::pool::Pool;
//! use remand::restore;
//!
//! # fn main() -> remand::error::Result<()> {
//! let interrupted = Arc::new(AtomicBool::new(false));
//! let here = Pool::open("zroot/ioc")?;
//! let archive = std::path::PathBuf::from("/backup/web01.tar.gz");
//! let options = export::Options::new("web01".parse()?);
//! let destination = Destination::Path { path: archive.clone(), force: false };
//! let report = export::export(&here, &options, destination, &Silent, &interrupted)?;
//! assert_eq!(report.warnings, 0);
//!
//! let there = Pool::open("/srv/pool")?;
//! restore::restore(&there, &restore::Options::default(), Input::Path(archive), &Silent, &interrupted)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod archive;
pub mod change;
pub mod cleanup;
pub mod config;
pub mod diff;
pub mod encrypt;
pub mod error;
pub mod event;
pub mod export;
pub mod extract;
pub mod fstab;
#[doc(hidden)]
pub mod fuzzing;
pub mod input;
pub mod keys;
pub mod layout;
pub mod listing;
pub mod locator;
pub mod lock;
pub mod pool;
pub mod records;
pub mod resource;
pub mod restore;
pub mod run;
pub mod running;
pub mod selector;
pub mod sign;
pub mod tree;
pub mod verify;

mod base;
mod basejail;
mod confine;
mod draft;
mod file_system;
mod foreign;
mod room;
mod scratch;
mod step;
mod undo;
