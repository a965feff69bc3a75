//! Which system calls change something, and what they are called.
//!
//! A name says the call and what it works on, with the places of the test for their paths and without what differs between two runs: so
//! the same step has the same name in every run.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Pid;

/// Names of the directories that the test looks at. What a call does elsewhere is no step.
pub(crate) type Places = Vec<(PathBuf, &'static str)>;

/// A call as a stopped thread is about to make it.
pub(crate) struct Call {
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

/// Where a call's arguments say what it works on.
enum Shape {
    /// A descriptor.
    Fd(usize),
    /// A path, relative to the working directory.
    Path(usize),
    /// A path, relative to a descriptor.
    At(usize, usize),
    /// As before, of interest if its flags (or the structure that they are in) ask for writing.
    Open(usize, usize, Flags),
    /// Two of them.
    Two((usize, usize), (usize, usize)),
    Ioctl,
    Exec,
    Exit,
}

enum Flags {
    In(usize),
    /// The first field of what this argument points to.
    At(usize),
}

/// No descriptor: relative to the working directory.
const HERE: usize = usize::MAX;

fn shape(number: i64) -> Option<(&'static str, Shape)> {
    use Shape::{At, Exec, Exit, Fd, Ioctl, Open, Path, Two};
    Some(match number {
        libc::SYS_open => ("open", Open(HERE, 0, Flags::In(1))),
        libc::SYS_creat => ("creat", Path(0)),
        libc::SYS_openat => ("openat", Open(0, 1, Flags::In(2))),
        libc::SYS_openat2 => ("openat2", Open(0, 1, Flags::At(2))),
        libc::SYS_write => ("write", Fd(0)),
        libc::SYS_pwrite64 => ("pwrite", Fd(0)),
        libc::SYS_writev => ("writev", Fd(0)),
        libc::SYS_pwritev => ("pwritev", Fd(0)),
        libc::SYS_copy_file_range => ("copy_file_range", Fd(2)),
        libc::SYS_sendfile => ("sendfile", Fd(0)),
        libc::SYS_splice => ("splice", Fd(2)),
        libc::SYS_mkdir => ("mkdir", Path(0)),
        libc::SYS_mkdirat => ("mkdir", At(0, 1)),
        libc::SYS_mknod => ("mknod", Path(0)),
        libc::SYS_mknodat => ("mknod", At(0, 1)),
        libc::SYS_symlink => ("symlink", Path(1)),
        libc::SYS_symlinkat => ("symlink", At(1, 2)),
        libc::SYS_link => ("link", Two((HERE, 0), (HERE, 1))),
        libc::SYS_linkat => ("link", Two((0, 1), (2, 3))),
        libc::SYS_unlink => ("unlink", Path(0)),
        libc::SYS_unlinkat => ("unlink", At(0, 1)),
        libc::SYS_rmdir => ("rmdir", Path(0)),
        libc::SYS_rename => ("rename", Two((HERE, 0), (HERE, 1))),
        libc::SYS_renameat | libc::SYS_renameat2 => ("rename", Two((0, 1), (2, 3))),
        libc::SYS_chmod => ("chmod", Path(0)),
        libc::SYS_fchmod => ("fchmod", Fd(0)),
        libc::SYS_fchmodat | 452 => ("chmod", At(0, 1)),
        libc::SYS_chown | libc::SYS_lchown => ("chown", Path(0)),
        libc::SYS_fchown => ("fchown", Fd(0)),
        libc::SYS_fchownat => ("chown", At(0, 1)),
        libc::SYS_utimensat => ("utimensat", At(0, 1)),
        libc::SYS_setxattr | libc::SYS_lsetxattr => ("setxattr", Path(0)),
        libc::SYS_fsetxattr => ("fsetxattr", Fd(0)),
        libc::SYS_removexattr | libc::SYS_lremovexattr => ("removexattr", Path(0)),
        libc::SYS_fremovexattr => ("fremovexattr", Fd(0)),
        libc::SYS_truncate => ("truncate", Path(0)),
        libc::SYS_ftruncate => ("ftruncate", Fd(0)),
        libc::SYS_fallocate => ("fallocate", Fd(0)),
        libc::SYS_fsync => ("fsync", Fd(0)),
        libc::SYS_fdatasync => ("fdatasync", Fd(0)),
        libc::SYS_syncfs => ("syncfs", Fd(0)),
        libc::SYS_flock => ("flock", Fd(0)),
        libc::SYS_mount => ("mount", Path(1)),
        libc::SYS_umount2 => ("umount", Path(0)),
        libc::SYS_ioctl => ("ioctl", Ioctl),
        libc::SYS_execve => ("execve", Exec),
        libc::SYS_exit_group => ("exit", Exit),
        _ => return None,
    })
}

/// What an ioctl changes; none if it only asks.
fn ioctl(request: u64) -> Option<&'static str> {
    Some(match request & 0xffff_ffff {
        0x5000_9401 => "btrfs snapshot",
        0x5000_940e => "btrfs create",
        0x5000_940f => "btrfs destroy",
        0x5000_9417 => "btrfs snapshot (2)",
        0x5000_9418 => "btrfs create (2)",
        0x5000_943f => "btrfs destroy (2)",
        0x4008_941a => "btrfs set flags",
        0xc0c8_9425 => "btrfs set received",
        0x9408 => "btrfs sync",
        0x8008_9418 => "btrfs start sync",
        0x4008_9416 => "btrfs wait sync",
        0x4048_9426 => "btrfs send",
        0x4004_9409 => "clone",
        0x4020_940d => "clone range",
        0x4008_6602 => "set flags",
        0x401c_5820 => "set attributes",
        _ => return None,
    })
}

impl Call {
    /// Whether it may change something.
    pub(crate) fn is_known(&self) -> bool {
        shape(self.number).is_some()
    }

    /// What this call by a thread of `process` is called, if it changes something. `main` is the process under test.
    pub(crate) fn name(&self, thread: Pid, process: Pid, main: Pid, places: &Places) -> Option<String> {
        let (name, shape) = shape(self.number)?;
        let argument = |at: usize| self.arguments[at];
        let place = |(fd, path): (usize, usize)| {
            let text = string(thread, argument(path))?;
            let directory = if fd == HERE { None } else { Some(argument(fd)) };
            known(&resolve(process, directory, &text)?, places)
        };
        let of_fd = |at: usize| known(&descriptor(process, argument(at))?, places);
        let what = match shape {
            // Standard output and error of the program itself are the transcript.
            Shape::Fd(at) => of_fd(at)?,
            Shape::Path(at) => place((HERE, at))?,
            Shape::At(fd, at) if argument(at) == 0 => of_fd(fd)?,
            Shape::At(fd, at) => place((fd, at))?,
            Shape::Open(fd, at, flags) => {
                let flags = match flags {
                    Flags::In(at) => argument(at),
                    Flags::At(at) => word(thread, argument(at))?,
                };
                let writing = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
                if flags & u64::from(writing.cast_unsigned()) == 0 {
                    return None;
                }
                place((fd, at))?
            }
            Shape::Two(from, to) => format!("{} to {}", place(from)?, place(to)?),
            Shape::Ioctl => format!("{}: {}", ioctl(argument(1))?, of_fd(0)?),
            // What the program itself begins and ends with.
            Shape::Exec | Shape::Exit if process == main => return None,
            Shape::Exec => {
                let program = string(thread, argument(0))?;
                let program = Path::new(&program).file_name()?.to_str()?.to_owned();
                let first = word(thread, argument(1) + 8).and_then(|at| string(thread, at));
                format!("{program} {}", first.unwrap_or_default())
            }
            Shape::Exit => String::new(),
        };
        let by =
            if process == main || number_is_exec(self.number) { String::new() } else { program(process) };
        Some(format!("{by}{name} {what}").trim_end().to_owned())
    }

    /// Which argument says how many bytes are written, for calls that may write less.
    pub(crate) fn length_argument(&self) -> Option<usize> {
        match self.number {
            libc::SYS_write | libc::SYS_pwrite64 => Some(2),
            libc::SYS_copy_file_range | libc::SYS_splice => Some(4),
            libc::SYS_sendfile => Some(3),
            _ => None,
        }
    }

    /// The descriptor that is written to, where [`Call::length_argument`] is something.
    pub(crate) fn written(&self) -> u64 {
        match self.number {
            libc::SYS_copy_file_range | libc::SYS_splice => self.arguments[2],
            _ => self.arguments[0],
        }
    }
}

fn number_is_exec(number: i64) -> bool {
    number == libc::SYS_execve
}

fn program(process: Pid) -> String {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    format!("{}: ", name.trim_end())
}

fn descriptor(process: Pid, fd: u64) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/fd/{}", fd.cast_signed())).ok()
}

fn resolve(process: Pid, directory: Option<u64>, path: &str) -> Option<PathBuf> {
    if let Some(rest) = path.strip_prefix("/proc/self/fd/") {
        let (fd, below) = rest.split_once('/').unwrap_or((rest, ""));
        return Some(descriptor(process, fd.parse().ok()?)?.join(below));
    }
    if path.starts_with('/') {
        return Some(path.into());
    }
    // An int: the upper half says nothing.
    let here = u64::from(libc::AT_FDCWD.cast_unsigned());
    let above = match directory.map(|fd| fd & u64::from(u32::MAX)) {
        Some(fd) if fd != here => descriptor(process, fd)?,
        _ => std::fs::read_link(format!("/proc/{process}/cwd")).ok()?,
    };
    Some(above.join(path))
}

/// The name of a path below one of the places, and of pipes. What zfs(8) says to its daemon by sockets are thousands of steps.
fn known(path: &Path, places: &Places) -> Option<String> {
    let text = path.to_string_lossy();
    if text.starts_with("pipe:[") {
        return Some("pipe".to_owned());
    }
    let (place, name) = places.iter().find(|(place, _)| path.starts_with(place))?;
    let below = path.strip_prefix(place).ok()?.to_string_lossy().into_owned();
    Some(uniform(&format!("{name}/{below}")))
}

/// Without what differs between runs: identities, names of temporary files and of files without one.
pub(crate) fn uniform(text: &str) -> String {
    const TEMPORARY: [&str; 2] = ["/.tmp", "/.draft-"];
    const RUN: usize = "remand-20260101T000000Z-01234567".len();
    let mut out = String::new();
    let mut rest = text.trim_end_matches(" (deleted)").trim_end_matches('/');
    while !rest.is_empty() {
        let run = rest.get(..RUN).filter(|id| id.starts_with("remand-2") && id.as_bytes()[23] == b'-');
        if run.is_some() {
            out.push_str("ID");
            rest = &rest[RUN..];
        } else if let Some(prefix) = TEMPORARY.into_iter().find(|prefix| rest.starts_with(prefix)) {
            out.push_str(prefix);
            rest = rest[prefix.len()..].trim_start_matches(|random: char| random.is_ascii_alphanumeric());
        } else if let Some(digits) = rest.strip_prefix("/#") {
            out.push_str("/#*");
            rest = digits.trim_start_matches(|digit: char| digit.is_ascii_digit());
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    out
}

fn word(thread: Pid, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory(thread, &mut bytes, address).filter(|count| *count == 8)?;
    Some(u64::from_ne_bytes(bytes))
}

/// A string in a thread's memory.
fn string(thread: Pid, address: u64) -> Option<String> {
    let mut bytes = [0; 4096];
    // What is mapped may end before.
    let count = memory(thread, &mut bytes, address)?;
    let end = bytes[..count].iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

fn memory(thread: Pid, bytes: &mut [u8], address: u64) -> Option<usize> {
    File::open(format!("/proc/{thread}/mem")).and_then(|memory| memory.read_at(bytes, address)).ok()
}
