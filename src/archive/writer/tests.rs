use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::archive::testing::*;
use crate::archive::{FileSink, Source, read};
use crate::tree::Kind;

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip(6), Compression::Zstd(3)];

fn writer(sink: &MemorySink, compression: Compression) -> Writer {
    Writer::tar(Box::new(sink.clone()), compression, &std::env::temp_dir()).unwrap()
}

#[test]
fn the_manifest_can_be_amended_where_the_sink_can_be_patched() {
    for compression in ALL {
        let sink = MemorySink { patchable: true, ..MemorySink::default() };
        let mut writer = writer(&sink, compression);
        writer.manifest(&manifest(), 200).unwrap();
        write_samples(&mut writer, &samples()).unwrap();
        let mut later = manifest();
        later.resources[0].snapshot = Some("s".repeat(100));
        writer.amend_manifest(&later).unwrap();
        writer.finish().unwrap();
        let (_, collected) = read_archive(&sink.bytes.lock().unwrap()).unwrap();
        assert_eq!(collected.manifest, Some(later));
    }
    let sink = MemorySink { patchable: true, ..MemorySink::default() };
    let mut writer = writer(&sink, Compression::None);
    writer.manifest(&manifest(), 10).unwrap();
    let mut later = manifest();
    later.resources[0].snapshot = Some("s".repeat(100));
    assert!(writer.amend_manifest(&later).is_err());
    assert!(!self::writer(&MemorySink::default(), Compression::None).can_amend());
}

#[test]
fn an_amended_manifest_has_the_room_that_was_kept_for_it() {
    let mut later = manifest();
    later.resources[0].snapshot = Some("s".repeat(100));
    let spare = later.to_json().len() - manifest().to_json().len();
    for (kept, fits) in [(spare, true), (spare - 1, false)] {
        let sink = MemorySink { patchable: true, ..MemorySink::default() };
        let mut writer = writer(&sink, Compression::None);
        assert!(writer.can_amend());
        writer.manifest(&manifest(), kept).unwrap();
        assert_eq!(writer.amend_manifest(&later).is_ok(), fits);
        writer.finish().unwrap();
        let (_, collected) = read_archive(&sink.bytes.lock().unwrap()).unwrap();
        assert_eq!(collected.manifest, Some(if fits { later.clone() } else { manifest() }));
    }
}

#[test]
fn the_same_input_gives_the_same_archive() {
    // Threads may end in any order, their results may not.
    let samples: Vec<_> =
        samples().into_iter().filter(|sample| sample.line.name != name("data.zfs")).collect();
    for compression in ALL {
        assert!(archive(compression, true, &samples) == archive(compression, true, &samples));
    }
}

#[test]
fn a_sink_that_fails_after_any_number_of_bytes() {
    for compression in ALL {
        let whole = archive(compression, false, &samples()).len();
        for limit in [0, 100, 5000, 1 << 20, 3 << 20, whole - 100] {
            let sink = MemorySink { limit: Some(limit), ..MemorySink::default() };
            let mut writer = writer(&sink, compression);
            let failed = writer
                .manifest(&manifest(), 0)
                .and_then(|()| write_samples(&mut writer, &samples()))
                .and_then(|_| writer.finish());
            match failed {
                Err(Error::Io { action: "write", source, .. }) => {
                    assert_eq!(
                        source.kind(),
                        io::ErrorKind::StorageFull,
                        "{compression:?} {limit}: {source}"
                    );
                }
                other => panic!("{compression:?} {limit}: {other:?}"),
            }
            assert!(!*sink.committed.lock().unwrap());
        }
    }
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a.tar.gz");
    let sink = FileSink::create(&dest, false, "s").unwrap();
    let mut writer = Writer::tar(Box::new(sink), Compression::Gzip(1), dir.path()).unwrap();
    writer.manifest(&manifest(), 0).unwrap();
    write_samples(&mut writer, &samples()).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_changes_while_it_is_read() {
    for compression in ALL {
        let sink = MemorySink { patchable: true, ..MemorySink::default() };
        let mut writer = writer(&sink, compression);
        writer.manifest(&manifest(), 0).unwrap();
        let mut unstable = content(3, &[(0, b"abc".to_vec())]);
        unstable.stable = false;
        let line = file("root/a", b"abc").line;
        let Written::Unstable(_) = writer.member(line.clone(), Body::Content(&mut unstable), 1).unwrap()
        else {
            panic!("it is not stable")
        };
        let mut longer = content(5, &[(0, b"abcde".to_vec())]);
        let Written::Done(done) = writer.member(line.clone(), Body::Content(&mut longer), 2).unwrap() else {
            panic!("it is stable now")
        };
        assert_eq!(done.entry.as_ref().unwrap().size, 5);
        // Another one that never comes to rest is kept as it is.
        let restless = file("root/b", b"abc").line;
        let mut unstable = content(3, &[(0, b"abc".to_vec())]);
        unstable.stable = false;
        let Written::Unstable(mut kept) = writer.member(restless, Body::Content(&mut unstable), 1).unwrap()
        else {
            panic!("it is not stable")
        };
        kept.unstable = true;
        writer.line(kept.clone()).unwrap();
        let seal = writer.finish().unwrap();
        assert_eq!((seal.entries, seal.members, seal.bytes), (2, 2, 8));
        let (_, collected) = read_archive(&sink.bytes.lock().unwrap()).unwrap();
        assert_eq!(collected.lines, [done, kept]);
        assert_eq!(collected.members.len(), 3);
    }
}

#[test]
fn content_that_breaks_its_promise() {
    let cases = [
        (10, vec![(0, 5)], vec![(0, 10)]),
        (10, vec![(0, 10)], vec![(0, 5)]),
        (10, vec![(0, 10)], vec![(0, 5), (6, 4)]),
        (10, vec![(0, 5)], vec![(5, 5)]),
        (10, vec![(0, 10)], vec![(0, 10), (10, 1)]),
        (10, vec![], vec![(0, 1)]),
        (10, vec![(0, 1)], vec![]),
    ];
    for (size, promised, given) in cases {
        let bytes = |parts: &[(u64, usize)]| {
            parts.iter().map(|&(offset, length)| (offset, vec![1; length])).collect::<Vec<_>>()
        };
        let lying = || {
            let mut lying = content(size, &bytes(&promised));
            lying.data = bytes(&given);
            lying
        };
        let sink = MemorySink::default();
        let mut tar = writer(&sink, Compression::None);
        let dir = tempfile::tempdir().unwrap();
        let mut directory = Writer::directory(&dir.path().join("a"), false, "s").unwrap();
        for writer in [&mut tar, &mut directory] {
            writer.manifest(&manifest(), 0).unwrap();
            let line = file("root/a", b"").line;
            let result = writer.member(line, Body::Content(&mut lying()), 1);
            assert!(matches!(result, Err(Error::Source { .. })), "{promised:?} {given:?}: {result:?}");
        }
    }
}

#[test]
fn a_stream_that_fails() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("send died"));
            }
            let length = buffer.len().min(self.0);
            self.0 -= length;
            Ok(length)
        }
    }
    for patchable in [true, false] {
        let sink = MemorySink { patchable, ..MemorySink::default() };
        let mut writer = writer(&sink, Compression::Gzip(1));
        writer.manifest(&manifest(), 0).unwrap();
        let line = file("data.zfs", b"").line;
        let result = writer.member(line, Body::Stream(&mut Failing(2_000_000)), 1);
        assert!(matches!(result, Err(Error::Source { source, .. }) if source.to_string() == "send died"));
    }
}

/// A stream of nobody knows how many bytes does not wait for its end.
#[test]
fn a_stream_into_a_file_is_written_while_it_comes() {
    static WRITTEN: AtomicBool = AtomicBool::new(false);
    struct Slow(MemorySink, usize);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.bytes.lock().unwrap().len() > 1 << 20 {
                WRITTEN.store(true, Ordering::Relaxed);
            }
            let left = (32 << 20) - self.1;
            let length = buffer.len().min(left);
            self.1 += length;
            Ok(length)
        }
    }
    let sink = MemorySink { patchable: true, ..MemorySink::default() };
    let mut writer = writer(&sink, Compression::None);
    writer.manifest(&manifest(), 0).unwrap();
    let line = file("data.zfs", b"").line;
    writer.member(line, Body::Stream(&mut Slow(sink.clone(), 0)), 1).unwrap();
    writer.finish().unwrap();
    assert!(WRITTEN.load(Ordering::Relaxed));
    let (seal, _) = read_archive(&sink.bytes.lock().unwrap()).unwrap();
    assert_eq!(seal.bytes, 32 << 20);
}

#[test]
fn gunzip_and_zstd_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let plain = archive(Compression::None, true, &samples());
    for (suffix, program, arguments, compression) in [
        ("gz", "gzip", ["-dc", "-q"], Compression::Gzip(6)),
        ("zst", "zstd", ["-dc", "-q"], Compression::Zstd(3)),
    ] {
        for patchable in [true, false] {
            let path = dir.path().join(format!("a.tar.{suffix}"));
            let compressed = archive(compression, patchable, &samples());
            std::fs::write(&path, &compressed).unwrap();
            let output = Command::new(program).args(arguments).arg(&path).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(!patchable || output.stdout.len() == plain.len());
        }
    }
}

#[test]
fn tar_reads_the_manifest_from_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let head = dir.path().join("head");
    std::fs::write(&head, &archive(Compression::Gzip(6), true, &samples())[..65536]).unwrap();
    for arguments in [["tar", "-xzOf"], ["bsdtar", "-xOf"]] {
        let output =
            Command::new(arguments[0]).arg(arguments[1]).arg(&head).arg("./manifest.json").output().unwrap();
        let found: Manifest = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found, manifest());
    }
}

/// Names and attributes that tars on Linux can keep, in an archive of their own.
fn extractable() -> Vec<Sample> {
    let odd = ["root/disk", "root/link-to-base"].map(name);
    let mut samples = samples();
    samples
        .retain(|sample| sample.line.name.path().as_bytes().len() < 4096 && !odd.contains(&sample.line.name));
    for sample in &mut samples {
        if let Some(entry) = &mut sample.line.entry {
            // bsdtar takes the fraction of a negative time for a positive one, and the escapes of GNU for names.
            if entry.mtime.seconds < 0 {
                entry.mtime.nanoseconds = 0;
            }
            entry.xattrs.retain(|name, _| !name.contains(&b'='));
            if entry.xattrs.len() > 1 {
                entry.xattrs.insert(b"user.100%".to_vec(), b"\0\n=".to_vec());
                entry.xattrs.insert(b"trusted.t".to_vec(), vec![0xff; 300]);
            }
        }
    }
    samples
}

/// Needs root, for owners, devices and trusted xattrs.
#[test]
fn tar_and_bsdtar_extract_everything() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    for compression in [Compression::None, Compression::Gzip(6)] {
        let tools: [(&str, &[&str]); 2] = [
            ("tar", &["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf"]),
            ("bsdtar", &["-xpf"]),
        ];
        for (program, arguments) in tools {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("archive");
            let out = dir.path().join("out");
            std::fs::create_dir(&out).unwrap();
            let samples = extractable();
            std::fs::write(&path, archive(compression, true, &samples)).unwrap();
            let output = Command::new(program).args(arguments).arg(&path).current_dir(&out).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            for sample in &samples {
                if crate::archive::check::is_member(&sample.line) {
                    compare(program, &out, sample);
                }
            }
        }
    }
}

fn compare(program: &str, out: &Path, sample: &Sample) {
    let (parent, file_name) = sample.line.name.path().split().unwrap();
    let tree = crate::tree::Tree::open(out).unwrap();
    let dir = tree.open_dir(&parent).unwrap().unwrap();
    let stat = dir.stat(file_name).unwrap().unwrap();
    let mut found = dir.node(file_name, &stat).unwrap().unwrap().entry;
    let mut expected = sample.line.entry.clone().unwrap();
    if matches!(sample.line.role, Role::Link { .. }) {
        assert!(stat.identity.links > 1);
        return;
    }
    if let SampleBody::Stream(bytes) = &sample.body {
        expected.size = bytes.len() as u64;
    }
    if let SampleBody::Sparse(data) = &sample.body {
        let mut file = dir.open_file(file_name).unwrap().unwrap();
        let digest = super::copy::Hashing::new(&mut file).finish(&sample.line.name, Ok(())).unwrap().0;
        let expected = super::copy::Hashing::new(&mut content(expected.size, data))
            .finish(&sample.line.name, Ok(()))
            .unwrap()
            .0;
        assert_eq!(digest, expected, "{program} {}", sample.line.name);
        let data_bytes: usize = data.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(
            stat.allocated_bytes <= data_bytes as u64 + (64 << 10),
            "{program} {} is sparse",
            sample.line.name
        );
    }
    if let Some(access) = &expected.acl.access {
        // What the system makes of a mask.
        assert_eq!(found.acl.access.as_ref(), Some(access));
        expected.mode = found.mode;
    }
    // Not every file system here keeps flags, GNU tar none.
    expected.flags = found.flags;
    if expected.kind == Kind::Symlink {
        found.mode = expected.mode;
    }
    assert_eq!(found, expected, "{program} {}", sample.line.name);
}

#[test]
fn compressions_and_sources() {
    let dir = tempfile::tempdir().unwrap();
    for (number, compression) in ALL.into_iter().enumerate() {
        let dest = dir.path().join(format!("a{number}"));
        let sink = FileSink::create(&dest, false, "s").unwrap();
        let mut writer = Writer::tar(Box::new(sink), compression, dir.path()).unwrap();
        assert!(writer.can_amend());
        writer.manifest(&manifest(), 0).unwrap();
        let lines = write_samples(&mut writer, &samples()).unwrap();
        let seal = writer.finish().unwrap();
        let mut collected = Collected::default();
        assert_eq!(read(Source::Path(dest), "a", &mut collected).unwrap(), seal);
        assert_eq!(collected.lines, lines);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
}
