use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::tree::Tree;

fn run(logical: u64, physical: u64, length: u64, flags: u32) -> Mapped {
    Mapped { logical, physical, length, flags }
}

const SHARED: u32 = Mapped::SHARED;

#[test]
fn runs_in_the_same_places_are_followed() {
    let (first, last) = (run(0, 4096, 8192, SHARED), run(16384, 1 << 40, 4096, SHARED | Mapped::LAST));
    assert_eq!(follow(&[first], &[first], 0), Some(8192));
    assert_eq!(follow(&[first, last], &[first, last], 0), Some(u64::MAX));
    assert_eq!(follow(&[], &[], 8192), Some(u64::MAX));
    let unwritten = run(0, 4096, 4096, SHARED | Mapped::UNWRITTEN);
    assert_eq!(follow(&[unwritten], &[unwritten], 0), Some(4096));
}

#[test]
fn any_difference_of_runs_ends_it() {
    let base = [run(0, 4096, 8192, SHARED), run(16384, 1 << 40, 4096, SHARED | Mapped::LAST)];
    let others = [
        run(16384 + 4096, 1 << 40, 4096, SHARED | Mapped::LAST),
        run(16384, (1 << 40) + 4096, 4096, SHARED | Mapped::LAST),
        run(16384, 1 << 40, 8192, SHARED | Mapped::LAST),
        run(16384, 1 << 40, 4096, SHARED),
        run(16384, 1 << 40, 4096, SHARED | Mapped::LAST | Mapped::UNWRITTEN),
    ];
    for other in others {
        assert_eq!(follow(&base, &[base[0], other], 0), None, "{other:?}");
    }
    assert_eq!(follow(&base, &base[..1], 0), None);
    assert_eq!(follow(&base[..1], &base, 0), None);
    assert_eq!(follow(&[], &base[..1], 4096), None);
    assert_eq!(follow(&[], &[], 0), None);
}

#[test]
fn unusual_runs_prove_nothing() {
    // UNKNOWN, DELALLOC, ENCODED, DATA_ENCRYPTED, NOT_ALIGNED, DATA_INLINE, DATA_TAIL, MERGED, and what is not known yet.
    for flag in [0x2, 0x4, 0x8, 0x80, 0x100, 0x200, 0x400, 0x1000, 0x4000, 1 << 31] {
        let unusual = [run(0, 4096, 4096, SHARED | flag)];
        assert_eq!(follow(&unusual, &unusual, 0), None, "{flag:#x}");
    }
    for unusual in [run(0, 4096, 4096, 0), run(0, 0, 4096, SHARED), run(0, 4096, 0, SHARED)] {
        assert_eq!(follow(&[unusual], &[unusual], 0), None, "{unusual:?}");
    }
    // An answer that does not get on.
    let behind = [run(0, 4096, 4096, SHARED)];
    assert_eq!(follow(&behind, &behind, 4096), None);
}

/// Directories on file systems that can share data.
fn places(group: &str) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for variable in ["REMAND_TEST_XFS", "REMAND_TEST_BTRFS"] {
        match std::env::var_os(variable).filter(|value| !value.is_empty()) {
            Some(path) => places.push(PathBuf::from(path)),
            None => eprintln!("SKIPPED {group}: {variable} names no directory"),
        }
    }
    places
}

fn cp(how: &str, from: &Path, to: &Path) {
    let done = Command::new("cp").arg(format!("--reflink={how}")).arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

fn proven(dir: &Path, base: &str, now: &str) -> bool {
    let root = Tree::open(dir).unwrap().root();
    let open = |name: &str| root.open_file(name.as_bytes()).unwrap().unwrap();
    let (mut base, mut now) = (open(base), open(now));
    let size = base.size();
    prove_equal(&mut base, &mut now, size)
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn only_a_clone_is_proven_equal() {
    for place in places("only_a_clone_is_proven_equal") {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("base"), noise(4 << 20)).unwrap();
        cp("always", &at("base"), &at("clone"));
        cp("never", &at("base"), &at("copy"));
        cp("always", &at("base"), &at("changed"));
        let changed = fs::File::options().write(true).open(at("changed")).unwrap();
        changed.write_all_at(b"!", 2 << 20).unwrap();
        assert!(proven(dir.path(), "base", "clone"), "{}", place.display());
        assert!(!proven(dir.path(), "base", "copy"), "{}", place.display());
        assert!(!proven(dir.path(), "base", "changed"), "{}", place.display());
    }
}

#[test]
fn a_clone_of_a_sparse_or_scattered_file_is_proven_equal() {
    for place in places("a_clone_of_a_sparse_or_scattered_file_is_proven_equal") {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let at = |name: &str| dir.path().join(name);
        // More runs than one call tells. The size comes first: XFS allocates ahead where a file grows, and a clone has no such space.
        let file = fs::File::create(at("base")).unwrap();
        file.set_len(200 * 65536).unwrap();
        for nth in 0..200 {
            file.write_all_at(&noise(8192), nth * 65536).unwrap();
        }
        cp("always", &at("base"), &at("clone"));
        assert!(proven(dir.path(), "base", "clone"), "{}", place.display());
        for nth in [0, 63, 64, 199] {
            cp("always", &at("base"), &at("changed"));
            let changed = fs::File::options().write(true).open(at("changed")).unwrap();
            changed.write_all_at(b"!", nth * 65536 + 9000).unwrap();
            assert!(!proven(dir.path(), "base", "changed"), "{} {nth}", place.display());
        }
    }
}

#[test]
fn compressed_and_inline_files_are_read() {
    let group = "compressed_and_inline_files_are_read";
    for place in places(group)
        .into_iter()
        .filter(|place| place.to_str() == std::env::var("REMAND_TEST_BTRFS").ok().as_deref())
    {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::File::create(at("compressed")).unwrap();
        let set =
            ["property", "set", at("compressed").to_str().unwrap(), "compression", "zstd"].map(str::to_owned);
        assert!(Command::new("btrfs").args(set).status().unwrap().success());
        fs::write(at("compressed"), vec![b'x'; 1 << 20]).unwrap();
        cp("always", &at("compressed"), &at("clone"));
        assert!(!proven(dir.path(), "compressed", "clone"));
        fs::write(at("inline"), noise(1000)).unwrap();
        cp("always", &at("inline"), &at("inline2"));
        assert!(!proven(dir.path(), "inline", "inline2"));
    }
}

#[test]
fn a_clone_is_not_read_and_a_change_in_it_is_found() {
    use crate::change::{self, Options, What};
    static GO_ON: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    for place in places("a_clone_is_not_read_and_a_change_in_it_is_found") {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let at = |name: &str| dir.path().join(name);
        for side in ["base", "now"] {
            fs::create_dir(at(side)).unwrap();
        }
        for name in ["same", "changed"] {
            fs::write(at("base").join(name), noise(3 << 20)).unwrap();
            cp("always", &at("base").join(name), &at("now").join(name));
        }
        let file = fs::File::options().write(true).open(at("now/changed")).unwrap();
        file.write_all_at(b"changed in the middle", 1_500_000).unwrap();
        let time = fs::metadata(at("base")).unwrap().modified().unwrap();
        for name in ["base/same", "base/changed", "base", "now/same", "now/changed", "now"] {
            fs::File::open(at(name)).unwrap().set_modified(time).unwrap();
        }
        let (base, now) = (Tree::open(&at("base")).unwrap(), Tree::open(&at("now")).unwrap());
        let options = Options {
            threads: 1,
            of_base: crate::change::OfBase::Nothing,
            exclude: &[],
            interrupted: &GO_ON,
            whole: None,
        };
        let mut found = Vec::new();
        let summary = change::compare(
            &change::content::Content,
            change::Trees { base: Some(&base), now: &now },
            options,
            &mut |change| {
                assert!(matches!(change.what, What::Whole { .. }));
                found.push((change.path.to_string(), change.differs.content));
                Ok::<_, change::Error>(())
            },
        )
        .unwrap();
        assert_eq!(found, [("changed".to_owned(), true)]);
        // Of the changed one both up to the change, then the base for its digest.
        assert!(summary.compared_bytes < 7 << 20, "{}", summary.compared_bytes);
    }
}
