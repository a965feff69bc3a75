//! What holds for every fstab.

use proptest::prelude::*;

use super::*;

/// Bytes that make lines more often than noise does.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(&b" \t\n\\/#a.\x0b\r"[..]).prop_map(|byte| vec![byte]),
        2 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::sample::select(vec![&b"/p/jails/w"[..], b"backup:///", b"\\040", b"\\134", b"/p/", b"nullfs"])
            .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// A path with names that need escapes, escaped as fstab(5) wants it or by a backslash.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["etc", "my\\040files", "two\\ words", "x#y", "\\134", "w2", "a..b"]);
    prop::collection::vec(name, 0..4).prop_map(|names| {
        names.iter().fold(Vec::new(), |path, name| [&path[..], b"/", name.as_bytes()].concat())
    })
}

/// A table of mounts, with comments and odd separators, whose paths begin with one of `places`.
fn table(places: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let blank = prop::sample::select(vec![" ", "\t", "  \t "]);
    let place = || {
        (prop::sample::select(places), path()).prop_map(|(place, path)| [place.as_bytes(), &path].concat())
    };
    let rest = prop::sample::select(vec!["nullfs ro 0 0", "none bind 0 0 # /p/jails/w/x", "tmpfs"]);
    let line = (blank.clone(), place(), blank.clone(), place(), blank, rest).prop_map(
        |(a, source, b, target, c, rest)| {
            [a.as_bytes(), &source, b.as_bytes(), &target, c.as_bytes(), rest.as_bytes()].concat()
        },
    );
    let other =
        prop::sample::select(vec![&b""[..], b"# /p/jails/w", b"   ", b"proc"]).prop_map(<[u8]>::to_vec);
    let lines = prop::collection::vec(prop_oneof![3 => line, 1 => other], 0..8);
    (lines, any::<bool>()).prop_map(|(lines, ends)| {
        let mut text = lines.join(&b'\n');
        text.extend(ends.then_some(b'\n'));
        text
    })
}

proptest! {
    #[test]
    fn what_is_not_changed_is_kept_byte_for_byte(text in text()) {
        prop_assert_eq!(rewrite(&text, 2, |_| None), text.clone());
        prop_assert_eq!(rewrite(&text, 2, |field| Some(field.to_vec())), text.clone());
        let nowhere = Path::new("/no/where");
        prop_assert_eq!(to_archive(&text, nowhere), text.clone());
        prop_assert_eq!(with_pool(&text, nowhere, Path::new("/x"), &[]), text);
    }

    #[test]
    fn any_bytes_have_the_same_lines_afterwards(text in text()) {
        let count = |text: &[u8]| text.split(|&byte| byte == b'\n').count();
        let kept = to_archive(&text, Path::new("/p/jails/w"));
        prop_assert_eq!(count(&kept), count(&text));
        prop_assert_eq!(count(&from_archive(&kept, Path::new("/a b/w"))), count(&text));
        prop_assert_eq!(count(&with_pool(&text, Path::new("/p"), Path::new("/a b"), &[])), count(&text));
    }

    #[test]
    fn a_table_comes_back(table in table(&["/p/jails/w", "/p/jails/w2", "/srv", "/p"])) {
        let own = Path::new("/p/jails/w");
        let kept = to_archive(&table, own);
        prop_assert_eq!(from_archive(&kept, own), table.clone());
        // And elsewhere it means the same.
        let there = Path::new("/q r/jails/w");
        prop_assert_eq!(to_archive(&from_archive(&kept, there), there), kept);
    }

    #[test]
    fn a_pool_comes_back(table in table(&["backup://", "/p", "/p2", "/srv"])) {
        let (old, new) = (Path::new("/p"), Path::new("/q/r"));
        prop_assert_eq!(with_pool(&with_pool(&table, old, new, &[]), new, old, &[]), table);
    }
}
