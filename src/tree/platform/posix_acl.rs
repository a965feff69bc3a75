//! POSIX ACLs: entries and their text, and the form that Linux has in `system.posix_acl_*` attributes.
//!
//! Tags have the same numbers on Linux and FreeBSD. Linux's form (`linux/posix_acl_xattr.h`): a little-endian 32-bit version, 2, then for every
//! entry a 16-bit tag, 16 permission bits and a 32-bit id. Both kernels keep entries sorted by tag and
//! id, and the text has the same order, so one ACL has one text. Both directions are strict: what the
//! kernel would refuse is refused here, where it can be said which entry is wrong.
//!
//! The crate exacl serves paths only. Here entries are reached through the descriptor of their
//! directory, since their paths may be longer than the system's limit.

use std::fmt::Write;

/// An ACL that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Not a POSIX ACL: {0}")]
pub(crate) struct InvalidAcl(String);

#[cfg(any(target_os = "linux", test))]
const VERSION: u32 = 2;
/// The id of an entry that names nobody.
pub(crate) const NO_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// One entry; the order of fields is the kernel's order of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ace {
    /// What it is for, as the kernels number it.
    pub tag: u16,
    /// User or group, or [`NO_ID`].
    pub id: u32,
    /// Read 4, write 2, execute 1.
    pub permissions: u16,
}

/// Text of an ACL in Linux's form.
#[cfg(any(target_os = "linux", test))]
pub(crate) fn to_text(raw: &[u8]) -> Result<String, InvalidAcl> {
    let mut entries = Vec::new();
    let (version, rest) =
        raw.split_first_chunk::<4>().ok_or_else(|| InvalidAcl(format!("{} bytes", raw.len())))?;
    if u32::from_le_bytes(*version) != VERSION || rest.len() % 8 != 0 {
        return Err(InvalidAcl(format!("{} bytes, version {}", raw.len(), u32::from_le_bytes(*version))));
    }
    for entry in rest.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        entries.push(Ace { tag, id, permissions: u16::from_le_bytes([entry[2], entry[3]]) });
    }
    text_of(entries)
}

/// Text of an ACL; the ids of entries that name nobody don't count.
pub(crate) fn text_of(mut entries: Vec<Ace>) -> Result<String, InvalidAcl> {
    for entry in entries.iter_mut().filter(|entry| !matches!(entry.tag, USER | GROUP)) {
        entry.id = NO_ID;
    }
    let entries = checked(entries)?;
    let mut text = String::with_capacity(entries.len() * 16);
    for Ace { tag, id, permissions } in entries {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(match tag {
            USER_OBJ | USER => "user:",
            GROUP_OBJ | GROUP => "group:",
            MASK => "mask:",
            _ => "other:",
        });
        if id != NO_ID {
            let _ = write!(text, "{id}");
        }
        text.push(':');
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if permissions & bit == 0 { '-' } else { letter });
        }
    }
    Ok(text)
}

/// The entries of an ACL from text, sorted.
pub(crate) fn entries_of(text: &str) -> Result<Vec<Ace>, InvalidAcl> {
    checked(text.split(',').map(entry_from_text).collect::<Result<_, _>>()?)
}

/// Linux's form of an ACL from text.
#[cfg(any(target_os = "linux", test))]
pub(crate) fn from_text(text: &str) -> Result<Vec<u8>, InvalidAcl> {
    let mut raw = VERSION.to_le_bytes().to_vec();
    for Ace { tag, id, permissions } in entries_of(text)? {
        raw.extend_from_slice(&tag.to_le_bytes());
        raw.extend_from_slice(&permissions.to_le_bytes());
        raw.extend_from_slice(&id.to_le_bytes());
    }
    Ok(raw)
}

fn entry_from_text(text: &str) -> Result<Ace, InvalidAcl> {
    let invalid = || InvalidAcl(format!("{text:?}"));
    let mut parts = text.split(':');
    let (Some(who), Some(id), Some(permissions), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(invalid());
    };
    let tag = match (who, id.is_empty()) {
        ("user", true) => USER_OBJ,
        ("user", false) => USER,
        ("group", true) => GROUP_OBJ,
        ("group", false) => GROUP,
        ("mask", true) => MASK,
        ("other", true) => OTHER,
        _ => return Err(invalid()),
    };
    let id = match id {
        "" => NO_ID,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|&id| id != NO_ID).ok_or_else(invalid)?
        }
        _ => return Err(invalid()),
    };
    let permissions = permissions.as_bytes();
    if permissions.len() != 3 {
        return Err(invalid());
    }
    let mut bits = 0;
    for (place, (letter, bit)) in [(b'r', 4), (b'w', 2), (b'x', 1)].into_iter().enumerate() {
        match permissions[place] {
            found if found == letter => bits |= bit,
            b'-' => {}
            _ => return Err(invalid()),
        }
    }
    Ok(Ace { tag, id, permissions: bits })
}

/// Sorts, and checks what the kernel checks (`posix_acl_valid`).
fn checked(mut entries: Vec<Ace>) -> Result<Vec<Ace>, InvalidAcl> {
    entries.sort_unstable();
    let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
    for (tag, name) in [(USER_OBJ, "user::"), (GROUP_OBJ, "group::"), (OTHER, "other::")] {
        if count(tag) != 1 {
            return Err(InvalidAcl(format!("{} entries {name}", count(tag))));
        }
    }
    let named = count(USER) + count(GROUP);
    if count(MASK) > 1 || (named > 0 && count(MASK) == 0) {
        return Err(InvalidAcl(format!("{named} named entries, {} masks", count(MASK))));
    }
    if count(USER_OBJ) + count(GROUP_OBJ) + count(OTHER) + count(MASK) + named != entries.len() {
        return Err(InvalidAcl("unknown tag".to_owned()));
    }
    if let Some(entry) = entries.iter().find(|entry| entry.permissions > 7) {
        return Err(InvalidAcl(format!("permissions {:o}", entry.permissions)));
    }
    if entries.iter().any(|entry| matches!(entry.tag, USER | GROUP) && entry.id == NO_ID) {
        return Err(InvalidAcl("named entry without id".to_owned()));
    }
    if let Some(pair) = entries.windows(2).find(|pair| (pair[0].tag, pair[0].id) == (pair[1].tag, pair[1].id))
    {
        return Err(InvalidAcl(format!("two entries for id {}", pair[0].id)));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "user::rwx,user:0:---,user:1000:rw-,group::r-x,group:4294967294:r--,mask::rwx,other::--x";

    #[test]
    fn text_and_kernel_form_are_each_others_inverse() {
        for text in [TEXT, "user::rw-,group::r--,other::r--", "user::---,group::---,mask::---,other::---"] {
            let raw = from_text(text).unwrap();
            assert_eq!(to_text(&raw).unwrap(), text);
            assert_eq!(from_text(&to_text(&raw).unwrap()).unwrap(), raw);
        }
    }

    #[test]
    fn entries_that_name_nobody_have_no_id() {
        // As FreeBSD gives them: the id of others is that of who asked last.
        let found = [(OTHER, 7, 1), (USER_OBJ, 0, 7), (GROUP_OBJ, 9, 4), (USER, 5, 6), (MASK, 3, 6)];
        let found = found.map(|(tag, id, permissions)| Ace { tag, id, permissions }).to_vec();
        let text = "user::rwx,user:5:rw-,group::r--,mask::rw-,other::--x";
        assert_eq!(text_of(found).unwrap(), text);
        let tags: Vec<_> = entries_of(text).unwrap().iter().map(|entry| (entry.tag, entry.id)).collect();
        let wanted = [(USER_OBJ, NO_ID), (USER, 5), (GROUP_OBJ, NO_ID), (MASK, NO_ID), (OTHER, NO_ID)];
        assert_eq!(tags, wanted);
    }

    #[test]
    fn kernel_form_is_as_getfattr_shows_it() {
        // setfacl -m u:1000:rw on a file of mode 0644; getfattr -e hex.
        let hex = "0200000001000600ffffffff02000600e803000004000400ffffffff10000600ffffffff20000400ffffffff";
        let raw = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        let text = "user::rw-,user:1000:rw-,group::r--,mask::rw-,other::r--";
        assert_eq!(to_text(&raw).unwrap(), text);
        assert_eq!(from_text(text).unwrap(), raw);
    }

    #[test]
    fn entries_in_another_order_give_the_same_acl() {
        let shuffled =
            "other::--x,mask::rwx,group:4294967294:r--,user:1000:rw-,user:0:---,group::r-x,user::rwx";
        assert_eq!(from_text(shuffled), from_text(TEXT));
    }

    #[test]
    fn wrong_text_is_refused() {
        let minimal = "user::rwx,group::r-x,other::r-x";
        for extra in [
            "",
            "user:1000:rw-",
            "user::rwx",
            "mask::rwx,mask::rwx",
            "mask::rwx,user:1:rwx,user:1:r--",
            "mask::rwx,user:bob:rwx",
            "mask::rwx,user:4294967295:rwx",
            "mask::rwx,user:-1:rwx",
            "mask::rwx,user:+1:rwx",
            "mask:1:rwx",
            "mask::rw",
            "mask::rwxx",
            "mask::wrx",
            "mask::RWX",
            "mask::rwx:5",
            "mask:rwx",
            "owner@:rwx",
        ] {
            let text = format!("{minimal},{extra}");
            assert!(from_text(&text).is_err(), "{text}");
        }
        for text in ["", "user::rwx", "user::rwx,group::r-x"] {
            assert!(from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_bytes_are_refused() {
        let good = from_text(TEXT).unwrap();
        for length in (0..good.len()).filter(|length| *length != good.len()) {
            // Whole entries fewer leave an ACL without other::, parts of entries leave nothing.
            assert!(to_text(&good[..length]).is_err(), "{length}");
        }
        for (at, byte) in [(0, 1), (4, 0x40), (4, 0), (6, 8), (7, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(to_text(&bad).is_err(), "byte {at}");
        }
        let mut nameless = good.clone();
        nameless[16..20].fill(0xff);
        assert!(to_text(&nameless).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_upset_the_decoder(raw in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            if let Ok(text) = to_text(&raw) {
                let again = from_text(&text).unwrap();
                proptest::prop_assert_eq!(to_text(&again).unwrap(), text);
            }
        }
    }
}
