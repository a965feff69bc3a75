//! What says who a jail is, and must differ between two jails of one network.

use super::dialect::{Dialect, is_none};
use super::view::is_static;
use super::{Config, Names};

const ADDRESSES: [&str; 2] = ["ip4_addr", "ip6_addr"];

/// What [`Config::renew_identity`] did to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The key.
    pub key: String,
    /// Its new value; `None` where it was removed, because nobody but the administrator can choose one.
    pub value: Option<String>,
}

impl Config {
    /// Gives the jail another name, where a config of this dialect says it.
    pub fn rename(&mut self, old_name: &str, new_name: &str, dialect: Dialect) {
        let names = Names { old: old_name, new: new_name };
        let of_iocage = (dialect == Dialect::Iocage).then_some("host_hostuuid");
        for key in ["id", "name"].into_iter().chain(of_iocage) {
            if self.get(key).as_deref() == Some(old_name) {
                self.set(key, new_name);
            }
        }
        if let Some(datasets) = self.get("jail_zfs_dataset") {
            let moved: Vec<_> = datasets.split(' ').map(|dataset| moved(dataset, names)).collect();
            self.set("jail_zfs_dataset", &moved.join(" "));
        }
    }

    /// Gives the jail new MAC addresses, host id and host UUID, and takes its static addresses away.
    /// `random` fills a buffer with random bytes.
    pub fn renew_identity(
        &mut self,
        old_name: &str,
        new_name: &str,
        mut random: impl FnMut(&mut [u8]),
    ) -> Vec<Renewed> {
        let mut renewed = Vec::new();
        for key in self.keys() {
            let Some(value) = self.get(&key) else { continue };
            let new = match key.as_str() {
                "host_hostuuid" | "host_hostname" if value == old_name => Some(new_name.to_owned()),
                // It is the name already.
                "host_hostuuid" if value == new_name => continue,
                "hostid" | "host_hostuuid" => Some(uuid(&mut random)),
                key if key.ends_with("_mac") && !is_none(&value) => Some(macs(&value, &mut random)),
                key if ADDRESSES.contains(&key) && is_static(&value) => None,
                _ => continue,
            };
            match &new {
                Some(value) => self.set(&key, value),
                None => drop(self.remove(&key)),
            }
            renewed.push(Renewed { key, value: new });
        }
        renewed
    }
}

/// `iocage/jails/web02/data` for `iocage/jails/web01/data`.
fn moved(dataset: &str, names: Names<'_>) -> String {
    let mut parts: Vec<&str> = dataset.split('/').collect();
    if let Some(at) = parts.windows(2).position(|pair| pair == ["jails", names.old]) {
        parts[at + 1] = names.new;
    }
    parts.join("/")
}

fn uuid(random: &mut impl FnMut(&mut [u8])) -> String {
    let mut b = [0u8; 16];
    random(&mut b);
    b[6] = b[6] & 0x0f | 0x40; // version 4
    b[8] = b[8] & 0x3f | 0x80; // RFC 9562 variant
    let hex = data_encoding::HEXLOWER.encode(&b);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// New addresses in the form of the old ones: a pair (host side, jail side) of consecutive numbers, with colons or
/// without.
fn macs(old: &str, random: &mut impl FnMut(&mut [u8])) -> String {
    let separator = old.chars().find(|c| matches!(c, ',' | ' ')).unwrap_or(',');
    let mut b = [0u8; 6];
    random(&mut b);
    b[0] = b[0] & 0xfc | 0x02; // locally administered, unicast
    b[5] &= 0xfe; // room for the second of the pair
    let count = old.split([',', ' ']).filter(|part| !part.is_empty()).count().max(1);
    let mut all = Vec::new();
    for _ in 0..count {
        let pairs: Vec<String> = b.iter().map(|byte| format!("{byte:02x}")).collect();
        all.push(pairs.join(if old.contains(':') { ":" } else { "" }));
        b[5] = b[5].wrapping_add(1);
    }
    all.join(&separator.to_string())
}
