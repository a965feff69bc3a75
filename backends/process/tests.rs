use super::*;

fn sh(script: &str) -> Program {
    Program::new("sh", ["-c", script])
}

struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the cable"));
        }
        let count = self.0.min(buffer.len());
        buffer[..count].fill(b'x');
        self.0 -= count;
        Ok(count)
    }
}

fn ended(pid: &str) -> bool {
    // A reaped child has no entry; signal 0 by kill(1) asks for the same everywhere.
    !sh(&format!("kill -0 {}", pid.trim())).finish().unwrap().success
}

#[test]
fn the_exit_status_decides_and_not_what_was_said() {
    assert_eq!(sh("echo noise >&2; echo fine").output().unwrap(), "fine\n");
    let error = sh("echo half; echo 'cannot go on' >&2; exit 3").output().unwrap_err();
    assert_eq!(
        error.to_string(),
        "sh -c 'echo half; echo '\\''cannot go on'\\'' >&2; exit 3' failed (exit status: 3): cannot go on"
    );
}

#[test]
fn a_program_that_must_be_silent_fails_with_what_it_said() {
    let mut text = String::new();
    sh("echo fine").and_silent().stream().unwrap().read_to_string(&mut text).unwrap();
    let mut noisy = sh("echo half; echo 'left out: 5' >&2").and_silent().stream().unwrap();
    let error = noisy.read_to_string(&mut text).unwrap_err();
    assert!(error.to_string().ends_with("failed (exit status: 0): left out: 5"), "{error}");
    assert_eq!(text, "fine\nhalf\n");
}

#[test]
fn the_environment_is_fixed() {
    let printed = sh("env | grep -v -e ^_= -e ^PWD= -e ^SHLVL= -e ^OLDPWD= | sort; pwd").output().unwrap();
    assert_eq!(printed, "LC_ALL=C\nPATH=/sbin:/usr/sbin:/bin:/usr/bin:/usr/local/sbin:/usr/local/bin\n/\n");
}

#[test]
fn a_program_that_is_not_there_is_told_apart() {
    let error = Program::new("no-such-program", [""; 0]).output().unwrap_err();
    assert!(matches!(error, Error::Start { source, .. } if source.kind() == io::ErrorKind::NotFound));
    assert!(!installed("no-such-program"));
    assert!(installed("sh"));
}

#[test]
fn only_the_end_of_much_standard_error_is_kept_and_it_does_not_block() {
    let finished =
        sh("i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1").finish().unwrap();
    assert!(finished.stderr.len() <= STDERR_BYTES);
    assert!(finished.stderr.ends_with("line 19999"));
}

#[test]
fn a_stream_ends_well_only_if_its_program_did() {
    let mut text = String::new();
    sh("echo all").stream().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "all\n");

    let mut stream = sh("echo some; echo broken >&2; exit 1").stream().unwrap();
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(bytes, b"some\n");
    assert!(error.to_string().contains("failed (exit status: 1): broken"), "{error}");
    assert!(stream.read(&mut [0; 8]).is_err(), "it must not end well on a second try");

    let mut killed = sh("echo some; kill -9 $$").stream().unwrap();
    assert!(killed.read_to_end(&mut bytes).is_err());
}

#[test]
fn a_stream_dropped_early_is_killed_and_reaped() {
    let mut stream = sh("echo $$; exec sleep 1000").stream().unwrap();
    let mut line = [0; 16];
    let count = stream.read(&mut line).unwrap();
    let pid = String::from_utf8_lossy(&line[..count]).into_owned();
    assert!(!ended(&pid));
    drop(stream);
    assert!(ended(&pid));
}

#[test]
fn feeding_hands_over_every_byte() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = format!("cat > {}; echo noise", file.path().display());
    sh(&script).feed(&mut Broken(700_000).take(700_000)).unwrap();
    assert_eq!(file.as_file().metadata().unwrap().len(), 700_000);
}

#[test]
fn a_source_that_fails_ends_the_program() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = format!("echo $$ > {}; cat > /dev/null", file.path().display());
    let error = sh(&script).feed(&mut Broken(10)).unwrap_err();
    assert!(matches!(error, FeedError::Source(source) if source.to_string() == "the cable"));
    assert!(ended(&std::fs::read_to_string(file.path()).unwrap()));
}

#[test]
fn the_source_is_read_to_its_end_even_if_the_program_reads_less() {
    let mut source = Broken(900_000).take(900_000);
    sh("head -c 10 > /dev/null").feed(&mut source).unwrap();
    assert_eq!(source.limit(), 0);
}

#[test]
fn a_fed_program_that_fails_is_an_error() {
    let error = sh("echo no >&2; exit 4").feed(&mut Broken(900_000).take(900_000)).unwrap_err();
    assert!(matches!(error, FeedError::Program(Error::Program { status, stderr, .. })
            if status == "exit status: 4" && stderr == "no"));
}
