//! Landlock.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};

/// The newest of which the rights below are known. What a kernel lacks of them it does not take away.
const KNOWN: ABI = ABI::V5;

/// Takes from this thread, and all that it starts, what is not allowed. Where the kernel cannot, or will not, nothing is taken away.
pub(super) fn restrict(trees: &[PathBuf], directories: &[PathBuf]) {
    match try_to(trees, directories) {
        Ok(RulesetStatus::NotEnforced) => tracing::debug!("not confined: the kernel has no Landlock"),
        Ok(_) => tracing::debug!(?trees, "confined: changes only there"),
        Err(error) => tracing::warn!(%error, "not confined"),
    }
}

fn try_to(trees: &[PathBuf], directories: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let changes = AccessFs::from_write(KNOWN);
    let rules = |paths: &[PathBuf], access: BitFlags<AccessFs>| {
        let opened: Vec<_> = paths.iter().filter_map(|path| PathFd::new(path).ok()).collect();
        opened.into_iter().map(move |place| Ok::<_, RulesetError>(PathBeneath::new(place, access)))
    };
    let confined = Ruleset::default()
        // Without this right nothing could be linked or moved from one directory to another.
        .set_compatibility(CompatLevel::SoftRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(changes | AccessFs::Execute)?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .create()?
        .add_rules(rules(trees, changes))?
        .add_rules(rules(directories, AccessFs::MakeDir | AccessFs::RemoveDir))?
        .restrict_self()?;
    Ok(confined.ruleset)
}
