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
