//! Compressed archives cut anywhere, with a table of offsets that may say anything.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use remand::archive::fuzzing::{self, Chunk, Kind};

use super::archives::{holds, read, select};
use super::tar;

/// A plain archive with members of several kinds and sizes.
static PLAIN: LazyLock<Vec<u8>> = LazyLock::new(super::roundtrip::sample);

/// Where headers of members begin, and the number of each member; the index counts as one, an attempt as the one before it.
fn headers() -> Vec<(usize, u64)> {
    let found = tar::members(&PLAIN);
    let mut headers: Vec<(usize, u64)> = Vec::new();
    let (mut begun, mut number) = (None, 0);
    // The manifest is no member, and behind the index there are two blocks of zeros.
    for member in &found[1..found.len() - 2] {
        let (at, again) = begun.take().unwrap_or((member.at, false));
        if member.kind == b'x' {
            let attempt = b"REMAND.attempt";
            let again = PLAIN[member.content.clone()].windows(attempt.len()).any(|window| window == attempt);
            begun = Some((at, again));
            continue;
        }
        number -= u64::from(again);
        headers.push((at, number));
        number += 1;
    }
    headers
}

/// Cuts the archive into chunks, and says what is in each.
fn cut(u: &mut Unstructured<'_>, kind: Kind) -> Result<(Vec<u8>, Vec<Chunk>)> {
    let headers = headers();
    // The manifest is a chunk of its own.
    let mut cuts = vec![0, headers[0].0];
    for _ in 0..u.int_in_range(0..=12)? {
        let to_header = u.ratio(1, 3)?;
        let at =
            if to_header { headers[u.choose_index(headers.len())?].0 } else { u.choose_index(PLAIN.len())? };
        cuts.push(at.max(headers[0].0));
    }
    cuts.push(PLAIN.len());
    cuts.sort_unstable();
    cuts.dedup();
    let (mut file, mut chunks) = (Vec::new(), Vec::new());
    for (number, range) in cuts.windows(2).enumerate() {
        let stored = if number == 0 { Some(true) } else { u.ratio(1, 4)?.then_some(false) };
        let data = &PLAIN[range[0]..range[1]];
        let chunk = fuzzing::chunk(kind, data, stored).expect("memory takes it");
        let header = headers.iter().find(|(at, _)| (range[0]..range[1]).contains(at));
        chunks.push(Chunk {
            bytes: chunk.len() as u64,
            plain_bytes: data.len() as u64,
            header: header.map(|(at, number)| ((at - range[0]) as u64, *number)),
        });
        file.extend(chunk);
    }
    Ok((file, chunks))
}

/// A number that is not the right one.
fn lie(u: &mut Unstructured<'_>, number: u64) -> Result<u64> {
    Ok(match u.int_in_range(0..=3)? {
        0 => number.wrapping_add(1),
        1 => number.wrapping_sub(1),
        2 => u.int_in_range(0..=PLAIN.len() as u64)?,
        _ => u.arbitrary()?,
    }
    // What the table's numbers can hold.
    & (u64::MAX >> 2))
}

/// Changes what the table says; whether it did.
fn lies(u: &mut Unstructured<'_>, chunks: &mut Vec<Chunk>, index_at: &mut u64) -> Result<bool> {
    let before = (chunks.clone(), *index_at);
    for _ in 0..u.int_in_range(0..=3)? {
        if u.ratio(1, 6)? {
            *index_at = lie(u, *index_at)?;
            continue;
        }
        let at = u.choose_index(chunks.len())?;
        let chunk = &mut chunks[at];
        match (u.int_in_range(0..=4)?, chunk.header) {
            (0, Some((place, line))) => chunk.header = Some((lie(u, place)?, line)),
            (1, Some((place, line))) => chunk.header = Some((place, lie(u, line)?)),
            (2, header) => chunk.header = if header.is_some() { None } else { Some((0, lie(u, at as u64)?)) },
            (3, _) => chunk.plain_bytes = lie(u, chunk.plain_bytes)?,
            // So that they still end where the table begins.
            (_, _) if at + 1 < chunks.len() => {
                let moved = u.int_in_range(0..=chunks[at].bytes)?;
                chunks[at].bytes -= moved;
                chunks[at + 1].bytes += moved;
            }
            _ => drop(chunks.remove(at)),
        }
        if chunks.is_empty() {
            break;
        }
    }
    // Numbers of members cannot descend in a table.
    let mut last = 0;
    for chunk in chunks.iter_mut() {
        if let Some((_, line)) = &mut chunk.header {
            *line = (*line).max(last);
            last = *line;
        }
    }
    Ok((chunks.clone(), *index_at) != before)
}

/// However an archive is cut, all of it is read, and what is selected is found. A table that lies is noticed, or does no harm.
fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let kind = if u.arbitrary()? { Kind::Gzip } else { Kind::Zstd };
    let (mut file, mut chunks) = cut(u, kind)?;
    let mut index_at = headers().last().expect("the index").0 as u64;
    let lied = lies(u, &mut chunks, &mut index_at)?;
    file.extend(fuzzing::table(kind, &chunks, index_at).expect("memory takes it"));
    if u.ratio(1, 8)? {
        let at = u.choose_index(file.len())?;
        file[at] ^= 1 << u.int_in_range(0..=7)?;
        super::archives::same_for_all(&file);
        return Ok(());
    }
    let (plain, mut truth) = read(&PLAIN);
    let plain = plain.expect("it is an archive");
    let attempts = truth.members.len();
    truth.keep_last_attempts();
    let mask: u32 = u.arbitrary()?;
    let number = |name: &remand::archive::MemberName| {
        truth.members.iter().position(|seen| seen.line.name == *name).unwrap_or(31)
    };
    let wants = |name: &remand::archive::MemberName| mask >> (number(name) % 32) & 1 == 1;
    let (selected, mut some) = select(&file, &wants);
    some.keep_last_attempts();
    let wanted: Vec<_> = truth.members.iter().filter(|seen| wants(&seen.line.name)).collect();
    match selected {
        Ok(seal) => {
            assert_eq!(seal, plain);
            assert_eq!(some.lines, truth.lines);
            assert_eq!(some.members.iter().collect::<Vec<_>>(), wanted);
            holds((&seal, &some));
        }
        Err(error) => {
            assert!(lied, "{error}");
            assert!(matches!(error, remand::archive::Error::Damaged(_)), "{error}");
            // What came before was right.
            assert!(some.members.iter().all(|seen| wanted.iter().any(|wanted| wanted.line == seen.line)));
        }
    }
    if !lied {
        let (whole, seen) = read(&file);
        assert_eq!(whole.expect("it was cut and no more"), plain);
        assert_eq!((seen.members.len(), seen.lines), (attempts, truth.lines));
    }
    Ok(())
}

/// See [`check`].
pub(super) fn chunks(data: &[u8]) {
    // An input that is too short is nothing to check.
    let _ = check(&mut Unstructured::new(data));
}
