//! Encrypted datasets: they travel as they are stored, or in plain text where the user says so.
//!
//! A tree is read as plain text, so one of an encrypted dataset is not written unless asked for.

use remand_backends::{Backend, DatasetName, Encryption};

use super::plan::Plan;
use crate::archive::manifest::Mode;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::resource::Resource;
use crate::step::Steps;

/// Refuses what would be written in plain text unasked, or cannot be read.
pub(super) fn check(pool: &Pool, resource: &Resource, plan: &Plan, decrypted: bool) -> Result<()> {
    for planned in &plan.datasets {
        let dataset = &planned.part(resource).dataset;
        let full = || full_name(pool, dataset);
        match (encryption(pool.backend(), dataset)?, planned.encoding.is_native()) {
            (Encryption::None, _) => {}
            (Encryption::Locked, native) if decrypted || !native => {
                return Err(Error::Unsupported(format!(
                    "The dataset {0} is encrypted and its key is not loaded; load it with `zfs load-key {0}`",
                    full()
                )));
            }
            (_, false) if !decrypted => {
                let stored = match plan.mode {
                    Mode::Differential if planned.name == "root" => "--standalone writes it",
                    _ => "without --portable it is written",
                };
                return Err(Error::Usage(format!(
                    "The dataset {} is encrypted, and its files would be in the archive as plain text: {stored} as it is stored, and --decrypted says that plain text is wanted",
                    full()
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Config, fstab and the files beside them are always files of the archive.
pub(super) fn tell(pool: &Pool, resource: &Resource, decrypted: bool, steps: &Steps<'_>) -> Result<()> {
    if !decrypted && encryption(pool.backend(), &resource.dataset)? != Encryption::None {
        let message = format!(
            "{} is encrypted; config, fstab and the other files of its own directory are in the archive as plain text",
            full_name(pool, &resource.dataset)
        );
        steps.notice(&resource.label(), message);
    }
    Ok(())
}

/// How zfs(8) calls a dataset.
pub(crate) fn full_name(pool: &Pool, dataset: &DatasetName) -> String {
    format!("{}/{}", pool.label(), dataset.as_str())
}

fn encryption(backend: &dyn Backend, dataset: &DatasetName) -> Result<Encryption> {
    backend.encryption(dataset).map_err(Error::backend(format!("look {} up", dataset.as_str())))
}
