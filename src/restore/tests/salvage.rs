//! What a restore of a damaged archive counts, and what it tells.

use super::*;

/// An archive of two jails, with a change of its bytes.
fn damaged(host: &Host, change: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, None);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn place(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

fn salvage(unproven: bool) -> Options {
    Options { salvage: Some(Salvage { unproven }), ..Options::default() }
}

/// Of each resource: what was lost, what is not proven, and whether more may be missing.
fn tolls(report: &Report) -> Vec<(u64, u64, bool)> {
    let toll = |one: &Restored| one.salvaged.map(|toll| (toll.lost, toll.unproven, toll.uncertain));
    report.resources.iter().map(|one| toll(one).unwrap_or_default()).collect()
}

#[test]
fn a_lost_content_is_counted_and_told() {
    let host = Host::new();
    let path = damaged(&host, |bytes| {
        let at = place(bytes, b"of a");
        bytes[at] = b'X';
    });
    assert!(host.restore(&path, &Options::default()).is_err());
    host.warnings();
    let report = host.restore(&path, &salvage(false)).unwrap();
    assert_eq!(tolls(&report), [(1, 0, false), (0, 0, false)]);
    let warnings = host.warnings();
    assert!(matches!(&warnings[..], [one] if one.contains("root.tree/file: is lost: ")), "{warnings:?}");
    assert_eq!((host.names("jails/a/root"), host.names("jails/b/root")), (vec![], vec!["file".to_owned()]));
    host.is_clean();
}

#[test]
fn without_an_index_nothing_is_proven() {
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(place(bytes, b"./index.json"));
    let host = Host::new();
    let path = damaged(&host, cut);
    let report = host.restore(&path, &salvage(true)).unwrap();
    assert_eq!(tolls(&report), [(0, 2, true), (0, 2, true)]);
    assert_eq!(std::fs::read(host.path("jails/a/root/file")).unwrap(), b"of a");
    let warnings = host.warnings();
    let told = |text: &str| warnings.iter().filter(|warning| warning.contains(text)).count();
    assert_eq!(told("is restored, and not proven"), 4, "{warnings:?}");
    assert_eq!(
        (told("what else was lost of it is not known"), told("neither is its manifest proven")),
        (2, 2)
    );
    host.is_clean();
    // Without leave what is not proven is left out, and counted as lost.
    let host = Host::new();
    let path = damaged(&host, cut);
    let report = host.restore(&path, &salvage(false)).unwrap();
    assert_eq!(tolls(&report), [(2, 0, true), (2, 0, true)]);
    let warnings = host.warnings();
    let told = |text: &str| warnings.iter().filter(|warning| warning.contains(text)).count();
    assert_eq!(told("--unproven takes it"), 4, "{warnings:?}");
    assert_eq!(host.names("jails/a/root"), [""; 0]);
    host.is_clean();
}

#[test]
fn datasets_of_which_nothing_came_are_made_and_not_lost() {
    let host = Host::new();
    let datasets = ["data", "log", "log/old"].map(|name| (name, Encoding::Tree));
    let members = [
        ("jails/a/root.tree", ""),
        ("jails/a/log/old.tree", ""),
        ("jails/a/log/old.tree/file", "old"),
        ("jails/b/root.tree", ""),
    ];
    let path = with_datasets(&host, &datasets, &members);
    let report = host.restore(&path, &salvage(false)).unwrap();
    assert_eq!((tolls(&report), host.warnings()), (vec![(0, 0, false); 2], vec![]));
    assert_eq!(host.names("jails/a"), ["data", "log", "root"]);
    assert_eq!(host.names("jails/a/log/old"), ["file"]);
    host.is_clean();
}

#[test]
fn with_a_stream_its_dataset_and_what_lies_in_it_are_lost() {
    let host = Host::twisted(Twist { receives: true, ..Twist::default() });
    let datasets = [
        ("data", Encoding::Btrfs),
        ("data/db", Encoding::Tree),
        ("good", Encoding::Btrfs),
        ("good/db", Encoding::Tree),
    ];
    let members = [
        ("jails/a/root.tree", ""),
        ("jails/a/data.btrfs", "stream of data"),
        ("jails/a/data/db.tree", ""),
        ("jails/a/data/db.tree/file", "of db"),
        ("jails/a/good.btrfs", "stream of good"),
        ("jails/a/good/db.tree", ""),
        ("jails/a/good/db.tree/file", "of the good one"),
        ("jails/b/root.tree", ""),
    ];
    let path = with_datasets(&host, &datasets, &members);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = place(&bytes, b"stream of data");
    bytes[at] = b'X';
    std::fs::write(&path, bytes).unwrap();
    let report = host.restore(&path, &salvage(false)).unwrap();
    assert_eq!(host.names("jails/a"), ["good", "root"]);
    assert_eq!(host.names("jails/a/good"), ["db", "stream"]);
    assert_eq!(std::fs::read(host.path("jails/a/good/db/file")).unwrap(), b"of the good one");
    let warnings = host.warnings();
    let told = |text: &str| warnings.iter().filter(|warning| warning.contains(text)).count();
    // The stream, two entries that lie in it, and both datasets.
    let each = (told("is lost: "), told("lies in a dataset that is lost"), told("is missing: its stream"));
    assert_eq!((each, tolls(&report)), ((1, 2, 2), vec![(5, 0, false), (0, 0, false)]), "{warnings:?}");
    host.is_clean();
}

#[test]
fn what_has_no_place_is_left_out_and_counted() {
    let host = Host::new();
    let members = [
        ("jails/a/root.tree", ""),
        ("jails/a/root.tree/none/one", "1"),
        ("jails/a/root.tree/none/two", "2"),
        ("jails/b/root.tree", ""),
    ];
    let path = with_datasets(&host, &[], &members);
    assert!(host.restore(&path, &Options::default()).is_err());
    host.warnings();
    let report = host.restore(&path, &salvage(false)).unwrap();
    assert_eq!(tolls(&report), [(2, 0, false), (0, 0, false)]);
    let warnings = host.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.contains("is left out: ")), "{warnings:?}");
    host.is_clean();
}

/// What an archive may not have is refused as ever, also where nothing proves it.
#[test]
fn what_lies_in_the_place_of_a_dataset_is_refused_in_a_salvage_too() {
    let host = Host::new();
    let members = [("jails/a/root.tree", ""), ("jails/a/root.tree/in/file", "x"), ("jails/b/root.tree", "")];
    let path = with_datasets(&host, &[("root/in", Encoding::Tree)], &members);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(place(&bytes, b"./index.json"));
    std::fs::write(&path, bytes).unwrap();
    let error = host.restore(&path, &salvage(true)).unwrap_err();
    assert!(error.to_string().contains("no member that its manifest announces"), "{error}");
    assert_eq!(host.names("jails"), [""; 0]);
    host.is_clean();
}

#[test]
fn the_mark_of_a_salvage_leaves_of_a_long_note_what_has_room() {
    use crate::records::{NOTE_BYTES, Records};
    for first in ["", "x"] {
        let host = Host::new();
        let path = host.path("two.tar");
        let mut manifest = two_jails();
        manifest.resources[0].note = Some(format!("{first}{}", "é".repeat(NOTE_BYTES / 2 - 1)));
        archive(&path, &manifest, &TWO, None);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = place(&bytes, b"of a");
        bytes[at] = b'X';
        std::fs::write(&path, bytes).unwrap();
        host.restore(&path, &salvage(false)).unwrap();
        let warnings = host.warnings();
        assert!(!warnings.iter().any(|warning| warning.contains("not taken over")), "{warnings:?}");
        let records = Records::of_pool(&host.pool).unwrap();
        let kept = records.annotations(crate::resource::ResourceKind::Jail, "a").unwrap();
        let note = kept.note.unwrap();
        assert!(note.starts_with("NOT WHOLE: ") && note.ends_with('é'));
        assert!([NOTE_BYTES - 1, NOTE_BYTES].contains(&note.len()), "{}", note.len());
    }
}

#[test]
fn what_the_index_does_not_mention_is_counted_and_left_out() {
    let host = Host::new();
    let path = host.path("two");
    written(Writer::directory(&path, false, "x").unwrap(), &two_jails(), &TWO, None);
    std::fs::write(path.join("jails/a/root.tree/other"), "whose?").unwrap();
    let report = host.restore(&path, &salvage(true)).unwrap();
    let warnings = host.warnings();
    assert_eq!(tolls(&report), [(1, 0, false), (0, 0, false)], "{warnings:?}");
    let told = warnings.iter().filter(|warning| warning.contains("/other: is left out: ")).count();
    assert_eq!(told, 1, "{warnings:?}");
    assert_eq!(host.names("jails/a/root"), ["file"]);
    host.is_clean();
}

/// A stream that is damaged is lost; a pool that cannot receive it is another matter.
#[test]
fn a_stream_that_is_refused_is_lost_only_where_it_is_damaged() {
    use remand_backends::Error as Refusal;
    let damage = |subject| Refusal::Stream { subject, reason: "it ends early".to_owned() };
    let trouble = |subject| Refusal::Busy { subject, detail: "somebody uses it".to_owned() };
    let refusals: [fn(String) -> Refusal; 2] = [damage, trouble];
    for (refuses, fails) in refusals.into_iter().zip([false, true]) {
        let twist = Twist { receives: true, refuses: Some(refuses), ..Twist::default() };
        let host = Host::twisted(twist);
        let members =
            [("jails/a/root.tree", ""), ("jails/a/data.btrfs", "stream of data"), ("jails/b/root.tree", "")];
        let path = with_datasets(&host, &[("data", Encoding::Btrfs)], &members);
        assert!(host.restore(&path, &Options::default()).is_err());
        host.is_clean();
        host.warnings();
        let restored = host.restore(&path, &salvage(false));
        assert_eq!(restored.is_err(), fails, "{:?}", host.warnings());
        assert_eq!(host.names("jails"), if fails { vec![] } else { vec!["a".to_owned(), "b".to_owned()] });
        host.is_clean();
    }
}
