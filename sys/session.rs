//! Programs that outlive the terminal that they were started from.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets `command` begin a session of its own when it is started: neither Ctrl-C nor the end of the terminal reaches it. It must not be
/// asked for a process group too, because the leader of one cannot begin a session.
pub fn lead(command: &mut Command) {
    let begin = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: between fork and exec only what is async-signal-safe may be called. setsid(2) is, it takes no memory, and an error of
    // the system is made into an `io::Error` without any.
    unsafe {
        command.pre_exec(begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_leads_a_session() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "ps -o sid= -p $$ 2>/dev/null || cut -d' ' -f6 /proc/$$/stat; echo $$"]);
        lead(&mut command);
        let printed = command.output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        let mut words = printed.split_whitespace();
        assert_eq!(words.next(), words.next(), "{printed}");
        assert!(words.next().is_none());
    }
}
