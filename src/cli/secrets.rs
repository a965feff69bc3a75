//! Where secrets come from: a file, what a command prints, or the terminal. Never the command line, the environment or a log.
//!
//! They are held in memory that is overwritten when it is given back; it is reserved at once, so that no copy stays behind
//! where it had to grow.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::failure::{FAILED, Failure, INTERRUPTED};
use super::path_name;

/// Bytes of a secret.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// Longest secret in bytes: a file of some hundred keys.
const MAX_BYTES: usize = 64 << 10;
/// Longest password in bytes.
const MAX_PASSWORD_BYTES: usize = 1024;
/// How long a wish to stop waits at most.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What a file holds. `-` is not standard input here, which may be the archive.
pub(super) fn of_file(path: &Path) -> Result<Secret, Failure> {
    let failed = |error: &io::Error| error_of(format!("Cannot read {}", path_name(path)), error);
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    read(&mut file).map_err(|error| failed(&error))
}

/// What a command prints. Its words are taken apart as a shell would, without one; it has the user's environment, and no standard
/// input.
pub(super) fn of_command(command: &str, option: &str) -> Result<Secret, Failure> {
    let words = shlex::split(command).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| Failure::usage(format!("{option}: {command:?} is no command")))?;
    let name = format!("the command {:?} of {option}", words[0]);
    let failed = |error: &io::Error| error_of(format!("Cannot run {name}"), error);
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let printed = child.stdout.take().map_or_else(|| Ok(Secret::default()), |mut pipe| read(&mut pipe));
    let ended = child.wait().map_err(|error| failed(&error))?;
    if ended.signal() == Some(signal_hook::consts::SIGINT) {
        return Err(interrupted_by_user());
    }
    if !ended.success() {
        return Err(Failure::Error {
            chain: vec![format!("{} failed: {ended}", capital(&name))],
            hint: Some("what it said is above".into()),
            status: FAILED,
        });
    }
    let printed = printed.map_err(|error| failed(&error))?;
    if printed.is_empty() {
        return Err(Failure::Error {
            chain: vec![format!("{} printed nothing", capital(&name))],
            hint: None,
            status: FAILED,
        });
    }
    Ok(printed)
}

/// A password as it is in a file or printed: without what ends the line.
pub(super) fn password(mut secret: Secret) -> Secret {
    secret.pop_if(|last| *last == b'\n');
    secret.pop_if(|last| *last == b'\r');
    secret
}

/// Asks for a password; `None` if there is no terminal.
pub(super) fn of_terminal(prompt: &str, interrupted: &AtomicBool) -> Result<Option<Secret>, Failure> {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    let asked = ask(&terminal, prompt, interrupted);
    if interrupted.load(Ordering::Relaxed) {
        return Err(interrupted_by_user());
    }
    asked.map(Some).map_err(|error| error_of("Cannot ask for a password".into(), &error))
}

fn ask(mut terminal: &File, prompt: &str, interrupted: &AtomicBool) -> io::Result<Secret> {
    let hidden = Hidden::new(terminal)?;
    terminal.write_all(prompt.as_bytes())?;
    let mut secret = Zeroizing::new(Vec::with_capacity(MAX_PASSWORD_BYTES));
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        let mut watched = [PollFd::new(terminal, PollFlags::IN)];
        match poll(&mut watched, Some(&PATIENCE)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut byte = Zeroizing::new([0]);
        let read = terminal.read(&mut *byte)?;
        if read == 0 || byte[0] == b'\n' {
            drop(hidden);
            return Ok(secret);
        }
        if secret.len() == MAX_PASSWORD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is too long"));
        }
        secret.push(byte[0]);
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // There is nothing else that could be done about it.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn read(from: &mut dyn Read) -> io::Result<Secret> {
    let mut secret = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut secret)?;
    if secret.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long for a key"));
    }
    Ok(secret)
}

fn interrupted_by_user() -> Failure {
    Failure::Error { chain: vec!["Interrupted".into()], hint: None, status: INTERRUPTED }
}

fn error_of(what: String, error: &io::Error) -> Failure {
    Failure::Error { chain: vec![what, error.to_string()], hint: None, status: FAILED }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(failure: Failure) -> (String, u8) {
        match failure {
            Failure::Error { chain, status, .. } => (chain.join(": "), status),
            Failure::ReaderGone => ("reader gone".into(), 0),
        }
    }

    #[test]
    fn a_command_is_run_without_a_shell() {
        let printed = of_command("printf '%s|' 'a b' $HOME \"c;d\"", "--it").unwrap();
        assert_eq!(*printed, b"a b|$HOME|c;d|");
        let (message, status) = told(of_command("unclosed 'quote", "--it").unwrap_err());
        assert_eq!((message.as_str(), status), ("--it: \"unclosed 'quote\" is no command", 2));
        let (message, status) = told(of_command("false secret", "--it").unwrap_err());
        assert_eq!(status, 1);
        assert!(message.starts_with("The command \"false\" of --it failed"), "{message}");
        assert!(told(of_command("true", "--it").unwrap_err()).0.ends_with("printed nothing"));
        assert!(told(of_command("/nowhere/at/all", "--it").unwrap_err()).0.contains("Cannot run"));
    }

    #[test]
    fn what_is_too_long_is_no_secret() {
        assert!(read(&mut io::repeat(b'x').take(64 << 10)).is_ok());
        assert!(read(&mut io::repeat(b'x')).is_err());
    }

    #[test]
    fn a_password_is_what_is_before_the_end_of_the_line() {
        for (file, expected) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), (" a \n\n", " a \n"), ("", "")] {
            assert_eq!(*password(Zeroizing::new(file.as_bytes().to_vec())), expected.as_bytes());
        }
    }
}
