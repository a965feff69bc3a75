//! What `btrfs receive --dump` makes of a stream.

use super::decoding::SEEDS;
use crate::btrfs::send_stream::encode::stream;
use crate::btrfs::send_stream::{Command, Decoder, Time};
use crate::process::{Program, installed};
use std::fmt::Write;

const TIME: Time = Time { seconds: 1_000_000_000, nanoseconds: 5 };

/// Each command that receivers of these versions know.
const COMMANDS: [Command<'static>; 23] = [
    Command::Snapshot {
        path: b"now",
        uuid: *b"0123456789abcdef",
        ctransid: 7,
        clone_uuid: *b"fedcba9876543210",
        clone_ctransid: 6,
    },
    Command::Mkfile { path: b"a", inode: 1 },
    Command::Mkdir { path: b"b", inode: 1 },
    Command::Mknod { path: b"c", inode: 1, mode: 0o20_644, rdev: 0x103 },
    Command::Mkfifo { path: b"d", inode: 1 },
    Command::Mksock { path: b"e", inode: 1 },
    Command::Symlink { path: b"f", inode: 1, target: b"/target" },
    Command::Rename { path: b"a", to: b"b/g" },
    Command::Link { path: b"h", existing: b"b/g" },
    Command::Unlink { path: b"h" },
    Command::Rmdir { path: b"i" },
    Command::SetXattr { path: b"b", name: b"user.x", value: b"abc" },
    Command::RemoveXattr { path: b"b", name: b"user.x" },
    Command::Write { path: b"b/g", offset: 5, data: b"some data" },
    Command::Clone {
        path: b"b/g",
        offset: 4096,
        bytes: 8192,
        source_uuid: [3; 16],
        source_ctransid: 9,
        source_path: b"from/here",
        source_offset: 12_288,
    },
    Command::Truncate { path: b"b/g", size: 77 },
    Command::Chmod { path: b"b", mode: 0o755 },
    Command::Chown { path: b"b", uid: 8, gid: 9 },
    Command::Utimes { path: b"", atime: TIME, mtime: TIME, ctime: TIME },
    Command::UpdateExtent { path: b"b/g", offset: 4096, bytes: 100 },
    Command::Fallocate { path: b"b/g", mode: 3, offset: 10, bytes: 20 },
    Command::Fileattr { path: b"b/g", attributes: 4 },
    Command::End,
];

#[test]
fn commands_are_those_that_btrfs_sees() {
    if !installed("btrfs") {
        eprintln!("SKIPPED btrfs: btrfs(8) is not installed");
        return;
    }
    let version_1: Vec<_> = COMMANDS
        .into_iter()
        .filter(|command| !matches!(command, Command::Fallocate { .. } | Command::Fileattr { .. }))
        .collect();
    let [changes, moves, version_2] = SEEDS;
    for bytes in [changes, moves, version_2, &stream(1, &version_1), &stream(2, &COMMANDS)] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("it is written");
        let path = file.path().to_str().expect("UTF-8");
        let dump = Program::new("btrfs", ["receive", "--dump", "-f", path]).output().expect("a dump");
        let seen: Vec<_> = dump.lines().map(without_times).collect();
        assert_eq!(decoded(bytes), seen);
    }
}

/// One space between words; times are of the local time zone, so they stay out.
fn without_times(line: &str) -> String {
    line.split_whitespace().filter(|word| !word.contains("time=")).collect::<Vec<_>>().join(" ")
}

fn decoded(bytes: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::new(bytes);
    let mut subvolume = String::new();
    let mut lines = Vec::new();
    while let Some(command) = decoder.next().expect("a whole stream") {
        if let Command::Snapshot { path, .. } = command {
            subvolume = format!("./{}", shown(path));
        }
        lines.extend(dumped(&subvolume, &command));
    }
    lines
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut shown, &byte| {
        match byte {
            b'\n' => shown.push_str("\\n"),
            b' '..=b'~' => shown.push(byte.into()),
            _ => write!(shown, "\\{byte:o}").expect("memory"),
        }
        shown
    })
}

fn uuid(bytes: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn dumped(subvolume: &str, command: &Command<'_>) -> Option<String> {
    let at = |path: &[u8]| format!("{subvolume}/{}", shown(path));
    Some(match *command {
        Command::Snapshot { ctransid, clone_uuid, clone_ctransid, uuid: own, .. } => format!(
            "snapshot {subvolume} uuid={} transid={ctransid} parent_uuid={} parent_transid={clone_ctransid}",
            uuid(own),
            uuid(clone_uuid)
        ),
        Command::Mkfile { path, .. } => format!("mkfile {}", at(path)),
        Command::Mkdir { path, .. } => format!("mkdir {}", at(path)),
        Command::Mknod { path, mode, rdev, .. } => format!("mknod {} mode={mode:o} dev={rdev:#x}", at(path)),
        Command::Mkfifo { path, .. } => format!("mkfifo {}", at(path)),
        Command::Mksock { path, .. } => format!("mksock {}", at(path)),
        Command::Symlink { path, target, .. } => format!("symlink {} dest={}", at(path), shown(target)),
        Command::Rename { path, to } => format!("rename {} dest={}", at(path), at(to)),
        Command::Link { path, existing } => format!("link {} dest={}", at(path), shown(existing)),
        Command::Unlink { path } => format!("unlink {}", at(path)),
        Command::Rmdir { path } => format!("rmdir {}", at(path)),
        Command::SetXattr { path, name, value } => {
            format!("set_xattr {} name={} data={} len={}", at(path), shown(name), shown(value), value.len())
        }
        Command::RemoveXattr { path, name } => format!("remove_xattr {} name={}", at(path), shown(name)),
        Command::Write { path, offset, data } => {
            format!("write {} offset={offset} len={}", at(path), data.len())
        }
        Command::Clone { path, offset, bytes, source_path, source_offset, .. } => format!(
            "clone {} offset={offset} len={bytes} from={} clone_offset={source_offset}",
            at(path),
            at(source_path)
        ),
        Command::Truncate { path, size } => format!("truncate {} size={size}", at(path)),
        Command::Chmod { path, mode } => format!("chmod {} mode={mode:o}", at(path)),
        Command::Chown { path, uid, gid } => format!("chown {} gid={gid} uid={uid}", at(path)),
        Command::Utimes { path, .. } => format!("utimes {}", at(path)),
        Command::UpdateExtent { path, offset, bytes } => {
            format!("update_extent {} offset={offset} len={bytes}", at(path))
        }
        Command::Fallocate { path, mode, offset, bytes } => {
            format!("fallocate {} mode={mode} offset={offset} len={bytes}", at(path))
        }
        Command::Fileattr { path, attributes } => format!("fileattr {} fileattr={attributes:#x}", at(path)),
        _ => return None,
    })
}
