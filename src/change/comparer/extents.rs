//! Proves that two large files are equal by where their bytes lie, without reading them.
//!
//! After a clone of a file (`cp --reflink`, or a restore) both share their space until one is written to. Where both
//! have all bytes in the same places, and neither was touched while that was asked, they are equal. Nothing follows from other
//! answers.

use remand_sys::extents::{Mapped, extents, has_plain_addresses};

use crate::tree::{Content as _, FileContent};

/// Smaller files are read as fast where they are in memory, and may lie inline on btrfs.
const MIN_SIZE: u64 = 4 << 10;

/// Whether two files of `size` bytes certainly have the same bytes.
pub(super) fn prove_equal(base: &mut FileContent, now: &mut FileContent, size: u64) -> bool {
    size >= MIN_SIZE
        && base.stat().identity.device == now.stat().identity.device
        && is_plain(base)
        && is_plain(now)
        && share_all(base, now, size)
        && base.is_stable().unwrap_or(false)
        && now.is_stable().unwrap_or(false)
}

// An error in here is no answer: then the files are read, which has the last word.

fn is_plain(file: &FileContent) -> bool {
    file.file().is_some_and(|fd| has_plain_addresses(fd).unwrap_or(false))
}

fn share_all(base: &FileContent, now: &FileContent, size: u64) -> bool {
    let (Some(base), Some(now)) = (base.file(), now.file()) else { return false };
    let mut at = 0;
    while at < size {
        let Ok(old) = extents(base, at, size - at) else { return false };
        // Mostly it ends here: a file that shares nothing needs no second look.
        if !old.iter().all(is_telling) {
            return false;
        }
        let Ok(new) = extents(now, at, size - at) else { return false };
        match follow(&old, &new, at) {
            Some(end) => at = end,
            None => return false,
        }
    }
    true
}

/// Where to go on after these runs of two files, from `at` on, that are all in the same places; `None` if they are not, or something is
/// unusual with them.
fn follow(base: &[Mapped], now: &[Mapped], at: u64) -> Option<u64> {
    let Some(last) = base.last() else {
        // Holes to the end. Of files without any data reading has nothing to read.
        return (now.is_empty() && at > 0).then_some(u64::MAX);
    };
    let end = last.logical.saturating_add(last.length);
    let same = base == now && end > at && base.iter().all(is_telling);
    same.then_some(if last.flags & Mapped::LAST != 0 { u64::MAX } else { end })
}

/// Whether the place of a run says all about its bytes. Compressed, inline and encrypted ones, and such as are not on the device yet,
/// have further flags. One that is reserved and not written reads as zeros.
fn is_telling(run: &Mapped) -> bool {
    run.flags & !(Mapped::LAST | Mapped::UNWRITTEN) == Mapped::SHARED && run.physical != 0 && run.length != 0
}

#[cfg(test)]
mod tests;
