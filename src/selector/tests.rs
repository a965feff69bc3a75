use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::error::Error;

const NOW: &str = "2026-02-01T12:00:00Z";

fn now() -> jiff::Timestamp {
    NOW.parse().unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `--all`, `-x PATTERN` and words, separated by spaces.
fn parse(purpose: Purpose, text: &str) -> Result<Selection> {
    let (mut patterns, mut exclude, mut all) = (Vec::new(), Vec::new(), false);
    let mut next_excluded = false;
    for word in words(text) {
        match word.as_str() {
            "--all" => all = true,
            "-x" => next_excluded = true,
            _ if next_excluded => {
                exclude.push(word);
                next_excluded = false;
            }
            _ => patterns.push(word),
        }
    }
    Selection::parse(purpose, &patterns, all, &exclude, None, now())
}

struct Known {
    resources: Vec<(ResourceKind, &'static str, Vec<String>)>,
}

fn known() -> Known {
    use ResourceKind::{Jail, Release};
    let tagged = |tags: &str| words(tags);
    Known {
        resources: vec![
            (Jail, "web01", tagged("daily www")),
            (Jail, "web02", tagged("www")),
            (Jail, "db01", tagged("daily")),
            (Jail, "db-test", tagged("")),
            (Release, "14.2-RELEASE", tagged("daily")),
            (Release, "13.5-RELEASE", tagged("")),
        ],
    }
}

fn select(purpose: Purpose, text: &str) -> Result<Selected> {
    let known = known();
    let candidates: Vec<_> =
        known.resources.iter().map(|(kind, name, tags)| Candidate { kind: *kind, name, tags }).collect();
    let place = match purpose {
        Purpose::Export => Place::Pool("tank".into()),
        Purpose::Restore => Place::Archive("a.tar".into()),
    };
    parse(purpose, text)?.select(&candidates, &place)
}

/// Names with what is asked for, in order.
fn chosen(purpose: Purpose, text: &str) -> String {
    let known = known();
    let selected = select(purpose, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let written = |one: &Chosen| {
        let snapshot = one.snapshot.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
        let new_name = one.new_name.as_ref().map(|name| format!("={name}")).unwrap_or_default();
        format!("{}{snapshot}{new_name}", known.resources[one.index].1)
    };
    selected.chosen.iter().map(written).collect::<Vec<_>>().join(" ")
}

fn failure(purpose: Purpose, text: &str) -> (u8, String) {
    let error = select(purpose, text).expect_err(text);
    (error.exit_status(), format!("{error} | {}", error.hint().unwrap_or_default()))
}

#[test]
fn names_globs_and_tags_select() {
    let export = |text| chosen(Purpose::Export, text);
    assert_eq!(export("web01"), "web01");
    assert_eq!(export("web02 jail:web01 web02"), "web01 web02");
    assert_eq!(export("release:14.2-RELEASE db*"), "14.2-RELEASE db-test db01");
    assert_eq!(export("web0?"), "web01 web02");
    assert_eq!(export("web0[2-9] db[!0]*"), "db-test web02");
    assert_eq!(export("**"), "db-test db01 web01 web02");
    assert_eq!(export("release:1[34]*"), "13.5-RELEASE 14.2-RELEASE");
    assert_eq!(export("@daily"), "14.2-RELEASE db01 web01");
    assert_eq!(export("--all"), "13.5-RELEASE 14.2-RELEASE db-test db01 web01 web02");
    assert_eq!(export("--all -x release:* -x @www"), "db-test db01");
}

#[test]
fn snapshots_and_new_names_are_handed_on() {
    assert_eq!(chosen(Purpose::Export, "web*@s1 db01"), "db01 web01@s1 web02@s1");
    assert_eq!(chosen(Purpose::Export, "web* web01@s1"), "web01@s1 web02");
    assert_eq!(chosen(Purpose::Export, "web01@s1 web* @www"), "web01@s1 web02");
    assert_eq!(chosen(Purpose::Restore, "web01=new release:14.2-RELEASE=14"), "14.2-RELEASE=14 web01=new");
    assert_eq!(chosen(Purpose::Restore, "--all web01=new -x db* -x release:*"), "web01=new web02");
    assert_eq!(chosen(Purpose::Restore, "web01=web02 web02=web01"), "web01=web02 web02=web01");
    assert_eq!(chosen(Purpose::Restore, "web01@s1 db01"), "db01 web01@s1");
    assert_eq!(chosen(Purpose::Restore, "-x release:*"), "db-test db01 web01 web02");
    for text in ["web01 web01@s1", "web01@s1 web01", "web01@s1 web*@s2"] {
        let (status, message) = failure(Purpose::Export, text);
        assert!(
            status == 2 && message.contains("jail web01 is selected more than once"),
            "{text}: {message}"
        );
    }
    for text in ["web01 web01=new", "web01=a web01=b"] {
        assert_eq!(failure(Purpose::Restore, text).0, 2, "{text}");
    }
    let (status, message) = failure(Purpose::Restore, "web01=db01 db*");
    assert!(
        status == 2 && message.contains("Both db01 and web01 would be restored as jail db01"),
        "{message}"
    );
    // Of another kind the name is free.
    assert_eq!(chosen(Purpose::Restore, "release:14.2-RELEASE=web01 web01"), "14.2-RELEASE=web01 web01");
}

#[test]
fn what_matches_nothing_is_told_all_at_once() {
    let (status, message) = failure(Purpose::Export, "web01 wbe02 x* @dayli 14.2-RELEASE");
    assert_eq!(status, 10);
    insta::assert_snapshot!(message, @"There is no jail wbe02, no jail that matches x*, no resource with the tag @dayli, no jail 14.2-RELEASE in the pool tank | did you mean web02 or @daily or release:14.2-RELEASE?");
    let (_, message) = failure(Purpose::Export, "1*");
    insta::assert_snapshot!(message, @"There is no jail that matches 1* in the pool tank | did you mean release:1*?");
    let (_, message) = failure(Purpose::Restore, "nobody");
    insta::assert_snapshot!(message, @"There is no jail nobody in the archive a.tar | `remand info` shows what is in it");
    let empty = Selection::everything().select(&[], &Place::Pool("tank".into())).unwrap_err();
    assert_eq!((empty.exit_status(), empty.to_string().as_str()), (10, "There is nothing in the pool tank"));
}

#[test]
fn exclusions_protect_from_typos() {
    assert_eq!(failure(Purpose::Export, "--all -x wbe01").0, 10);
    let selected = select(Purpose::Export, "web01 db* -x x* -x @none -x db-test").unwrap();
    assert_eq!(
        selected.notices,
        [
            "--exclude x* excludes nothing in the pool tank",
            "--exclude @none excludes nothing in the pool tank"
        ]
    );
    let selected = select(Purpose::Export, "web01 db01 -x @www").unwrap();
    assert_eq!(selected.notices, ["The jail web01 was named and is excluded all the same"]);
    assert_eq!(selected.chosen.len(), 1);
    let (status, message) = failure(Purpose::Export, "web* -x @www");
    assert!(status == 2 && message.contains("is excluded"), "{message}");
}

#[test]
fn malformed_words_are_errors_of_usage() {
    let both = [
        "jail:",
        "release:",
        "other:x",
        "a/b",
        "-x .hidden",
        ".hidden",
        "@",
        "@-t",
        "@a*",
        "@a@b",
        "a@",
        "a@b@c",
        "a@b/c",
        "x[",
        "x[]",
        "d*=new",
        "a=",
        "=a",
        "a=b*",
        "a@s=b",
        "@t=b",
        "a=release:b",
        "*/*",
        "{a,b}",
        "{a}*",
    ];
    for text in both {
        for purpose in [Purpose::Export, Purpose::Restore] {
            let status = parse(purpose, text).expect_err(text).exit_status();
            assert_eq!(status, 2, "{text}");
        }
    }
    for text in ["", "a=b", "-x a@s", "-x a=b"] {
        assert!(matches!(parse(Purpose::Export, text), Err(Error::Usage(_))), "{text}");
    }
    assert!(matches!(parse(Purpose::Restore, "a@s=b"), Err(Error::Usage(_))));
    assert!(Selection::parse(Purpose::Export, &[String::new()], false, &[], None, now()).is_err());
}

#[test]
fn tags_are_asked_for_only_where_they_matter() {
    assert!(!parse(Purpose::Export, "a b* --all").unwrap().needs_tags());
    assert!(parse(Purpose::Export, "@a").unwrap().needs_tags());
    assert!(parse(Purpose::Export, "a -x @a").unwrap().needs_tags());
}

#[test]
fn dates_are_absolute_or_relative() {
    let date = |text: &str| parse_date(text, now()).map(|moment| moment.to_string()).ok();
    for (text, wanted) in [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
        ("2026-01-31T10:00:00.5+02:00", "2026-01-31T08:00:00.5Z"),
        ("7d", "2026-01-25T12:00:00Z"),
        ("12h", "2026-02-01T00:00:00Z"),
        ("90m", "2026-02-01T10:30:00Z"),
        ("1w", "2026-01-25T12:00:00Z"),
        ("0s", NOW),
    ] {
        assert_eq!(date(text).as_deref(), Some(wanted), "{text}");
    }
    for text in [
        "",
        "d",
        "7",
        "-7d",
        "+7d",
        "7 d",
        "1.5d",
        "7y",
        "2026",
        "2026-13-01",
        "2026-01-32",
        "yesterday",
        "99999999999999w",
        "9999999w",
        "7ü",
    ] {
        assert_eq!(date(text), None, "{text}");
    }
}

#[test]
fn a_change_is_seen_wherever_it_is() {
    let place = tempfile::tempdir().unwrap();
    let jail = place.path().join("jails/web01");
    std::fs::create_dir_all(jail.join("root/etc/deep")).unwrap();
    std::fs::write(jail.join("config.json"), "{}").unwrap();
    std::fs::write(jail.join("root/etc/deep/file"), "a").unwrap();
    let pool = crate::pool::Pool::open(place.path().to_str().unwrap()).unwrap();
    let resource = pool.resource(&"web01".parse().unwrap()).unwrap();
    let go_on = AtomicBool::new(false);
    let changed = |date| changed_since(&resource, date, &go_on).unwrap();
    let ago = |seconds| jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    assert!(changed(ago(10)));
    assert!(!changed(ago(-10)));
    std::thread::sleep(std::time::Duration::from_millis(3100));
    let later = jiff::Timestamp::now();
    assert!(!changed(later));
    std::fs::write(jail.join("root/etc/deep/file"), "b").unwrap();
    assert!(changed(later));
    let stop = AtomicBool::new(true);
    assert!(changed_since(&resource, ago(-10), &stop).unwrap_err().is_interrupt());
}

/// What a glob means, the slow way.
fn naive(glob: &[u8], name: &[u8]) -> bool {
    match glob.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| naive(rest, &name[at..])),
        Some((b'?', rest)) => !name.is_empty() && naive(rest, &name[1..]),
        Some((&byte, rest)) => name.first() == Some(&byte) && naive(rest, &name[1..]),
    }
}

proptest! {
    #[test]
    fn globs_mean_what_they_say(glob in "[ab.?*-]{1,8}", name in "[ab][ab.-]{0,7}") {
        if let Ok(pattern) = Pattern::parse(&glob, Purpose::Export) {
            let candidate = Candidate { kind: ResourceKind::Jail, name: &name, tags: &[] };
            prop_assert_eq!(pattern.matches(&candidate), naive(glob.as_bytes(), name.as_bytes()));
        }
    }

    #[test]
    fn any_word_parses_or_is_an_error_of_usage(word in "\\PC{0,12}|[a-c:@=*?!\\[\\]-]{0,10}") {
        for purpose in [Purpose::Export, Purpose::Restore] {
            match Pattern::parse(&word, purpose) {
                Ok(pattern) => prop_assert_eq!(pattern.to_string(), word.clone()),
                Err(error) => prop_assert_eq!(error.exit_status(), 2),
            }
        }
        let _ = parse_date(&word, now());
    }

    #[test]
    fn what_is_chosen_is_sorted_unique_and_not_excluded(
        names in prop::collection::btree_set(("[ab]{1,2}", any::<bool>()), 1..8),
        words in prop::collection::vec("(jail:|release:)?[ab*?]{1,3}", 0..4),
        exclude in prop::collection::vec("(jail:|release:)?[ab]?\\*", 0..2),
    ) {
        let kind = |jail| if jail { ResourceKind::Jail } else { ResourceKind::Release };
        let candidates: Vec<_> =
            names.iter().map(|(name, jail)| Candidate { kind: kind(*jail), name, tags: &[] }).collect();
        let selection = Selection::parse(Purpose::Restore, &words, false, &exclude, None, now()).unwrap();
        match selection.select(&candidates, &Place::Archive("a".into())) {
            Ok(selected) => {
                let order: Vec<_> =
                    selected.chosen.iter().map(|one| order(candidates[one.index].kind, candidates[one.index].name)).collect();
                prop_assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
                for one in &selected.chosen {
                    let candidate = &candidates[one.index];
                    prop_assert!(!selection.exclude.iter().any(|pattern| pattern.matches(candidate)));
                    prop_assert!(words.is_empty() || selection.patterns.iter().any(|pattern| pattern.matches(candidate)));
                }
            }
            Err(error) => prop_assert!(matches!(error.exit_status(), 2 | 10), "{error}"),
        }
    }
}
