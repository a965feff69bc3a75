//! A line of the index as JSON, and back.
//!
//! The text of a line is canonical: equal lines have equal text. Bytes that are not UTF-8 go to a second field of the
//! same name with `_b64`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{Failure, Line, Replaced, Role, Seal};
use crate::archive::bounds::MAX_NAME_BYTES;
use crate::archive::wrong::Wrong;
use crate::archive::{Digest, MemberName};
use crate::tree::entry::is_target;
use crate::tree::{Acl, Device, Entry, Flags, Kind, TreePath};

/// One line, the seal too.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Form<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<RoleForm>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceForm>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs_b64: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acl: Option<AclForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<ReplacedForm>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unstable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shared: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<FailureForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seal: Option<SealForm>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleForm {
    Link,
    Metadata,
    Unarchived,
    Deleted,
}

#[derive(Serialize, Deserialize)]
struct DeviceForm {
    major: u32,
    minor: u32,
}

#[derive(Serialize, Deserialize)]
struct AclForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nfs4: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ReplacedForm {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
struct FailureForm {
    resource: u32,
    error: String,
}

#[derive(Serialize, Deserialize)]
struct SealForm {
    entries: u64,
    members: u64,
    bytes: u64,
    digest: Digest,
}

/// What a line of the index turned out to be.
pub(in crate::archive) enum Parsed {
    /// An entry.
    Line(Box<Line>),
    /// A resource that is not whole.
    Failure(Failure),
    /// The seal.
    Seal(Seal),
}

/// Bytes as the one or the other field.
fn split(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(Cow::Borrowed(text)), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

fn join(text: Option<Cow<'_, str>>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
        (None, Some(base64)) => {
            BASE64.decode(base64.as_bytes()).map(Some).map_err(|error| format!("bad base64: {error}"))
        }
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err("a text is given twice".to_owned()),
    }
}

/// A line as JSON, with its line feed.
pub(in crate::archive) fn line_to_json(line: &Line) -> Vec<u8> {
    let name = [b"./", line.name.path().as_bytes()].concat();
    let mut form =
        Form { unstable: line.unstable, group: line.group, shared: line.shared.clone(), ..Form::default() };
    (form.path, form.path_b64) = split(&name);
    let to;
    match &line.role {
        Role::Member { digest } => form.digest = *digest,
        Role::Link { to: name } => {
            form.role = Some(RoleForm::Link);
            to = [b"./", name.path().as_bytes()].concat();
            (form.link, form.link_b64) = split(&to);
        }
        Role::Metadata { digest } => {
            form.role = Some(RoleForm::Metadata);
            form.digest = *digest;
        }
        Role::Unarchived => form.role = Some(RoleForm::Unarchived),
        Role::Deleted => form.role = Some(RoleForm::Deleted),
    }
    if let Some(entry) = &line.entry {
        put_entry(&mut form, entry);
    }
    form.replaced = line
        .replaced
        .as_ref()
        .map(|replaced| ReplacedForm { kind: replaced.kind.to_string(), digest: replaced.digest });
    to_json(&form)
}

/// A failure as JSON, with its line feed.
pub(in crate::archive) fn failure_to_json(failure: &Failure) -> Vec<u8> {
    let Failure { resource, error } = failure.clone();
    to_json(&Form { failed: Some(FailureForm { resource, error }), ..Form::default() })
}

/// The seal as JSON, with its line feed.
pub(in crate::archive) fn seal_to_json(seal: &Seal) -> Vec<u8> {
    let Seal { entries, members, bytes, digest } = *seal;
    to_json(&Form { seal: Some(SealForm { entries, members, bytes, digest }), ..Form::default() })
}

fn to_json(form: &Form<'_>) -> Vec<u8> {
    let mut json = serde_json::to_vec(form).expect("text and numbers always have a JSON form");
    json.push(b'\n');
    json
}

fn put_entry<'a>(form: &mut Form<'a>, entry: &'a Entry) {
    form.kind = Some(Cow::Borrowed(entry.kind.name()));
    form.mode = Some(format!("{:04o}", entry.mode));
    form.uid = Some(entry.uid);
    form.gid = Some(entry.gid);
    form.mtime = Some(entry.mtime.to_string());
    form.size = (entry.kind == Kind::File).then_some(entry.size);
    if let Some(target) = &entry.target {
        (form.target, form.target_b64) = split(target);
    }
    form.device = entry.device.map(|Device { major, minor }| DeviceForm { major, minor });
    for (name, value) in &entry.xattrs {
        let value = BASE64.encode(value);
        match std::str::from_utf8(name) {
            Ok(name) => form.xattrs.insert(name.to_owned(), value),
            Err(_) => form.xattrs_b64.insert(BASE64.encode(name), value),
        };
    }
    let Acl { access, default, nfs4 } = entry.acl.clone();
    if access.is_some() || default.is_some() || nfs4.is_some() {
        form.acl = Some(AclForm { access, default, nfs4 });
    }
    form.flags = (!entry.flags.is_empty()).then(|| entry.flags.to_string());
}

/// Takes a line apart. Fields that are not known are ignored. The error says what is wrong with it.
pub(in crate::archive) fn parse(json: &[u8]) -> Result<Parsed, Wrong> {
    let form: Form<'_> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if let Some(SealForm { entries, members, bytes, digest }) = form.seal {
        return Ok(Parsed::Seal(Seal { entries, members, bytes, digest }));
    }
    if let Some(FailureForm { resource, error }) = form.failed {
        return Ok(Parsed::Failure(Failure { resource, error }));
    }
    parse_line(form).map(|line| Parsed::Line(Box::new(line)))
}

fn parse_line(mut form: Form<'_>) -> Result<Line, Wrong> {
    let path = join(form.path.take(), form.path_b64.take())?.ok_or("it has no path")?;
    let name = member_name(&path)?;
    let link = join(form.link.take(), form.link_b64.take())?;
    let digest = form.digest.take();
    let role = match (form.role, &link) {
        (None, None) => Role::Member { digest },
        (Some(RoleForm::Link), Some(to)) if digest.is_none() => Role::Link { to: member_name(to)? },
        (Some(RoleForm::Metadata), None) => Role::Metadata { digest },
        (Some(RoleForm::Unarchived), None) if digest.is_none() => Role::Unarchived,
        (Some(RoleForm::Deleted), None) if digest.is_none() => Role::Deleted,
        _ => return Err("its role, link and digest contradict each other".into()),
    };
    let (group, unstable) = (form.group, form.unstable);
    let shared = std::mem::take(&mut form.shared);
    let replaced = match form.replaced.take() {
        Some(ReplacedForm { kind, digest }) => Some(Replaced { kind: parse_kind(&kind)?, digest }),
        None => None,
    };
    let entry = if matches!(role, Role::Deleted) { None } else { Some(parse_entry(form)?) };
    Ok(Line { name, role, entry, group, replaced, unstable, shared })
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|error: crate::tree::entry::UnknownKind| error.to_string())
}

fn member_name(path: &[u8]) -> Result<MemberName, Wrong> {
    path.strip_prefix(b"./")
        .filter(|path| !path.is_empty() && path.len() < MAX_NAME_BYTES)
        .and_then(|path| TreePath::new(path).ok())
        .map(MemberName::new)
        .ok_or_else(|| {
            let path = crate::tree::path::printable_start(path);
            Wrong::Forbidden(format!("\"{path}\" is no name of a member"))
        })
}

fn parse_entry(form: Form<'_>) -> Result<Entry, Wrong> {
    let missing = |what: &str| format!("it has no {what}");
    let kind = parse_kind(&form.kind.ok_or_else(|| missing("type"))?)?;
    let mode = form.mode.ok_or_else(|| missing("mode"))?;
    let mode = Some(mode)
        .filter(|mode| mode.len() == 4 && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte)))
        .and_then(|mode| u32::from_str_radix(&mode, 8).ok())
        .ok_or("its mode is no mode")?;
    let mtime = form.mtime.ok_or_else(|| missing("mtime"))?;
    let target = join(form.target, form.target_b64)?;
    let device = form.device.map(|DeviceForm { major, minor }| Device { major, minor });
    if target.is_some() != (kind == Kind::Symlink)
        || form.size.is_some() != (kind == Kind::File)
        || device.is_some() != matches!(kind, Kind::CharDevice | Kind::BlockDevice)
    {
        return Err("its target, size or device number does not go with its type".into());
    }
    if target.as_deref().is_some_and(|target| !is_target(target)) {
        return Err(Wrong::Forbidden("no link can have its target".to_owned()));
    }
    let decode = |text: &str| BASE64.decode(text.as_bytes()).map_err(|error| format!("bad base64: {error}"));
    let mut xattrs = BTreeMap::new();
    for (name, value) in form.xattrs {
        xattrs.insert(name.into_bytes(), decode(&value)?);
    }
    for (name, value) in form.xattrs_b64 {
        xattrs.insert(decode(&name)?, decode(&value)?);
    }
    let flags = match form.flags {
        Some(flags) => flags.parse().map_err(|error: crate::tree::flags::UnknownFlags| error.to_string())?,
        None => Flags::default(),
    };
    let acl = form.acl.map(|AclForm { access, default, nfs4 }| Acl { access, default, nfs4 });
    Ok(Entry {
        kind,
        mode,
        uid: form.uid.ok_or_else(|| missing("uid"))?,
        gid: form.gid.ok_or_else(|| missing("gid"))?,
        mtime: mtime.parse().map_err(|_| format!("its mtime {mtime:?} is no time"))?,
        size: form.size.unwrap_or(0),
        target,
        device,
        xattrs,
        acl: acl.unwrap_or_default(),
        flags,
    })
}

#[cfg(test)]
mod tests;
