//! A process that thaws or starts a resource if remand does not.
//!
//! It is started before anything is stopped, in a session of its own, and waits at a pipe whose other end remand has, and the program that
//! stops the resource as long as that runs. When the pipe ends without the word that all is done, whatever the reason is (an error that
//! nobody foresaw, a kill), it does what is to be done. It is a few lines for sh(1), so that it needs nothing of a program that may be
//! replaced or gone by then.
//!
//! Its standard output is the record of the run, which it holds locked: as long as it is there the run is not dead, and `cleanup` waits.

use std::io::{self, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use remand_backends::process::Program;

/// A signal ends `read` in some shells, which is no reason to do anything. What is started has none of the descriptors of this one.
const SCRIPT: &str = r#"
trap 'signalled=yes' HUP INT TERM
while :; do
    signalled=
    if IFS= read -r word; then
        [ "$word" = done ] && exit 0
        break
    fi
    [ -n "$signalled" ] || break
done
tries=0
until "$@" </dev/null >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 10 ] || exit 1
    sleep 1
done
"#;

/// The word.
const DONE: &[u8] = b"done\n";

/// A guard that waits. Dropped, it does what is to be done.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
    pipe: PipeWriter,
}

impl Guard {
    /// Lets a guard wait that runs `program`, and holds `lock`.
    pub(crate) fn start(program: &Program, lock: OwnedFd) -> remand_backends::Result<Self> {
        let failed = |source| remand_backends::Error::Io {
            action: "start a guard that runs",
            subject: program.display(),
            source,
        };
        let wanted = program.command()?;
        let mut command = Program::new("sh", ["-c", SCRIPT, "remand-guard"]).command()?;
        command.arg(wanted.get_program()).args(wanted.get_args());
        let (reader, pipe) = io::pipe().map_err(failed)?;
        command.stdin(reader).stdout(lock).stderr(Stdio::null());
        remand_sys::session::lead(&mut command);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { child, pipe })
    }

    /// The pipe, for a program that the guard waits for too.
    pub(crate) fn holder(&self) -> io::Result<OwnedFd> {
        self.pipe.try_clone().map(OwnedFd::from)
    }

    /// All is done: it goes.
    pub(crate) fn dismiss(self) -> io::Result<()> {
        let Self { mut child, mut pipe } = self;
        // One that is gone needs no word.
        let _ = pipe.write_all(DONE);
        drop(pipe);
        child.wait().map(drop)
    }

    /// Lets it do what is to be done. Whether that went well.
    pub(crate) fn act(self) -> io::Result<bool> {
        let Self { mut child, pipe } = self;
        drop(pipe);
        Ok(child.wait()?.success())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn guard(done: &Path) -> Guard {
        let program = Program::new("touch", [done.to_str().unwrap()]);
        Guard::start(&program, std::fs::File::open("/dev/null").unwrap().into()).unwrap()
    }

    #[test]
    fn it_acts_unless_it_is_told_that_all_is_done() {
        let _turn = crate::run::turn();
        let scratch = tempfile::tempdir().unwrap();
        let done = scratch.path().join("done");
        guard(&done).dismiss().unwrap();
        assert!(!done.exists());
        assert!(guard(&done).act().unwrap());
        assert!(done.exists());
    }

    #[test]
    fn it_waits_for_who_holds_its_pipe_and_no_signal_confuses_it() {
        let _turn = crate::run::turn();
        let scratch = tempfile::tempdir().unwrap();
        let done = scratch.path().join("done");
        let Guard { mut child, pipe } = guard(&done);
        let holder = pipe.try_clone().unwrap();
        drop(pipe);
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            std::thread::sleep(Duration::from_millis(100));
            kill_process(Pid::from_child(&child), signal).unwrap();
        }
        std::thread::sleep(Duration::from_millis(200));
        assert!(!done.exists() && child.try_wait().unwrap().is_none());
        drop(holder);
        assert!(child.wait().unwrap().success());
        assert!(done.exists());
    }
}
