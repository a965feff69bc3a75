use super::*;

#[test]
fn partial_names() {
    assert_eq!(partial_path(Path::new("/a/web.tar.gz"), "x1"), Path::new("/a/web.tar.gz.partial-x1"));
    assert_eq!(partial_path(Path::new("web"), "x1"), Path::new("web.partial-x1"));
    let long = PathBuf::from("n".repeat(255));
    assert_eq!(partial_path(&long, "x1").as_os_str().len(), 255);
}

#[test]
fn nothing_is_visible_before_commit_and_nothing_stays_without() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a.tar");
    let mut sink = FileSink::create(&dest, false, "s").unwrap();
    sink.write_all(b"hello").unwrap();
    assert!(!dest.exists());
    drop(sink);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let mut sink = Box::new(FileSink::create(&dest, false, "s").unwrap());
    sink.write_all(b"hello").unwrap();
    sink.patch(1, b"u").unwrap();
    sink.write_all(b"!").unwrap();
    sink.commit().unwrap();
    assert_eq!(std::fs::read(&dest).unwrap(), b"hullo!");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_existing_destination_is_kept_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a.tar");
    std::fs::write(&dest, "old").unwrap();
    assert!(matches!(FileSink::create(&dest, false, "s"), Err(Error::Exists(_))));
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    assert!(matches!(FileSink::create(&dir.path().join("link"), false, "s"), Err(Error::Exists(_))));
    assert!(matches!(FileSink::create(dir.path(), true, "s"), Err(Error::Exists(_))));

    // It appears while the archive is written.
    let late = dir.path().join("b.tar");
    let sink = Box::new(FileSink::create(&late, false, "s").unwrap());
    std::fs::write(&late, "other").unwrap();
    assert!(matches!(sink.commit(), Err(Error::Exists(_))));
    assert_eq!(std::fs::read_to_string(&late).unwrap(), "other");
    assert!(!partial_path(&late, "s").exists());

    let mut sink = Box::new(FileSink::create(&dest, true, "s").unwrap());
    sink.write_all(b"new").unwrap();
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "old");
    sink.commit().unwrap();
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), "new");
}

#[test]
fn a_partial_file_of_another_run_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a.tar");
    std::fs::write(partial_path(&dest, "s"), "theirs").unwrap();
    assert!(FileSink::create(&dest, false, "s").is_err());
    assert_eq!(std::fs::read_to_string(partial_path(&dest, "s")).unwrap(), "theirs");
}

#[test]
fn what_a_stream_still_holds_is_written_at_the_end() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stream = std::io::BufWriter::new(file.reopen().unwrap());
    let mut sink: Box<dyn Sink> = Box::new(WriteSink::new(stream, "somewhere"));
    sink.write_all(b"hello").unwrap();
    sink.commit().unwrap();
    assert_eq!(std::fs::read(file.path()).unwrap(), b"hello");
    // At any time where that is asked for. What is written cannot be changed.
    let mut sink = WriteSink::new(std::io::BufWriter::new(file.reopen().unwrap()), "somewhere");
    sink.write_all(b"HE").unwrap();
    sink.flush().unwrap();
    assert_eq!(std::fs::read(file.path()).unwrap(), b"HEllo");
    assert_eq!(sink.patch(0, b"h").unwrap_err().kind(), io::ErrorKind::NotSeekable);
    // And if that cannot be, it is told.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut sink: Box<dyn Sink> = Box::new(WriteSink::new(std::io::BufWriter::new(full), "somewhere"));
    sink.write_all(b"hello").unwrap();
    assert!(matches!(sink.commit(), Err(Error::Io { .. })));
}

#[test]
fn messages_name_the_file_that_is_written_and_a_file_is_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let sink = FileSink::create(&dir.path().join("a.tar"), false, "s").unwrap();
    assert_eq!(sink.name(), dir.path().join("a.tar.partial-s").display().to_string());
    assert!(sink.can_patch() && !sink.is_secret());
    let stream = WriteSink::new(Vec::new(), "standard output");
    assert_eq!(stream.name(), "standard output");
    assert!(!stream.can_patch() && !stream.is_secret());
}

#[test]
fn a_place_that_cannot_be_looked_at_is_not_free() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    must_be_free(&dir.path().join("none")).unwrap();
    assert!(matches!(must_be_free(&file), Err(Error::Exists(_))));
    let error = must_be_free(&file.join("below")).unwrap_err();
    assert!(matches!(error, Error::Io { action: "look for", .. }), "{error}");
    assert!(matches!(FileSink::create(&file.join("below"), false, "s"), Err(Error::Io { .. })));
}

#[test]
fn what_cannot_be_exchanged_stays_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    std::fs::write(&one, "1").unwrap();
    let missing = exchange(&one, &other);
    assert!(matches!(missing, Err(Error::Io { .. }) | Ok(false)), "{missing:?}");
    std::fs::write(&other, "2").unwrap();
    if exchange(&one, &other).unwrap() {
        assert_eq!(
            (std::fs::read(&one).unwrap(), std::fs::read(&other).unwrap()),
            (b"2".into(), b"1".into())
        );
    }
}
