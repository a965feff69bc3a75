use super::{Change, Place, line};
use crate::Hint;
use proptest::prelude::*;

const MOUNT: &[u8] = b"/tank/web 1";

fn read(text: &str) -> Option<Change> {
    line(text.as_bytes(), MOUNT)
}

fn shown(text: &str) -> Vec<String> {
    let show = |hint: &Hint| {
        let path = String::from_utf8_lossy(hint.path()).into_owned();
        match hint {
            Hint::Entry(_) => path,
            Hint::Names(_) => format!("{path}/*"),
            Hint::Subtree(_) => format!("{path}/**"),
        }
    };
    read(text).unwrap_or_else(|| panic!("{text:?} is a line")).hints().iter().map(show).collect()
}

#[test]
fn each_kind_of_line_has_its_hints() {
    assert_eq!(shown("M\t/\t/tank/web\\00401/"), ["", "/*"]);
    assert_eq!(shown("M\tF\t/tank/web\\00401/a/b"), ["a/b"]);
    assert_eq!(shown("M\t/\t/tank/web\\00401/a/b"), ["a/b", "a/b/*"]);
    assert_eq!(shown("M\tF\t/tank/web\\00401/a\t(+1)"), ["a"]);
    assert_eq!(shown("M\tF\t/tank/web\\00401/a\t(-12)"), ["a"]);
    assert_eq!(shown("+\tF\t/tank/web\\00401/a"), ["a"]);
    assert_eq!(shown("-\t@\t/tank/web\\00401/a"), ["a"]);
    assert_eq!(shown("+\t/\t/tank/web\\00401/a"), ["a/**"]);
    assert_eq!(shown("-\t/\t/tank/web\\00401/a"), ["a/**"]);
    assert_eq!(shown("R\tF\t/tank/web\\00401/a/x\t/tank/web\\00401/y"), ["a/x", "a/*", "y", "/*"]);
    assert_eq!(shown("R\t/\t/tank/web\\00401/a\t/tank/web\\00401/b/c"), ["a/**", "/*", "b/c/**", "b/*"]);
}

#[test]
fn what_has_no_name_any_more_is_no_place() {
    let gone = Place { path: None, directory: false };
    assert_eq!(read("-\tF\t/tank/web\\00401(on_delete_queue)"), Some(Change::AddedOrRemoved(gone)));
    assert_eq!(shown("-\tF\t/tank/web\\00401(on_delete_queue)"), [""; 0]);
    assert_eq!(shown("R\tF\t/tank/web\\00401/d/a\t/tank/web\\00401(on_delete_queue)"), ["d/a", "d/*"]);
    assert_eq!(shown("+\tF\t/tank/web\\00401/(on_delete_queue)"), ["(on_delete_queue)"], "a name");
}

#[test]
fn a_hidden_directory_is_its_owner_and_maybe_a_name() {
    let owner_and_name = ["d/f", "d/f/<xattrdir>/**"];
    assert_eq!(shown("+\tF\t/tank/web\\00401/d/f/<xattrdir>/user.x"), owner_and_name);
    assert_eq!(shown("+\t/\t/tank/web\\00401/d/f/<xattrdir>"), owner_and_name);
    assert_eq!(shown("M\t/\t/tank/web\\00401/<xattrdir>"), ["", "<xattrdir>/**", "", "<xattrdir>/**"]);
    assert_eq!(shown("+\tF\t/tank/web\\00401/<xattrdir>s"), ["<xattrdir>s"]);
}

#[test]
fn all_escapes_are_taken_back() {
    let place = |path: &[u8]| Some(Change::Modified(Place { path: Some(path.to_vec()), directory: false }));
    assert_eq!(
        read("M\tF\t/tank/web\\00401/\\0040\\0011\\0012\\0134\\0303\\0274\\0377\\0177~"),
        place(b" \t\n\\\xc3\xbc\xff\x7f~")
    );
    assert_eq!(line(b"M\tF\t/a", b""), place(b"a"), "mounted at the root");
}

#[test]
fn what_is_no_line_is_not_understood() {
    for text in [
        "",
        "M",
        "M\tF",
        "M\tF\t",
        "M\t/tank/web\\00401/a",
        "M\tX\t/tank/web\\00401/a",
        "M\t?\t/tank/web\\00401/a",
        "M\t\t/tank/web\\00401/a",
        "X\tF\t/tank/web\\00401/a",
        "MM\tF\t/tank/web\\00401/a",
        "M\tF\t/tank/web\\00401/a\t",
        "M\tF\t/tank/web\\00401/a\t(1)",
        "M\tF\t/tank/web\\00401/a\t(+)",
        "M\tF\t/tank/web\\00401/a\t(+x)",
        "M\tF\t/tank/web\\00401/a\t(+1)\t",
        "+\tF\t/tank/web\\00401/a\t(+1)",
        "-\tF\t/tank/web\\00401/a\t/tank/web\\00401/b",
        "R\tF\t/tank/web\\00401/a",
        "R\tF\t/tank/web\\00401/a\t/tank/web\\00402/a",
        "R\tF\t/tank/web\\00401/a -> /tank/web\\00401/b",
        "1700000000.000000000\tM\tF\t/tank/web\\00401/a",
        "M\tF\t/tank/web\\00401",
        "M\tF\t/tank/web\\00401a",
        "M\tF\t/tank/web 1/a",
        "M\tF\t/tank/web/a",
        "M\tF\ttank/web\\00401/a",
        "M\tF\t/tank/web\\00401//a",
        "M\tF\t/tank/web\\00401/a/",
        "M\tF\t/tank/web\\00401/../a",
        "M\tF\t/tank/web\\00401/.",
        "M\tF\t/tank/web\\00401/a\\",
        "M\tF\t/tank/web\\00401/a\\004",
        "M\tF\t/tank/web\\00401/a\\0048",
        "M\tF\t/tank/web\\00401/a\\0400",
        "M\tF\t/tank/web\\00401/a\\0000",
        "M\tF\t/tank/web\\00401/a\\0101",
        "M\tF\t/tank/web\\00401/a\\303\\274",
        "M\tF\t/tank/web\\00401/a\\n",
        "M\tF\t/tank/web\\00401/ü",
        "Unable to determine path or stats for object 5 in tank@a",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
}

/// As zfs(8) prints a path.
fn escape(path: &[u8]) -> String {
    path.iter()
        .map(|&byte| match byte {
            b'!'..=b'~' if byte != b'\\' => char::from(byte).to_string(),
            _ => format!("\\{byte:04o}"),
        })
        .collect()
}

proptest! {
    #[test]
    fn any_name_comes_back(name in prop::collection::vec(1..=255_u8, 1..20), mount in "(/[^\0/]{1,9}){0,3}") {
        prop_assume!(!name.contains(&b'/') && name != b"." && name != b"..");
        let text = format!("M\tF\t{}/a/{}", escape(mount.as_bytes()), escape(&name));
        let path = [b"a/", name.as_slice()].concat();
        let expected = Change::Modified(Place { path: Some(path), directory: false });
        prop_assert_eq!(line(text.as_bytes(), mount.as_bytes()), Some(expected));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), prefix in "[-+MR]\t[F/]\t/m/") {
        let text = [prefix.as_bytes(), &bytes].concat();
        for text in [&bytes, &text] {
            if let Some(change) = line(text, b"/m") {
                change.hints();
            }
        }
    }
}
