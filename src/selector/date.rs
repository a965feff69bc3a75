//! Moments as users write them.

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};

/// A moment: `2026-01-31T12:00:00Z` (RFC 3339, with any offset), `2026-01-31` (its beginning in UTC), or `7d`: so long before
/// `now`, in `s`, `m` (minutes), `h`, `d` or `w`.
pub fn parse_date(text: &str, now: Timestamp) -> Result<Timestamp> {
    relative(text, now)
        .or_else(|| text.parse().ok())
        .or_else(|| {
            let day: jiff::civil::Date = text.parse().ok()?;
            let written = day.strftime("%Y-%m-%d").to_string();
            (written == text).then(|| format!("{written}T00:00:00Z").parse().ok())?
        })
        .ok_or_else(|| {
            Error::Usage(format!(
                "{:?} is no date; write 2026-01-31, 2026-01-31T12:00:00Z, or how long ago: 90m, 12h, 7d, 4w",
                crate::tree::path::printable(text.as_bytes())
            ))
        })
}

fn relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    let unit = text.chars().next_back()?;
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let number = &text[..text.len() - unit.len_utf8()];
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = number.parse::<i64>().ok()?.checked_mul(seconds)?;
    now.checked_sub(SignedDuration::from_secs(seconds)).ok()
}
