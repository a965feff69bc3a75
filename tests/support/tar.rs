//! A reader and a writer of tar files that share no code with the library: just enough of pax to take an archive apart,
//! to change it as somebody hostile would, and to put it together again.

use std::collections::BTreeMap;

const BLOCK: usize = 512;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Name, whatever header it comes from.
    pub(crate) name: Vec<u8>,
    /// Type: `b'0'` a file, `b'1'` a hard link, `b'2'` a symbolic link, `b'5'` a directory…
    pub(crate) kind: u8,
    /// What a link points to.
    pub(crate) target: Vec<u8>,
    /// The ustar header as it was, for its other fields.
    header: Vec<u8>,
    /// pax records besides path, linkpath and size.
    pub(crate) records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes after the header, without padding.
    pub(crate) data: Vec<u8>,
}

impl Member {
    /// A member of root's with mode 0644, from 1970.
    pub(crate) fn new(kind: u8, name: &str, target: &str, data: &[u8]) -> Self {
        let mut header = vec![0; BLOCK];
        for (range, value) in [(100..107, 0o644), (108..115, 0), (116..123, 0), (136..147, 0)] {
            octal(&mut header[range], value);
        }
        header[257..265].copy_from_slice(b"ustar\x0000");
        Self {
            name: name.into(),
            kind,
            target: target.into(),
            header,
            records: BTreeMap::new(),
            data: data.to_vec(),
        }
    }

    /// The same under another name.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut records = self.records.clone();
        let mut header = self.header.clone();
        put(&mut header[..100], &self.name, &mut records, b"path");
        header[345..500].fill(0);
        put(&mut header[157..257], &self.target, &mut records, b"linkpath");
        octal(&mut header[124..135], self.data.len() as u64);
        header[156] = self.kind;
        if !records.is_empty() {
            let mut body = Vec::new();
            for (key, value) in &records {
                record(&mut body, key, value);
            }
            let mut extension = Self::new(b'x', "pax", "", &[]).header;
            extension[..3].copy_from_slice(b"pax");
            extension[156] = b'x';
            octal(&mut extension[124..135], body.len() as u64);
            block(out, extension, &body);
        }
        block(out, header, &self.data);
    }
}

/// A header block alone, with any twelve bytes where the size is.
pub(crate) fn header(kind: u8, name: &str, size: &[u8]) -> Vec<u8> {
    let mut header = Member::new(kind, name, "", &[]).header;
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..124 + size.len()].copy_from_slice(size);
    header[156] = kind;
    let mut out = Vec::new();
    block(&mut out, header, &[]);
    out
}

/// The headers of a member whose content is given elsewhere, and has so many bytes.
pub(crate) fn headers(member: &Member, size: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Member { data: Vec::new(), ..member.clone() }.write(&mut out);
    let mut own = out.split_off(out.len() - BLOCK);
    octal(&mut own[124..135], size);
    block(&mut out, own, &[]);
    out
}

/// One pax record.
pub(crate) fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    record(&mut out, key.as_bytes(), value);
    out
}

/// Takes a tar file apart. Panics on what it does not know: it reads only what remand wrote.
pub(crate) fn read(tar: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    let mut records = BTreeMap::new();
    let mut rest = tar;
    while rest.len() >= BLOCK && rest[..BLOCK].iter().any(|byte| *byte != 0) {
        let header = rest[..BLOCK].to_vec();
        let size = match records.remove(&b"size"[..]) {
            Some(size) => String::from_utf8(size).expect("a size").parse().expect("a size"),
            None => number(&header[124..136]),
        };
        let size = usize::try_from(size).expect("a size");
        let data = rest[BLOCK..BLOCK + size].to_vec();
        rest = &rest[BLOCK + size.next_multiple_of(BLOCK)..];
        if header[156] == b'x' {
            records = parse_records(&data);
            continue;
        }
        assert_ne!(header[156], b'g', "no global headers here");
        let name = records.remove(&b"path"[..]).unwrap_or_else(|| {
            let (prefix, name) = (until_nul(&header[345..500]), until_nul(&header[..100]));
            if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
        });
        let target =
            records.remove(&b"linkpath"[..]).unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
        let kind = header[156];
        members.push(Member { name, kind, target, header, records: std::mem::take(&mut records), data });
    }
    members
}

/// Puts a tar file together.
pub(crate) fn write(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        member.write(&mut out);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

/// A field if the value fits, a pax record if not.
fn put(field: &mut [u8], value: &[u8], records: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8]) {
    field.fill(0);
    if value.len() < field.len() {
        field[..value.len()].copy_from_slice(value);
    } else {
        records.insert(key.to_vec(), value.to_vec());
    }
}

fn block(out: &mut Vec<u8>, mut header: Vec<u8>, data: &[u8]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut header[148..154], sum);
    header[154..156].copy_from_slice(b"\0 ");
    out.extend_from_slice(&header);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

fn octal(field: &mut [u8], value: u64) {
    let text = format!("{value:0width$o}", width = field.len());
    field.copy_from_slice(text.as_bytes());
}

fn number(field: &[u8]) -> u64 {
    let text: String = field.iter().map(|byte| char::from(*byte)).filter(char::is_ascii_digit).collect();
    u64::from_str_radix(&text, 8).expect("an octal number")
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let length =
        (rest..rest + 20).find(|length| rest + length.to_string().len() == *length).expect("a length");
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn parse_records(mut data: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ').expect("a length");
        let length: usize = std::str::from_utf8(&data[..space]).expect("a length").parse().expect("a length");
        let record = &data[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').expect("a value");
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        data = &data[length..];
    }
    records
}
