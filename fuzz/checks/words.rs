//! What users write: words of the command line, fstab.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use remand::fstab;
use remand::locator::Locator;
use remand::resource::{ResourceKind, Selector, check_name};
use remand::selector::{Candidate, Place, Purpose, Selection, parse_date};
use remand::tree::TreePath;

use super::is_fit;

/// A name that can be a directory's in a pool, and no option.
fn is_name(name: &str) -> bool {
    TreePath::new(name.as_bytes()).is_ok_and(|path| path.components().count() == 1) && !name.starts_with('-')
}

/// Words are refused, or name what can be there; whatever they select is there.
pub(super) fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let words: Vec<String> = text.lines().take(6).map(str::to_owned).collect();
    for word in &words {
        assert!(check_name(word).is_err() || is_name(word));
        match word.parse::<Locator>() {
            Ok(locator) => {
                assert!(locator.name.as_deref().is_none_or(is_name));
                let name = locator.name.as_deref().unwrap_or_default();
                let printed =
                    format!("{name}:/{}", std::str::from_utf8(locator.path.as_bytes()).expect("it was text"));
                let again: Locator = printed.parse().expect("it was printed");
                assert_eq!((again.name, again.path), (locator.name, locator.path));
            }
            Err(error) => is_fit(&error),
        }
        match word.parse::<Selector>() {
            Ok(resource) => assert!(is_name(&resource.name)),
            Err(error) => is_fit(&error),
        }
        match parse_date(word, jiff::Timestamp::UNIX_EPOCH) {
            Ok(moment) => {
                let again = parse_date(&moment.to_string(), jiff::Timestamp::UNIX_EPOCH);
                assert_eq!(again.ok(), Some(moment));
            }
            Err(error) => is_fit(&error),
        }
    }
    selections(&words);
}

fn selections(words: &[String]) {
    let tags = ["nightly".to_owned(), "a".to_owned()];
    let names = ["web01", "web02", "db", "14.2-RELEASE", "a", "b"];
    let kinds = [ResourceKind::Jail, ResourceKind::Release, ResourceKind::Template];
    let candidates: Vec<_> = names
        .iter()
        .zip(kinds.iter().cycle())
        .map(|(name, kind)| Candidate { kind: *kind, name, tags: &tags[..usize::from(*name == "db")] })
        .collect();
    for purpose in [Purpose::Export, Purpose::Restore] {
        let (own, excluded) = words.split_at(words.len().div_ceil(2));
        let date = words.last().map(String::as_str).filter(|_| words.len() == 5);
        let now = jiff::Timestamp::UNIX_EPOCH;
        let selection = match Selection::parse(purpose, own, words.len() > 3, excluded, date, now) {
            Ok(selection) => selection,
            Err(error) => {
                is_fit(&error);
                continue;
            }
        };
        for (pattern, word) in selection.patterns.iter().zip(own) {
            assert_eq!(pattern.to_string(), *word);
            assert!(pattern.new_name().is_none_or(is_name));
            assert!(pattern.name().is_none_or(|(_, name)| is_name(name)));
        }
        match selection.select(&candidates, &Place::Pool("pool".into())) {
            Ok(selected) => {
                assert!(!selected.chosen.is_empty());
                let mut indices: Vec<_> = selected.chosen.iter().map(|chosen| chosen.index).collect();
                indices.sort_unstable();
                indices.dedup();
                assert_eq!(indices.len(), selected.chosen.len());
                for index in indices {
                    let excluded = selection.exclude.iter().any(|one| one.matches(&candidates[index]));
                    assert!(!excluded);
                }
            }
            Err(error) => is_fit(&error),
        }
    }
}

/// The bytes of a line that neither side touches.
fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).collect()
}

/// What is rewritten for an archive comes back; what is none of ours stays byte for byte.
pub(super) fn fstab(data: &[u8]) {
    // The first line is the directory that the resource is in.
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let own = [b"/", &data[..at]].concat();
    let text = &data[at..];
    if TreePath::new(&own[1..]).is_err() || own.len() < 2 {
        return;
    }
    let directory = Path::new(std::ffi::OsStr::from_bytes(&own));
    let kept = fstab::to_archive(text, directory);
    let count = |text: &[u8]| text.split(|&byte| byte == b'\n').count();
    assert_eq!(count(&kept), count(text));
    let back = fstab::from_archive(&kept, directory);
    assert_eq!(count(&back), count(text), "{}", back.escape_ascii());
    let moved =
        fstab::with_pool(text, directory, Path::new("/a b"), &[("releases/x".into(), "releases/y".into())]);
    assert_eq!(count(&moved), count(text), "{}", moved.escape_ascii());
    let is_named = text.contains(&b'\\') || text.windows(9).any(|window| window == b"/no/where");
    assert!(is_named || fstab::with_pool(text, Path::new("/no/where"), directory, &[]) == text);
    // Once more it is the same. What stood for our directory before is ours after that.
    let again = fstab::to_archive(&back, directory);
    let third = fstab::to_archive(&fstab::from_archive(&again, directory), directory);
    let shown = |text: &[u8]| text.escape_ascii().to_string();
    assert_eq!(shown(&third), shown(&again));
    let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    // Several slashes become one.
    assert!(again == kept || has(fstab::PLACEHOLDER.as_bytes()) || has(b"//") || has(b"/\\057"));
    let new = Path::new("/new/releases/x");
    for mount in fstab::base_mounts(&kept) {
        let moved = fstab::with_pool(&kept, &mount.base, new, &[]);
        assert_eq!(count(&moved), count(text));
        // A path that goes up is nobody's.
        let goes_up = mount.path.split('/').any(|part| part == "..");
        let is_moved = |one: &fstab::BaseMount| one.path == mount.path && one.base == new;
        assert!(goes_up || fstab::base_mounts(&moved).iter().any(is_moved));
    }
    for (line, kept) in text.split(|&byte| byte == b'\n').zip(kept.split(|&byte| byte == b'\n')) {
        let is_comment = fields(line).first().is_none_or(|field| field.starts_with(b"#"));
        assert!(!is_comment || line == kept);
        // Options and numbers are nobody's business.
        let escaped = line.contains(&b'\\');
        assert!(escaped || fields(line).iter().skip(2).eq(fields(kept).iter().skip(2)));
    }
}
