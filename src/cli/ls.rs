//! `remand ls`.

use std::fmt::Write as _;

use data_encoding::BASE64;
use remand::archive::Manifest;
use remand::archive::manifest::Mode;
use remand::error::Error;
use remand::listing::{Listed, list};
use remand::locator::Locator;
use remand::resource::kind_name;
use remand::tree::{Entry, Kind, Timestamp};
use remand::verify::info;
use serde_json::{Map, Value, json};

use super::args::Ls;
use super::diff::mark;
use super::failure::Failure;
use super::render::{Outcome, escape::safe, table::table};
use super::{Session, input};

pub(super) fn run(session: &Session, args: &Ls) -> Result<Outcome, Failure> {
    let Session { console, interrupted } = session;
    let keys = args.opening.keys(&args.settings.config()?)?;
    let input = input(&args.source, interrupted)?.with(keys);
    let mut outcome = Outcome::default();
    outcome.result.insert("command".into(), "ls".into());
    let Some(part) = &args.part else {
        let (manifest, _) = info(input, interrupted)?;
        if console.is_json() {
            for resource in resources(&manifest) {
                console.record("resource", &resource)?;
            }
        } else {
            console.data(&resource_table(&manifest))?;
        }
        return Ok(outcome);
    };
    let locator: Locator = part.parse()?;
    // The first failure to write, after which reading on is pointless.
    let mut failed = None;
    let listed = list(input, &locator, &args.dataset, interrupted, &mut |listed| {
        let written = if console.is_json() {
            console.record("entry", &record(&listed))
        } else {
            console.data(&line(&listed, args.long))
        };
        written.map_err(|failure| {
            failed = Some(failure);
            Error::Interrupted
        })
    });
    match failed {
        Some(failure) => return Err(failure),
        None => outcome.result.insert("entries".into(), listed?.into()),
    };
    Ok(outcome)
}

fn resources(manifest: &Manifest) -> impl Iterator<Item = Value> {
    manifest.resources.iter().map(|record| {
        json!({
            "kind": kind_name(record.kind),
            "name": record.name,
            "mode": record.mode,
            "base": record.base.as_ref().map(|base| base.source().base_label()),
            "datasets": record.datasets.iter().map(|dataset| &dataset.name).collect::<Vec<_>>(),
        })
    })
}

fn resource_table(manifest: &Manifest) -> String {
    let rows: Vec<_> = manifest
        .resources
        .iter()
        .map(|record| {
            let mode = match record.mode {
                Mode::Differential => "differential",
                Mode::Standalone => "standalone",
            };
            let datasets: Vec<_> = record.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
            [
                kind_name(record.kind).to_owned(),
                record.name.clone(),
                mode.to_owned(),
                record.base.as_ref().map_or_else(|| "-".to_owned(), |base| base.source().base_label()),
                datasets.join(","),
            ]
        })
        .collect();
    table(["KIND", "NAME", "MODE", "BASE", "DATASETS"], &rows)
}

fn line(listed: &Listed, long: bool) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    if let Some(difference) = &listed.difference {
        let _ = write!(text, "{}  ", mark(difference).0);
    }
    if long {
        match &listed.entry {
            Some(entry) => text.push_str(&attributes(entry)),
            None => text.push_str("-  "),
        }
    }
    let directory = match (&listed.entry, &listed.difference) {
        (Some(entry), _) => entry.kind == Kind::Directory,
        (None, difference) => {
            difference.as_ref().is_some_and(|difference| difference.kind == Kind::Directory)
        }
    };
    let slash = if directory && !listed.path.is_root() { "/" } else { "" };
    let _ = write!(text, "/{}{slash}", listed.path);
    if long && let Some(target) = listed.entry.as_ref().and_then(|entry| entry.target.as_ref()) {
        let _ = write!(text, " -> {}", remand::tree::path::printable(target));
    }
    if long && let Some(link) = &listed.link {
        let _ = write!(text, " link to {link}");
    }
    format!("{}\n", safe(&text))
}

/// Type and mode, owner, group, size or device number, and time.
fn attributes(entry: &Entry) -> String {
    let size = match entry.device {
        Some(device) => format!("{},{}", device.major, device.minor),
        None => entry.size.to_string(),
    };
    let owner = format!("{} {}", entry.uid, entry.gid);
    format!("{} {owner:>11} {size:>12} {}  ", mode(entry), time(entry.mtime))
}

fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Socket => 's',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, entry.mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// RFC 3339, in UTC; seconds since 1970 where the year is out of its range.
fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds)
        .map_or_else(|_| time.seconds.to_string(), |time| time.to_string())
}

fn record(listed: &Listed) -> Value {
    let mut fields = Map::new();
    let mut text = |name: &str, bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(name.to_owned(), text.into()),
        Err(_) => fields.insert(format!("{name}_b64"), BASE64.encode(bytes).into()),
    };
    text("path", &[b"/", listed.path.as_bytes()].concat());
    if let Some(target) = listed.entry.as_ref().and_then(|entry| entry.target.as_ref()) {
        text("target", target);
    }
    if let Some(entry) = &listed.entry {
        fields.insert("kind".into(), entry.kind.name().into());
        fields.insert("mode".into(), format!("{:04o}", entry.mode).into());
        fields.insert("uid".into(), entry.uid.into());
        fields.insert("gid".into(), entry.gid.into());
        fields.insert("mtime".into(), entry.mtime.to_string().into());
        if entry.kind == Kind::File {
            fields.insert("size_bytes".into(), entry.size.into());
        }
        if let Some(device) = entry.device {
            fields.insert("device".into(), json!([device.major, device.minor]));
        }
    }
    if let Some(difference) = &listed.difference {
        fields.insert("change".into(), mark(difference).1.into());
        fields.entry("kind").or_insert(difference.kind.name().into());
    }
    if let Some(link) = &listed.link {
        fields.insert("link".into(), link.as_str().into());
    }
    if listed.unstable {
        fields.insert("unstable".into(), true.into());
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use remand::tree::{Acl, Flags, TreePath};

    use super::*;

    #[test]
    fn lines_are_readable_and_safe() {
        let entry = Entry {
            kind: Kind::Symlink,
            mode: 0o5754,
            uid: 1001,
            gid: 0,
            mtime: Timestamp { seconds: 0, nanoseconds: 5 },
            size: 0,
            target: Some(b"a\x1b[31m".to_vec()),
            device: None,
            xattrs: std::collections::BTreeMap::new(),
            acl: Acl::default(),
            flags: Flags::default(),
        };
        let path = TreePath::new(b"etc/x\n\xff").unwrap();
        let listed = Listed { path, entry: Some(entry), link: None, difference: None, unstable: false };
        assert_eq!(line(&listed, false), "/etc/x\\n\\xff\n");
        assert_eq!(
            line(&listed, true),
            "lrwsr-xr-T      1001 0            0 1970-01-01T00:00:00Z  /etc/x\\n\\xff -> a\\u{1b}[31m\n"
        );
        assert_eq!(record(&listed)["path_b64"], "L2V0Yy94Cv8=");
    }
}
