//! Going on with a stream that was interrupted.
//!
//! `zfs receive -s` keeps what came. Such a dataset has a token (`receive_resume_token`); one that came whole carries
//! [`RECEIVED`]. Both can be renamed to another run's staging. A crash leaves either below `.remand/staging`, as before.

use super::relay::Relay;
use super::resume::{self, Point, Remainder};
use super::streams::{Begun, Counted};
use super::{CREATED, RECEIVED, Zfs, list_one, name, state, tool};
use crate::{Backend, Created, DatasetName, Error, Partial, ReceiveOptions, Result};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read};

const TOKEN: &str = "receive_resume_token";
/// The feature of a pool without which `zfs receive -s` fails.
const FEATURE: &str = "feature@extensible_dataset";

impl Zfs {
    /// Whether this host and the pool can keep a stream that was received in part.
    pub(super) fn can_resume(&self) -> Result<bool> {
        if !self.features.receive_resumable {
            return Ok(false);
        }
        let pool = self.root.split('/').next().unwrap_or_default();
        let program = crate::process::Program::new("zpool", ["get", "-H", "-o", "value", FEATURE, pool]);
        Ok(matches!(program.output()?.trim_end(), "active" | "enabled"))
    }
}

/// Where a receive was interrupted; `None` for a dataset that no receive has begun, or that is whole.
fn interrupted_at(full: &str) -> Result<Option<Point>> {
    let Some(token) = Zfs::property(full, TOKEN)? else { return Ok(None) };
    let program = tool::zfs(["send", "-nv", "-t", &token]);
    // It tells what the token says, and fails then: the snapshot is not on this host.
    let finished = program.finish()?;
    match resume::point(&finished.stdout).or_else(|| resume::point(&finished.stderr)) {
        Some(point) => Ok(Some(point)),
        None => Err(tool::error(&program, finished)),
    }
}

pub(super) fn received_bytes(full: &str) -> Result<Option<u64>> {
    match list_one(full)? {
        Some(_) => Ok(interrupted_at(full)?.map(|point| point.read_bytes)),
        None => Ok(None),
    }
}

pub(super) fn partials(pool: &Zfs, name: &DatasetName) -> Result<Vec<Partial>> {
    let mut found = Vec::new();
    if !pool.features.receive_resumable || pool.find(name)?.is_none() {
        return Ok(found);
    }
    for listed in pool.find_all(name)? {
        if let Some(dataset) = name::relative(&pool.root, &listed.name)
            && let Some(received_bytes) = received_bytes(&listed.name)?
        {
            found.push(Partial { dataset, received_bytes });
        }
    }
    Ok(found)
}

pub(super) fn take_over(pool: &Zfs, from: &DatasetName, to: &DatasetName) -> Result<Option<Created>> {
    for name in [from, to] {
        if !matches!(name.components().collect::<Vec<_>>()[..], [state::STATE, "staging", _, _, ..]) {
            return Err(Error::NotLeftover(pool.full(name)?));
        }
    }
    if !pool.features.receive_resumable {
        return Ok(None);
    }
    let full = pool.full(to)?;
    // It may have come along with the dataset above it.
    if pool.find(to)?.is_none() {
        let old = pool.full(from)?;
        if pool.find(from)?.is_none() || !is_begun(&old)? {
            return Ok(None);
        }
        tool::run_patiently(["rename", old.as_str(), full.as_str()])?;
    }
    Ok(is_begun(&full)?.then(|| Created::new(&pool.root, to.clone())))
}

/// Whether it is there, in a state with which a receive of ours can go on: it came whole, or in part, or between two streams.
pub(super) fn is_begun(full: &str) -> Result<bool> {
    if list_one(full)?.is_none() {
        return Ok(false);
    }
    Ok(Zfs::property(full, TOKEN)?.is_some() || Zfs::has_own(full, RECEIVED)? || Zfs::has_own(full, CREATED)?)
}

pub(super) fn resume(
    pool: &Zfs,
    created: &Created,
    stream: &mut dyn Read,
    options: &ReceiveOptions,
) -> Result<Created> {
    created.check(&pool.root)?;
    let name = &created.dataset;
    let full = pool.full(name)?;
    let read_error = |source| Error::io("read the stream for", full.as_str(), source);
    let point = interrupted_at(&full)?;
    if point.is_none() && Zfs::has_own(&full, RECEIVED)? {
        // Whole. Its reader checks what passes.
        let count = io::copy(stream, &mut io::sink()).map_err(read_error)?;
        if count > options.verified_bytes {
            return Err(read_error(resume::unverified()));
        }
        pool.pacify(name)?;
        return Ok(Created::new(&pool.root, name.clone()));
    }
    let received: BTreeSet<u64> = pool
        .snapshots(name)?
        .into_iter()
        .filter_map(|info| info.guid.and_then(|guid| guid.parse().ok()))
        .collect();
    tracing::info!(dataset = %full, ?point, "Going on with an interrupted receive");
    let read_bytes = Cell::new(0);
    let mut relay = Relay::new(stream);
    let mut rest = Remainder::new(Counted { source: &mut relay, read_bytes: &read_bytes }, received, point)
        .with_verified(options.verified_bytes);
    pool.receive_rest(name, &mut rest, options, Begun { read_bytes: &read_bytes, continued: true })
}
