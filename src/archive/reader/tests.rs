use super::*;
use crate::archive::index::Role;
use crate::archive::testing::*;
use crate::archive::{Compression, Writer};

#[test]
fn an_archive_that_is_read_again_is_the_same() {
    let bytes = archive(Compression::None, false, &samples());
    let stream = || Box::new(io::Cursor::new(bytes.clone()));
    let terms = Terms::new("test");
    let audited = content::Audited::new(stream() as Box<dyn io::BufRead>, Audit::default());
    let json = tar::Tar::new(Box::new(audited), &terms).manifest().unwrap().1;
    let read = |known: &[u8]| {
        let mut collected = Collected::default();
        let read = read_stream(stream(), &terms, Some(known), &mut collected);
        // What the visitor knows it is not told again.
        assert!(collected.manifest.is_none());
        (read, collected.members.len())
    };
    let (seal, members) = read(&json);
    assert!(seal.is_ok() && members > 0);
    for other in [&json[..json.len() - 1], b"", &[&json[..], b" "].concat()] {
        let (error, members) = read(other);
        assert!(matches!(error, Err(Error::Damaged(_))), "{error:?}");
        assert_eq!(members, 0);
    }
}

#[test]
fn everything_comes_back() {
    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        for patchable in [true, false] {
            let sink = MemorySink { patchable, ..MemorySink::default() };
            let mut writer = Writer::tar(Box::new(sink.clone()), compression, &std::env::temp_dir()).unwrap();
            writer.manifest(&manifest(), 100).unwrap();
            let lines = write_samples(&mut writer, &samples()).unwrap();
            let seal = writer.finish().unwrap();
            let bytes = sink.bytes.lock().unwrap().clone();
            let (read_seal, collected) = read_archive(&bytes).unwrap();
            assert_eq!(read_seal, seal);
            assert_eq!(collected.manifest, Some(manifest()));
            assert_eq!(collected.lines, lines);
            let members: Vec<_> =
                lines.iter().filter(|line| crate::archive::check::is_member(line)).collect();
            assert_eq!(collected.members.len(), members.len());
            for ((header, content), line) in collected.members.iter().zip(members) {
                assert_eq!(header.name, line.name);
                assert_eq!(header.entry, crate::archive::header::in_header(line));
                let digest = content.as_ref().map(|(_, digest)| *digest);
                if let Role::Member { digest: expected } = line.role {
                    assert_eq!(digest, expected, "{}", line.name);
                }
            }
        }
    }
}

/// An archive of two jails that share a file; the second one failed.
fn two(links: &[(&str, &str)], failures: &[Failure]) -> Result<(Seal, Collected)> {
    let sink = MemorySink::default();
    let mut writer = Writer::tar(Box::new(sink.clone()), Compression::None, &std::env::temp_dir())?;
    writer.manifest(&two_jails(), 0)?;
    let mut shared = file("jails/a/root.tree/shared", b"both have it");
    shared.line.shared = vec![1];
    let mut samples = vec![file("jails/a/config.json", b"{}"), shared];
    for (from, to) in links {
        let mut link = file(*from, b"");
        link.line.role = Role::Link { to: name(to) };
        link.body = SampleBody::None;
        samples.push(link);
    }
    write_samples(&mut writer, &samples)?;
    failures.iter().try_for_each(|failure| writer.fail(failure))?;
    writer.finish()?;
    let bytes = sink.bytes.lock().unwrap().clone();
    read_archive(&bytes)
}

#[test]
fn links_between_resources_and_failures_come_back() {
    let failure = Failure { resource: 1, error: "it was \"busy\"".to_owned() };
    let link = ("jails/b/root.tree/name", "jails/a/root.tree/shared");
    let (seal, collected) = two(&[link], std::slice::from_ref(&failure)).unwrap();
    assert_eq!(seal.entries, 3);
    assert_eq!(collected.failures, [failure]);
    assert_eq!(collected.members[1].0.shared, [1]);
    assert_eq!(collected.lines[1].shared, [1]);
    assert_eq!(collected.lines[2].role, Role::Link { to: name("jails/a/root.tree/shared") });
}

#[test]
fn links_between_resources_lead_to_earlier_files_of_trees_alone() {
    let refused = |from, to| matches!(two(&[(from, to)], &[]), Err(Error::Refused(_)));
    assert!(refused("jails/b/root.tree/name", "jails/a/root.tree/missing"));
    assert!(refused("jails/b/root.tree/name", "jails/a/config.json"));
    assert!(refused("jails/b/root.tree/name", "manifest.json"));
    assert!(refused("jails/b/config.json", "jails/a/root.tree/shared"));
    let unknown = two(&[], &[Failure { resource: 2, error: String::new() }]);
    assert!(matches!(unknown, Err(Error::Refused(_))));
}

/// An archive that is small enough to be tried at every place.
fn small(compression: Compression) -> Vec<u8> {
    let mut rich = file("root/rich", b"some content");
    rich.line.entry.as_mut().unwrap().xattrs.insert(b"user.x".to_vec(), b"y".to_vec());
    let mut stream = file("data.zfs", b"");
    stream.body = SampleBody::Stream(b"a stream".to_vec());
    archive(compression, true, &[file("config.json", b"{}"), rich, stream])
}

#[test]
fn every_cut_is_damage() {
    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        let whole = small(compression);
        read_archive(&whole).unwrap();
        for length in 0..whole.len() {
            match read_archive(&whole[..length]) {
                Err(Error::Damaged(_)) => {}
                Err(error) => panic!("{compression:?} cut at {length}: {error}"),
                Ok(_) => panic!("{compression:?} cut at {length} was read"),
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        let whole = small(compression);
        let (seal, good) = read_archive(&whole).unwrap();
        for place in 0..whole.len() {
            let mut bad = whole.clone();
            bad[place] ^= 1 << (place % 8);
            // What tells nothing (a header's checksum may be written in two ways) may change.
            if let Ok((again, collected)) = read_archive(&bad) {
                let same =
                    again == seal && collected.lines == good.lines && collected.members == good.members;
                assert!(
                    same && collected.manifest == good.manifest,
                    "{compression:?}: byte {place} was flipped"
                );
            }
        }
    }
}

#[test]
fn what_follows_the_end_is_damage_unless_it_is_zeros() {
    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        let mut whole = small(compression);
        whole.extend_from_slice(b"garbage, long enough to be a header of whatever there is");
        assert!(matches!(read_archive(&whole), Err(Error::Damaged(_))), "{compression:?}");
    }
    let mut padded = small(Compression::None);
    padded.extend_from_slice(&[0; 9000]);
    read_archive(&padded).unwrap();
}

#[test]
fn foreign_compressors_are_read() {
    let plain = small(Compression::None);
    for (program, arguments) in
        [("gzip", &["-c"][..]), ("xz", &["-c"]), ("zstd", &["-qc"]), ("pigz", &["-c"])]
    {
        let dir = tempfile::tempdir().unwrap();
        let [tar, compressed] = ["a.tar", "a.compressed"].map(|name| dir.path().join(name));
        std::fs::write(&tar, &plain).unwrap();
        let status = std::process::Command::new(program)
            .args(arguments)
            .arg(&tar)
            .stdout(File::create(&compressed).unwrap())
            .status()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        assert!(status.success());
        let bytes = std::fs::read(&compressed).unwrap();
        read_archive(&bytes).unwrap();
        for length in [bytes.len() - 1, bytes.len() / 2, 30] {
            assert!(matches!(read_archive(&bytes[..length]), Err(Error::Damaged(_))));
        }
        // Two streams, cut in the middle of the archive.
        let (first, second) = plain.split_at(700);
        let mut both = Vec::new();
        for part in [first, second] {
            std::fs::write(&tar, part).unwrap();
            let output = std::process::Command::new(program).args(arguments).arg(&tar).output().unwrap();
            both.extend_from_slice(&output.stdout);
        }
        read_archive(&both).unwrap();
    }
}

#[test]
fn a_visitor_may_leave_content_unread_and_fail() {
    let bytes = small(Compression::Gzip(6));
    let mut lazy = Collected { lazy: true, ..Collected::default() };
    let source = || Source::Stream(Box::new(io::Cursor::new(bytes.clone())));
    read(source(), "test", &mut lazy).unwrap();
    assert_eq!(lazy.lines.len(), 3);

    assert!(matches!(read(source(), "test", &mut Failing), Err(Error::Exists(_))));
}

#[test]
fn the_manifest_comes_from_the_head_alone() {
    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        let bytes = archive(compression, true, &samples());
        let head = bytes[..65536].to_vec();
        let found = read_manifest(Source::Stream(Box::new(io::Cursor::new(head))), "test").unwrap();
        assert_eq!(found, manifest());
    }
}

#[test]
fn what_is_not_there() {
    let path = std::path::PathBuf::from("/nonexistent/archive.tar");
    assert!(matches!(read_manifest(Source::Path(path), "it"), Err(Error::NotFound(name)) if name == "it"));
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read_manifest(Source::Path(dir.path().to_owned()), "it"), Err(Error::Refused(_))));
}

/// A visitor that wants nothing.
struct Failing;
impl Visitor for Failing {
    fn manifest(&mut self, _: &Manifest) -> Result<()> {
        Ok(())
    }
    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> Result<()> {
        Err(Error::Exists("mine".to_owned()))
    }
    fn line(&mut self, _: &Line) -> Result<()> {
        Ok(())
    }
    fn failure(&mut self, _: &Failure) -> Result<()> {
        Ok(())
    }
}
