//! The other way round, for tests: commands as a stream.

use super::attributes as kind;
use super::command::{self, Command, Time};
use super::frame::{self, Frame};

/// A stream of these commands, whose last one should be `end`.
pub(in crate::btrfs) fn stream(version: u32, commands: &[Command<'_>]) -> Vec<u8> {
    let mut stream = frame::begin(version);
    for command in commands {
        stream.extend(encoded(version, command));
    }
    stream
}

/// One command from its number and attributes, with a correct checksum.
pub(in crate::btrfs) fn raw(version: u32, number: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for attribute in attributes {
        frame::put(version, *attribute, &mut body).expect("a short value");
    }
    checked(number, body)
}

/// A command of any body, with a correct checksum.
pub(in crate::btrfs) fn checked(number: u16, body: Vec<u8>) -> Vec<u8> {
    let mut command = Vec::new();
    Frame::new(number, body).write(&mut command);
    command
}

fn time(time: Time) -> Vec<u8> {
    [&time.seconds.to_le_bytes()[..], &time.nanoseconds.to_le_bytes()].concat()
}

#[allow(clippy::too_many_lines)] // a table
fn encoded(version: u32, command: &Command<'_>) -> Vec<u8> {
    let u32 = |value: u32| value.to_le_bytes().to_vec();
    let u64 = |value: u64| value.to_le_bytes().to_vec();
    let (number, path, attributes): (u16, _, Vec<(u16, Vec<u8>)>) = match *command {
        Command::Subvol { path, uuid, ctransid } => {
            (1, path, vec![(kind::UUID, uuid.to_vec()), (kind::CTRANSID, u64(ctransid))])
        }
        Command::Snapshot { path, uuid, ctransid, clone_uuid, clone_ctransid } => (
            2,
            path,
            vec![
                (kind::UUID, uuid.to_vec()),
                (kind::CTRANSID, u64(ctransid)),
                (kind::CLONE_UUID, clone_uuid.to_vec()),
                (kind::CLONE_CTRANSID, u64(clone_ctransid)),
            ],
        ),
        Command::Mkfile { path, inode } => (3, path, vec![(kind::INO, u64(inode))]),
        Command::Mkdir { path, inode } => (4, path, vec![(kind::INO, u64(inode))]),
        Command::Mknod { path, inode, mode, rdev } => {
            (5, path, vec![(kind::INO, u64(inode)), (kind::MODE, u64(mode)), (kind::RDEV, u64(rdev))])
        }
        Command::Mkfifo { path, inode } => (6, path, vec![(kind::INO, u64(inode))]),
        Command::Mksock { path, inode } => (7, path, vec![(kind::INO, u64(inode))]),
        Command::Symlink { path, inode, target } => {
            (8, path, vec![(kind::INO, u64(inode)), (kind::PATH_LINK, target.to_vec())])
        }
        Command::Rename { path, to } => (9, path, vec![(kind::PATH_TO, to.to_vec())]),
        Command::Link { path, existing } => (10, path, vec![(kind::PATH_LINK, existing.to_vec())]),
        Command::Unlink { path } => (11, path, vec![]),
        Command::Rmdir { path } => (12, path, vec![]),
        Command::SetXattr { path, name, value } => {
            (13, path, vec![(kind::XATTR_NAME, name.to_vec()), (kind::XATTR_DATA, value.to_vec())])
        }
        Command::RemoveXattr { path, name } => (14, path, vec![(kind::XATTR_NAME, name.to_vec())]),
        Command::Write { path, offset, data } => {
            (15, path, vec![(kind::FILE_OFFSET, u64(offset)), (kind::DATA, data.to_vec())])
        }
        Command::Clone { path, offset, bytes, source_uuid, source_ctransid, source_path, source_offset } => (
            16,
            path,
            vec![
                (kind::FILE_OFFSET, u64(offset)),
                (kind::CLONE_LEN, u64(bytes)),
                (kind::CLONE_UUID, source_uuid.to_vec()),
                (kind::CLONE_CTRANSID, u64(source_ctransid)),
                (kind::CLONE_PATH, source_path.to_vec()),
                (kind::CLONE_OFFSET, u64(source_offset)),
            ],
        ),
        Command::Truncate { path, size } => (17, path, vec![(kind::SIZE, u64(size))]),
        Command::Chmod { path, mode } => (18, path, vec![(kind::MODE, u64(mode))]),
        Command::Chown { path, uid, gid } => (19, path, vec![(kind::UID, u64(uid)), (kind::GID, u64(gid))]),
        Command::Utimes { path, atime, mtime, ctime } => (
            20,
            path,
            vec![(kind::ATIME, time(atime)), (kind::MTIME, time(mtime)), (kind::CTIME, time(ctime))],
        ),
        Command::End => return raw(version, command::END, &[]),
        Command::UpdateExtent { path, offset, bytes } => {
            (22, path, vec![(kind::FILE_OFFSET, u64(offset)), (kind::SIZE, u64(bytes))])
        }
        Command::Fallocate { path, mode, offset, bytes } => (
            23,
            path,
            vec![
                (kind::FALLOCATE_MODE, u32(mode)),
                (kind::FILE_OFFSET, u64(offset)),
                (kind::SIZE, u64(bytes)),
            ],
        ),
        Command::Fileattr { path, attributes } => (24, path, vec![(kind::FILEATTR, u64(attributes))]),
        Command::EncodedWrite {
            path,
            offset,
            unencoded_file_bytes,
            unencoded_bytes,
            unencoded_offset,
            compression,
            encryption,
            data,
        } => (
            25,
            path,
            vec![
                (kind::FILE_OFFSET, u64(offset)),
                (kind::UNENCODED_FILE_LEN, u64(unencoded_file_bytes)),
                (kind::UNENCODED_LEN, u64(unencoded_bytes)),
                (kind::UNENCODED_OFFSET, u64(unencoded_offset)),
                (kind::COMPRESSION, u32(compression)),
                (kind::ENCRYPTION, u32(encryption)),
                (kind::DATA, data.to_vec()),
            ],
        ),
        Command::EnableVerity { path, algorithm, block_bytes, salt, signature } => (
            26,
            path,
            vec![
                (kind::VERITY_ALGORITHM, vec![algorithm]),
                (kind::VERITY_BLOCK_SIZE, u32(block_bytes)),
                (kind::VERITY_SALT, salt.to_vec()),
                (kind::VERITY_SIGNATURE, signature.to_vec()),
            ],
        ),
    };
    let mut all = vec![(kind::PATH, path)];
    all.extend(attributes.iter().map(|(kind, value)| (*kind, value.as_slice())));
    raw(version, number, &all)
}
