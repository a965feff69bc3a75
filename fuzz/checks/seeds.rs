//! Seeds by remand's own writers.

use remand::archive::manifest::BaseRecord;
use remand::archive::{Compression, fuzzing};
use remand::tree::Extent;

use super::{forged, roundtrip, tar};

/// A seed: its target, its name, and its bytes.
pub(crate) type Seed = (&'static str, String, Vec<u8>);

/// Bytes that structure-aware targets make something of: they are the same each time.
fn noise(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// All that can be made.
pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| seeds.push((target, name.to_owned(), bytes));
    let plain = roundtrip::sample();
    add("archive", "plain.tar", plain.clone());
    for (name, compression) in [
        ("small.tar.gz", Compression::Gzip(6)),
        ("small.tar.zst", Compression::Zstd(3)),
        ("small.tar", Compression::None),
    ] {
        add("archive", name, roundtrip::compressed_sample(compression));
    }
    parts(&plain, &mut add);
    add("manifest", "two", two_resources());
    for number in 0..6 {
        let length = usize::try_from(400 << number).expect("it is small");
        for target in ["forged", "chunks", "roundtrip", "tree", "gzip", "zstd"] {
            add(target, &format!("noise-{number}"), noise(number, length.min(3000)));
        }
        if let Some(archive) = forged::forged_archive(&noise(number + 10, 700)) {
            add("archive", &format!("forged-{number}.tar"), archive);
        }
    }
    maps(&mut add);
    seeds
}

/// The parts of an archive, each alone.
fn parts(plain: &[u8], add: &mut impl FnMut(&'static str, &str, Vec<u8>)) {
    let members = tar::members(plain);
    let mut begun = None;
    for (number, member) in members.iter().enumerate() {
        let at = begun.take().unwrap_or(member.at);
        if member.kind == b'x' {
            begun = Some(at);
            add("pax", &format!("records-{number}"), plain[member.content.clone()].to_vec());
        } else if number > 2 && number % 3 == 0 {
            add("header", &format!("member-{number}"), plain[at..member.at + tar::BLOCK].to_vec());
        }
    }
    let mut files = members.iter().filter(|member| matches!(member.kind, b'0'));
    if let Some(index) = files.next_back() {
        add("index", "lines", plain[index.content.clone()].to_vec());
    }
    let chunk = |bytes, header| fuzzing::Chunk { bytes, plain_bytes: 1 << 20, header };
    let chunks = [chunk(300, None), chunk(5, Some((7, 0))), chunk(70_000, Some((0, 900)))];
    let data = fuzzing::table_data(&chunks);
    for (name, kind) in [("gzip", fuzzing::Kind::Gzip), ("zstd", fuzzing::Kind::Zstd)] {
        add("table", name, fuzzing::table(kind, &chunks, 5).expect("memory takes it"));
    }
    add("table", "data", data);
}

/// A manifest of two resources with all that one can have.
fn two_resources() -> Vec<u8> {
    let mut manifest = fuzzing::manifest(super::members::MANIFEST).expect("it is one");
    let mut other = manifest.resources[0].clone();
    let first = &mut manifest.resources[0];
    let digest = remand::archive::Digest::of(b"a tree");
    first.prefix = "./jails/web01/".into();
    first.base = Some(BaseRecord {
        kind: remand::archive::manifest::ResourceKind::Release,
        name: "14.2-RELEASE".into(),
        snapshot: Some("p3".into()),
        guid: Some("1234".into()),
        fingerprint: serde_json::from_value(serde_json::json!({
            "digest": digest, "digest_with_mtimes": digest, "entries": 7, "aspects": { "mode": digest },
            "places": { ".": digest },
        }))
        .expect("it is one"),
    });
    first.tags = vec!["nightly".into()];
    first.note = Some("a note".into());
    first.properties.insert("compression".into(), "lz4".into());
    first.records = vec![remand::archive::manifest::ExportRecord::default()];
    other.name = "db".into();
    other.prefix = "./jails/db/".into();
    other.mode = remand::archive::manifest::Mode::Standalone;
    other.base = None;
    other.datasets.truncate(1);
    other.datasets[0].encoding = remand::archive::manifest::Encoding::Tree;
    other.datasets[0].member = "root.tree".into();
    manifest.resources.push(other);
    fuzzing::print_manifest(&manifest)
}

fn maps(add: &mut impl FnMut(&'static str, &str, Vec<u8>)) {
    let run = |offset, length| Extent { offset, length };
    let maps = [
        (vec![run(4096, 4096), run(1 << 20, 5)], (1 << 20) + 5),
        (vec![], 1 << 30),
        ((0..60).map(|number| run(number * 9000, 1)).collect(), 1 << 20),
    ];
    for (number, (runs, size)) in maps.into_iter().enumerate() {
        let size: u64 = size;
        let map = [&size.to_le_bytes()[..], &fuzzing::print_sparse_map(&runs, size)].concat();
        add("sparse_map", &format!("map-{number}"), map);
    }
}
