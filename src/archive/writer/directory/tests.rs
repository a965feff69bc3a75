use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::archive::index::Role;
use crate::archive::testing::*;
use crate::archive::{Source, Writer, read, read_manifest};

fn write(dest: &Path, force: bool) -> Result<(Seal, Vec<Line>)> {
    write_some(dest, force, &samples())
}

fn write_some(dest: &Path, force: bool, samples: &[Sample]) -> Result<(Seal, Vec<Line>)> {
    let mut writer = Writer::directory(dest, force, "s")?;
    writer.manifest(&manifest(), 100)?;
    let lines = write_samples(&mut writer, samples)?;
    let mut later = manifest();
    later.resources[0].snapshot = Some("later".to_owned());
    writer.amend_manifest(&later)?;
    Ok((writer.finish()?, lines))
}

fn read_directory(dest: &Path) -> Result<(Seal, Collected)> {
    let mut collected = Collected::default();
    let seal = read(Source::Path(dest.to_owned()), "it", &mut collected)?;
    Ok((seal, collected))
}

#[track_caller]
fn damaged(dest: &Path, why: &str) {
    match read_directory(dest) {
        Err(Error::Damaged(message)) if message.contains(why) => {}
        Err(error) => panic!("wrong error: {error}"),
        Ok(_) => panic!("read, but is damaged: {why}"),
    }
}

#[test]
fn only_its_owner_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    write_some(&dest, false, &[file("config.json", b"{}")]).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    let modes = ["manifest.json", "index.jsonl"].map(|name| mode(&dest.join(name)));
    assert_eq!((mode(&dest), modes), (0o700, [0o600, 0o600]));
}

/// Needs root, for owners and devices.
#[test]
fn everything_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    let (seal, lines) = write(&dest, false).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(dest.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    let (again, collected) = read_directory(&dest).unwrap();
    assert_eq!(again, seal);
    assert_eq!(collected.lines, lines);
    assert_eq!(collected.manifest.as_ref().unwrap().resources[0].snapshot.as_deref(), Some("later"));
    let members: Vec<_> = lines.iter().filter(|line| crate::archive::check::is_member(line)).collect();
    assert_eq!(collected.members.len(), members.len());
    for ((header, content), line) in collected.members.iter().zip(members) {
        assert_eq!((&header.name, &header.entry), (&line.name, &crate::archive::header::in_header(line)));
        if let Role::Member { digest } = line.role {
            assert_eq!(content.as_ref().map(|(_, digest)| *digest), digest, "{}", line.name);
        }
    }
    assert_eq!(read_manifest(Source::Path(dest.clone()), "it").unwrap(), collected.manifest.unwrap());
    // For those who have only cp(1).
    assert_eq!(std::fs::read(dest.join("root/etc/rich")).unwrap(), b"rich");
    let inode = |path: &str| dest.join(path).symlink_metadata().unwrap().ino();
    assert_eq!(inode("root/link"), inode("root/etc/rich"));
    assert!(!dest.join("root/link-to-base").exists());
}

/// A tar of the same entries has the same seal.
#[test]
fn the_seal_is_that_of_the_tar() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    let samples: Vec<_> =
        samples().into_iter().filter(|sample| !matches!(sample.body, SampleBody::Stream(_))).collect();
    let samples: Vec<_> = samples.into_iter().filter(|sample| sample.line.name != name("root/big")).collect();
    let mut writer = Writer::directory(&dest, false, "s").unwrap();
    writer.manifest(&manifest(), 100).unwrap();
    write_samples(&mut writer, &samples).unwrap();
    let seal = writer.finish().unwrap();
    let (tar, _) = read_archive(&archive(crate::archive::Compression::Gzip(1), true, &samples)).unwrap();
    assert_eq!(seal, tar);
}

#[test]
fn damage() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    // cp(1) knows no longer paths.
    let mut samples = samples();
    samples.retain(|sample| sample.line.name.path().as_bytes().len() < 4000);
    write_some(&dest, false, &samples).unwrap();
    let with = |path: &str, change: &dyn Fn(&Path), why: &str| {
        let copy = dir.path().join("copy");
        let status = std::process::Command::new("cp").arg("-a").arg(&dest).arg(&copy).status().unwrap();
        assert!(status.success());
        read_directory(&copy).unwrap();
        change(&copy.join(path));
        damaged(&copy, why);
        std::fs::remove_dir_all(&copy).unwrap();
    };
    let remove: &dyn Fn(&Path) = &|path| std::fs::remove_file(path).unwrap();
    let flip: &dyn Fn(&Path) = &|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    with("root/big", flip, "./root/big is not what the index says");
    with("data.zfs", flip, "./data.zfs is not what the index says");
    with("root/big", remove, "./root/big is missing");
    with("index.jsonl", remove, "no index");
    with("index.jsonl", flip, "");
    with("manifest.json", flip, "");
    with("root/big", &|path| std::fs::write(path, "short").unwrap(), "has 5 bytes");
    with("root/unknown", &|path| std::fs::write(path, "").unwrap(), "unknown file ./root/unknown");
    with("root/gone", &|path| std::fs::write(path, "").unwrap(), "unknown file ./root/gone");
    with("unknown", &|path| std::fs::create_dir(path).unwrap(), "unknown file ./unknown");
    with(
        "root/fifo",
        &|path| {
            remove(path);
            std::fs::write(path, "").unwrap();
        },
        "./root/fifo is a regular file, not a FIFO",
    );
    with(
        "root/big",
        &|path| {
            remove(path);
            std::os::unix::fs::symlink("zeros", path).unwrap();
        },
        "./root/big is missing",
    );
    // A link on the way is not followed.
    let elsewhere = &|path: &Path| {
        let away = dir.path().join("away");
        std::fs::rename(path, &away).unwrap();
        std::os::unix::fs::symlink(&away, path).unwrap();
    };
    with("files", elsewhere, "./files/notes.txt is missing");
}

#[test]
fn nodes_that_the_file_system_has_not_come_from_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    let (seal, _) = write(&dest, false).unwrap();
    for path in ["root/fifo", "root/null", "root/symlink", "root/link"] {
        let _ = std::fs::remove_file(dest.join(path));
    }
    assert_eq!(read_directory(&dest).unwrap().0, seal);
}

#[test]
fn what_is_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    std::fs::create_dir(&dest).unwrap();
    std::fs::write(dest.join("mine"), "mine").unwrap();
    for force in [false, true] {
        assert!(matches!(write(&dest, force), Err(Error::Exists(_))));
        assert_eq!(std::fs::read_to_string(dest.join("mine")).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
    // Half of an archive is none.
    for name in ["manifest.json", "index.jsonl"] {
        std::fs::rename(dest.join("mine"), dest.join(name)).unwrap();
        assert!(matches!(write(&dest, true), Err(Error::Exists(_))));
        assert_eq!(std::fs::read_to_string(dest.join(name)).unwrap(), "mine");
        std::fs::rename(dest.join(name), dest.join("mine")).unwrap();
    }
    // It appears while the archive is written.
    let late = dir.path().join("late");
    for force in [false, true] {
        let mut writer = Writer::directory(&late, force, "s").unwrap();
        writer.manifest(&manifest(), 0).unwrap();
        std::fs::write(&late, "theirs").unwrap();
        assert!(matches!(writer.finish(), Err(Error::Exists(_))));
        assert_eq!(std::fs::read_to_string(&late).unwrap(), "theirs");
        std::fs::remove_file(&late).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn an_archive_that_appears_meanwhile_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    let mut writer = Writer::directory(&dest, false, "s").unwrap();
    writer.manifest(&manifest(), 0).unwrap();
    let mut other = Writer::directory(&dest, false, "t").unwrap();
    other.manifest(&manifest(), 0).unwrap();
    other.finish().unwrap();
    let before = dest.metadata().unwrap().ino();
    assert!(matches!(writer.finish(), Err(Error::Exists(_))));
    assert_eq!(dest.metadata().unwrap().ino(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn force_replaces_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    write(&dest, false).unwrap();
    let before = dest.metadata().unwrap().ino();
    // Before anything is written.
    assert!(matches!(Writer::directory(&dest, false, "s"), Err(Error::Exists(_))));
    let below_a_file = dest.join("manifest.json/a");
    assert!(matches!(Writer::directory(&below_a_file, true, "s"), Err(Error::Io { .. })));
    let mut abandoned = Writer::directory(&dest, true, "s").unwrap();
    abandoned.manifest(&manifest(), 0).unwrap();
    drop(abandoned);
    assert_eq!(dest.metadata().unwrap().ino(), before);
    let (seal, _) = write(&dest, true).unwrap();
    assert_ne!(dest.metadata().unwrap().ino(), before);
    assert_eq!(read_directory(&dest).unwrap().0, seal);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_unstable_file_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    let mut writer = Writer::directory(&dest, false, "s").unwrap();
    writer.manifest(&manifest(), 0).unwrap();
    let mut unstable = content(3, &[(0, b"abc".to_vec())]);
    unstable.stable = false;
    let line = file("root/a", b"abc").line;
    let written = writer.member(line.clone(), super::Body::Content(&mut unstable), 1).unwrap();
    assert!(matches!(written, crate::archive::Written::Unstable(_)));
    let mut longer = content(5, &[(0, b"abcde".to_vec())]);
    writer.member(line, super::Body::Content(&mut longer), 2).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_directory(&dest).unwrap().0.bytes, 5);
}

#[test]
fn a_manifest_has_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a");
    write_some(&dest, false, &[file("config.json", b"{}")]).unwrap();
    let most = usize::try_from(crate::archive::bounds::MAX_MANIFEST_BYTES).unwrap();
    let read = |length: usize| {
        let mut json = std::fs::read(dest.join("manifest.json")).unwrap();
        json.resize(length, b' ');
        std::fs::write(dest.join("manifest.json"), json).unwrap();
        read_manifest(Source::Path(dest.clone()), "it")
    };
    read(most).unwrap();
    assert!(matches!(read(most + 1), Err(Error::Refused(_))));
}

#[test]
fn a_link_to_what_cannot_be_looked_for_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::directory(&dir.path().join("a"), false, "s").unwrap();
    writer.manifest(&manifest(), 0).unwrap();
    let mut link = |to: String| {
        let line = Line { role: Role::Link { to: name(to) }, ..file("root/link", b"").line };
        writer.member(line, super::Body::Empty, 1)
    };
    assert!(matches!(link(format!("root/{}", "n".repeat(300))), Err(Error::Io { .. })));
    link("root/of/the/base".to_owned()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("a.partial-s/root")).map_or(0, Iterator::count), 0);
}
