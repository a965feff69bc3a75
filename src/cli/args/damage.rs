//! What to do about damaged archives.

use clap::Args;

/// Of `remand restore`.
#[derive(Debug, Args)]
pub(crate) struct Salvage {
    /// Restore of a damaged archive what is whole; all that is not is named, and the status is 3
    #[arg(long, conflicts_with = "to")]
    pub(crate) salvage: bool,
    /// With --salvage: also what nothing proves, as of an archive that was cut off
    #[arg(long, requires = "salvage")]
    pub(crate) unproven: bool,
}

/// Of `remand verify`.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// Go on after damage, and show which paths it affects and which bytes cannot be used
    #[arg(long)]
    pub(crate) repair_report: bool,
}
