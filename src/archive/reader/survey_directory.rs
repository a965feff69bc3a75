//! What of a damaged DIRECTORY is whole: each file is for itself, but only the index has attributes.

use std::io::{BufReader, Read as _};

use super::Terms;
use super::directory::{self, AtReader, Files, find_unknown};
use super::judge::Judge;
use super::lines::{Collector, Raw, failed};
use super::survey::{Fault, Finding, Rescue, Survey};
use crate::archive::check::is_member;
use crate::archive::format::INDEX;
use crate::archive::index::{Parsed, Role};
use crate::archive::{Error, Line, MemberName, Result};
use crate::tree::{Kind, Tree};

/// Bytes of the index that are read at once.
const READ_BYTES: usize = 64 << 10;

pub(super) fn survey(
    tree: &Tree,
    terms: &Terms,
    each: &mut dyn FnMut(&Line) -> Result<()>,
) -> Result<Survey> {
    let name = &terms.name;
    let mut others = Vec::new();
    let manifest = match directory::manifest(tree, name) {
        Ok((manifest, json)) => Some((manifest, json, false)),
        Err(error @ (Error::Damaged(_) | Error::Io { .. } | Error::Tree(_))) => {
            others.push(error.to_string());
            None
        }
        Err(error) => return Err(error),
    };
    let lines = collect(tree, &mut others)?;
    let mut judge = Judge::new(manifest, lines.finish()?, Vec::new(), others)?;
    judge.prove()?;
    let mut files = Files::new(tree, terms);
    let mut lines = judge.survey.lines.read()?;
    let mut lost = std::collections::HashSet::new();
    while let Some(Raw { parsed, .. }) = lines.next()? {
        let Parsed::Line(line) = parsed else { continue };
        each(&line)?;
        let mut state = if judge.is_proven() { Rescue::Whole } else { Rescue::Unproven };
        if is_member(&line)
            && let Err(error) = files.member(&line, &mut ())
        {
            // What was not read because nobody wants it any more is not damaged.
            state = if terms.go_on().is_ok() { wrong(&mut judge, &line, error)? } else { return Err(error) };
        } else if let Role::Link { to } = &line.role
            && lost.contains(to)
        {
            judge.tell(
                &line,
                Fault::Corrupt,
                &format!("it is another name of {to}, whose content is lost"),
                Rescue::Lost,
            );
            state = Rescue::Lost;
        } else if state == Rescue::Unproven {
            judge.tell(
                &line,
                Fault::Unverified,
                "only a line that is not proven has its attributes",
                Rescue::Unproven,
            );
        }
        let state = judge.checked(&line, state);
        if state == Rescue::Lost && is_member(&line) {
            lost.insert(line.name.clone());
        }
        judge.survey.intact_entries += u64::from(state == Rescue::Whole);
        judge.survey.states.push(state);
    }
    if let Some(checker) = &judge.checker {
        let mut unknown = Vec::new();
        find_unknown(tree, checker, &mut |path| {
            unknown.push(MemberName::new(path.clone()));
            Ok(())
        })?;
        let known: std::collections::HashSet<_> =
            judge.survey.findings.iter().map(|finding| finding.name.clone()).collect();
        unknown.retain(|name| !known.contains(name));
        let proven = judge.is_proven();
        judge.survey.findings.extend(unknown.into_iter().map(|name| Finding {
            name,
            fault: if proven { Fault::Unexpected } else { Fault::Unverified },
            detail: "the index does not mention it".to_owned(),
            rescue: Rescue::Lost,
        }));
    }
    Ok(judge.survey)
}

/// A file is not what its line says; what has no content is in the line.
fn wrong(judge: &mut Judge, line: &Line, error: Error) -> Result<Rescue> {
    let is_file = line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File);
    let fault = match &error {
        Error::Damaged(why) if why.contains("missing") => Fault::Missing,
        Error::Damaged(_) | Error::Tree(_) | Error::Source { .. } | Error::Io { .. } => Fault::Corrupt,
        _ => return Err(error),
    };
    let rescue = if !is_file && judge.is_proven() { Rescue::Whole } else { Rescue::Lost };
    judge.tell(line, fault, &crate::undo::chain(&error), rescue);
    Ok(rescue)
}

fn collect(tree: &Tree, others: &mut Vec<String>) -> Result<Collector> {
    let mut lines = Collector::new().map_err(failed)?;
    lines.confirmed = true;
    let index = match tree.root().open_file(INDEX.as_bytes()) {
        Ok(Some(index)) => index,
        Ok(None) => return Ok(lines),
        Err(error) => {
            others.push(crate::undo::chain(&error));
            return Ok(lines);
        }
    };
    let mut reader = BufReader::new(AtReader { file: &index, offset: 0 });
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(lines),
            Ok(read) => lines.feed(&buffer[..read], false).map_err(failed)?,
            Err(error) => {
                others.push(format!("its index cannot be read to the end: {error}"));
                return Ok(lines);
            }
        }
    }
}
