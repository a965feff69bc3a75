//! Headers that go before a member's own, and the members that an archive has for itself.

use super::*;
use crate::archive::bounds::{MAX_NAME_BYTES, MAX_SIGNATURE_BYTES};
use crate::archive::format::SIGNATURE;
use crate::archive::header::{Layout, encode};
use crate::archive::index::Role;
use crate::archive::testing::*;
use crate::archive::{Compression, Digest, Line};
use crate::tree::Kind;

/// A header of this type as another program writes it, and content of this size.
fn header(name: &str, kind: u8, size: usize) -> ::tar::Header {
    let mut header = ::tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkflag = [kind];
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header.set_cksum();
    header
}

/// An archive of one empty file or link, before whose own header another one stands.
fn with_long(kind: u8, content: &[u8], own: &::tar::Header, line: Line) -> Vec<u8> {
    let mut forge = Forge::new(&manifest());
    forge.blocks(header("././@LongLink", kind, content.len()).as_bytes()).blocks(content);
    forge.blocks(own.as_bytes()).line(line).finish()
}

fn plain(path: &str) -> Line {
    let mut line = file(path, b"").line;
    let entry = line.entry.as_mut().unwrap();
    (entry.mode, entry.uid, entry.gid) = (0o644, 0, 0);
    entry.mtime = crate::tree::Timestamp { seconds: 0, nanoseconds: 0 };
    line.role = Role::Member { digest: Some(Digest::of(b"")) };
    line
}

#[track_caller]
fn refused(archive: &[u8], why: &str) {
    match read_archive(archive) {
        Err(Error::Refused(message)) => assert!(message.contains(why), "{message}"),
        Err(error) => panic!("wrong error: {error}"),
        Ok(_) => panic!("read, but should be refused: {why}"),
    }
}

#[test]
fn a_long_name_of_gnu_tar_is_that_of_the_next_member() {
    let long = format!("root/{}", "n".repeat(200));
    for end in ["", "\0"] {
        let content = format!("./{long}{end}");
        let archive = with_long(b'L', content.as_bytes(), &header("./root/nnn", b'0', 0), plain(&long));
        let (_, collected) = read_archive(&archive).unwrap();
        assert_eq!(collected.members[0].0.name, name(&long));
    }
}

#[test]
fn a_long_target_of_gnu_tar_is_that_of_the_next_link() {
    let long = format!("root/{}", "n".repeat(200));
    let line = Line { role: Role::Link { to: name(&long) }, ..plain("root/link") };
    let archive =
        with_long(b'K', format!("./{long}\0").as_bytes(), &header("./root/link", b'1', 0), line.clone());
    // In a delta it can be a name that only the base has.
    let (_, collected) = read_archive(&archive).unwrap();
    assert_eq!(collected.members[0].0.role, line.role);
}

#[test]
fn each_header_goes_before_a_member_once() {
    for kind in *b"xLK" {
        let mut content = Vec::new();
        crate::archive::pax::push(&mut content, b"comment", b"x");
        let mut forge = Forge::new(&manifest());
        for _ in 0..2 {
            forge.blocks(header("before", kind, content.len()).as_bytes()).blocks(&content);
        }
        refused(&forge.file("root/a", b"").finish(), "headers that do not go together");
    }
}

#[test]
fn a_name_is_no_longer_than_names_may_be() {
    for kind in *b"LK" {
        let content = vec![b'n'; MAX_NAME_BYTES + 2];
        refused(&with_long(kind, &content, &header("./root/a", b'0', 0), plain("root/a")), "is too long");
    }
    // Records of pax are more than a name.
    let mut content = Vec::new();
    crate::archive::pax::push(&mut content, b"comment", &vec![b'x'; MAX_NAME_BYTES + 2]);
    read_archive(&with_long(b'x', &content, &header("./root/a", b'0', 0), plain("root/a"))).unwrap();
}

/// An archive whose index is a member with the header and content that are made of its bytes.
fn with_index(layout: impl Fn(&[u8]) -> (Vec<u8>, Vec<u8>)) -> Vec<u8> {
    let mut forge = Forge::new(&manifest());
    forge.file("root/a", b"x");
    let index = forge.index();
    let (header, content) = layout(&index);
    forge.blocks(&header).blocks(&content).end()
}

#[test]
fn an_index_is_a_plain_file() {
    let line = |bytes: &[u8]| file("index.jsonl", bytes).line;
    let symlink = crate::archive::testing::line("index.jsonl", entry(Kind::Symlink));
    let why = "is no plain file";
    read_archive(&with_index(|index| (encode(&line(index), Layout::Plain, 1).unwrap(), index.to_vec())))
        .unwrap();
    refused(&with_index(|index| (encode(&line(index), Layout::Plain, 2).unwrap(), index.to_vec())), why);
    refused(&with_index(|_| (encode(&symlink, Layout::Plain, 1).unwrap(), Vec::new())), why);
    let sparse = |index: &[u8]| {
        let mut content = format!("1\n0\n{}\n", index.len()).into_bytes();
        content.resize(512, 0);
        content.extend(index);
        (encode(&line(index), Layout::Sparse(content.len() as u64), 1).unwrap(), content)
    };
    refused(&with_index(sparse), why);
}

#[test]
fn a_signature_is_a_small_plain_file() {
    let signed = |size: u64, attempt: u32, kind: Kind| {
        let mut forge = Forge::new(&manifest());
        forge.file("root/a", b"x");
        let index = forge.index();
        forge.raw(&file("index.jsonl", &index).line, &index, 1);
        let bytes = vec![b's'; usize::try_from(size).unwrap()];
        let mut line = file(SIGNATURE, &bytes).line;
        if kind != Kind::File {
            line = crate::archive::testing::line(SIGNATURE, entry(kind));
        }
        read_archive(&forge.raw(&line, &bytes, attempt).end()).err().map(|error| error.to_string())
    };
    let no_plain =
        |error: Option<String>| error.is_some_and(|error| error.contains("is no small, plain file"));
    assert!(no_plain(signed(10, 2, Kind::File)));
    assert!(no_plain(signed(0, 1, Kind::Symlink)));
    for more in [1, 100] {
        assert!(no_plain(signed(MAX_SIGNATURE_BYTES + more, 1, Kind::File)));
    }
    // What is none for another reason.
    assert!(!no_plain(signed(MAX_SIGNATURE_BYTES, 1, Kind::File)));
}

#[test]
fn what_a_failed_read_means() {
    use io::ErrorKind;
    let of = |kind: ErrorKind| input_error("x", io::Error::new(kind, "why"));
    assert!(matches!(of(ErrorKind::UnexpectedEof), Error::Damaged(_)));
    assert!(matches!(of(ErrorKind::InvalidData), Error::Damaged(_)));
    assert!(matches!(of(ErrorKind::InvalidInput), Error::Damaged(_)));
    assert!(matches!(of(ErrorKind::OutOfMemory), Error::Refused(_)));
    assert!(matches!(of(ErrorKind::PermissionDenied), Error::Io { .. }));
}

#[test]
fn who_shows_no_lines_need_not_say_so() {
    assert!(!().shows_lines() && ().wants(&plain("root/a")));
}

/// A pipe that gives little at a time, and of which a read fails: each second one, or that of a number.
struct Disturbed {
    bytes: io::Cursor<Vec<u8>>,
    kind: io::ErrorKind,
    failing: Option<usize>,
    reads: usize,
}

impl Disturbed {
    fn new(bytes: &[u8], kind: io::ErrorKind, failing: Option<usize>) -> Self {
        Self { bytes: io::Cursor::new(bytes.to_vec()), kind, failing, reads: 0 }
    }

    /// Nothing below tries again.
    fn input(self) -> content::Audited {
        let stream: Box<dyn io::BufRead> = Box::new(io::BufReader::new(self));
        content::Audited::new(stream, Audit::default())
    }
}

impl io::Read for Disturbed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.failing.map_or(self.reads % 2 == 1, |failing| self.reads == failing) {
            return Err(self.kind.into());
        }
        let most = buffer.len().min(700);
        self.bytes.read(&mut buffer[..most])
    }
}

#[test]
fn a_signal_ends_no_reading() {
    let signal = io::ErrorKind::Interrupted;
    let read_all = |lazy: bool, read: &dyn Fn(&mut Collected) -> Result<Seal>| {
        let mut collected = Collected { lazy, ..Collected::default() };
        read(&mut collected).unwrap();
        assert!(collected.members.len() > 1 && collected.lines.len() > 1);
    };
    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        let bytes = archive(compression, false, &samples());
        for lazy in [false, true] {
            read_all(lazy, &|collected| {
                read(Source::Stream(Box::new(Disturbed::new(&bytes, signal, None))), "test", collected)
            });
        }
    }
    let bytes = archive(Compression::None, false, &samples());
    for lazy in [false, true] {
        read_all(lazy, &|collected| {
            let input = Disturbed::new(&bytes, signal, None).input();
            tar::read(Box::new(input), &Terms::new("test"), None, collected)
        });
    }
    let mut input =
        content::Input::new(Box::new(Disturbed::new(&bytes, signal, None).input()), &Terms::new("test"));
    input.pass(bytes.len() as u64).unwrap();
    assert_eq!(input.position(), bytes.len() as u64);
}

#[test]
fn a_failed_read_ends_a_reading_wherever_it_is() {
    let bytes = Forge::new(&manifest()).file("root/a", &noise(3000)).file("root/b", b"x").finish();
    let broken = io::ErrorKind::ConnectionReset;
    let terms = Terms::new("test");
    let mut number = 1;
    loop {
        let mut whole = Disturbed::new(&bytes, broken, Some(number));
        if io::copy(&mut whole, &mut io::sink()).is_ok() {
            break;
        }
        let disturbed = || Box::new(Disturbed::new(&bytes, broken, Some(number)).input());
        let read = tar::read(disturbed(), &terms, None, &mut Collected::default());
        assert!(matches!(read, Err(Error::Io { .. })), "{number}: {read:?}");
        let passed = content::Input::new(disturbed(), &terms).pass(bytes.len() as u64 + 1);
        assert!(matches!(passed, Err(Error::Io { .. })), "{number}: {passed:?}");
        number += 1;
    }
    assert!(number > 10);
}

#[test]
fn reading_ends_when_it_is_interrupted() {
    struct Interrupting(Arc<AtomicBool>, Vec<bool>);

    impl Visitor for Interrupting {
        fn manifest(&mut self, _: &Manifest) -> Result<()> {
            Ok(())
        }

        fn member(&mut self, _: &Line, content: Option<&mut dyn Content>) -> Result<()> {
            if let Some(content) = content {
                self.1.push(content.go_on().is_ok());
                self.0.store(true, Ordering::Relaxed);
            }
            Ok(())
        }

        fn line(&mut self, _: &Line) -> Result<()> {
            Ok(())
        }

        fn failure(&mut self, _: &Failure) -> Result<()> {
            Ok(())
        }
    }

    let bytes = archive(Compression::None, true, &[file("root/a", b"a"), file("root/b", b"b")]);
    let flag = Arc::new(AtomicBool::new(false));
    let source = Source::Stream(Box::new(io::Cursor::new(bytes)));
    let mut visitor = Interrupting(Arc::clone(&flag), Vec::new());
    let _ = read(Source::Interruptible(Box::new(source), flag), "it", &mut visitor);
    assert_eq!(visitor.1, [true, false]);
}

/// What went wrong in the adapter says more than what its reader saw of it.
#[test]
fn why_reading_failed_is_told_by_whoever_made_what_is_read() {
    let whole = archive(Compression::None, true, &[file("root/a", b"a")]);
    let read = |bytes: &[u8], failure: Option<Error>| {
        let (tool, form) = ("iocage".to_owned(), "an export".to_owned());
        let foreign =
            crate::archive::manifest::Foreign { tool, form, limits: Vec::new(), notices: Vec::new() };
        let origin = Arc::new(Origin::new(foreign, manifest()));
        let at_work = origin.begin();
        if let Some(failure) = failure {
            at_work.fail(failure);
        }
        let source = Box::new(Source::Stream(Box::new(io::Cursor::new(bytes.to_vec()))));
        read(Source::Adapted(source, origin), "it", &mut ())
    };
    let error = read(&whole[..700], Some(Error::Exists("mine".to_owned()))).unwrap_err();
    assert!(matches!(&error, Error::Exists(what) if what == "mine"), "{error}");
    assert!(matches!(read(&whole[..700], None), Err(Error::Damaged(_))));
}
