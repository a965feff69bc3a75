//! The head of a stream of zfs-send(8): which dataset it is of, as of which snapshot.
//!
//! A stream begins with a `dmu_replay_record` of type `DRR_BEGIN` in the byte order of the host that sent it (`sys/zfs_ioctl.h`).

use crate::archive::Result;
use crate::resource::check_name;
use crate::tree::Content;

/// How many bytes [`Head::parse`] looks at.
pub(super) const HEAD_BYTES: usize = 312;
const MAGIC: u64 = 0x2_f5ba_cbac;
/// Where the name of the snapshot begins, which ends with a NUL.
const NAME_AT: usize = 56;
const NAME_BYTES: usize = 256;

/// What the head of a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Full name of the dataset that was sent: `zroot/iocage/jails/web01/root`.
    pub(super) dataset: String,
    /// Its snapshot.
    pub(super) snapshot: String,
    /// When the snapshot was made, in seconds since 1970.
    pub(super) seconds: i64,
    pub(super) sort: Sort,
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    FileSystem,
    Volume,
    /// Several streams in a frame: history, or datasets below.
    Package,
}

impl Head {
    /// Takes the first bytes of a file apart; `None` if it is no stream.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = head.get(..HEAD_BYTES)?.try_into().ok()?;
        let bytes = |at: usize| -> [u8; 8] { head[at..at + 8].try_into().unwrap_or_default() };
        let little = u64::from_le_bytes(bytes(8)) == MAGIC;
        let long = |at| if little { u64::from_le_bytes(bytes(at)) } else { u64::from_be_bytes(bytes(at)) };
        let word = |at: usize| {
            let half = head[at..at + 4].try_into().unwrap_or_default();
            if little { u32::from_le_bytes(half) } else { u32::from_be_bytes(half) }
        };
        if long(8) != MAGIC || word(0) != 0 {
            return None;
        }
        let sort = match (long(16) & 3, word(32)) {
            (2, _) => Sort::Package,
            (1, 2) => Sort::FileSystem,
            (1, 3) => Sort::Volume,
            _ => return None,
        };
        let name = head[NAME_AT..NAME_AT + NAME_BYTES].split(|&byte| byte == 0).next()?;
        let name = std::str::from_utf8(name).ok().filter(|name| !name.contains(char::is_control))?;
        let (dataset, snapshot) = name.split_once('@')?;
        let (dataset, snapshot) = (dataset.to_owned(), snapshot.to_owned());
        Some(Self { dataset, snapshot, seconds: i64::try_from(long(24)).ok()?, sort })
    }

    /// Reads the head of a member's content.
    pub(super) fn read(content: &mut dyn Content) -> Result<Option<Self>> {
        // What begins with a hole is no stream.
        if content.extents().first().is_none_or(|first| first.offset != 0) {
            return Ok(None);
        }
        let mut head = Vec::new();
        while head.len() < HEAD_BYTES {
            let read = content.next_data();
            match read.map_err(|source| super::content_error("the head of a member", source))? {
                Some((offset, data)) if offset == head.len() as u64 => {
                    head.extend_from_slice(&data[..data.len().min(HEAD_BYTES - head.len())]);
                }
                _ => break,
            }
        }
        Ok(Self::parse(&head))
    }

    /// Whether the dataset that was sent has this name below a resource: `root/bin` of `zroot/iocage/jails/web01/root/bin`.
    pub(super) fn is_of(&self, dataset: &str) -> bool {
        self.resource_of(dataset).is_some()
    }

    /// The name of the resource whose dataset `dataset` was sent.
    pub(super) fn resource_of(&self, dataset: &str) -> Option<&str> {
        let resource = match dataset {
            "" => &*self.dataset,
            dataset => self.dataset.strip_suffix(dataset)?.strip_suffix('/')?,
        };
        let (_, name) = resource.rsplit_once('/')?;
        check_name(name).is_ok().then_some(name)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::tree::MemoryContent;

    /// A record that begins a stream, and nothing behind it.
    pub(crate) fn head(name: &str, version: u64, objects: u32, little: bool) -> Vec<u8> {
        let mut head = vec![0; HEAD_BYTES];
        let mut put = |at: usize, value: u64, length: usize| {
            let (le, be) = (value.to_le_bytes(), value.to_be_bytes());
            head[at..at + length].copy_from_slice(if little { &le[..length] } else { &be[8 - length..] });
        };
        put(8, MAGIC, 8);
        put(16, version, 8);
        put(24, 1_780_000_000, 8);
        put(32, objects.into(), 4);
        head[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
        head
    }

    #[test]
    fn heads_in_both_byte_orders() {
        for little in [true, false] {
            let bytes = head("zroot/iocage/jails/web01/data/db@backup_1", 1, 2, little);
            let head = Head::parse(&bytes).unwrap();
            assert_eq!(
                (head.snapshot.as_str(), head.seconds, head.sort),
                ("backup_1", 1_780_000_000, Sort::FileSystem)
            );
            assert!(head.is_of("data/db") && head.is_of("db") && !head.is_of("b") && !head.is_of("x/db"));
            assert_eq!(head.resource_of("data/db"), Some("web01"));
            assert_eq!(head.resource_of(""), Some("db"));
        }
        assert_eq!(Head::parse(&head("a/v@s", 1, 3, true)).unwrap().sort, Sort::Volume);
        assert_eq!(Head::parse(&head("a/v@s", 2, 0, true)).unwrap().sort, Sort::Package);
    }

    #[test]
    fn what_is_no_head() {
        for (name, version, objects) in
            [("a/b", 1, 2), ("a/\u{1b}b@s", 1, 2), ("a/b@s", 0, 2), ("a/b@s", 1, 9), ("a\u{0}@s", 1, 2)]
        {
            assert_eq!(Head::parse(&head(name, version, objects, true)), None, "{name} {version} {objects}");
        }
        let good = head("a/b@s", 1, 2, true);
        assert!(Head::parse(&good).is_some());
        assert_eq!(Head::parse(&good[..HEAD_BYTES - 1]), None);
        assert_eq!(Head::read(&mut MemoryContent::new("a text")).unwrap(), None);
        assert_eq!(Head::read(&mut MemoryContent::new(Vec::new())).unwrap(), None);
        assert!(Head::read(&mut MemoryContent::new([good, vec![1; 999]].concat())).unwrap().is_some());
    }
}
