//! `NFSv4` ACLs: FreeBSD's entries and their text.
//!
//! The text is that of `SCHILY.acl.ace`, as libarchive writes it where no name is known: entries in the order in which they count, with
//! commas between, each `owner@`, `group@`, `everyone@`, `user:ID` or `group:ID`, then permissions, inheritance and `allow` or `deny`:
//! `user:1000:rwx:fd:allow`. Letters come in a fixed order, so that one ACL has one text; read are also those that have `-` for what is
//! absent, and the number once more at the end, as libarchive and star have it. Nothing else is: who cannot read an entry must not
//! restore the others.

use std::fmt::Write;

/// An ACL that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Not an NFSv4 ACL: {0}")]
pub(crate) struct InvalidAcl(String);

/// One entry, in the numbers of FreeBSD's `sys/acl.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ace {
    /// Whom it is for.
    pub tag: u32,
    /// User or group, where the tag names one; else [`NO_ID`].
    pub id: u32,
    /// What is allowed or denied.
    pub permissions: u32,
    /// Whether it allows or denies.
    pub kind: u16,
    /// Who inherits it.
    pub flags: u16,
}

/// `ACL_UNDEFINED_ID`
pub(crate) const NO_ID: u32 = u32::MAX;

const USER_OBJ: u32 = 0x01;
const USER: u32 = 0x02;
const GROUP_OBJ: u32 = 0x04;
const GROUP: u32 = 0x08;
const EVERYONE: u32 = 0x40;

const KINDS: [(u16, &str); 4] = [(0x0100, "allow"), (0x0200, "deny"), (0x0400, "audit"), (0x0800, "alarm")];

/// `ACL_READ_DATA` and so on.
const PERMISSIONS: [(u32, char); 14] = [
    (0x0008, 'r'),
    (0x0010, 'w'),
    (0x0001, 'x'),
    (0x0020, 'p'),
    (0x0800, 'd'),
    (0x0100, 'D'),
    (0x0200, 'a'),
    (0x0400, 'A'),
    (0x0040, 'R'),
    (0x0080, 'W'),
    (0x1000, 'c'),
    (0x2000, 'C'),
    (0x4000, 'o'),
    (0x8000, 's'),
];

/// `ACL_ENTRY_FILE_INHERIT` and so on.
const FLAGS: [(u16, char); 7] =
    [(0x01, 'f'), (0x02, 'd'), (0x08, 'i'), (0x04, 'n'), (0x10, 'S'), (0x20, 'F'), (0x80, 'I')];

/// Text of an ACL.
pub(crate) fn text_of(entries: &[Ace]) -> Result<String, InvalidAcl> {
    let mut text = String::with_capacity(entries.len() * 32);
    for entry in entries {
        let unknown = |what: &str, bits: u32| InvalidAcl(format!("{what} {bits:#x}"));
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(match entry.tag {
            USER_OBJ => "owner@",
            GROUP_OBJ => "group@",
            EVERYONE => "everyone@",
            USER => "user",
            GROUP => "group",
            tag => return Err(unknown("tag", tag)),
        });
        if matches!(entry.tag, USER | GROUP) {
            if entry.id == NO_ID {
                return Err(InvalidAcl("named entry without id".to_owned()));
            }
            let _ = write!(text, ":{}", entry.id);
        }
        text.push(':');
        let letters = PERMISSIONS.iter().filter(|(bit, _)| entry.permissions & bit != 0);
        text.extend(letters.map(|(_, letter)| letter));
        text.push(':');
        text.extend(FLAGS.iter().filter(|(bit, _)| entry.flags & bit != 0).map(|(_, letter)| letter));
        text.push(':');
        let kind = KINDS.iter().find(|(kind, _)| *kind == entry.kind);
        text.push_str(kind.ok_or_else(|| unknown("type", entry.kind.into()))?.1);
        let known = PERMISSIONS.iter().fold(0, |all, (bit, _)| all | bit);
        if entry.permissions & !known != 0 {
            return Err(unknown("permissions", entry.permissions));
        }
        if entry.flags & !FLAGS.iter().fold(0, |all, (bit, _)| all | bit) != 0 {
            return Err(unknown("flags", entry.flags.into()));
        }
    }
    if text.is_empty() { Err(InvalidAcl("no entries".to_owned())) } else { Ok(text) }
}

/// The entries of an ACL from text.
pub(crate) fn entries_of(text: &str) -> Result<Vec<Ace>, InvalidAcl> {
    let entry = |text: &str| entry_of(text).ok_or_else(|| InvalidAcl(format!("{text:?}")));
    text.split(',').map(entry).collect()
}

fn entry_of(text: &str) -> Option<Ace> {
    let mut parts = text.split(':');
    let tag = match parts.next()? {
        "owner@" => USER_OBJ,
        "group@" => GROUP_OBJ,
        "everyone@" => EVERYONE,
        "user" => USER,
        "group" => GROUP,
        _ => return None,
    };
    let named = matches!(tag, USER | GROUP);
    let id = if named { id_of(parts.next()?)? } else { NO_ID };
    let permissions = bits_of(parts.next()?, &PERMISSIONS)?;
    let flags = bits_of(parts.next()?, &FLAGS)?;
    let word = parts.next()?;
    let (kind, _) = *KINDS.iter().find(|(_, name)| *name == word)?;
    match parts.next() {
        None => {}
        Some(again) if named && id_of(again)? == id => {}
        Some(_) => return None,
    }
    parts.next().is_none().then_some(Ace { tag, id, permissions, kind, flags })
}

fn id_of(digits: &str) -> Option<u32> {
    let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|&id| good && id != NO_ID)
}

/// The bits of letters, each at most once; `-` stands for none.
fn bits_of<T: Copy + Default + PartialEq + std::ops::BitOr<Output = T> + std::ops::BitAnd<Output = T>>(
    letters: &str,
    table: &[(T, char)],
) -> Option<T> {
    letters.chars().filter(|&letter| letter != '-').try_fold(T::default(), |bits, letter| {
        let (bit, _) = *table.iter().find(|(_, known)| *known == letter)?;
        (bits & bit == T::default()).then_some(bits | bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "owner@:rwxpdDaARWcCos:fdinSFI:allow,user:0:::deny,user:4294967294:rx:fd:allow,\
                        group@:r:d:audit,group:1000:w:n:alarm,everyone@:aRcs::allow";

    #[test]
    fn text_and_entries_are_each_others_inverse() {
        for text in [TEXT, "everyone@:::deny", "owner@:rwx::allow,owner@:rwx::allow"] {
            let entries = entries_of(text).unwrap();
            assert_eq!(text_of(&entries).unwrap(), text);
        }
    }

    #[test]
    fn entries_are_those_of_the_system() {
        // The numbers of sys/acl.h; order counts and stays.
        let entries = [
            Ace { tag: 0x40, id: NO_ID, permissions: 0x9240, kind: 0x0100, flags: 0 },
            Ace { tag: 0x02, id: 1000, permissions: 0x0019, kind: 0x0200, flags: 0x83 },
        ];
        let text = "everyone@:aRcs::allow,user:1000:rwx:fdI:deny";
        assert_eq!(text_of(&entries).unwrap(), text);
        assert_eq!(entries_of(text).unwrap(), entries);
    }

    #[test]
    fn forms_of_others_are_read() {
        let short = "owner@:rwp:fd:allow,user:1000:rx::deny";
        for other in [
            // libarchive, for a user without a name.
            "owner@:rwp:fd:allow,user:1000:rx::deny:1000",
            // star, and getfacl(1) on one line.
            "owner@:rw-p----------:fd-----:allow,user:1000:r-x-----------:-------:deny:1000",
            "owner@:pwr:df:allow,user:1000:xr::deny",
        ] {
            assert_eq!(entries_of(other), entries_of(short), "{other}");
        }
    }

    #[test]
    fn wrong_text_is_refused() {
        for text in [
            "",
            ",",
            "owner@:rwx::allow,",
            "owner@:rwx:allow",
            "owner@:rwx::allow:0",
            "owner@::rwx::allow",
            "other@:rwx::allow",
            "user:bob:rwx::allow",
            "user::rwx::allow",
            "user:4294967295:rwx::allow",
            "user:+1:rwx::allow",
            "user:1:rwx::allow:2",
            "user:1:rwx::allow:1:1",
            "group:1:rwxz::allow",
            "group:1:rr::allow",
            "group:1:r:q:allow",
            "group:1:r::Allow",
            "group:1:r::",
            "user::rwx",
        ] {
            assert!(entries_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_has_no_text_is_refused() {
        let good = Ace { tag: USER_OBJ, id: NO_ID, permissions: 8, kind: 0x0100, flags: 0 };
        assert!(text_of(&[good]).is_ok() && text_of(&[]).is_err());
        for bad in [
            Ace { tag: 0x10, ..good },
            Ace { tag: USER, ..good },
            Ace { permissions: 2, ..good },
            Ace { permissions: 0x10000, ..good },
            Ace { kind: 0, ..good },
            Ace { flags: 0x40, ..good },
        ] {
            assert!(text_of(&[good, bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_two_letters_share_a_bit() {
        let all: u32 = PERMISSIONS.iter().map(|(bit, _)| bit).sum();
        assert_eq!(all, 0xfff9, "ACL_FULL_SET");
        assert_eq!(FLAGS.iter().map(|(bit, _)| bit).sum::<u16>(), 0xbf, "ACL_FLAGS_BITS");
    }

    proptest::proptest! {
        #[test]
        fn no_text_upsets_the_parser(text in "(owner@|user|group|:|[0-9]{1,3}|[rwxpdDfdI-]{0,3}|allow|deny|,){0,24}") {
            if let Ok(entries) = entries_of(&text) {
                let again = text_of(&entries).unwrap();
                proptest::prop_assert_eq!(entries_of(&again).unwrap(), entries);
            }
        }
    }
}
