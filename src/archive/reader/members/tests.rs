use std::sync::atomic::Ordering;

use super::*;

/// A tar file of a directory and two files as another program writes it.
fn tar() -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_ustar();
    header.set_entry_type(::tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_data(&mut header, "etc/", &b""[..]).unwrap();
    for (name, bytes) in [("etc/one", vec![b'1'; 1000]), ("etc/two", vec![b'2'; 700])] {
        let mut header = ::tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(bytes: &[u8]) -> Arc<dyn ReadAt> {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    Arc::new(file)
}

fn content_of(content: &mut dyn Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((_, data)) = content.next_data().unwrap() {
        bytes.extend_from_slice(data);
    }
    bytes
}

#[test]
fn members_that_are_wanted_come_with_their_content() {
    for bytes in [tar(), gzip(&tar())] {
        for wanted in [&["./etc", "./etc/one", "./etc/two"][..], &["./etc/two"], &[]] {
            let mut found = Vec::new();
            members(
                &file(&bytes),
                ("it", &Arc::default()),
                &mut |line| wanted.contains(&&*line.name.to_string()),
                &mut |line, content| {
                    found.push((line.name.to_string(), content.map(content_of)));
                    Ok(())
                },
            )
            .unwrap();
            let all = [
                ("./etc", None),
                ("./etc/one", Some(vec![b'1'; 1000])),
                ("./etc/two", Some(vec![b'2'; 700])),
            ];
            let expected: Vec<_> = all
                .into_iter()
                .filter(|(name, _)| wanted.contains(name))
                .map(|(name, content)| (name.to_owned(), content))
                .collect();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn who_takes_a_member_is_told_when_nobody_wants_it_any_more() {
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut told = Vec::new();
    members(&file(&tar()), ("it", &interrupted), &mut |_| true, &mut |_, content| {
        if let Some(content) = content {
            told.push(content.go_on().is_err());
            interrupted.store(true, Ordering::Relaxed);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(told, [false, true]);
}

#[test]
fn the_first_member_comes_with_the_beginning_of_its_content() {
    let first = |bytes: &[u8], head_bytes| {
        let stream = Box::new(std::io::Cursor::new(bytes.to_vec()));
        first_member(stream, "it", head_bytes).unwrap().map(|(line, head)| (line.name.to_string(), head))
    };
    let one = &tar()[512..];
    assert_eq!(first(&tar(), 10), Some(("./etc".to_owned(), Vec::new())));
    for bytes in [one.to_vec(), gzip(one)] {
        assert_eq!(first(&bytes, 3), Some(("./etc/one".to_owned(), b"111".to_vec())));
        assert_eq!(first(&bytes, 5000), Some(("./etc/one".to_owned(), vec![b'1'; 1000])));
    }
    assert_eq!(first(&[0; 1024], 10), None);
}
