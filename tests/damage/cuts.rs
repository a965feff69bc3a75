//! Archives that end early, or go on.

use super::sight::found;
use super::support::pool::{Place, Size};
use super::support::run::remand;
use super::support::{announce, workload};
use super::{Archives, share};

#[test]
fn a_cut_at_every_512_bytes() {
    let archives = Archives::new();
    for name in ["web01.tar", "web01.tar.gz", "web01.tar.zst"] {
        let whole = archives.bytes(name, &[]);
        let lengths = (0..whole.len()).step_by(512).chain([whole.len() / 2 + 1, whole.len() - 1]);
        let mut tried = 0;
        for (number, length) in lengths.enumerate() {
            let what = format!("the first {length} of {} bytes of {name}", whole.len());
            tried += 1;
            // The end of a tar, too: two blocks of zeros are part of it.
            assert!(found(&whole[..length], &what).is_some(), "MISSED: {what}");
            if number % share(7) == 0 {
                archives.bytes_are_undone(&whole[..length], &what);
            }
        }
        announce(&format!("DAMAGE {name}: {tried} cuts, 0 missed"));
    }
}

#[test]
fn cuts_of_a_large_archive() {
    let archives = Archives::of(&Place::dir(), Size::Full);
    for name in ["web01.tar", "web01.tar.gz", "web01.tar.zst"] {
        let whole = archives.bytes(name, &["--standalone"]);
        for length in (0..whole.len()).step_by(512 * share(whole.len() / 512 / 40 + 1)) {
            let what = format!("the first {length} of {} bytes of {name}", whole.len());
            assert!(found(&whole[..length], &what).is_some(), "MISSED: {what}");
        }
    }
}

#[test]
fn a_pipe_that_breaks() {
    let archives = Archives::new();
    let whole = archives.bytes("web01.tar.gz", &[]);
    for tenth in 0..10 {
        let part = whole[..whole.len() * tenth / 10].to_vec();
        let ended = remand(["restore", "-"]).on(&archives.target).input(part).end();
        assert!([22, 23].contains(&ended.status), "{tenth}: {}", ended.describe());
        assert_eq!((archives.target.jails(), archives.target.remains()), (vec![], vec![]));
    }
}

#[test]
fn what_follows_the_end() {
    let archives = Archives::new();
    for name in ["web01.tar", "web01.tar.gz", "web01.tar.zst"] {
        let whole = archives.bytes(name, &[]);
        for (what, more) in [
            ("noise", workload::noise(1, 4096)),
            ("one byte", vec![1]),
            ("itself", whole.clone()),
            ("its last half", whole[whole.len() / 2..].to_vec()),
        ] {
            let bytes = [&whole[..], &more].concat();
            assert!(found(&bytes, what).is_some(), "MISSED: {what} after {name}");
            archives.bytes_are_undone(&bytes, what);
        }
    }
    // Tapes and other devices of whole blocks pad with zeros.
    let padded = [archives.bytes("again.tar", &[]), vec![0; 10_000]].concat();
    assert_eq!(found(&padded, "zeros"), None);
}
