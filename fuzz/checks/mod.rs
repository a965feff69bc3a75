//! What must hold for any input, a function each: it panics where that does not hold. The fuzz targets call these with inputs of
//! their own, and `tests/seeds.rs` with those in `fuzz/seeds`.

mod archives;
mod attributes;
mod chunks;
mod configs;
mod foreign;
mod forged;
mod frames;
mod host;
mod members;
mod roundtrip;
// Of the test that replays them.
#[allow(dead_code)] // tests/seeds.rs uses the rest
mod seeds;
mod streams;
mod tar;
mod trees;
mod words;

#[allow(unused_imports)] // only tests/seeds.rs writes seeds
pub(crate) use seeds::seeds;

/// A function that panics where something does not hold for an input.
pub(crate) type Check = fn(&[u8]);

/// Every target.
pub(crate) const ALL: [(&str, Check); 27] = [
    ("archive", archives::archive),
    ("attributes", attributes::attributes),
    ("chunks", chunks::chunks),
    ("config", configs::json),
    ("config_properties", configs::properties),
    ("config_ucl", configs::ucl),
    ("foreign", foreign::foreign),
    ("forged", forged::forged_check),
    ("fstab", words::fstab),
    ("gzip", frames::gzip),
    ("header", members::header),
    ("host_files", host::files),
    ("index", members::index),
    ("manifest", members::manifest),
    ("pax", members::pax),
    ("roundtrip", roundtrip::roundtrip),
    ("rsync_output", host::rsync_output),
    ("send_stream", streams::btrfs),
    ("sparse_map", members::sparse_map),
    ("table", frames::table),
    ("tree", trees::tree),
    ("words", words::words),
    ("zfs_diff", host::zfs_diff),
    ("zfs_output", host::zfs_output),
    ("zfs_relay", streams::zfs_relay),
    ("zfs_resume", streams::zfs_resume),
    ("zstd", frames::zstd),
];

/// What a printer has printed of an input is understood, and printed the same again.
fn prints_the_same<T: AsRef<[u8]>>(
    what: &str,
    input: &[u8],
    print: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    let printed = print(input)?;
    let again = print(printed.as_ref());
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(again.map(|again| text(again.as_ref())), Some(text(printed.as_ref())), "{what}");
    Some(printed)
}

/// The text of an error, which must be fit for a terminal.
#[track_caller]
fn is_fit(error: &impl std::error::Error) {
    let mut chain: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = chain {
        let text = error.to_string();
        assert!(!text.contains('\x1b') && !text.contains('\0'), "{text:?}");
        chain = error.source();
    }
}
