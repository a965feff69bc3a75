//! Of a damaged index every line is had that is whole, with what vouches for it, and every other is counted.

use super::*;

/// A line of so many bytes, at least.
fn line(name: &str) -> Vec<u8> {
    let text = format!(
        "{{\"path\":\"./fs/{name}\",\"type\":\"fifo\",\"mode\":\"0644\",\"uid\":0,\"gid\":0,\"mtime\":\"0\"}}\n"
    );
    assert!(parse(text.as_bytes()).is_ok(), "{text}");
    text.into_bytes()
}

fn collector() -> Collector {
    let mut collector = Collector::new().unwrap();
    collector.confirmed = true;
    collector
}

/// The names of all lines, and whether a checksum vouches for each; how many are broken.
fn found(collector: Collector) -> (Vec<(String, bool)>, u64) {
    let lines = collector.finish().unwrap();
    let mut names = Vec::new();
    // Twice, since every reader begins with the first.
    for _ in 0..2 {
        names.clear();
        let mut reader = lines.read().unwrap();
        while let Some(raw) = reader.next().unwrap() {
            let Parsed::Line(parsed) = raw.parsed else { panic!("no line of a seal") };
            let name = parsed.name.to_string();
            assert!(raw.json.ends_with(b"}\n") && parse(&raw.json).is_ok());
            names.push((name.trim_start_matches("./fs/").to_owned(), raw.sure));
        }
    }
    assert_eq!(names.len() as u64, lines.known);
    (names, lines.broken)
}

fn named(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    names.iter().map(|(name, sure)| ((*name).to_owned(), *sure)).collect()
}

#[test]
fn lines_come_in_pieces() {
    let text = [line("a"), line("b"), line("c")].concat();
    for piece in [1, 7, 60, text.len() - 1, text.len()] {
        let mut collector = collector();
        for bytes in text.chunks(piece) {
            collector.feed(bytes, true).unwrap();
            collector.feed(b"", false).unwrap();
        }
        assert_eq!((collector.known, collector.broken), (3, 0));
        assert_eq!(found(collector), (named(&[("a", true), ("b", true), ("c", true)]), 0));
    }
}

#[test]
fn a_line_is_sure_if_all_of_its_pieces_are() {
    let text = [line("a"), line("b"), line("c"), line("d"), line("e")].concat();
    let length = line("a").len();
    let mut collector = collector();
    let (cuts, mut from) =
        ([(10, true), (length + 5, false), (2 * length + 9, true), (3 * length, false)], 0);
    for (to, sure) in cuts {
        collector.feed(&text[from..to], sure).unwrap();
        from = to;
    }
    collector.feed(&text[from..], true).unwrap();
    let expected = [("a", false), ("b", false), ("c", false), ("d", true), ("e", true)];
    assert_eq!(found(collector), (named(&expected), 0));
}

#[test]
fn what_is_missing_costs_the_lines_that_it_cuts() {
    let mut collector = collector();
    collector.feed(&[&line("a")[..], &line("b")[..20]].concat(), false).unwrap();
    collector.gap();
    // The other half of a line is none; it says nothing of the next.
    collector.feed(&[&line("c")[20..], &line("d")].concat(), true).unwrap();
    assert_eq!((collector.known, collector.broken), (2, 2));
    // Where lines begin behind it, they are whole.
    collector.gap();
    collector.feed(&line("e"), true).unwrap();
    assert_eq!(found(collector), (named(&[("a", false), ("d", true), ("e", true)]), 3));
}

#[test]
fn a_line_that_does_not_end_is_broken_and_zeros_are_none() {
    for (end, broken) in [(&b""[..], 0), (&[0; 300], 0), (b"{\"path", 1), (b"\0\0x\0", 1)] {
        let mut collector = collector();
        collector.feed(&[&[0; 100], &line("a")[..], end].concat(), true).unwrap();
        assert_eq!(found(collector), (named(&[("a", true)]), broken), "{end:?}");
        // Of something that is no index nothing is told.
        let mut collector = Collector::new().unwrap();
        collector.feed(&[&b"x\n"[..], &line("a"), end].concat(), true).unwrap();
        collector.gap();
        collector.feed(end, true).unwrap();
        assert_eq!(found(collector).1, 0);
    }
}

#[test]
fn what_is_no_line_is_counted() {
    let mut collector = collector();
    for wrong in [&b"\n"[..], b"{}\n", b"{\"path\n", b"text\n", b" {\"path\":\"./fs/a\"}\n", b"[1]\n"] {
        collector.feed(wrong, true).unwrap();
        collector.feed(&line("a"), true).unwrap();
    }
    assert_eq!((collector.known, collector.broken), (6, 6));
}

#[test]
fn what_was_no_index_is_forgotten() {
    let mut collector = Collector::new().unwrap();
    collector.discard().unwrap();
    collector.feed(&[line("a"), line("b"), line("c")[..30].to_vec()].concat(), false).unwrap();
    assert_eq!(collector.known, 2);
    collector.discard().unwrap();
    assert_eq!(collector.known, 0);
    // Without what it began with, and what was not vouched for.
    collector.feed(&line("d"), true).unwrap();
    collector.confirmed = true;
    collector.feed(&line("e"), true).unwrap();
    collector.discard().unwrap();
    assert_eq!(found(collector), (named(&[("d", true), ("e", true)]), 0));
    // Where no line of it was known either.
    let mut collector = Collector::new().unwrap();
    collector.feed(b"the beginning of a tex", false).unwrap();
    collector.discard().unwrap();
    collector.feed(&line("f"), true).unwrap();
    assert_eq!(found(collector), (named(&[("f", true)]), 0));
}

#[test]
fn a_line_that_is_too_long_is_not_kept() {
    let mut collector = collector();
    let piece = vec![b'x'; 16 << 20];
    let pieces = MAX_LINE_BYTES / piece.len() as u64 + 4;
    for _ in 0..pieces {
        collector.feed(&piece, true).unwrap();
    }
    assert!(collector.partial.len() as u64 <= MAX_LINE_BYTES + piece.len() as u64);
    collector.feed(b"\n", true).unwrap();
    collector.feed(&line("a"), true).unwrap();
    assert_eq!(found(collector), (named(&[("a", true)]), 1));
}
