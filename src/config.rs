//! A resource's config: kept byte for byte, read through a small typed view.
//!
//! libioc writes JSON with dotted keys (`"user.comment"`), nested ones, or both, and values as strings or native
//! types. The view sees one name for each: `user.comment`.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Keys that say who a jail is, and must differ between two jails of one network.
const ADDRESSES: [&str; 2] = ["ip4_addr", "ip6_addr"];

/// A config in JSON form.
#[derive(Clone, Debug)]
pub struct Config {
    bytes: Vec<u8>,
    root: Map<String, Value>,
    changed: bool,
}

/// What [`Config::renew_identity`] did to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The key.
    pub key: String,
    /// Its new value; `None` where it was removed, because nobody but the administrator can choose one.
    pub value: Option<String>,
}

impl Config {
    /// Reads a config. `subject` is what messages call it.
    pub fn parse(bytes: Vec<u8>, subject: &str) -> Result<Self> {
        let malformed = |reason: String| Error::Malformed { subject: subject.to_owned(), reason };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(root)) => Ok(Self { bytes, root, changed: false }),
            Ok(_) => Err(malformed("it is JSON, but no object".into())),
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    /// The value at `key` as text; native values as libioc would write them (`yes` and `no` for booleans). `None`
    /// where there is none, or null, or an object.
    pub fn get(&self, key: &str) -> Option<String> {
        text(find(&self.root, key)?)
    }

    /// Sets `key` where it stands, or as a new key at the top.
    pub fn set(&mut self, key: &str, value: &str) {
        if self.get(key).as_deref() == Some(value) {
            return;
        }
        self.changed = true;
        match find_mut(&mut self.root, key) {
            Some(slot) => *slot = Value::String(value.to_owned()),
            None => {
                self.root.insert(key.to_owned(), Value::String(value.to_owned()));
            }
        }
    }

    /// Takes a key away; says whether it was there.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let was_there = remove(&mut self.root, key);
        self.changed |= was_there;
        was_there
    }

    /// Gives the jail another name, where the config says it.
    pub fn rename(&mut self, old_name: &str, new_name: &str) {
        for key in ["id", "name"] {
            if self.get(key).as_deref() == Some(old_name) {
                self.set(key, new_name);
            }
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
        for key in keys(&self.root, "") {
            let Some(value) = self.get(&key) else { continue };
            let new = match key.as_str() {
                "host_hostuuid" | "host_hostname" if value == old_name => Some(new_name.to_owned()),
                "hostid" | "host_hostuuid" => Some(uuid(&mut random)),
                key if key.ends_with("_mac") && !matches!(value.as_str(), "" | "none") => {
                    Some(macs(&value, &mut random))
                }
                key if ADDRESSES.contains(&key) && is_static(&value) => None,
                _ => continue,
            };
            match &new {
                Some(value) => self.set(&key, value),
                None => {
                    self.remove(&key);
                }
            }
            renewed.push(Renewed { key, value: new });
        }
        renewed
    }

    /// The config's bytes: those that were read if nothing was changed, else JSON with the same indentation.
    pub fn into_bytes(self) -> Vec<u8> {
        if !self.changed {
            return self.bytes;
        }
        let indent: Vec<u8> = self
            .bytes
            .split(|&byte| byte == b'\n')
            .skip(1)
            .map(|line| {
                line.iter().copied().take_while(|byte| matches!(byte, b' ' | b'\t')).collect::<Vec<u8>>()
            })
            .find(|blanks| !blanks.is_empty())
            .unwrap_or_else(|| b"    ".to_vec());
        let mut out = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(&indent);
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
        serde::Serialize::serialize(&self.root, &mut serializer)
            .expect("JSON values can be written to memory");
        if self.bytes.ends_with(b"\n") {
            out.push(b'\n');
        }
        out
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(true) => Some("yes".into()),
        Value::Bool(false) => Some("no".into()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => {
            items.iter().map(text).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// The value at a dotted key, whichever way its parts are nested.
fn find<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    if let Some(value) = map.get(key) {
        return Some(value);
    }
    key.match_indices('.').find_map(|(at, _)| match map.get(&key[..at]) {
        Some(Value::Object(inner)) => find(inner, &key[at + 1..]),
        _ => None,
    })
}

fn find_mut<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Value> {
    if map.contains_key(key) {
        return map.get_mut(key);
    }
    let at = key.match_indices('.').map(|(at, _)| at).find(|&at| {
        matches!(map.get(&key[..at]), Some(Value::Object(inner)) if find(inner, &key[at + 1..]).is_some())
    })?;
    match map.get_mut(&key[..at]) {
        Some(Value::Object(inner)) => find_mut(inner, &key[at + 1..]),
        _ => None,
    }
}

fn remove(map: &mut Map<String, Value>, key: &str) -> bool {
    if map.shift_remove(key).is_some() {
        return true;
    }
    let at: Vec<usize> = key.match_indices('.').map(|(at, _)| at).collect();
    at.into_iter().any(|at| match map.get_mut(&key[..at]) {
        Some(Value::Object(inner)) => remove(inner, &key[at + 1..]),
        _ => false,
    })
}

fn keys(map: &Map<String, Value>, above: &str) -> Vec<String> {
    map.iter()
        .flat_map(|(key, value)| match value {
            Value::Object(inner) => keys(inner, &format!("{above}{key}.")),
            _ => vec![format!("{above}{key}")],
        })
        .collect()
}

fn is_static(value: &str) -> bool {
    value.split(',').any(|part| {
        let address = part.rsplit('|').next().unwrap_or(part).trim();
        !matches!(address.to_ascii_lowercase().as_str(), "" | "none" | "dhcp" | "accept_rtadv" | "inherit")
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes().to_vec(), "config.json").unwrap()
    }

    fn counting() -> impl FnMut(&mut [u8]) {
        let mut next = 0u8;
        move |buffer| buffer.iter_mut().for_each(|byte| (*byte, next) = (next, next.wrapping_add(1)))
    }

    #[test]
    fn nested_dotted_and_native_values_have_one_name() {
        let c = config(r#"{"user": {"a.b": 7, "c": {"d": true}}, "x.y": {"z": null}, "list": ["a", 1]}"#);
        assert_eq!(c.get("user.a.b").as_deref(), Some("7"));
        assert_eq!(c.get("user.c.d").as_deref(), Some("yes"));
        assert_eq!(c.get("x.y.z"), None);
        assert_eq!(c.get("list").as_deref(), Some("a,1"));
        assert_eq!(c.get("user.c"), None);
    }

    #[test]
    fn unchanged_is_byte_for_byte() {
        let text = "{ \"b\" : 1,\n\t\"a\":\"\\u00fc\" }";
        let mut c = config(text);
        c.set("b", "1");
        assert_eq!(c.into_bytes(), text.as_bytes());
    }

    #[test]
    fn a_change_keeps_order_and_indentation() {
        let mut c = config("{\n  \"release\": \"a\",\n  \"user\": {\n    \"k\": 1\n  }\n}\n");
        c.set("release", "b");
        c.set("user.k", "2");
        let text = String::from_utf8(c.into_bytes()).unwrap();
        assert_eq!(text, "{\n  \"release\": \"b\",\n  \"user\": {\n    \"k\": \"2\"\n  }\n}\n");
    }

    #[test]
    fn a_new_identity_touches_what_must_differ_and_nothing_else() {
        let mut c = config(
            r#"{"hostid":"4c4c4544-0051-3310-8051-b4c04f4a3433","host_hostuuid":"web01","vnet0_mac":"63ecac12d0f8,63ecac12d0f9",
            "ip4_addr":"vnet0|192.168.24.2/24","ip6_addr":"vnet1|accept_rtadv","release":"14.2"}"#,
        );
        let keys: Vec<_> =
            c.renew_identity("web01", "web02", counting()).into_iter().map(|r| r.key).collect();
        assert_eq!(keys, ["hostid", "host_hostuuid", "vnet0_mac", "ip4_addr"]);
        assert_eq!(c.get("hostid").as_deref(), Some("00010203-0405-4607-8809-0a0b0c0d0e0f"));
        assert_eq!(c.get("host_hostuuid").as_deref(), Some("web02"));
        assert_eq!(c.get("vnet0_mac").as_deref(), Some("121112131414,121112131415"));
        assert_eq!(c.get("ip4_addr"), None);
        assert_eq!(c.get("ip6_addr").as_deref(), Some("vnet1|accept_rtadv"));
    }

    #[test]
    fn what_is_no_object_is_an_error_that_names_the_file() {
        let error = Config::parse(b"[1]".to_vec(), "web01/config.json").unwrap_err().to_string();
        assert_eq!(error, "web01/config.json cannot be understood: it is JSON, but no object");
    }
}
