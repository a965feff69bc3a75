use std::collections::BTreeMap;

use crossbeam_channel::bounded;

use super::*;
use crate::archive::index::Role;
use crate::archive::{Compression, Failure, MemberName, Source};
use crate::tree::{Acl, Entry, Flags, Kind as EntryKind, MemoryContent, Timestamp, TreePath};

fn line(name: &str, size: u64) -> Line {
    let entry = Entry {
        kind: EntryKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timestamp { seconds: 0, nanoseconds: 0 },
        size,
        target: None,
        device: None,
        xattrs: BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
    };
    Line::member(MemberName::new(TreePath::new(name.as_bytes()).unwrap()), entry)
}

/// Content that breaks off after `good` bytes, or is unstable.
struct Bad {
    size: u64,
    good: usize,
    extents: Vec<Extent>,
    piece: Vec<u8>,
    stable: bool,
}

impl Bad {
    fn new(size: u64, good: usize, stable: bool) -> Self {
        let extents = vec![Extent { offset: 0, length: 10 }, Extent { offset: 4096, length: size - 4096 }];
        Self { size, good, extents, piece: Vec::new(), stable }
    }
}

impl Content for Bad {
    fn size(&self) -> u64 {
        self.size
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        if self.piece.is_empty() {
            self.piece = vec![7; 10];
            return Ok(Some((0, &self.piece)));
        }
        if self.piece.len() == 10 && self.good > 0 {
            self.piece = vec![8; self.good];
            return Ok(Some((4096, &self.piece)));
        }
        if 4096 + self.good as u64 == self.size { Ok(None) } else { Err(io::Error::other("a bad sector")) }
    }

    fn is_stable(&mut self) -> io::Result<bool> {
        Ok(self.stable)
    }
}

/// Writes an archive of what `produce` sends; its bytes, and how producing ended.
fn through(
    produce: impl FnOnce(&mut Queue) -> archive::Result<()> + Send,
    failed: bool,
) -> (tempfile::TempDir, std::path::PathBuf, bool) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.tar");
    let sink = archive::FileSink::create(&path, false, "test").unwrap();
    let mut writer = Writer::tar(Box::new(sink), Compression::None, place.path()).unwrap();
    writer.manifest(&archive::testing::one_tree(), 0).unwrap();
    let (messages, waiting) = bounded(MESSAGES);
    let ended = std::thread::scope(|scope| {
        let thread = scope.spawn(move || produce(&mut Queue { messages, takes_streams: true }));
        write_all(&waiting, &mut writer).unwrap();
        thread.join().unwrap().is_ok()
    });
    if failed {
        writer.fail(&Failure { resource: 0, error: "it failed".into() }).unwrap();
    }
    writer.finish().unwrap();
    (place, path, ended)
}

fn lines(path: &std::path::Path) -> Vec<Line> {
    let mut collected = archive::testing::Collected::default();
    archive::read(Source::Path(path.to_owned()), "it", &mut collected).unwrap();
    collected.lines
}

#[test]
fn what_arrives_is_what_was_sent() {
    let big: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let digest = archive::Digest::of(&big);
    let (_place, path, ended) = through(
        |queue| {
            queue.member(line("root.tree/big", 1_000_000), Body::Content(&mut MemoryContent::new(big)), 1)?;
            queue.member(line("root.tree/none", 0), Body::Content(&mut MemoryContent::new(Vec::new())), 1)?;
            queue.member(line("root.tree/holes", 8192), Body::Content(&mut Bad::new(8192, 4096, true)), 1)?;
            Ok(())
        },
        false,
    );
    assert!(ended);
    let lines = lines(&path);
    assert_eq!(lines[0].role, Role::Member { digest: Some(digest) });
    assert_eq!(
        lines.iter().map(|line| line.entry.as_ref().unwrap().size).collect::<Vec<_>>(),
        [1_000_000, 0, 8192]
    );
}

#[test]
fn a_file_that_changes_is_sent_again_and_kept_at_last() {
    let (_place, path, ended) = through(
        |queue| {
            let mut written = line("root.tree/restless", 8192);
            for attempt in 1..=3 {
                let body = Body::Content(&mut Bad::new(8192, 4096, false));
                match queue.member(written, body, attempt)? {
                    Written::Unstable(line) => written = line,
                    Written::Done(_) => panic!("it is stable"),
                }
                if attempt == 3 {
                    return MemberWriter::line(queue, Line { unstable: true, ..written });
                }
            }
            Ok(())
        },
        false,
    );
    assert!(ended);
    let lines = lines(&path);
    assert_eq!((lines.len(), lines[0].unstable), (1, true));
}

#[test]
fn a_source_that_breaks_off_leaves_a_readable_archive() {
    for good in [0, 100] {
        let (_place, path, ended) = through(
            |queue| {
                let body = &mut Bad::new(300_000, good, true);
                queue.member(line("root.tree/bad", 300_000), Body::Content(body), 1).map(drop)
            },
            true,
        );
        assert!(!ended);
        assert_eq!(lines(&path)[0].entry.as_ref().unwrap().size, 300_000);
    }
}

#[test]
fn a_writer_that_stops_stops_the_resource() {
    let (messages, waiting) = bounded(1);
    drop(waiting);
    let mut queue = Queue { messages, takes_streams: true };
    let sent = queue.member(line("root.tree/a", 1), Body::Content(&mut MemoryContent::new(vec![1])), 1);
    assert!(sent.is_err());
}
