//! Signatures and encryption, with the programs that others use for them.

mod encryption;
mod passwords;
mod signing;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::Scratch;
use support::pool::{Place, Pool, Size};
use support::run::{Run, export, remand};
use support::trip::assert_restored;

/// Pairs of keys that are nobody's, and protect nothing: made by `minisign -GW`, `signify -Gn` and `signify -G` with the password
/// `secret`.
const MINISIGN: [&str; 2] =
    [include_str!("../data/keys/signer.pub"), include_str!("../data/keys/signer.key")];
const SIGNIFY: [&str; 2] = [
    "untrusted comment: signify public key\nRWSrxTM8WwtJMwAkhxCKJBs7rwshpRxc94IJe0IgqXcNdf8HUeRcPAqo\n",
    "untrusted comment: signify secret key\nRWRCSwAAAAAtfL6CT57qJGyrXapnoECTnxqQdv7H6RGrxTM8WwtJM1aQ1xeD16xmupjA6f4IXBl53YWVVg1ygwq6a949I1dhACSHEIokGzuvCyGlHFz3ggl7QiCpdw11/wdR5Fw8Cqg=\n",
];
const PROTECTED: [&str; 2] = [
    "untrusted comment: signify public key\nRWTeXbfJNxg4Rp0xO3Xt5pC2eC8CKzFybC8cX2ZmGJooVlE5YVaep1Eb\n",
    "untrusted comment: signify secret key\nRWRCSwAAACrz8F1WiNWncwmGWaoWElce/DeqGFGfzBPeXbfJNxg4Rgh+SuB0esullEv6ApII1yB/S8AfsaMXg5P94EpVYZP3CqTTzgefO75L6Ku0+hK6mw7Hs1b+RrjLYERnJPez6Fc=\n",
];
/// The same of age, made by `age-keygen`.
const AGE: &str = "age10grw5duzkzqz57m45t0kqr707qyksme4nfqzqqy97yctez542vaqacve46";
const IDENTITY: &str = include_str!("../data/keys/identity.txt");
const OTHER_AGE: [&str; 2] = [
    "age1pl4wczqzs8ulsyfw4xyxtq2gma6z6q9thln29mv8f5ndfeum5gvs28rj0l",
    "AGE-SECRET-KEY-1TRKWCE8HG8HFGFUV56HCZE6XR2J2PXM96Q8WXRWM3JWU0QEDYHEQ0LF8NC",
];

/// A small jail, keys, and a pool to restore to.
struct Here {
    scratch: Scratch,
    source: Pool,
    target: Pool,
}

impl Here {
    fn new() -> Self {
        let this = Self {
            scratch: Scratch::new(),
            source: Pool::with_jail(&Place::dir(), Size::Small),
            target: Pool::with_release(&Place::dir(), Size::Small),
        };
        for (name, [public, secret]) in [("mini", MINISIGN), ("signify", SIGNIFY), ("protected", PROTECTED)] {
            this.write(&format!("{name}.pub"), public.as_bytes());
            this.write(&format!("{name}.key"), secret.as_bytes());
        }
        this.write("age.key", IDENTITY.as_bytes());
        this.write("other.key", OTHER_AGE[1].as_bytes());
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn export(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.path(name);
        export(&self.source, "web01", &path, options);
        path
    }

    /// A signed archive.
    fn signed(&self, name: &str) -> PathBuf {
        self.export(name, &["--sign", &self.text("mini.key")])
    }

    /// An encrypted one.
    fn encrypted(&self, name: &str) -> PathBuf {
        self.export(name, &["--encrypt-to", AGE])
    }

    /// Nothing is in the target, and nothing is left in it.
    #[track_caller]
    fn nothing_restored(&self) {
        assert_eq!((self.target.jails(), self.target.remains()), (vec![], vec![]));
    }
}

/// Runs a program to its end in a directory; fails the test if it fails.
#[track_caller]
fn run(program: &Path, arguments: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{} {arguments:?}: {stderr}", program.display());
    output.stdout
}

/// The same run, by another program.
fn through(run: Run, program: &mut Command) -> &mut Command {
    let command = run.into_command();
    program.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            program.env(name, value);
        }
    }
    program.stdin(Stdio::null())
}

#[test]
fn names_and_options_must_go_together() {
    let place = Here::new();
    let fails = |name: &str, options: &[&str], words: &str| {
        let run = remand(["export"]).on(&place.source).args(options).arg("web01").arg(place.path(name));
        run.ends(2).tells(words);
        assert!(!place.path(name).exists());
    };
    let to = ["--encrypt-to", AGE];
    fails("a", &to, "a.tar.gz.age");
    fails("a.tar.gz", &to, "a.tar.gz.age");
    fails("a.tar.gz", &[&to[..], &["-n"]].concat(), "a.tar.gz.age");
    fails("a.tar.gz.age", &[], "--encrypt-to");
    fails("a.age", &[&to[..], &["--format", "directory"]].concat(), "directory");
    let ended =
        remand(["export", "--encrypt-to", "age1wrong"]).on(&place.source).args(&["web01", "x.age"]).ends(1);
    ended.tells("\"age1wrong\" is no recipient");
    let plan = remand(["export", "-n", "--sign"]).arg(place.path("mini.key")).args(&to).on(&place.source);
    let plan = plan.args(&["web01", "x.tar.age"]).ends(0).text();
    assert!(plan.contains("signed") && plan.contains("encrypted for 1 recipient"), "{plan}");
    place.export("no-suffix", &[&to[..], &["--format", "tar"]].concat());
    let ended =
        remand(["diff", "web01", "--verify-key"]).arg(place.path("mini.pub")).on(&place.source).ends(2);
    ended.tells("Keys are for archives");
}

#[test]
fn signed_and_encrypted_at_once_from_and_to_a_pipe() {
    let place = Here::new();
    let ended = remand(["export", "--json", "--sign"])
        .arg(place.path("mini.key"))
        .args(&["--encrypt-to", AGE, "web01", "-"])
        .on(&place.source)
        .ends(0);
    let last: serde_json::Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(last["result"]["signed_by"], "29DF762E056A7A52");
    assert_eq!(last["result"]["encrypted"], true);
    let run = remand(["restore", "--json", "--identity-file"]).arg(place.path("age.key")).arg("--verify-key");
    let ended = run.arg(place.path("mini.pub")).arg("-").on(&place.target).input(ended.stdout).ends(0);
    assert_eq!(ended.json().pop().unwrap()["result"]["signature"]["trusted"], true);
    assert_restored(&place.source, "web01", &place.target, "web01");
    let log = remand(["log", "--json"]).on(&place.source).ends(0).text();
    assert!(
        log.contains("\"signed_by\":\"29DF762E056A7A52\"") && log.contains("\"encrypted\":true"),
        "{log}"
    );
}

#[test]
fn no_secret_is_told_or_recorded() {
    let place = Here::new();
    let print_key = format!("cat {}", place.text("protected.key"));
    let print_identity = format!("cat {}", place.text("age.key"));
    let mut told = String::new();
    for (number, voice) in ["--json", "-vv", "-q"].iter().enumerate() {
        let name = format!("{number}.tar.gz.age");
        let options = [
            "--sign-command",
            &print_key,
            "--sign-password-file",
            &place.text("password"),
            "--encrypt-to",
            AGE,
            voice,
        ];
        place.write("password", b"secret");
        let ended = export(&place.source, "web01", &place.path(&name), &options);
        told += &(ended.text() + &ended.stderr);
        for command in ["verify", "info"] {
            let ended = remand([command, voice, "--identity-command", &print_identity])
                .arg(place.path(&name))
                .ends(0);
            told += &(ended.text() + &ended.stderr);
        }
    }
    let state = std::fs::read_dir(place.source.path(".remand")).unwrap().map(|entry| entry.unwrap().path());
    let records = state.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("records.db"));
    told.extend(records.map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()));
    let secret_key = PROTECTED[1].lines().nth(1).unwrap();
    let identity = IDENTITY.lines().last().unwrap();
    for secret in [identity, "AGE-SECRET-KEY", secret_key, &secret_key[60..100]] {
        assert!(!told.contains(secret), "{secret}");
    }
}
