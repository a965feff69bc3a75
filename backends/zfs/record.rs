//! The records that a stream consists of: what lies where in a `dmu_replay_record` (`sys/zfs_ioctl.h`), in the byte order of the
//! host that sent it.

/// Size of a record, without what follows it.
pub(super) const RECORD_BYTES: usize = 312;
/// More than any record carries: the largest block has 16 MiB.
pub(super) const MAX_PAYLOAD_BYTES: u64 = 64 << 20;
const MAGIC: u64 = 0x2_f5ba_cbac;

/// Bits of the word in a BEGIN record that tells the version: the features (`DMU_BACKUP_FEATURE_*`) begin at bit 2.
pub(super) mod feature {
    pub(in super::super) const RESUMING: u64 = 1 << 20 << 2;
    pub(in super::super) const REDACTED: u64 = 1 << 21 << 2;
    pub(in super::super) const COMPRESSED: u64 = 1 << 22 << 2;
    pub(in super::super) const RAW: u64 = 1 << 24 << 2;
}

/// The kinds of records.
pub(super) mod kind {
    pub(in super::super) const BEGIN: u32 = 0;
    pub(in super::super) const OBJECT: u32 = 1;
    pub(in super::super) const FREE_OBJECTS: u32 = 2;
    pub(in super::super) const WRITE: u32 = 3;
    pub(in super::super) const FREE: u32 = 4;
    pub(in super::super) const END: u32 = 5;
    pub(in super::super) const WRITE_BY_REFERENCE: u32 = 6;
    pub(in super::super) const SPILL: u32 = 7;
    pub(in super::super) const WRITE_EMBEDDED: u32 = 8;
    pub(in super::super) const OBJECT_RANGE: u32 = 9;
    pub(in super::super) const REDACT: u32 = 10;
}

/// A byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// That of a BEGIN record; `None` if it is none, by the number that tells.
    pub(super) fn of(begin: &[u8]) -> Option<Self> {
        [Self::Little, Self::Big].into_iter().find(|order| order.long(begin, 8) == MAGIC)
    }

    pub(super) fn long(self, bytes: &[u8], at: usize) -> u64 {
        let read = if self == Self::Little { u64::from_le_bytes } else { u64::from_be_bytes };
        bytes[at..at + 8].try_into().map_or(0, read)
    }

    pub(super) fn word(self, bytes: &[u8], at: usize) -> u32 {
        let read = if self == Self::Little { u32::from_le_bytes } else { u32::from_be_bytes };
        bytes[at..at + 4].try_into().map_or(0, read)
    }

    /// How many bytes follow a record; `None` for a kind that is unknown, or refers to other streams.
    pub(super) fn payload_bytes(self, head: &[u8]) -> Option<u64> {
        Some(match self.word(head, 0) {
            kind::BEGIN => u64::from(self.word(head, 4)),
            kind::OBJECT => match (self.word(head, 36), self.word(head, 28)) {
                (0, bonus) => u64::from(bonus).next_multiple_of(8),
                (raw, _) => u64::from(raw),
            },
            // Stored as it is, or compressed with a size of its own.
            kind::WRITE if head[50] == 0 => self.long(head, 32),
            kind::WRITE => self.long(head, 96),
            kind::SPILL => match self.long(head, 40) {
                0 => self.long(head, 16),
                compressed => compressed,
            },
            kind::WRITE_EMBEDDED => u64::from(self.word(head, 52)).next_multiple_of(8),
            kind::FREE | kind::FREE_OBJECTS | kind::OBJECT_RANGE | kind::REDACT | kind::END => 0,
            _ => return None,
        })
    }
}
