//! One call that takes a path, made relative to an open directory.
//!
//! Some calls have no form with the descriptor of a directory, and a path may be longer than the system takes, or lead elsewhere
//! meanwhile. The working directory belongs to the whole process; so a process of its own enters the directory and makes the call.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes `call` where `directory` is the working directory. It returns 0 or sets `errno`, and does nothing that is unsafe between
/// fork(2) and exec(2) in a process with threads: it allocates nothing and takes no lock.
///
/// # Errors
///
/// That of `call`, or of the process that should make it.
pub(crate) fn call_in(directory: BorrowedFd<'_>, call: &dyn Fn() -> c_int) -> io::Result<()> {
    // SAFETY: what the child does until it ends is fchdir(2), `call`, which promises what is needed, and _exit(2).
    let child = unsafe { libc::fork() };
    if child == -1 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        // SAFETY: a plain system call, and the descriptor is open.
        let entered = unsafe { libc::fchdir(directory.as_raw_fd()) };
        let failed = entered != 0 || call() != 0;
        let status = if failed { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) } else { 0 };
        // SAFETY: it ends the child without running anything of the parent's.
        unsafe { libc::_exit(status) }
    }
    match wait(child)? {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Waits for a child of this process; its exit status.
fn wait(child: libc::pid_t) -> io::Result<c_int> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a number that the call may write.
        if unsafe { libc::waitpid(child, &raw mut status, 0) } == child {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    if libc::WIFEXITED(status) {
        Ok(libc::WEXITSTATUS(status))
    } else {
        Err(io::Error::other("the process that made the call was killed"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_call_is_made_in_the_directory_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let opened = std::fs::File::open(directory.path()).unwrap();
        let here = std::env::current_dir().unwrap();
        // SAFETY: the name ends with a NUL.
        let make = || unsafe { libc::mkdir(c"made".as_ptr(), 0o700) };
        call_in(opened.as_fd(), &make).unwrap();
        assert!(directory.path().join("made").is_dir() && !here.join("made").exists());
        assert_eq!(std::env::current_dir().unwrap(), here);
        assert_eq!(call_in(opened.as_fd(), &make).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_descriptor_that_is_no_directory_is_the_callers_error() {
        let file = tempfile::tempfile().unwrap();
        let error = call_in(file.as_fd(), &|| 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
    }

    #[test]
    fn a_killed_child_is_an_error() {
        let directory = std::fs::File::open("/").unwrap();
        // SAFETY: it sends a signal to the child itself.
        let die = || unsafe { libc::raise(libc::SIGKILL) };
        assert!(call_in(directory.as_fd(), &die).unwrap_err().to_string().contains("killed"));
    }
}
