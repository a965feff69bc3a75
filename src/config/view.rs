//! What remand and people want to know of a config, the same for every form and manager.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Config;
use super::dialect::{is_none, is_true};

/// What holds for a jail: its config, and where that says nothing the defaults of its pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// The release that it says to be of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// How it takes its base directories from a release, if it is a basejail: `nullfs`, `zfs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basejail: Option<String>,
    /// Whether it is started when the host starts.
    pub boot: bool,
    /// Whether it is a template.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
    /// Host id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostid: Option<String>,
    /// Host UUID; in iocage the name of the jail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_hostuuid: Option<String>,
    /// IPv4 addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip4: Vec<Address>,
    /// IPv6 addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip6: Vec<Address>,
    /// MAC addresses by interface: of the host's side, then the jail's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub macs: BTreeMap<String, Vec<String>>,
}

/// A network address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// Its interface, where one is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// As in the config: `192.0.2.7/24`, `dhcp`, `accept_rtadv`.
    pub address: String,
}

impl View {
    /// What `config` says, and `defaults` where it says nothing.
    pub fn of(config: &Config, defaults: Option<&Config>) -> Self {
        let get = |key: &str| config.get(key).or_else(|| defaults?.get(key));
        let some = |key: &str| get(key).filter(|value| !is_none(value));
        let on = |key: &str| get(key).is_some_and(|value| is_true(&value));
        // iocage's first version has a type in place of the switch.
        let old_type = config.get("type").is_some_and(|kind| kind == "basejail");
        let basejail = (old_type || on("basejail"))
            .then(|| some("basejail_type").filter(|kind| kind == "zfs").unwrap_or_else(|| "nullfs".into()));
        let mut macs = BTreeMap::new();
        for key in defaults.map(Config::keys).unwrap_or_default().into_iter().chain(config.keys()) {
            if let (Some(interface), Some(value)) = (key.strip_suffix("_mac"), get(&key)) {
                let all = value.split([',', ' ']).filter(|mac| !is_none(mac)).map(str::to_owned);
                macs.insert(interface.to_owned(), all.collect::<Vec<_>>());
            }
        }
        macs.retain(|_, all| !all.is_empty());
        Self {
            release: some("release"),
            basejail,
            boot: on("boot"),
            template: on("template") || config.get("type").is_some_and(|kind| kind == "template"),
            hostid: some("hostid"),
            host_hostuuid: some("host_hostuuid"),
            ip4: get("ip4_addr").map(|value| addresses(&value)).unwrap_or_default(),
            ip6: get("ip6_addr").map(|value| addresses(&value)).unwrap_or_default(),
            macs,
        }
    }

    /// What is otherwise than in `before`, of what `said` does not say: the key, and both values as text.
    pub(crate) fn differences(
        &self,
        before: &Self,
        said: impl Fn(&str) -> bool,
    ) -> Vec<(String, [String; 2])> {
        let word = |on: bool| Some(if on { "yes" } else { "no" }.to_owned());
        let list = |all: &[Address]| {
            (!all.is_empty()).then(|| all.iter().map(Address::text).collect::<Vec<_>>().join(","))
        };
        let of = |view: &Self| {
            let mut all = vec![
                ("release".to_owned(), view.release.clone()),
                ("basejail".to_owned(), Some(view.basejail.clone().unwrap_or_else(|| "no".into()))),
                ("boot".to_owned(), word(view.boot)),
                ("template".to_owned(), word(view.template)),
                ("hostid".to_owned(), view.hostid.clone()),
                ("host_hostuuid".to_owned(), view.host_hostuuid.clone()),
                ("ip4_addr".to_owned(), list(&view.ip4)),
                ("ip6_addr".to_owned(), list(&view.ip6)),
            ];
            let interfaces =
                self.macs.keys().chain(before.macs.keys()).collect::<std::collections::BTreeSet<_>>();
            all.extend(interfaces.into_iter().map(|interface| {
                (format!("{interface}_mac"), view.macs.get(interface).map(|all| all.join(",")))
            }));
            all
        };
        let pairs = of(before).into_iter().zip(of(self));
        let told = |value: Option<String>| value.unwrap_or_else(|| "none".into());
        pairs
            .filter(|((key, was), (_, is))| was != is && !said(key))
            .map(|((key, was), (_, is))| (key, [told(was), told(is)]))
            .collect()
    }
}

impl Address {
    /// `vnet0|192.0.2.7/24`.
    pub fn text(&self) -> String {
        match &self.interface {
            Some(interface) => format!("{interface}|{}", self.address),
            None => self.address.clone(),
        }
    }
}

fn addresses(value: &str) -> Vec<Address> {
    let parts = value.split(',').map(str::trim);
    let one = |part: &str| match part.split_once('|') {
        Some((interface, address)) => {
            Address { interface: Some(interface.to_owned()), address: address.to_owned() }
        }
        None => Address { interface: None, address: part.to_owned() },
    };
    parts.map(one).filter(|one| !is_none(&one.address)).collect()
}

/// Whether a list of addresses has one that only one jail can have.
pub(super) fn is_static(value: &str) -> bool {
    value.split(',').any(|part| {
        let address = part.rsplit('|').next().unwrap_or(part).trim();
        let own = ["dhcp", "accept_rtadv", "inherit"];
        !is_none(address) && !own.iter().any(|word| address.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::*;

    fn config(form: Form, text: &str) -> Config {
        Config::parse(form, text.as_bytes().to_vec(), "config").unwrap()
    }

    /// The same jail in each form.
    fn forms() -> [Config; 3] {
        [
            config(
                Form::Json,
                r#"{"release": "14.2-RELEASE", "basejail": 1, "boot": true, "template": "no", "hostid": "none",
                "host_hostuuid": "web01", "ip4_addr": "vnet0|192.0.2.7/24,192.0.2.8", "ip6_addr": "vnet0|accept_rtadv",
                "vnet0_mac": "02ff60aabbcc 02ff60aabbcd", "vnet1_mac": "none"}"#,
            ),
            config(
                Form::Ucl,
                "release = 14.2-RELEASE; basejail: on\nboot = YES\nhostid = -\nhost_hostuuid web01;\n\
                ip4_addr = [\"vnet0|192.0.2.7/24\", 192.0.2.8]\nip6_addr = vnet0|accept_rtadv # later\n\
                vnet0_mac = \"02ff60aabbcc,02ff60aabbcd\";\n",
            ),
            config(
                Form::Properties,
                r#"{"org.freebsd.iocage:release": "14.2-RELEASE", "org.freebsd.iocage:type": "basejail",
                "org.freebsd.iocage:boot": "on", "org.freebsd.iocage:host_hostuuid": "web01",
                "org.freebsd.iocage:ip4_addr": "vnet0|192.0.2.7/24,192.0.2.8",
                "org.freebsd.iocage:ip6_addr": "vnet0|accept_rtadv",
                "org.freebsd.iocage:vnet0_mac": "02ff60aabbcc,02ff60aabbcd"}"#,
            ),
        ]
    }

    #[test]
    fn each_form_says_the_same() {
        let address = |interface: Option<&str>, address: &str| Address {
            interface: interface.map(str::to_owned),
            address: address.into(),
        };
        let expected = View {
            release: Some("14.2-RELEASE".into()),
            basejail: Some("nullfs".into()),
            boot: true,
            template: false,
            hostid: None,
            host_hostuuid: Some("web01".into()),
            ip4: vec![address(Some("vnet0"), "192.0.2.7/24"), address(None, "192.0.2.8")],
            ip6: vec![address(Some("vnet0"), "accept_rtadv")],
            macs: BTreeMap::from([("vnet0".into(), vec!["02ff60aabbcc".into(), "02ff60aabbcd".into()])]),
        };
        for config in forms() {
            assert_eq!(View::of(&config, None), expected, "{:?}", config.form());
        }
    }

    #[test]
    fn defaults_hold_where_the_config_says_nothing() {
        let defaults = config(
            Form::Json,
            r#"{"boot": "yes", "basejail": "on", "basejail_type": "zfs", "vnet1_mac": "02ff60000001", "ip4_addr": "none"}"#,
        );
        let empty = config(Form::Json, "{}");
        let view = View::of(&empty, Some(&defaults));
        assert_eq!((view.boot, view.basejail.as_deref()), (true, Some("zfs")));
        assert_eq!((view.ip4.len(), view.macs.len()), (0, 1));
        let own = config(Form::Json, r#"{"boot": "no", "basejail": 0}"#);
        let view = View::of(&own, Some(&defaults));
        assert_eq!((view.boot, view.basejail), (false, None));
    }

    #[test]
    fn differences_are_of_what_the_config_leaves_open() {
        let here = config(Form::Json, r#"{"boot": 1, "hostid": "b", "em0_mac": "020000000001"}"#);
        let before = View { hostid: Some("a".into()), ..View::default() };
        let own = config(Form::Json, r#"{"hostid": "b"}"#);
        let view = View::of(&own, Some(&here));
        let found = view.differences(&before, |key| own.get(key).is_some());
        let expect = [("boot", ["no", "yes"]), ("em0_mac", ["none", "020000000001"])];
        let found: Vec<_> =
            found.iter().map(|(key, [was, is])| (key.as_str(), [was.as_str(), is.as_str()])).collect();
        assert_eq!(found, expect);
    }
}
