//! Native streams: there and back, cut, broken, and of things that are not file systems.

use super::{Case, Fixture, Outcome, name, run_name, snapshot_name};
use remand_backends::process::Program;
use remand_backends::{Backend, BackendKind, Created, DatasetKind, Error, SendOptions, Streams};
use std::io::{self, Read};

pub(super) const CASES: &[Case] = &[
    ("stream-there-and-back", there_and_back),
    ("stream-with-history", with_history),
    ("stream-of-absent", of_absent),
    ("stream-onto-what-exists", onto_what_exists),
    ("stream-cut-leaves-nothing", cut_leaves_nothing),
    ("stream-with-history-cut-leaves-nothing", with_history_cut_leaves_nothing),
    ("stream-whose-reader-fails-leaves-nothing", reader_fails),
    ("stream-that-is-none", that_is_none),
    ("stream-with-properties", with_properties),
    ("stream-of-a-volume", of_a_volume),
    ("stream-of-an-encrypted-dataset", of_an_encrypted_dataset),
    ("stream-dropped-early", dropped_early),
    ("stream-estimate", estimate),
];

const NO_STREAMS: Outcome = Outcome::Skipped("it has no native streams");
const NO_SUCH_DATASETS: Outcome = Outcome::Skipped("it has no mountpoints, volumes or encryption");
const HISTORY: SendOptions = SendOptions { history: true, decrypted: false };
const PLAIN: SendOptions = SendOptions { history: false, decrypted: false };

fn send(streams: &dyn Streams, options: SendOptions) -> Vec<u8> {
    let snapshot = super::of("a", &run_name(1));
    let mut bytes = Vec::new();
    streams.send(&snapshot, options).expect("it begins").read_to_end(&mut bytes).expect("it ends well");
    bytes
}

/// Bytes that do not compress away.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

/// `a` with a file, history, a child, and the snapshot to be sent.
fn source(pool: &Fixture) -> [Created; 2] {
    let tokens = [pool.create("a"), pool.create("a/b c")];
    std::fs::write(pool.directory("a").join("file"), noise(3_000_000)).unwrap();
    pool.write("a/b c", "file", "below");
    for snapshot in ["first", "second"] {
        let _kept = pool.snapshot("a", &snapshot_name(snapshot), true);
        pool.write("a", snapshot, "text");
    }
    let _kept = pool.snapshot("a", &run_name(1), true);
    pool.write("a", "later", "not in the snapshot");
    tokens
}

fn snapshots(backend: &dyn Backend, dataset: &str) -> Vec<(String, Option<String>)> {
    let found = backend.snapshots(&name(dataset)).unwrap();
    found.into_iter().map(|info| (info.snapshot.name.unwrap().to_string(), info.guid)).collect()
}

fn there_and_back(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let _source = source(pool);
    let bytes = send(streams, PLAIN);
    // Read to its end and no further, in pieces of any size.
    let mut reader = Pieces(&bytes, 1);
    let created = streams.receive(&name("new"), &mut reader).unwrap();
    assert!(reader.0.is_empty());
    let found = pool.backend.dataset(&name("new")).unwrap().unwrap();
    if pool.backend.kind() == BackendKind::Zfs {
        assert_eq!(found.directory, None, "it must not be mounted yet");
    }
    let received = snapshots(&*pool.backend, "new");
    assert_eq!(received, snapshots(&*pool.backend, "a")[2..], "the same identity");
    streams.drop_snapshot(&created, &run_name(1)).unwrap();
    streams.drop_snapshot(&created, &run_name(1)).unwrap();
    assert!(snapshots(&*pool.backend, "new").is_empty());
    pool.backend.mount(&name("new")).unwrap();
    pool.backend.mount(&name("new")).unwrap();
    assert_eq!(pool.read("new", "second"), "text");
    assert!(!pool.directory("new").join("later").exists());
    assert_eq!(std::fs::read(pool.directory("new").join("file")).unwrap(), noise(3_000_000));
    assert!(pool.backend.own_properties(&name("new")).unwrap().is_empty(), "nothing of ours stays");
    pool.destroy(created);
    Outcome::Passed
}

fn with_history(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let source = source(pool);
    let zfs = pool.backend.kind() == BackendKind::Zfs;
    if zfs {
        pool.backend.set_property(&source[0], "org.example:mine", "yes").unwrap();
    }
    pool.backend.state_directory().unwrap();
    let bytes = send(streams, HISTORY);
    let created = streams.receive(&name(".remand/staging/new"), &mut &bytes[..]).unwrap();
    let dataset = ".remand/staging/new";
    assert_eq!(pool.backend.dataset(&name(dataset)).unwrap().unwrap().directory.is_none(), zfs);
    assert_eq!(snapshots(&*pool.backend, dataset), snapshots(&*pool.backend, "a"));
    assert!(pool.backend.descendants(&name(dataset)).unwrap().is_empty(), "one dataset is in a stream");
    streams.drop_snapshot(&created, &run_name(1)).unwrap();
    let created = pool.rename(created, "new");
    pool.backend.mount(&name("new")).unwrap();
    assert_eq!(pool.read("new", "second"), "text");
    let history: Vec<_> = snapshots(&*pool.backend, "new").into_iter().map(|(name, _)| name).collect();
    assert_eq!(history, ["first", "second"]);
    // Once more, and what was restored on its way again: both have the identities that are here already.
    let twice = streams.receive(&name("twice"), &mut &bytes[..]).unwrap();
    assert_eq!(snapshots(&*pool.backend, "twice"), snapshots(&*pool.backend, "a"));
    let _kept = pool.snapshot("new", &run_name(7), false);
    let mut again = Vec::new();
    streams.send(&super::of("new", &run_name(7)), HISTORY).unwrap().read_to_end(&mut again).unwrap();
    let thrice = streams.receive(&name("thrice"), &mut &again[..]).unwrap();
    assert_eq!(snapshots(&*pool.backend, "thrice"), snapshots(&*pool.backend, "new"));
    pool.backend.mount(&name("thrice")).unwrap();
    assert_eq!(pool.read("thrice", "second"), "text");
    for token in [created, twice, thrice] {
        pool.destroy(token);
    }
    assert!(pool.exists("a") && !pool.exists("twice"));
    assert_eq!(snapshots(&*pool.backend, "a").len(), 3);
    Outcome::Passed
}

fn of_absent(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let _created = pool.create("a");
    for dataset in ["a", "no"] {
        let error = streams.send(&super::of(dataset, &run_name(1)), PLAIN).err().unwrap();
        assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    }
    Outcome::Passed
}

fn onto_what_exists(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let _source = source(pool);
    let bytes = send(streams, PLAIN);
    let _theirs = pool.create("theirs");
    pool.write("theirs", "file", "text");
    std::fs::create_dir_all(pool.backend.directory().join("plain/x")).unwrap();
    let before = pool.everything();
    for (target, missing) in [("theirs", false), ("plain", false), ("no/new", true)] {
        let error = streams.receive(&name(target), &mut &bytes[..]).unwrap_err();
        assert_eq!(matches!(error, Error::NotFound(_)), missing, "{error:?}");
        assert_eq!(matches!(error, Error::Exists(_)), !missing, "{error:?}");
    }
    assert_eq!(pool.everything(), before);
    Outcome::Passed
}

fn cut_leaves_nothing(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let _source = source(pool);
    cut_everywhere(pool, streams, &send(streams, PLAIN));
    Outcome::Passed
}

fn with_history_cut_leaves_nothing(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let _source = source(pool);
    cut_everywhere(pool, streams, &send(streams, HISTORY));
    Outcome::Passed
}

fn cut_everywhere(pool: &Fixture, streams: &dyn Streams, bytes: &[u8]) {
    let before = pool.everything();
    let last = bytes.len();
    // The head, the borders of records, the middle, and the very end.
    for cut in [
        0,
        1,
        35,
        36,
        311,
        312,
        313,
        5000,
        100_000,
        last / 2,
        last * 9 / 10,
        last - 5000,
        last - 312,
        last - 1,
    ] {
        let error = streams.receive(&name("new"), &mut &bytes[..cut]).err();
        assert!(error.is_some(), "cut at {cut} of {last}");
        assert_eq!(pool.everything(), before, "cut at {cut} of {last}");
    }
}

fn reader_fails(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let _source = source(pool);
    for options in [PLAIN, HISTORY] {
        let bytes = send(streams, options);
        let before = pool.everything();
        for whole in [0, 100, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
            let mut stream = Pieces(&bytes[..whole], 100_000).chain(Broken);
            let error = streams.receive(&name("new"), &mut stream).unwrap_err();
            let told = matches!(&error, Error::Io { source, .. } if source.to_string() == "the cable");
            assert!(told, "after {whole}: {error:?}");
            assert_eq!(pool.everything(), before, "after {whole}");
        }
    }
    Outcome::Passed
}

fn that_is_none(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let before = pool.everything();
    for bytes in [&b""[..], b"GARBAGE", &[0; 5000], &noise(5000)] {
        let error = streams.receive(&name("new"), &mut &*bytes).unwrap_err();
        assert!(matches!(error, Error::Stream { .. }), "{error:?}");
    }
    assert_eq!(pool.everything(), before);
    Outcome::Passed
}

fn with_properties(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    if pool.backend.kind() != BackendKind::Zfs {
        return NO_SUCH_DATASETS;
    }
    let source = source(pool);
    let trap = pool.backend.directory().join("trap");
    pool.backend.set_property(&source[1], "canmount", "off").unwrap();
    pool.backend.set_property(&source[0], "mountpoint", trap.to_str().unwrap()).unwrap();
    let snapshot = format!("{}/a@{}", pool.backend.label(), run_name(1));
    let honest = send(streams, PLAIN);
    // No streams of ours, but such as somebody made by hand.
    for option in ["-p", "-R"] {
        let mut bytes = Vec::new();
        Program::new("zfs", ["send", option, &snapshot]).stream().unwrap().read_to_end(&mut bytes).unwrap();
        let before = pool.everything();
        for stream in [bytes.clone(), [&honest[..], &bytes].concat()] {
            let error = streams.receive(&name("new"), &mut &stream[..]).unwrap_err();
            assert!(matches!(error, Error::Refused { .. }), "{option}: {error:?}");
            assert_eq!(pool.everything(), before, "{option}");
        }
    }
    Outcome::Passed
}

fn of_a_volume(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    if pool.backend.kind() != BackendKind::Zfs {
        return NO_SUCH_DATASETS;
    }
    let full = format!("{}/a", pool.backend.label());
    if !zfs(&["create", "-s", "-V", "16m", &full]) {
        return Outcome::Skipped("this host cannot make volumes");
    }
    let found = pool.backend.dataset(&name("a")).unwrap().unwrap();
    assert_eq!(found.kind, DatasetKind::Volume);
    assert_eq!(found.directory, None);
    let snapshot = pool.snapshot("a", &run_name(1), true);
    assert!(pool.backend.open_tree(snapshot.snapshot(), "view").is_err());
    for options in [PLAIN, HISTORY] {
        let bytes = send(streams, options);
        let created = streams.receive(&name("new"), &mut &bytes[..]).unwrap();
        assert_eq!(pool.backend.dataset(&name("new")).unwrap().unwrap().kind, DatasetKind::Volume);
        pool.backend.mount(&name("new")).unwrap();
        streams.drop_snapshot(&created, &run_name(1)).unwrap();
        let created = pool.rename(created, "newer");
        pool.destroy(created);
    }
    Outcome::Passed
}

fn of_an_encrypted_dataset(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    if pool.backend.kind() != BackendKind::Zfs {
        return NO_SUCH_DATASETS;
    }
    let key = pool.backend.directory().join("key");
    std::fs::write(&key, "correct horse battery").unwrap();
    let full = format!("{}/a", pool.backend.label());
    let location = format!("keylocation=file://{}", key.display());
    if !zfs(&["create", "-o", "encryption=on", "-o", "keyformat=passphrase", "-o", &location, &full]) {
        return Outcome::Skipped("this host has no encryption");
    }
    let _below = pool.create("a/b");
    pool.write("a", "file", "SECRET SECRET SECRET");
    let snapshot = pool.snapshot("a", &run_name(1), true);
    let tree = pool.backend.open_tree(snapshot.snapshot(), "view").unwrap();
    assert_eq!(std::fs::read_to_string(tree.path().join("file")).unwrap(), "SECRET SECRET SECRET");
    tree.close().unwrap();
    for options in [PLAIN, HISTORY] {
        let bytes = send(streams, options);
        assert!(!bytes.windows(13).any(|window| window == b"SECRET SECRET"), "it must be raw");
        let created = streams.receive(&name("new"), &mut &bytes[..]).unwrap();
        streams.drop_snapshot(&created, &run_name(1)).unwrap();
        // Without its key it cannot be mounted, which is no failure.
        pool.backend.mount(&name("new")).unwrap();
        let created = pool.rename(created, "newer");
        assert_eq!(pool.backend.dataset(&name("newer")).unwrap().unwrap().directory, None);
        assert!(zfs(&[
            "load-key",
            "-L",
            &format!("file://{}", key.display()),
            &format!("{}er", full.replace("/a", "/new"))
        ]));
        pool.backend.mount(&name("newer")).unwrap();
        assert_eq!(pool.read("newer", "file"), "SECRET SECRET SECRET");
        pool.destroy(created);
    }
    Outcome::Passed
}

fn dropped_early(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let [created, _below] = source(pool);
    let mut stream = streams.send(&super::of("a", &run_name(1)), PLAIN).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    pool.destroy(created);
    assert!(!pool.exists("a"));
    Outcome::Passed
}

fn estimate(pool: &Fixture) -> Outcome {
    let Some(streams) = pool.backend.streams() else { return NO_STREAMS };
    let _source = source(pool);
    for options in [PLAIN, HISTORY] {
        let Some(bytes) = streams.estimate(&super::of("a", &run_name(1)), options).unwrap() else {
            return Outcome::Skipped("it has no estimate");
        };
        assert!((2_000_000..6_000_000).contains(&bytes), "{bytes}");
    }
    Outcome::Passed
}

/// For what the backend itself does not make.
fn zfs(arguments: &[&str]) -> bool {
    let path = "/sbin:/usr/sbin:/bin:/usr/bin:/usr/local/sbin";
    let status = std::process::Command::new("zfs")
        .args(arguments)
        .env("PATH", path)
        .stderr(std::process::Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Yields at most so many bytes at a time to begin with, then more.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len()).min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        self.1 = self.1.saturating_mul(3);
        Ok(count)
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the cable"))
    }
}
