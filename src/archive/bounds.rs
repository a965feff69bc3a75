//! How much of what an archive says is believed before it is looked at.
//!
//! A few kilobytes of it can ask for gigabytes: compressed, they are long texts of many tiny values, of which each takes far more memory
//! than text. The writer keeps to the same bounds, so that no archive is written that cannot be read.

/// Longest manifest in bytes.
pub(super) const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// Most values of a manifest.
const MAX_MANIFEST_VALUES: usize = 500_000;
/// Longest signature in bytes.
pub(super) const MAX_SIGNATURE_BYTES: u64 = 16 << 10;
/// Longest line of the index in bytes.
pub(super) const MAX_LINE_BYTES: u64 = 16 << 20;
/// Most values of a line: an entry can have some 65,000 extended attributes, more than any system lists.
const MAX_LINE_VALUES: usize = 1 << 17;
/// Most bytes of the pax records of one member.
pub(super) const MAX_PAX_BYTES: u64 = 16 << 20;
/// Most pax records of one member: no fewer than a line that is not too long may ask for.
pub(super) const MAX_PAX_RECORDS: usize = 1 << 17;
/// Longest name of a member in bytes. System calls take a tenth of that at once.
pub(super) const MAX_NAME_BYTES: usize = (1 << 16) - 1;
/// Directories that are named only as a part of other names: so many, and [`PARENTS_PER_LINE`] more with each line.
pub(super) const FREE_PARENTS: u64 = 300_000;
/// See [`FREE_PARENTS`].
pub(super) const PARENTS_PER_LINE: u64 = 16;

/// Whether a manifest is too long, or has too many values.
pub(super) fn is_manifest_too_big(json: &[u8]) -> bool {
    json.len() as u64 > MAX_MANIFEST_BYTES || has_more_values(json, MAX_MANIFEST_VALUES)
}

/// Whether a line of the index is too long, or has too many values.
pub(super) fn is_line_too_big(json: &[u8]) -> bool {
    json.len() as u64 > MAX_LINE_BYTES || has_more_values(json, MAX_LINE_VALUES)
}

/// Counts what separates values outside of texts. What is no JSON may be counted wrong: it is refused anyway.
fn has_more_values(json: &[u8], most: usize) -> bool {
    // Each takes a byte at least.
    if json.len() <= most {
        return false;
    }
    let (mut values, mut in_text, mut escaped) = (0, false, false);
    for &byte in json {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else {
            in_text = byte == b'"';
            values += usize::from(matches!(byte, b',' | b':' | b'[' | b'{'));
        }
    }
    values > most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_as_the_bounds_say_and_no_more() {
        for (too_big, bytes, values) in [
            (is_manifest_too_big as fn(&[u8]) -> bool, MAX_MANIFEST_BYTES, MAX_MANIFEST_VALUES),
            (is_line_too_big, MAX_LINE_BYTES, MAX_LINE_VALUES),
        ] {
            let bytes = usize::try_from(bytes).unwrap();
            let text = |length: usize| format!("\"{}\"", "a".repeat(length - 2));
            assert!(!too_big(text(bytes).as_bytes()));
            assert!(too_big(text(bytes + 1).as_bytes()));
            // A list opens with a value, and each comma is one more.
            let list = |values: usize| format!("[{}0]", "0,".repeat(values - 1));
            assert!(!too_big(list(values).as_bytes()));
            assert!(too_big(list(values + 1).as_bytes()));
        }
    }

    /// They are a part of the format: what one version writes the others must read.
    #[test]
    fn the_bounds_are_those_of_the_manual() {
        let manual = include_str!("../../man/remand-archive.5");
        let manual = manual.split_whitespace().collect::<Vec<_>>().join(" ");
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        for said in [
            format!("of at most {}, white space at its end included,", mib(MAX_MANIFEST_BYTES)),
            format!("with at most {MAX_MANIFEST_VALUES} values."),
            format!("{} long at most, has no more than {MAX_LINE_VALUES} values,", mib(MAX_LINE_BYTES)),
            format!("no path in it more than {MAX_NAME_BYTES} bytes."),
            format!("and at most {} KiB:", MAX_SIGNATURE_BYTES >> 10),
            format!("There are {} other runs at most;", crate::archive::sparse::MAX_RUNS),
            format!("have {} at most, and are no more than {MAX_PAX_RECORDS}.", mib(MAX_PAX_BYTES)),
            format!("is longer than {}.", mib(crate::archive::gzip::MAX_MEMBER_BYTES as u64)),
        ] {
            assert!(manual.contains(&said), "{said}");
        }
    }

    #[test]
    fn values_are_counted_and_texts_are_not() {
        let text = format!(r#"{{"a":"{}"}}"#, r#"\",:[{\\"#.repeat(100));
        assert!(!has_more_values(text.as_bytes(), 2));
        assert!(has_more_values(text.as_bytes(), 1));
        assert!(has_more_values(format!("[{}0]", "0,".repeat(10)).as_bytes(), 10));
        assert!(!has_more_values(format!("[{}0]", "0,".repeat(10)).as_bytes(), 11));
        assert!(has_more_values(r#"["\\",1]"#.as_bytes(), 1));
        assert!(has_more_values("[".repeat(100).as_bytes(), 50));
    }
}
