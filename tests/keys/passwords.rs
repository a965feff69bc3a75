//! Keys that are protected by a password.

use std::process::{Command, Stdio};

use super::support::program_for;
use super::support::run::remand;
use super::{Here, through};

#[test]
fn a_password_comes_from_a_file_a_command_or_the_terminal() {
    let place = Here::new();
    let (key, public) = (place.text("protected.key"), place.text("protected.pub"));
    let password = place.write("password", b"secret\n");
    let password = password.to_str().unwrap();
    let command = format!("cat '{password}'");
    let print_key = format!("cat {key}");
    for (number, options) in [
        ["--sign", &key, "--sign-password-file", password],
        ["--sign", &key, "--sign-password-command", &command],
        ["--sign-command", &print_key, "--sign-password-command", &command],
    ]
    .iter()
    .enumerate()
    {
        let archive = place.export(&format!("{number}.tar.gz"), options);
        remand(["verify", "--verify-key", &public]).arg(archive).ends(0);
    }
    place.write("wrong", b"Secret\n");
    let wrong = place.text("wrong");
    let fails = |options: &[&str], status: i32, words: &str| {
        let run =
            remand(["export"]).on(&place.source).args(options).arg("web01").arg(place.path("no.tar.gz"));
        run.ends(status).tells(words);
        assert!(!place.path("no.tar.gz").exists());
    };
    fails(&["--sign", &key, "--sign-password-file", &wrong], 1, "password of the secret key");
    fails(&["--sign", &public], 1, "it is a public key");
    fails(&["--sign", &place.text("none")], 1, "Cannot read");
    fails(&["--sign-command", "false"], 1, "failed: exit status: 1");
    fails(&["--sign-command", "cat '"], 2, "is no command");
    fails(&["--sign-password-file", password], 2, "--sign names it");
    fails(&["--sign", &key, "--sign-command", "true"], 2, "cannot be used with");
    // The dry run asks for nothing.
    remand(["export", "-n", "--sign", &key]).on(&place.source).args(&["web01", "x.tar.gz"]).ends(0);
    if let Some(setsid) = program_for("passwords", "setsid") {
        let run =
            remand(["export", "--sign", &key]).on(&place.source).arg("web01").arg(place.path("no.tar.gz"));
        let output = through(run, Command::new(setsid).arg("-w")).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--sign-password-file"));
    }
}

#[test]
fn a_password_that_is_typed_is_not_shown() {
    let Some(script) = program_for("passwords", "script") else { return };
    let place = Here::new();
    let run = remand(["export", "--sign"]).arg(place.path("protected.key")).on(&place.source).arg("web01");
    let command = run.arg(place.path("a.tar.gz")).into_command();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut child = Command::new(script)
        .args(["-qec", &line.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    let mut piece = [0; 1024];
    let mut typed = false;
    loop {
        let read = std::io::Read::read(&mut output, &mut piece).unwrap();
        shown.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&shown);
        if !typed && text.contains("Password of the secret key: ") {
            std::io::Write::write_all(&mut input, b"secret\n").unwrap();
            typed = true;
        }
        if read == 0 {
            break;
        }
    }
    assert!(child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&shown));
    let after = String::from_utf8_lossy(&shown).split_once("secret key: ").unwrap().1.to_owned();
    assert!(!after.contains("secret"), "{after}");
    remand(["verify", "--verify-key"]).arg(place.path("protected.pub")).arg(place.path("a.tar.gz")).ends(0);
}
