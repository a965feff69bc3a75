//! Tables of offsets that are whole and wrong.

use super::Archives;
use super::harmless::Form;
use super::sight::{found, see};
use super::support::pool::{Place, Size};
use super::support::{announce, run::remand};

/// Length of the end's data.
const END_BYTES: usize = 64;

/// Where the data of the table's only part lie, and those of its end.
fn places(form: Form, bytes: &[u8]) -> (std::ops::Range<usize>, usize) {
    // The end of gzip: data, two bytes of nothing deflated, and eight of a trailer.
    let end = bytes.len() - END_BYTES - if form == Form::Gzip { 10 } else { 0 };
    assert!(bytes[end..].starts_with(b"remandT\x01"));
    let part = usize::try_from(u64::from_le_bytes(bytes[end + 8..end + 16].try_into().unwrap())).unwrap();
    if form == Form::Gzip {
        let length = usize::from(u16::from_le_bytes(bytes[part + 22..part + 24].try_into().unwrap()));
        assert_eq!(&bytes[part + 20..part + 22], b"RT");
        (part + 24..part + 24 + length, end)
    } else {
        let length = u32::from_le_bytes(bytes[part + 4..part + 8].try_into().unwrap()) as usize;
        assert_eq!(&bytes[part + 8..part + 12], b"RMTP");
        (part + 12..part + 8 + length, end)
    }
}

/// Makes the digest of a table fit.
fn forge(form: Form, bytes: &mut [u8]) {
    let (part, end) = places(form, bytes);
    let digest =
        *blake3::Hasher::new().update(&bytes[part]).update(&bytes[end..end + 32]).finalize().as_bytes();
    bytes[end + 32..end + END_BYTES].copy_from_slice(&digest);
}

#[test]
fn each_number_of_a_table_is_compared_with_what_is_there() {
    for size in [Size::Small, Size::Full] {
        let archives = Archives::of(&Place::dir(), size);
        for (form, name) in [(Form::Gzip, "web01.tar.gz"), (Form::Zstd, "web01.tar.zst")] {
            let whole = archives.bytes(name, &[]);
            let (part, end) = places(form, &whole);
            let mut same = whole.clone();
            forge(form, &mut same);
            assert!(same == whole && see(&whole).is_ok(), "it is found where it lies");
            let mut tried = 0;
            for at in part.chain(end..end + 32) {
                for change in [1, 2, 0x40] {
                    let mut bytes = whole.clone();
                    bytes[at] ^= change;
                    // Where the place of the table is changed it cannot be sealed there.
                    if !(end..end + 16).contains(&at) {
                        forge(form, &mut bytes);
                    }
                    tried += 1;
                    let what = format!("byte {at} of the table of {name}");
                    assert!(found(&bytes, &what).is_some(), "MISSED: {what}");
                    if tried == 40 {
                        archives.bytes_are_undone(&bytes, &what);
                    }
                }
            }
            announce(&format!("DAMAGE table of {name}: {tried} forged numbers, 0 missed"));
        }
    }
}

/// What remand compressed, compressed again by others, has no table, and needs none.
#[test]
fn an_archive_without_a_table_is_whole() {
    let archives = Archives::new();
    let path = archives.export("web01.tar", &[]);
    for program in ["gzip", "zstd", "xz"] {
        let output = std::process::Command::new(program).arg("-c").arg(&path).output().expect(program);
        assert!(output.status.success());
        let again = archives.scratch.join(program);
        std::fs::write(&again, output.stdout).unwrap();
        remand(["verify"]).arg(&again).ends(0);
    }
}
