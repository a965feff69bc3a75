//! An archive taken apart: its members, manifest and index can be changed at will, and the seal made to fit again. So a
//! hostile archive differs from an honest one in exactly one thing, and cannot be told by a seal that does not fit.

use std::path::Path;

use serde_json::Value;

use super::tar::{self, Member};

#[derive(Clone)]
pub(crate) struct Bundle {
    pub(crate) members: Vec<Member>,
    original: Totals,
}

#[derive(Clone, Copy)]
struct Totals {
    members: usize,
    bytes: usize,
}

impl Bundle {
    /// Reads an uncompressed TAR archive.
    pub(crate) fn open(path: &Path) -> Self {
        let members = tar::read(&std::fs::read(path).expect("an archive"));
        let original = totals(&members);
        Self { members, original }
    }

    /// Writes it as it is now.
    pub(crate) fn save(&self, path: &Path) {
        std::fs::write(path, tar::write(&self.members)).expect("an archive");
    }

    /// Writes it in DIRECTORY format, as far as names can be files.
    pub(crate) fn save_directory(&self, path: &Path) {
        std::fs::create_dir(path).expect("a directory for the archive");
        for member in &self.members {
            let name = member.text();
            let name = name.trim_start_matches("./").trim_end_matches('/');
            let place = path.join(name);
            if name.is_empty() || name.split('/').any(|part| matches!(part, "" | "." | ".." | "\0evil")) {
                continue;
            }
            // What cannot be made is what the archive is accused of: the index tells.
            let _ = match member.kind {
                b'5' => std::fs::create_dir_all(&place),
                b'0' if place.symlink_metadata().is_ok() => Ok(()),
                b'0' => std::fs::write(&place, &member.data),
                _ => Ok(()),
            };
        }
    }

    pub(crate) fn position(&self, name: &str) -> usize {
        self.members
            .iter()
            .position(|member| member.text().trim_end_matches('/') == name)
            .unwrap_or_else(|| panic!("no member {name}"))
    }

    pub(crate) fn member(&mut self, name: &str) -> &mut Member {
        let position = self.position(name);
        &mut self.members[position]
    }

    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_slice(&self.members[self.position("./manifest.json")].data).expect("a manifest")
    }

    pub(crate) fn set_manifest(&mut self, manifest: &Value) {
        self.member("./manifest.json").data = serde_json::to_vec_pretty(manifest).expect("a manifest");
    }

    /// Lines of the index with the seal as the last one.
    pub(crate) fn index(&self) -> Vec<Value> {
        let data = &self.members[self.position("./index.jsonl")].data;
        data.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line of the index"))
            .collect()
    }

    /// The line of `path` (without `./`).
    pub(crate) fn line(&self, path: &str) -> Value {
        self.index()
            .into_iter()
            .find(|line| line["path"] == format!("./{path}"))
            .unwrap_or_else(|| panic!("no line for {path}"))
    }

    /// Sets the index from lines without a seal, and seals it.
    pub(crate) fn seal(&mut self, lines: &[Value]) {
        let mut index = Vec::new();
        for line in lines {
            index.extend(serde_json::to_vec(line).expect("a line"));
            index.push(b'\n');
        }
        self.seal_text(index, lines.len());
    }

    /// Sets the index from the text of so many lines without a seal, and seals it.
    pub(crate) fn seal_text(&mut self, mut index: Vec<u8>, lines: usize) {
        let mut seal = self.index().pop().expect("a seal");
        let mut hash = blake3::Hasher::new();
        hash.update(&self.members[self.position("./manifest.json")].data).update(&index);
        let now = totals(&self.members);
        for (key, change) in [
            ("members", now.members.wrapping_sub(self.original.members) as i64),
            ("bytes", now.bytes.wrapping_sub(self.original.bytes) as i64),
        ] {
            let number = field(&mut seal, key);
            *number = (number.as_i64().expect("a number") + change).into();
        }
        *field(&mut seal, "entries") = lines.into();
        *field(&mut seal, "digest") = format!("blake3:{}", hash.finalize().to_hex()).into();
        index.extend(serde_json::to_vec(&seal).expect("a seal"));
        index.push(b'\n');
        self.member("./index.jsonl").data = index;
        self.original = now;
    }

    /// The text of the index without its seal, and how many lines it has.
    pub(crate) fn text(&self) -> (Vec<u8>, usize) {
        let mut lines = self.index();
        lines.pop();
        let text =
            lines.iter().flat_map(|line| [serde_json::to_vec(line).expect("a line"), vec![b'\n']].concat());
        (text.collect(), lines.len())
    }

    /// Seals the index again after the manifest was changed.
    pub(crate) fn reseal(&mut self) {
        let mut lines = self.index();
        lines.pop();
        self.seal(&lines);
    }

    /// The next seal counts so many members and bytes more than there are here: their content is given elsewhere.
    pub(crate) fn expect(&mut self, members: usize, bytes: u64) {
        self.original.members = self.original.members.wrapping_sub(members);
        self.original.bytes = self.original.bytes.wrapping_sub(usize::try_from(bytes).expect("a size"));
    }

    /// Gives a file other content, with a line that fits.
    pub(crate) fn replace(&mut self, name: &str, data: &[u8]) {
        let path = format!("./{name}");
        self.member(&path).data = data.to_vec();
        let mut lines = self.index();
        lines.pop();
        let line = lines.iter_mut().find(|line| line["path"] == path).expect("a line");
        line["size"] = data.len().into();
        line["digest"] = format!("blake3:{}", blake3::hash(data).to_hex()).into();
        self.seal(&lines);
    }

    /// Adds a copy of member `of` under another name, with a line of its own that fits, before the index.
    pub(crate) fn add_copy(&mut self, of: &str, name: &str) {
        let copy = self.members[self.position(&format!("./{of}"))].named(&format!("./{name}"));
        let mut line = self.line(of);
        line["path"] = format!("./{name}").into();
        self.add(copy, line);
    }

    /// Adds a member and its line, before the index.
    pub(crate) fn add(&mut self, member: Member, line: Value) {
        let at = self.position("./index.jsonl");
        self.members.insert(at, member);
        let mut lines = self.index();
        lines.pop();
        lines.push(line);
        self.seal(&lines);
    }
}

fn totals(members: &[Member]) -> Totals {
    Totals {
        members: members.len(),
        bytes: members
            .iter()
            // Manifest and index have no lines, and do not count.
            .filter(|member| !["./manifest.json", "./index.jsonl"].contains(&member.text().as_str()))
            .map(|member| member.data.len())
            .sum(),
    }
}

/// The field `key` of the seal, wherever it lies in it.
fn field<'a>(seal: &'a mut Value, key: &str) -> &'a mut Value {
    if seal.get(key).is_some() {
        return &mut seal[key];
    }
    let inner = seal
        .as_object_mut()
        .and_then(|object| object.values_mut().find(|value| value.get(key).is_some()))
        .unwrap_or_else(|| panic!("no {key} in the seal"));
    &mut inner[key]
}
