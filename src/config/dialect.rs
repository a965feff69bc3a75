//! How managers spell the same config, and from the one to the other.
//!
//! libioc writes all values as text, its switches as `yes` and `no`; it cannot read a number as a switch. iocage keeps its switches
//! as the numbers 1 and 0. In iocage `host_hostuuid` is the name of the jail, and there are keys that a jail must have.

use super::Config;

/// How a manager writes a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// As libioc.
    Libioc,
    /// As iocage.
    Iocage,
}

impl Dialect {
    /// That of the layout which a manifest names.
    pub fn of_layout(name: &str) -> Option<Self> {
        match name {
            "libioc" => Some(Self::Libioc),
            "iocage" => Some(Self::Iocage),
            _ => None,
        }
    }

    /// Why a key is not for the user to set: remand decides it. What to do instead.
    pub(crate) fn decided(self, key: &str) -> Option<&'static str> {
        match key {
            "id" | "name" | "uuid" => Some("it is the name of the jail: use --name"),
            "host_hostuuid" if self == Self::Iocage => Some("it is the name of the jail: use --name"),
            "release" | "cloned_release" => Some("it is what the root is built on: use --base"),
            _ => None,
        }
    }
}

/// Keys that are switches for iocage, which keeps them as numbers.
const SWITCHES: [&str; 37] = [
    "allow_chflags",
    "allow_mlock",
    "allow_mount",
    "allow_mount_devfs",
    "allow_mount_fdescfs",
    "allow_mount_fusefs",
    "allow_mount_nullfs",
    "allow_mount_procfs",
    "allow_mount_tmpfs",
    "allow_mount_zfs",
    "allow_quotas",
    "allow_raw_sockets",
    "allow_set_hostname",
    "allow_socket_af",
    "allow_sysvipc",
    "allow_tun",
    "allow_vmm",
    "assign_localhost",
    "basejail",
    "boot",
    "bpf",
    "dhcp",
    "exec_clean",
    "host_time",
    "hostid_strict_check",
    "ip4_saddrsel",
    "ip6_saddrsel",
    "ip_hostname",
    "jail_zfs",
    "mount_devfs",
    "mount_fdescfs",
    "mount_linprocfs",
    "mount_procfs",
    "nat",
    "rtsold",
    "template",
    "vnet",
];

pub(super) fn is_switch(key: &str) -> bool {
    SWITCHES.binary_search(&key).is_ok()
}

/// As libioc and iocage read a switch; `None` for what is neither on nor off.
pub(super) fn truth(value: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    if is(["yes", "true", "on", "1"]) {
        return Some(true);
    }
    is(["no", "false", "off", "0"]).then_some(false)
}

/// Whether a switch is on. What is neither is off.
pub(crate) fn is_true(value: &str) -> bool {
    truth(value) == Some(true)
}

/// As libioc and iocage say that there is no value.
pub(super) fn is_none(value: &str) -> bool {
    ["", "-", "none"].iter().any(|none| value.eq_ignore_ascii_case(none))
}

/// What a jail is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// In the archive.
    pub(crate) old: &'a str,
    /// As it is restored.
    pub(crate) new: &'a str,
}

/// A config as another manager writes it.
pub(crate) struct Translated {
    pub(crate) config: Config,
    /// Whether it is another form now.
    pub(crate) reformed: bool,
    /// Keys that were written otherwise.
    pub(crate) respelled: Vec<String>,
    /// What the other manager has no words for: keys, values and why.
    pub(crate) lost: Vec<(String, String)>,
}

impl Config {
    /// This config as `to` writes it: itself if nothing has to be changed, otherwise JSON.
    pub(crate) fn translated(self, (from, to): (Dialect, Dialect), names: Names<'_>) -> Translated {
        let unchanged =
            |config| Translated { config, reformed: false, respelled: Vec::new(), lost: Vec::new() };
        if from == to {
            return unchanged(self);
        }
        let (json, lost) = self.to_json();
        let mut one = Translated {
            config: json,
            reformed: self.form() != super::Form::Json,
            ..unchanged(self.clone())
        };
        one.switches(to);
        one.depends(to);
        match to {
            Dialect::Libioc => one.for_libioc(names),
            Dialect::Iocage => one.for_iocage(names),
        }
        if one.respelled.is_empty() {
            // What it cannot say is still said.
            return Translated { lost: one.lost, ..unchanged(self) };
        }
        one.lost.extend(lost);
        one
    }
}

impl Translated {
    fn set(&mut self, key: &str, value: &str) {
        if self.config.get(key).as_deref() != Some(value) {
            self.config.set(key, value);
            self.respelled.push(key.to_owned());
        }
    }

    fn lose(&mut self, key: &str, why: &str) {
        let value = self.config.get(key).unwrap_or_default();
        self.lost.push((key.to_owned(), format!("{value}: {why}")));
    }

    fn switches(&mut self, to: Dialect) {
        for key in SWITCHES {
            let Some(on) = self.config.get(key).as_deref().and_then(truth) else { continue };
            match to {
                // Only numbers trouble libioc.
                Dialect::Libioc if self.config.is_number(key) => self.set(key, if on { "yes" } else { "no" }),
                Dialect::Iocage if !self.config.is_number(key) => {
                    self.config.set_number(key, u8::from(on));
                    self.respelled.push(key.to_owned());
                }
                _ => {}
            }
        }
    }

    /// libioc has commas between jails that must run before, iocage blanks.
    fn depends(&mut self, to: Dialect) {
        let Some(value) = self.config.get("depends").filter(|value| !is_none(value)) else { return };
        let parts = value.split([',', ' ']).filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let value = parts.join(if to == Dialect::Libioc { "," } else { " " });
        self.set("depends", &value);
    }

    fn for_libioc(&mut self, names: Names<'_>) {
        if self.config.get("host_hostuuid").is_some_and(|uuid| uuid == names.old || uuid == names.new) {
            self.config.remove("host_hostuuid"); // no UUID, and libioc knows the name
            self.respelled.push("host_hostuuid".into());
        }
        for key in ["CONFIG_VERSION", "CONFIG_TYPE"] {
            if self.config.remove(key) {
                self.respelled.push(key.into());
            }
        }
    }

    fn for_iocage(&mut self, names: Names<'_>) {
        if self.config.get("type").as_deref() == Some("basejail") {
            self.set("type", "jail");
            self.config.set_number("basejail", 1);
        }
        let uuid = self.config.get("host_hostuuid").filter(|uuid| !is_none(uuid));
        if uuid.is_some_and(|uuid| uuid != names.old && uuid != names.new) {
            self.lose("host_hostuuid", "in iocage it is the name of the jail");
        }
        self.set("host_hostuuid", names.new);
        let release = self.config.get("release");
        let missing = [
            ("host_hostname", Some(names.new.replace('_', "-"))),
            ("cloned_release", release),
            ("jail_zfs_dataset", Some(format!("iocage/jails/{}/data", names.new))),
        ];
        for (key, value) in missing {
            if let (None, Some(value)) = (self.config.get(key), value) {
                self.set(key, &value);
            }
        }
        if self.config.get("basejail_type").as_deref() == Some("zfs") {
            self.lose("basejail_type", "basejails of iocage take all from mounts of the fstab");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::*;

    const NAMES: Names<'_> = Names { old: "web01", new: "web02" };

    fn translated(form: Form, text: &str, to: Dialect) -> Translated {
        let from = if to == Dialect::Libioc { Dialect::Iocage } else { Dialect::Libioc };
        Config::parse(form, text.as_bytes().to_vec(), "config").unwrap().translated((from, to), NAMES)
    }

    #[test]
    fn the_table_of_switches_is_sorted_and_words_are_read_as_managers_do() {
        assert!(SWITCHES.is_sorted() && is_switch("boot") && is_switch("vnet") && !is_switch("priority"));
        for (word, expected) in [("YES", Some(true)), ("1", Some(true)), ("off", Some(false)), ("2", None)] {
            assert_eq!(truth(word), expected, "{word}");
        }
    }

    #[test]
    fn iocage_gets_numbers_and_what_a_jail_must_have() {
        let text = r#"{"boot": "yes", "basejail": false, "allow_mount": "0", "priority": "7", "release": "14.2-RELEASE",
            "host_hostuuid": "4c4c4544-0051-3310-8051-b4c04f4a3433", "basejail_type": "zfs", "depends": "db,mail"}"#;
        let found = translated(Form::Json, text, Dialect::Iocage);
        let value: serde_json::Value = serde_json::from_slice(&found.config.into_bytes()).unwrap();
        let expected = serde_json::json!({
            "boot": 1, "basejail": 0, "allow_mount": 0, "priority": "7", "release": "14.2-RELEASE", "host_hostuuid": "web02",
            "basejail_type": "zfs", "depends": "db mail", "host_hostname": "web02", "cloned_release": "14.2-RELEASE",
            "jail_zfs_dataset": "iocage/jails/web02/data",
        });
        assert_eq!(value, expected);
        let lost: Vec<_> = found.lost.iter().map(|(key, why)| format!("{key} {why}")).collect();
        assert_eq!(
            lost,
            [
                "host_hostuuid 4c4c4544-0051-3310-8051-b4c04f4a3433: in iocage it is the name of the jail",
                "basejail_type zfs: basejails of iocage take all from mounts of the fstab",
            ]
        );
    }

    #[test]
    fn libioc_gets_words_and_nothing_of_iocages_own() {
        let text = r#"{"boot": 1, "vnet": 0, "dhcp": "1", "priority": 7, "host_hostuuid": "web01", "CONFIG_VERSION": "29"}"#;
        let found = translated(Form::Json, text, Dialect::Libioc);
        assert_eq!(found.respelled, ["boot", "vnet", "host_hostuuid", "CONFIG_VERSION"]);
        let value: serde_json::Value = serde_json::from_slice(&found.config.into_bytes()).unwrap();
        assert_eq!(value, serde_json::json!({"boot": "yes", "vnet": "no", "dhcp": "1", "priority": 7}));
    }

    #[test]
    fn what_both_say_alike_stays_as_it_is_and_in_its_form() {
        let text = "boot = yes; # at once\nhost_hostuuid: 4c4c4544-0051-3310-8051-b4c04f4a3433\n";
        let found = translated(Form::Ucl, text, Dialect::Libioc);
        assert!(!found.reformed && found.lost.is_empty());
        assert_eq!(found.config.into_bytes(), text.as_bytes());
        let found = translated(Form::Ucl, text, Dialect::Iocage);
        assert!(found.reformed && found.config.form() == Form::Json);
        let found =
            translated(Form::Properties, r#"{"org.freebsd.iocage:type": "basejail"}"#, Dialect::Iocage);
        assert_eq!(
            (found.config.get("type").as_deref(), found.config.get("basejail").as_deref()),
            (Some("jail"), Some("1"))
        );
    }
}
