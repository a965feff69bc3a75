//! Flipped bits: every one of small archives, thousands of large ones.

use std::collections::BTreeMap;

use super::harmless::{Form, reason};
use super::sight::{found, see};
use super::support::announce;
use super::support::pool::{Place, Size};
use super::support::run::restore;
use super::support::trip::assert_restored;
use super::{Archives, share};

/// Numbers that look random and are always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }
}

/// Flips each of these bits: it is found, or it means nothing and a reader sees the same as before. One of `restored` that are found, and
/// one of each kind that means nothing, are restored too.
fn flip(archives: &Archives, name: &str, whole: &[u8], bits: impl Iterator<Item = usize>, restored: usize) {
    let form = Form::of(name);
    let before = see(whole).expect("it is whole");
    let (mut tried, mut harmless) = (0, BTreeMap::<&str, usize>::new());
    for (number, bit) in bits.enumerate() {
        let what = format!("bit {} of byte {} of {} of {name}", bit % 8, bit / 8, whole.len());
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        tried += 1;
        if found(&bytes, &what).is_some() {
            if number % restored == restored / 2 {
                archives.bytes_are_undone(&bytes, &what);
            }
            continue;
        }
        let why = reason(form, whole, &bytes).unwrap_or_else(|| panic!("MISSED: {what}"));
        assert!(see(&bytes).expect(&what) == before, "{what} ({why}) changes what a reader sees");
        let seen = harmless.entry(why).or_default();
        *seen += 1;
        if *seen == 1 {
            let path = archives.scratch.join(&format!("harmless-{name}"));
            std::fs::write(&path, &bytes).unwrap();
            restore(&archives.target, &path, &[]);
            assert_restored(&archives.source, "web01", &archives.target, "web01");
            archives.target.delete("jails/web01");
        }
    }
    announce(&format!("DAMAGE {name}: {tried} flipped bits, 0 missed, harmless: {harmless:?}"));
    let count: usize = harmless.values().sum();
    // Of few flips one or the other hits such a bit by chance.
    assert!(count < 4 + tried / 100, "too many flips change nothing: {harmless:?}");
}

/// Every bit of an archive, or every so-many-th.
fn flip_all(name: &str, options: &[&str], step: usize, restored: usize) {
    let archives = Archives::new();
    let whole = archives.bytes(name, options);
    flip(&archives, name, &whole, (0..whole.len() * 8).step_by(share(step)), restored);
}

#[test]
fn every_bit_of_a_small_tar() {
    flip_all("web01.tar", &[], 61, 300);
}

#[test]
fn every_bit_of_a_small_tar_gz() {
    flip_all("web01.tar.gz", &[], 23, 300);
}

#[test]
fn every_bit_of_a_small_tar_zst() {
    flip_all("web01.tar.zst", &[], 23, 300);
}

#[test]
fn every_bit_of_a_small_standalone_archive() {
    flip_all("web01.tar.gz", &["--standalone"], 37, 300);
}

/// Sparse files, hard links, xattrs, deletions, sockets, device nodes, names of all kinds.
#[test]
fn thousands_of_bits_of_a_large_archive() {
    let archives = Archives::of(&Place::dir(), Size::Full);
    for (seed, name) in ["web01.tar", "web01.tar.gz", "web01.tar.zst"].into_iter().enumerate() {
        let whole = archives.bytes(name, &[]);
        let mut random = Random(seed as u64);
        let count = 6000 / share(60);
        let bits = (0..count).map(|_| random.below(whole.len() * 8));
        flip(&archives, name, &whole, bits, 50);
    }
}

#[test]
fn bits_of_an_archive_of_several_resources() {
    let archives = Archives::new();
    archives.source.jail("web02", "base-1.0", Size::Small);
    let path = archives.scratch.join("two.tar.gz");
    super::support::run::remand(["export"])
        .on(&archives.source)
        .args(&["web01", "web02", "release:base-1.0"])
        .arg(&path)
        .ends(0);
    let whole = std::fs::read(path).unwrap();
    let before = see(&whole).unwrap();
    for bit in (0..whole.len() * 8).step_by(share(61)) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if found(&bytes, "two").is_none() {
            assert!(reason(Form::Gzip, &whole, &bytes).is_some(), "MISSED: bit {bit}");
            assert!(see(&bytes).unwrap() == before, "bit {bit}");
        }
    }
}

/// Native streams, with their own snapshots where they travel.
#[test]
fn bits_of_native_streams() {
    let Some(place) = Place::btrfs("damage of native streams") else { return };
    let archives = Archives::of(&place, Size::Small);
    for (name, options) in [
        ("web01.tar.gz", &["--standalone"][..]),
        ("web01.tar.zst", &["--recursive"]),
        ("web01.tar", &["--portable"]),
    ] {
        let whole = archives.bytes(name, options);
        let mut random = Random(whole.len() as u64);
        let bits = (0..4000 / share(20)).map(|_| random.below(whole.len() * 8));
        flip(&archives, name, &whole, bits, 70);
    }
}
