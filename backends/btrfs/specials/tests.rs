use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn node(path: &[u8]) -> Command<'_> {
    Command::Mknod { path, inode: 7, mode: 0o060_644, rdev: 0x800 }
}

fn symlink(path: &[u8]) -> Command<'_> {
    Command::Symlink { path, inode: 7, target: b"/" }
}

fn write(path: &[u8]) -> Command<'_> {
    Command::Write { path, offset: 0, data: b"x" }
}

fn rename<'a>(path: &'a [u8], to: &'a [u8]) -> Command<'a> {
    Command::Rename { path, to }
}

fn all(commands: &[Command<'_>]) -> Result<Specials> {
    let mut specials = Specials::new();
    commands.iter().try_for_each(|command| specials.apply(command)).map(|()| specials)
}

#[test]
fn what_the_kernel_writes_is_taken() {
    let (mkdir, mkfile) =
        (Command::Mkdir { path: b"o256", inode: 256 }, Command::Mkfile { path: b"o257", inode: 257 });
    all(&[
        mkdir,
        rename(b"o256", b"dev"),
        node(b"o258"),
        rename(b"o258", b"dev/null"),
        Command::Chmod { path: b"dev/null", mode: 0o666 },
        Command::Chown { path: b"dev/null", uid: 0, gid: 0 },
        symlink(b"o259"),
        rename(b"o259", b"dev/link"),
        Command::Chown { path: b"dev/link", uid: 0, gid: 0 },
        mkfile,
        rename(b"o257", b"dev/file"),
        write(b"dev/file"),
        Command::Link { path: b"dev/zero", existing: b"dev/null" },
        Command::Unlink { path: b"dev/null" },
        mkfile,
        rename(b"o257", b"dev/null"),
        write(b"dev/null"),
    ])
    .unwrap();
}

#[test]
fn nothing_is_written_to_what_is_no_plain_file() {
    let link = Command::Link { path: b"two", existing: b"d/one" };
    let fifo = Command::Mkfifo { path: b"d/one", inode: 7 };
    for make in [node(b"d/one"), symlink(b"d/one"), fifo] {
        for attack in [
            &[write(b"d/one")][..],
            &[Command::Truncate { path: b"d/one", size: 0 }],
            &[Command::Mkfile { path: b"d/one", inode: 8 }],
            &[write(b"d/one/below")],
            &[Command::Mkdir { path: b"d/one/below", inode: 8 }],
            &[rename(b"d/one", b"e"), write(b"e")],
            &[rename(b"d", b"e"), write(b"e/one")],
            &[rename(b"d", b"e"), rename(b"e", b"a/b/c"), write(b"a/b/c/one")],
            &[link, write(b"two")],
            &[link, Command::Unlink { path: b"d/one" }, write(b"two")],
            // rename(2) leaves both names of one entry where they are.
            &[link, rename(b"two", b"d/one")],
            &[rename(b"file", b"d/one/file")],
        ] {
            let commands = [&[make][..], attack].concat();
            assert!(all(&commands).is_err(), "{commands:?}");
        }
    }
    assert!(all(&[symlink(b"l"), Command::Chmod { path: b"l", mode: 0o777 }]).is_err());
}

#[test]
fn neither_depth_nor_repetition_costs_anything() {
    let mut specials = Specials::new();
    specials.apply(&node(b"a")).unwrap();
    for _ in 0..200_000 {
        specials.apply(&rename(b"a", b"b/a")).unwrap();
        specials.apply(&rename(b"b", b"a")).unwrap();
    }
    let deepest = specials.names.len();
    specials.apply(&Command::Unlink { path: b"a" }).unwrap();
    for _ in 0..1000 {
        specials.apply(&node(b"d/e/f")).unwrap();
        specials.apply(&Command::Unlink { path: b"d/e/f" }).unwrap();
    }
    assert_eq!(specials.names.len(), deepest);
    assert!(specials.names[ROOT].below.is_empty());
}

/// The same, as a set of whole paths.
#[derive(Default)]
struct Model(BTreeSet<String>);

impl Model {
    fn under(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        self.0.iter().filter(|special| *special == path || special.starts_with(&below)).cloned().collect()
    }

    fn remove(&mut self, path: &str) {
        for gone in self.under(path) {
            self.0.remove(&gone);
        }
    }

    fn through(&self, path: &str) -> bool {
        self.0.iter().any(|special| path.starts_with(&format!("{special}/")))
    }

    /// Whether it is allowed.
    fn apply(&mut self, verb: u8, path: &str, to: &str) -> bool {
        let at = self.0.contains(path);
        if self.through(path) {
            return false;
        }
        match verb {
            0 if at => false,
            0 => self.0.insert(path.to_owned()),
            1 => !at,
            2 => {
                self.remove(path);
                true
            }
            _ => {
                if self.through(to) || at && self.0.contains(to) {
                    return false;
                }
                let moved = self.under(path);
                self.remove(path);
                self.remove(to);
                let moved = moved.iter().map(|name| format!("{to}{}", &name[path.len()..]));
                self.0.extend(moved.collect::<Vec<_>>());
                true
            }
        }
    }
}

proptest! {
    #[test]
    fn names_are_known_after_any_change(
        changes in prop::collection::vec((0_u8..4, "[ab](/[ab]){0,3}", "[ab](/[ab]){0,3}"), 1..40)
    ) {
        let (mut model, mut specials) = (Model::default(), Specials::new());
        for (verb, path, to) in &changes {
            // No file system takes a directory into itself, or onto what it lies in.
            if *verb == 3 && (to.starts_with(path.as_str()) || path.starts_with(to.as_str())) {
                continue;
            }
            let command = match verb {
                0 => node(path.as_bytes()),
                1 => write(path.as_bytes()),
                2 => Command::Unlink { path: path.as_bytes() },
                _ => rename(path.as_bytes(), to.as_bytes()),
            };
            // What no file system does: make what is there as a directory.
            if *verb == 0 && !model.0.contains(path) && !model.under(path).is_empty() {
                continue;
            }
            let taken = specials.apply(&command).is_ok();
            prop_assert_eq!(taken, model.apply(*verb, path, to), "{:?}", command);
        }
    }
}
