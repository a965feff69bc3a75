use remand::tree::TreePath;

use super::*;
use crate::cli::render::tests::{Transcript, json, json_without_reader, plain};

fn difference(
    path: &[u8],
    sort: Sort,
    kind: Kind,
    aspects: &[&'static str],
    size: Option<u64>,
) -> Difference {
    Difference { path: TreePath::new(path).unwrap(), sort, kind, aspects: aspects.to_vec(), size_bytes: size }
}

fn differences() -> Vec<Difference> {
    use Kind::{Directory, File, Symlink};
    use Sort::{Added, Deleted, Metadata, Modified};
    vec![
        difference(b"", Metadata, Directory, &["mtime"], None),
        difference(b"etc", Metadata, Directory, &["mtime"], None),
        difference(b"usr-local", Deleted, Directory, &[], None),
        difference(b"usr/local/bin/tool", Added, File, &[], Some(4096)),
        difference(b"etc/passwd", Modified, File, &["content", "mtime"], Some(1500)),
        difference(b"etc/motd", Metadata, File, &["mode", "owner"], Some(10)),
        difference(b"usr", Metadata, Directory, &["mtime"], None),
        difference(b"bin", Modified, Symlink, &["kind"], None),
        difference(b"tmp/\x1b[31m\xff\n", Added, File, &[], Some(0)),
    ]
}

fn show(transcript: &Transcript, stat: bool) {
    let mut page = Page::new(&transcript.console);
    for difference in differences() {
        page.add(difference).unwrap();
    }
    let outcome = page.finish(stat, Ok("14.2-RELEASE@p3".into()));
    assert_eq!(transcript.console.finish(outcome), 0);
}

#[test]
fn lines_are_sorted_aligned_and_safe() {
    let transcript = plain(0);
    show(&transcript, false);
    insta::assert_snapshot!("diff_text", format!("{}--\n{}", transcript.out.text(), transcript.err.text()));
}

#[test]
fn stat_counts_by_place() {
    let transcript = plain(0);
    show(&transcript, true);
    insta::assert_snapshot!("diff_stat", transcript.out.text());
}

#[test]
fn json_lines() {
    let transcript = json();
    show(&transcript, false);
    insta::assert_snapshot!("diff_json", transcript.out.text());
}

#[test]
fn no_difference_says_so() {
    let transcript = plain(0);
    let outcome = Page::new(&transcript.console).finish(false, Ok("x".into()));
    assert_eq!(transcript.console.finish(outcome), 0);
    assert_eq!(transcript.out.text(), "");
    assert_eq!(transcript.err.text(), "No differences against x\n");
}

#[test]
fn names_and_archives_are_told_apart_by_their_form() {
    for archive in ["/b/web01", "./web01", "../web01", "web01/", "web01.tar", "web01.tar.zst", "web01.txz"] {
        assert!(matches!(subject(archive), Subject::Archive(_)), "{archive}");
    }
    for name in ["web01", "release:14.2-RELEASE", "tar"] {
        assert!(matches!(subject(name), Subject::Name(_)), "{name}");
    }
}

#[test]
fn a_reader_that_went_away_stops_the_comparison() {
    let console = json_without_reader();
    let mut page = Page::new(&console);
    let stopped = page.add(differences().remove(0)).unwrap_err();
    let ended = page.finish(false, Err(stopped.into()));
    assert!(matches!(ended, Err(Failure::ReaderGone)));
}
