//! Parts of an archive, each alone.

use remand::archive::manifest::{Encoding, Manifest};
use remand::archive::{fuzzing, member::MemberName};
use remand::tree::{Extent, Kind, TreePath};

use super::{is_fit, prints_the_same};

/// A manifest is refused, or means the same when it is printed; and what a restore would make of it lies in the pool.
pub(super) fn manifest(json: &[u8]) {
    let manifest = match fuzzing::manifest(json) {
        Ok(manifest) => manifest,
        Err(error) => return is_fit(&error),
    };
    let again = fuzzing::manifest(&fuzzing::print_manifest(&manifest)).expect("it was printed");
    assert_eq!(again, manifest);
    plans(&manifest);
}

fn plans(manifest: &Manifest) {
    for record in &manifest.resources {
        for name in [None, Some("other"), Some("../other")] {
            let Ok((name, datasets)) = remand::fuzzing::restored(record, name) else { continue };
            let clean = |path: &str| TreePath::new(path.as_bytes()).is_ok_and(|path| !path.is_root());
            assert!(clean(&name) && !name.contains('/') && !name.starts_with('-'), "{name:?}");
            for ((dataset, member), record) in datasets.iter().zip(&record.datasets) {
                assert!(clean(dataset) && !dataset.starts_with('-'), "{dataset:?}");
                let has_member = record.encoding != Encoding::Base;
                assert_eq!(
                    member.as_ref().is_some_and(|member| !member.is_root()),
                    has_member,
                    "{dataset:?}"
                );
            }
            let unique: std::collections::BTreeSet<_> = datasets.iter().map(|(name, _)| name).collect();
            assert_eq!(unique.len(), datasets.len());
        }
    }
}

/// The manifest that the indexes of the seeds belong to: one jail with a delta, a stream and a tree.
pub(super) const MANIFEST: &[u8] = include_bytes!("../seeds/manifest/jail");

/// Lines of an index mean the same when they are printed; and a whole index has each path once.
pub(super) fn index(lines: &[u8]) {
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        prints_the_same("index line", line, fuzzing::index_line);
    }
    let mended = super::tar::sealed(MANIFEST, lines);
    for lines in [lines, &mended] {
        match fuzzing::index(lines, MANIFEST) {
            Err(error) => is_fit(&error),
            Ok((seal, lines)) => {
                assert_eq!(seal.entries, lines.len() as u64);
                super::archives::make_sense(&lines);
            }
        }
    }
}

/// Records of a pax header mean the same when they are printed.
pub(super) fn pax(records: &[u8]) {
    if let Some(printed) = prints_the_same("pax records", records, fuzzing::pax) {
        // Lengths can have zeros before them, or count one digit more.
        assert!(printed.len() <= records.len());
    }
}

/// A header is refused, or means the same when it is printed. The checksums are put right first.
pub(super) fn header(stream: &[u8]) {
    let mut mended = stream.to_vec();
    super::tar::mend_headers(&mut mended);
    for stream in [stream, &mended] {
        let header = match fuzzing::header(stream) {
            Ok(Some(header)) => header,
            Ok(None) => continue,
            Err(error) => {
                is_fit(&error);
                continue;
            }
        };
        let entry = header.line.entry.as_ref().expect("a header has an entry");
        is_clean(&header.line.name);
        assert_eq!(entry.target.is_some(), entry.kind == Kind::Symlink);
        let printed = header.printed.as_ref().expect("tar has a type for what it has told");
        let mut again = fuzzing::header(printed).expect("it was printed").expect("it was printed");
        // The first attempt is said by nothing.
        again.attempt = if header.attempt == 0 { 0 } else { again.attempt };
        assert_eq!(again, header);
    }
}

/// A name that lies in the archive.
pub(super) fn is_clean(name: &MemberName) {
    assert!(!name.path().is_root());
    assert!(
        name.path()
            .as_bytes()
            .split(|&byte| byte == b'/')
            .all(|part| { !part.is_empty() && part != b"." && part != b".." && !part.contains(&0) })
    );
}

/// A sparse map is refused, or its runs ascend, lie apart and in the file, and are the same when they are printed.
pub(super) fn sparse_map(data: &[u8]) {
    let Some((size, map)) = data.split_first_chunk::<8>() else { return };
    let size = u64::from_le_bytes(*size);
    // A map is whole blocks.
    let mut map = map.to_vec();
    map.resize(map.len().next_multiple_of(512), 0);
    let Some((runs, blocks)) = fuzzing::sparse_map(&map, size) else { return };
    let mut end = 0;
    for (number, Extent { offset, length }) in runs.iter().copied().enumerate() {
        assert!(length > 0 && (offset > end || (number == 0 && offset == 0)), "{runs:?}");
        end = offset.checked_add(length).expect("no run is so long");
    }
    assert!(end <= size && blocks <= map.len() / 512);
    let printed = fuzzing::print_sparse_map(&runs, size);
    let (again, blocks) = fuzzing::sparse_map(&printed, size).expect("it was printed");
    assert_eq!((again, blocks), (runs.clone(), printed.len() / 512));
    for limit in [1, 2, runs.len() / 2] {
        let joined = fuzzing::join_runs(&runs, limit.max(1));
        assert!(joined.len() <= limit.max(1));
        // All data are in them still, and nothing but holes is added.
        let covered = |run: &Extent| {
            joined.iter().any(|joined| {
                joined.offset <= run.offset && run.offset + run.length <= joined.offset + joined.length
            })
        };
        assert!(runs.iter().all(covered));
        assert_eq!(joined.last().map(|run| run.offset + run.length), runs.last().map(|_| end));
        assert_eq!(joined.first().map(|run| run.offset), runs.first().map(|run| run.offset));
    }
}
