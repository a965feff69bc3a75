//! Members and chunks that are missing, there twice, or in another place.

use super::harmless::Form;
use super::sight::{found, see};
use super::support::announce;
use super::support::bundle::Bundle;
use super::support::pool::{Place, Size};
use super::support::tar;
use super::{Archives, share};

/// What is done to a list of parts: which of them, and what it is then. Leaves out what changes nothing.
fn changes<T: Clone + PartialEq>(parts: &[T]) -> Vec<(String, Vec<T>)> {
    let mut changes = Vec::new();
    let count = parts.len();
    for number in 0..count {
        let mut dropped = parts.to_vec();
        dropped.remove(number);
        changes.push((format!("without part {number}"), dropped));
        let mut twice = parts.to_vec();
        twice.insert(number, parts[number].clone());
        changes.push((format!("with part {number} twice"), twice));
        for other in number + 1..count {
            let mut swapped = parts.to_vec();
            swapped.swap(number, other);
            changes.push((format!("with parts {number} and {other} swapped"), swapped));
        }
        let mut moved = parts.to_vec();
        let part = moved.remove(number);
        moved.push(part);
        changes.push((format!("with part {number} at the end"), moved));
    }
    let mut reversed = parts.to_vec();
    reversed.reverse();
    changes.push(("backwards".to_owned(), reversed));
    changes.retain(|(_, changed)| changed != parts);
    changes
}

#[test]
fn members_that_are_missing_repeated_swapped_or_moved() {
    let archives = Archives::new();
    archives.export("web01.tar", &[]);
    let members = Bundle::open(&archives.scratch.join("web01.tar")).members;
    let all = changes(&members);
    let step = share(5);
    for (number, (what, changed)) in all.iter().enumerate().filter(|(number, _)| number % step == 0) {
        let bytes = tar::write(changed);
        assert!(found(&bytes, what).is_some(), "MISSED: {what}");
        if number % (share(40) * 4) == 0 {
            archives.bytes_are_undone(&bytes, what);
        }
    }
    announce(&format!("DAMAGE members: {} changes, 0 missed", all.len() / step));
    // Contents alone.
    for one in 0..members.len() {
        for other in (one + 1..members.len()).filter(|other| members[*other].data != members[one].data) {
            let mut changed = members.clone();
            let data = std::mem::take(&mut changed[one].data);
            changed[one].data = std::mem::replace(&mut changed[other].data, data);
            let what = format!("with the contents of {one} and {other} swapped");
            assert!(found(&tar::write(&changed), &what).is_some(), "MISSED: {what}");
        }
    }
}

/// Cuts a compressed archive into its chunks, those of the table too.
fn chunks(form: Form, bytes: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let length = match form {
            Form::Gzip => number(16),
            Form::Zstd if rest[1..4] == [0x2a, 0x4d, 0x18] => 8 + number(4),
            _ => zstd::zstd_safe::find_frame_compressed_size(rest).expect("a frame"),
        };
        let (chunk, after) = rest.split_at(length);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

#[test]
fn chunks_that_are_missing_repeated_swapped_or_moved() {
    let archives = Archives::of(&Place::dir(), Size::Full);
    for (form, name) in [(Form::Gzip, "web01.tar.gz"), (Form::Zstd, "web01.tar.zst")] {
        let whole = archives.bytes(name, &["--standalone"]);
        let parts = chunks(form, &whole);
        assert!(parts.len() > 5 && parts.concat() == whole, "{} chunks", parts.len());
        let all = changes(&parts);
        let step = share(all.len() / 60 + 1);
        for (what, changed) in all.iter().step_by(step) {
            assert!(found(&changed.concat(), what).is_some(), "MISSED: {name} {what}");
        }
        // An archive without a table is whole, if nothing announces one: others' tools make such.
        let plain = form.plain(&whole).unwrap();
        assert!(see(&plain).is_ok());
        announce(&format!("DAMAGE chunks of {name}: {} changes, 0 missed", all.len() / step));
    }
}
