//! Signatures and encryption, with the programs that others use for them.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::pool::{Place, Pool, Size, names};
use support::run::{Run, export, remand, restore};
use support::trip::assert_restored;
use support::{Scratch, program_for};

/// Pairs of keys that are nobody's, and protect nothing: made by `minisign -GW`, `signify -Gn` and `signify -G` with the password
/// `secret`.
const MINISIGN: [&str; 2] = [
    "untrusted comment: minisign public key 29DF762E056A7A52\nRWRSemoFLnbfKXaikeXkRzwmO+fQ011iQ8jxiZcJv9VGBW9KCYT8cNf4\n",
    "untrusted comment: minisign encrypted secret key\nRWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAUnpqBS523ymyLP9OjLhMbLOjB8wcQsnx7nDLRosa1gTdrgDksxLXl3aikeXkRzwmO+fQ011iQ8jxiZcJv9VGBW9KCYT8cNf4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
];
const SIGNIFY: [&str; 2] = [
    "untrusted comment: signify public key\nRWSrxTM8WwtJMwAkhxCKJBs7rwshpRxc94IJe0IgqXcNdf8HUeRcPAqo\n",
    "untrusted comment: signify secret key\nRWRCSwAAAAAtfL6CT57qJGyrXapnoECTnxqQdv7H6RGrxTM8WwtJM1aQ1xeD16xmupjA6f4IXBl53YWVVg1ygwq6a949I1dhACSHEIokGzuvCyGlHFz3ggl7QiCpdw11/wdR5Fw8Cqg=\n",
];
const PROTECTED: [&str; 2] = [
    "untrusted comment: signify public key\nRWTeXbfJNxg4Rp0xO3Xt5pC2eC8CKzFybC8cX2ZmGJooVlE5YVaep1Eb\n",
    "untrusted comment: signify secret key\nRWRCSwAAACrz8F1WiNWncwmGWaoWElce/DeqGFGfzBPeXbfJNxg4Rgh+SuB0esullEv6ApII1yB/S8AfsaMXg5P94EpVYZP3CqTTzgefO75L6Ku0+hK6mw7Hs1b+RrjLYERnJPez6Fc=\n",
];
/// The same of age: made by `age-keygen`.
const AGE: [&str; 2] = [
    "age10grw5duzkzqz57m45t0kqr707qyksme4nfqzqqy97yctez542vaqacve46",
    "AGE-SECRET-KEY-1F2MJY5N767NNYN9WFGM30JZNX9NZXK9YWSMJXATFLXL0J88VSWPQNK5V5Z",
];
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
        this.write("age.key", format!("# a comment\n{}\n", AGE[1]).as_bytes());
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
        self.export(name, &["--encrypt-to", AGE[0]])
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

/// Index and signature of a plain tar archive as files, as the manual page shows it.
fn take_apart(archive: &Path, directory: &Path) {
    let bytes = std::fs::read(archive).unwrap();
    let members = support::tar::read(&bytes);
    let find = |name: &str| {
        let found = members.iter().find(|member| member.name == name.as_bytes());
        found.unwrap_or_else(|| panic!("there is no {name}")).data.clone()
    };
    let index = find("./index.jsonl");
    let seal = index[..index.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    std::fs::write(directory.join("seal"), &index[seal..]).unwrap();
    std::fs::write(directory.join("seal.minisig"), find("./seal.minisig")).unwrap();
    assert_eq!(members.last().unwrap().name, b"./seal.minisig", "it is the last one");
}

#[test]
fn minisign_and_signify_verify_what_is_signed_with_keys_of_either() {
    let place = Here::new();
    for key in ["mini", "signify"] {
        let archive = place.export(&format!("{key}.tar"), &["--sign", &place.text(&format!("{key}.key"))]);
        take_apart(&archive, place.scratch.path());
        let public = format!("{key}.pub");
        if let Some(minisign) = program_for("signatures", "minisign") {
            let told =
                run(&minisign, &["-Vm", "seal", "-x", "seal.minisig", "-p", &public], place.scratch.path());
            let told = String::from_utf8(told).unwrap();
            assert!(told.contains(&format!("file:{key}.tar")), "{told}");
            assert!(told.contains("resources:jail web01"), "{told}");
            std::fs::write(place.path("seal"), b"{}\n").unwrap();
            let wrong = Command::new(minisign)
                .args(["-Vm", "seal", "-x", "seal.minisig", "-p", &public])
                .current_dir(place.scratch.path())
                .output();
            assert!(!wrong.unwrap().status.success());
            take_apart(&archive, place.scratch.path());
        }
        let signify = ["signify-openbsd", "signify"].iter().find_map(|name| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|path| path.join(name)).find(|path| path.is_file())
        });
        match signify {
            Some(signify) => {
                let arguments = ["-V", "-m", "seal", "-x", "seal.minisig", "-p", &public];
                run(&signify, &arguments, place.scratch.path());
            }
            None => support::skipped("signatures", "signify is not installed"),
        }
        remand(["verify", "--verify-key"]).arg(place.path(&public)).arg(&archive).ends(0);
        remand(["verify", "--verify-key"])
            .arg(MINISIGN[0].lines().nth(1).unwrap())
            .arg(&archive)
            .ends(if key == "mini" { 0 } else { 23 });
    }
}

#[test]
fn keys_that_minisign_makes_sign_and_verify() {
    let Some(minisign) = program_for("signatures", "minisign") else { return };
    let place = Here::new();
    run(&minisign, &["-GW", "-p", "new.pub", "-s", "new.key"], place.scratch.path());
    let archive = place.export("a.tar.gz", &["--sign", &place.text("new.key")]);
    let ended = remand(["verify", "--json", "--verify-key"]).arg(place.path("new.pub")).arg(&archive).ends(0);
    let result = ended.json().pop().unwrap()["result"].clone();
    assert_eq!(result["signature"]["trusted"], true);
    let public = std::fs::read_to_string(place.path("new.pub")).unwrap();
    let id = result["signature"]["key_id"].as_str().unwrap();
    // It leaves out leading zeros, which one key in sixteen has.
    let told = format!("key {}\n", id.trim_start_matches('0'));
    assert!(public.contains(&told), "{id} as minisign tells it: {public}");
    assert!(public.contains(result["signature"]["key"].as_str().unwrap()));
}

#[test]
fn a_signed_archive_is_restored_and_one_that_nobody_trusted_signed_is_not() {
    let place = Here::new();
    let (trusted, other) = (place.text("mini.pub"), place.text("signify.pub"));
    for name in ["a.tar.gz", "a.tar", "a.tar.zst", "a"] {
        let unsigned = place.export(&format!("unsigned-{name}"), &[]);
        let archive = place.signed(&format!("signed-{name}"));
        for (archive, key, why) in [
            (&unsigned, &trusted, "is not signed"),
            (
                &archive,
                &other,
                "is signed by the key 29DF762E056A7A52, which is none of those that are trusted",
            ),
        ] {
            for command in ["restore", "verify", "info", "diff"] {
                let run = remand([command, "--verify-key", key]);
                let run = if command == "restore" { run.on(&place.target) } else { run };
                let path = if command == "diff" { archive.join("") } else { archive.clone() };
                let path = if archive.is_dir() { path } else { archive.clone() };
                let ended = run.arg(path).ends(23);
                ended.tells(why);
                assert_eq!(ended.text(), "", "{command} shows nothing");
            }
            let ended = remand(["ls", "--verify-key", key]).arg(archive).arg("web01").ends(23);
            assert_eq!(ended.text(), "");
            let ended = remand(["cat", "--verify-key", key]).arg(archive).arg(":/srv/new").ends(23);
            assert_eq!(ended.text(), "");
            let to = place.text("out");
            remand(["restore", "--verify-key", key, "--to", &to]).arg(archive).arg(":/srv").ends(23);
            assert!(!Path::new(&to).exists());
            if !archive.is_dir() {
                let bytes = std::fs::read(archive).unwrap();
                for command in ["restore", "verify", "info"] {
                    let run = remand([command, "--verify-key", key, "-"]).input(bytes.clone());
                    let run = if command == "restore" { run.on(&place.target) } else { run };
                    assert_eq!(run.ends(23).text(), "", "{command} from a pipe");
                }
            }
            place.nothing_restored();
        }
        let target = Pool::with_release(&Place::dir(), Size::Small);
        let ended = restore(&target, &archive, &["--verify-key", &trusted, "--verify-key", &other]);
        ended.tells("signed by the trusted key 29DF762E056A7A52");
        assert_restored(&place.source, "web01", &target, "web01");
        for command in ["ls", "cat"] {
            let part = if command == "ls" { "web01" } else { ":/srv/new" };
            let ended = remand([command, "--verify-key", &trusted]).arg(&archive).arg(part).ends(0);
            assert_ne!(ended.text(), "");
        }
    }
}

#[test]
fn without_a_key_it_is_told_that_somebody_signed() {
    let place = Here::new();
    let archive = place.signed("a.tar.gz");
    let ended = remand(["verify"]).arg(&archive).ends(0);
    ended.tells("signed by the key 29DF762E056A7A52, which no --verify-key names");
    remand(["verify"]).arg(place.export("b.tar.gz", &[])).ends(0).tells("It is not signed");
    let bytes = std::fs::read(&archive).unwrap();
    let head = bytes[..bytes.len().min(64 << 10)].to_vec();
    let page = remand(["info", "-"]).input(head).ends(0).text();
    assert!(page.contains("signed by     29DF762E056A7A52 (not checked)"), "{page}");
    let page = remand(["info", "--verify-key"]).arg(place.path("mini.pub")).arg(&archive).ends(0).text();
    assert!(page.contains("signed by     29DF762E056A7A52 (trusted)"), "{page}");
    assert!(page.contains("saying      timestamp:"), "{page}");
    restore(&place.target, &archive, &[]).tells("which no --verify-key names");
}

#[test]
fn the_config_file_names_who_is_trusted() {
    let place = Here::new();
    let (signed, unsigned) = (place.signed("a.tar.gz"), place.export("b.tar.gz", &[]));
    let key = MINISIGN[0].lines().nth(1).unwrap();
    let knows = place.write("knows.toml", format!("verify-key = [\"{key}\"]\n").as_bytes());
    let both = format!("verify-key = [\"{}\"]\nrequire-signature = true\n", place.text("mini.pub"));
    let requires = place.write("requires.toml", both.as_bytes());
    let verify = |archive: &Path, config: &Path, options: &[&str]| {
        remand(["verify"]).args(options).env("REMAND_CONFIG", config).arg(archive).end()
    };
    verify(&signed, &knows, &[]).tells("signed by the trusted key");
    assert_eq!(verify(&unsigned, &knows, &[]).status, 0, "known is not required");
    assert_eq!(verify(&unsigned, &knows, &["--require-signature"]).status, 23);
    assert_eq!(verify(&unsigned, &requires, &[]).status, 23);
    assert_eq!(verify(&signed, &requires, &[]).status, 0);
    let other = place.text("signify.pub");
    assert_eq!(verify(&signed, &requires, &["--verify-key", &other]).status, 23, "the command line wins");
    let ended = remand(["restore", "--require-signature"]).on(&place.target).arg(&signed).ends(2);
    ended.tells("no key is named");
    remand(["restore"]).on(&place.target).env("REMAND_CONFIG", &requires).arg(&unsigned).ends(23);
    place.nothing_restored();
    remand(["restore"]).on(&place.target).env("REMAND_CONFIG", &requires).arg(&signed).ends(0);
    assert_restored(&place.source, "web01", &place.target, "web01");
}

#[test]
fn a_signature_of_another_archive_is_refused() {
    let place = Here::new();
    let (one, two) = (place.signed("one"), place.signed("two"));
    std::fs::copy(two.join("seal.minisig"), one.join("seal.minisig")).unwrap();
    let key = place.text("mini.pub");
    remand(["restore", "--verify-key", &key])
        .on(&place.target)
        .arg(&one)
        .ends(23)
        .tells("not one of this seal");
    remand(["verify"]).arg(&one).ends(22).tells("not one of this seal");
    let text = std::fs::read_to_string(two.join("seal.minisig")).unwrap();
    std::fs::write(two.join("seal.minisig"), text.replacen("file:two", "file:one", 1)).unwrap();
    remand(["verify", "--verify-key", &key]).arg(&two).ends(23).tells("trusted comment");
    std::fs::remove_file(two.join("seal.minisig")).unwrap();
    remand(["restore", "--verify-key", &key]).on(&place.target).arg(&two).ends(23).tells("is missing");
    remand(["restore"]).on(&place.target).arg(&two).ends(22).tells("is missing");
    place.nothing_restored();
}

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

#[test]
fn what_is_encrypted_is_restored_with_its_identity() {
    let place = Here::new();
    let (identity, other) = (place.text("age.key"), place.text("other.key"));
    for name in ["a.tar.gz.age", "a.tar.zst.age", "a.tar.age", "a.age"] {
        let archive = place.encrypted(name);
        let bytes = std::fs::read(&archive).unwrap();
        assert!(bytes.starts_with(b"age-encryption.org/v1\n"), "{name}");
        let target = Pool::with_release(&Place::dir(), Size::Small);
        restore(&target, &archive, &["--identity-file", &other, "--identity-file", &identity]);
        assert_restored(&place.source, "web01", &target, "web01");
        let target = Pool::with_release(&Place::dir(), Size::Small);
        let print = format!("cat {identity}");
        let run = remand(["restore", "--identity-command", &print, "-"]).on(&target);
        run.input(bytes.clone()).ends(0);
        assert_restored(&place.source, "web01", &target, "web01");
        for command in ["verify", "info", "ls", "diff"] {
            remand([command, "--identity-file", &identity]).arg(&archive).ends(0);
            remand([command]).arg(&archive).ends(24).tells("--identity-file");
            let ended = remand([command, "--identity-file", &other]).arg(&archive).ends(24);
            ended.tells("not for the identity that was given");
        }
        let cat = remand(["cat", "--identity-file", &identity]).arg(&archive).arg(":/srv/new").ends(0);
        let plain = std::fs::read(place.source.root("web01").join("srv/new")).unwrap();
        assert_eq!(cat.stdout, plain);
        let piped =
            remand(["cat", "--identity-file", &identity, "-", ":/srv/new"]).input(bytes.clone()).ends(0);
        assert_eq!(piped.stdout, plain);
        let head = bytes[..bytes.len().min(70_000)].to_vec();
        remand(["info", "--identity-file", &identity, "-"]).input(head).ends(0);
        remand(["restore"]).on(&place.target).arg(&archive).ends(24);
    }
    place.nothing_restored();
}

#[test]
fn age_decrypts_what_remand_encrypts_and_the_other_way_round() {
    let Some(age) = program_for("encryption", "age") else { return };
    let place = Here::new();
    let recipients = place.write("recipients", format!("# two\n{}\n{}\n", AGE[0], OTHER_AGE[0]).as_bytes());
    let archive = place.export("a.tar.gz.age", &["--recipients-file", recipients.to_str().unwrap()]);
    for key in ["age.key", "other.key"] {
        let plain = run(&age, &["-d", "-i", key, "a.tar.gz.age"], place.scratch.path());
        let plain = place.write("plain.tar.gz", &plain);
        remand(["verify"]).arg(plain).ends(0);
        remand(["verify", "--identity-file"]).arg(place.path(key)).arg(&archive).ends(0);
    }
    place.export("b.tar.gz", &[]);
    run(&age, &["-r", AGE[0], "-o", "b.age", "b.tar.gz"], place.scratch.path());
    restore(&place.target, &place.path("b.age"), &["--identity-file", &place.text("age.key")]);
    assert_restored(&place.source, "web01", &place.target, "web01");
    run(&age, &["-a", "-r", AGE[0], "-o", "c.age", "b.tar.gz"], place.scratch.path());
    let ended =
        remand(["verify", "--identity-file"]).arg(place.path("age.key")).arg(place.path("c.age")).ends(23);
    ended.tells("age --decrypt");
}

#[test]
fn damage_of_what_is_encrypted_is_found_and_undone() {
    let place = Here::new();
    let identity = place.text("age.key");
    let bytes = std::fs::read(place.encrypted("a.tar.gz.age")).unwrap();
    let check = |bytes: Vec<u8>, statuses: &[i32], what: &str| {
        let damaged = place.write("damaged.age", &bytes);
        for command in ["verify", "restore"] {
            let run = remand([command, "--identity-file", &identity]);
            let run = if command == "restore" { run.on(&place.target) } else { run };
            let ended = run.arg(&damaged).end();
            assert!(statuses.contains(&ended.status), "{what}: {}", ended.describe());
        }
        place.nothing_restored();
        let ended = remand(["ls", "--identity-file", &identity]).arg(&damaged).arg("web01").end();
        assert!(statuses.contains(&ended.status), "{what}: {}", ended.describe());
    };
    for end in [50, 150, 250, bytes.len() / 2, bytes.len() - 1] {
        check(bytes[..end].to_vec(), &[22], &format!("cut at {end}"));
    }
    // A header that was changed may not be for this identity any more.
    for at in [30, 60, 100, 150] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        check(bad, &[22, 24], &format!("byte {at} of the header"));
    }
    for at in [250, 5000, bytes.len() / 2, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        check(bad, &[22], &format!("byte {at}"));
    }
    check([&bytes[..], b"x"].concat(), &[22], "a byte more");
}

#[test]
fn names_and_options_must_go_together() {
    let place = Here::new();
    let fails = |name: &str, options: &[&str], words: &str| {
        let run = remand(["export"]).on(&place.source).args(options).arg("web01").arg(place.path(name));
        run.ends(2).tells(words);
        assert!(!place.path(name).exists());
    };
    let to = ["--encrypt-to", AGE[0]];
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
        .args(&["--encrypt-to", AGE[0], "web01", "-"])
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
            AGE[0],
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
    let records = std::fs::read(place.source.path(".remand/records.db")).unwrap();
    told += &String::from_utf8_lossy(&records);
    let secret_key = PROTECTED[1].lines().nth(1).unwrap();
    for secret in [AGE[1], "AGE-SECRET-KEY", secret_key, &secret_key[60..100]] {
        assert!(!told.contains(secret), "{secret}");
    }
}

/// Under strace no call of the export writes anything in plain text: not to the archive, and not to a file beside it.
#[test]
fn nothing_of_what_is_encrypted_is_on_a_disk_in_plain_text() {
    let Some(strace) = program_for("plain text on disks", "strace") else { return };
    let place = Here::new();
    let marker = "marker-that-is-looked-for";
    let root = place.source.root("web01");
    std::fs::write(root.join(format!("srv/{marker}")), marker.repeat(10)).unwrap();
    let archive = place.path("a.tar.age");
    let identity = place.text("age.key");
    let traced = |run: Run| {
        let trace = place.text("trace");
        let mut strace = Command::new(&strace);
        strace.args([
            "-f",
            "-qq",
            "-s",
            "1000000",
            "-e",
            "trace=write,pwrite64,writev,sendfile,copy_file_range",
            "-o",
            &trace,
        ]);
        let output = through(run, &mut strace).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if stderr.contains("ptrace") {
            support::skipped("plain text on disks", "strace may not trace here");
            return None;
        }
        assert!(output.status.success(), "{stderr}");
        Some(String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned())
    };
    let run = remand(["export", "--encrypt-to", AGE[0], "-q"]).on(&place.source).arg("web01").arg(&archive);
    let Some(trace) = traced(run) else { return };
    assert!(trace.contains("age-encryption.org"), "the archive itself was seen");
    assert!(!trace.contains(marker), "the export wrote in plain text");
    // The same in plain text shows that it would have been seen.
    let run = remand(["export", "-q"]).on(&place.source).arg("web01").arg(place.path("b.tar"));
    assert!(traced(run).unwrap().contains(marker));
    let run = remand(["verify", "--identity-file", &identity, "-q"]).arg(&archive);
    assert!(!traced(run).unwrap().contains(marker));
    let file = format!(":/srv/{marker}");
    let run = remand(["cat", "--identity-file", &identity, "-q"]).arg(&archive).arg(&file);
    let trace = traced(run).unwrap();
    let beside: Vec<_> =
        trace.lines().filter(|line| line.contains(marker) && !line.contains("write(1,")).collect();
    assert!(beside.is_empty(), "cat wrote it elsewhere than to standard output: {beside:?}");
}

#[test]
fn native_streams_are_encrypted_too() {
    let Some(btrfs) = Place::btrfs("encryption") else { return };
    let scratch = Scratch::new();
    let identity = scratch.join("age.key");
    std::fs::write(&identity, AGE[1]).unwrap();
    let source = Pool::with_jail(&btrfs, Size::Small);
    let archive = scratch.join("a.tar.zst.age");
    export(&source, "web01", &archive, &["--standalone", "--recursive", "--encrypt-to", AGE[0]]);
    let target = Pool::empty(&btrfs);
    restore(&target, &archive, &["--identity-file", identity.to_str().unwrap()]);
    assert_restored(&source, "web01", &target, "web01");
    assert_eq!(names(scratch.path()), ["a.tar.zst.age", "age.key"]);
}
