//! The base's fingerprint that goes into the manifest: it is known before, or the comparison finds it, or finds that the one that was kept
//! still holds.

use super::manifest::SPARE_BYTES;
use super::write::Context;
use crate::archive::Digest;
use crate::base::{Known, OpenBase};
use crate::change::{Engine, Fingerprint, OfBase, Proof, Stamp};
use crate::error::Result;
use crate::event::Step;
use crate::resource::Base;
use crate::step::Steps;

/// What of the base is still to be found when its resource's record is written, by the comparison.
pub(super) enum OnTheWay {
    /// It has no base, or all is known.
    Nothing,
    /// Its fingerprint.
    Fingerprint,
    /// Whether the fingerprint that was kept holds, which it does with this stamp.
    Stamp(Digest),
}

/// What of the base was found on the way.
#[derive(Debug, Default)]
pub(crate) struct AboutBase {
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) stamp: Option<Stamp>,
}

impl OnTheWay {
    /// What the comparison is asked for. A fingerprint is kept with the stamp of what it was computed from.
    pub(super) fn wanted(&self) -> OfBase {
        match self {
            Self::Nothing => OfBase::Nothing,
            Self::Fingerprint => OfBase::Fingerprint,
            Self::Stamp(_) => OfBase::Stamp,
        }
    }

    /// Room in the manifest for it.
    pub(super) fn spare_bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Fingerprint | Self::Stamp(_) => SPARE_BYTES,
        }
    }
}

/// The fingerprint as it is known before the comparison, which is made by `on_the_way` where the manifest can still be amended after it.
pub(super) fn before(
    context: &Context<'_>,
    open: &OpenBase<'_>,
    base: &Base,
    on_the_way: Option<&dyn Engine>,
    steps: &Steps<'_>,
) -> Result<(Option<Fingerprint>, OnTheWay)> {
    let sees_base = on_the_way.is_some_and(Engine::visits_everything);
    let reads_base = sees_base && on_the_way.is_some_and(|engine| engine.proof() == Proof::Bytes);
    Ok(match open.kept() {
        Some(Known { fingerprint, holds_with: None }) => (Some(fingerprint), OnTheWay::Nothing),
        Some(Known { fingerprint, holds_with: Some(stamp) }) if sees_base => {
            (Some(fingerprint), OnTheWay::Stamp(stamp))
        }
        None if reads_base => (None, OnTheWay::Fingerprint),
        _ => (Some(compute(context, open, base, steps)?), OnTheWay::Nothing),
    })
}

/// Makes of what was found on the way what is known of the base: `found` has a fingerprint then if the manifest is to have another one.
pub(super) fn after(
    context: &Context<'_>,
    open: &OpenBase<'_>,
    base: &Base,
    on_the_way: &OnTheWay,
    found: &mut AboutBase,
    steps: &Steps<'_>,
) -> Result<()> {
    match (on_the_way, &found.fingerprint, &found.stamp) {
        (OnTheWay::Fingerprint, Some(fingerprint), stamp) => open.keep(fingerprint, stamp.as_ref())?,
        (OnTheWay::Stamp(kept), _, Some(stamp)) if stamp.digest == *kept => {}
        // Somebody has touched it since.
        (OnTheWay::Stamp(_), ..) => found.fingerprint = Some(compute(context, open, base, steps)?),
        _ => {}
    }
    Ok(())
}

fn compute(
    context: &Context<'_>,
    open: &OpenBase<'_>,
    base: &Base,
    steps: &Steps<'_>,
) -> Result<Fingerprint> {
    steps.run(Step::CheckBase, Some(&base.label()), None, |_| open.compute(context.interrupted, &|_, _| {}))
}
