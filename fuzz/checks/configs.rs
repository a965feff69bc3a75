//! Configs of jails, in each of their forms.

use remand::config::{Assignment, Config, Dialect, Form, View};

use super::is_fit;

pub(super) fn json(data: &[u8]) {
    config(Form::Json, data);
}

pub(super) fn ucl(data: &[u8]) {
    config(Form::Ucl, data);
}

pub(super) fn properties(data: &[u8]) {
    config(Form::Properties, data);
}

fn parse(form: Form, bytes: &[u8]) -> remand::error::Result<Config> {
    Config::parse(form, bytes.to_vec(), "config")
}

/// A config that nobody changes stays byte for byte. What is set is found, and nothing else changes; what is taken away is gone.
fn config(form: Form, data: &[u8]) {
    let config = match parse(form, data) {
        Ok(config) => config,
        Err(error) => return is_fit(&error),
    };
    assert_eq!(config.clone().into_bytes(), data);
    let keys = ["release", "id", "user.comment", "host_hostuuid", "ip4_addr", "vnet0_mac", "a.b.c"];
    let values = |config: &Config| keys.map(|key| config.get(key));
    let before = values(&config);
    for (at, key) in keys.into_iter().enumerate() {
        let others = |after: &Config, how: &str| {
            for (number, (value, before)) in values(after).into_iter().zip(&before).enumerate() {
                assert!(number == at || value == *before, "{} after {how} {key}", keys[number]);
            }
        };
        let mut changed = config.clone();
        changed.set(key, "new");
        assert_eq!(changed.get(key).as_deref(), Some("new"), "{key}");
        let again = parse(form, &changed.into_bytes()).expect("it was printed");
        assert_eq!(again.get(key).as_deref(), Some("new"), "{key}");
        others(&again, "setting");
        let mut changed = config.clone();
        changed.remove(key);
        let again = parse(form, &changed.into_bytes()).expect("it was printed");
        assert_eq!(again.get(key), None, "{key}");
        others(&again, "removing");
        for (value, dialect) in [("a \"b\\", Dialect::Libioc), ("1", Dialect::Iocage)] {
            let mut changed = config.clone();
            if changed.assign(key, value, dialect).is_err() {
                continue;
            }
            let again = parse(form, &changed.into_bytes()).expect("it was printed");
            // A boolean is told as a word.
            assert!(again.get(key).is_some_and(|now| now == value || now == "yes"), "{key}");
            others(&again, "assigning");
        }
    }
    let view = View::of(&config, None);
    let text = serde_json::to_string(&view).expect("it has a JSON form");
    assert_eq!(serde_json::from_str::<View>(&text).expect("it was printed"), view);
    who(form, &config);
    let Ok(text) = std::str::from_utf8(data) else { return };
    for word in text.lines().take(3) {
        for parsed in [Assignment::set(word), Assignment::unset(word)] {
            match parsed {
                Ok(one) => assert!(form.check_key(&one.key).is_ok() || form == Form::Properties),
                Err(error) => is_fit(&error),
            }
        }
    }
}

/// A new identity and a new name are there, and told.
fn who(form: Form, config: &Config) {
    let mut renewed = config.clone();
    let mut next = 0_u8;
    let told = renewed.renew_identity("web01", "web02", |buffer| {
        for byte in buffer {
            next = next.wrapping_add(37);
            *byte = next;
        }
    });
    for one in told {
        assert_eq!(renewed.get(&one.key), one.value, "{}", one.key);
    }
    parse(form, &renewed.into_bytes()).expect("it was printed");
    for dialect in [Dialect::Libioc, Dialect::Iocage] {
        let mut renamed = config.clone();
        renamed.rename("web01", "web02", dialect);
        assert!(["id", "name"].iter().all(|key| renamed.get(key).as_deref() != Some("web01")));
        parse(form, &renamed.into_bytes()).expect("it was printed");
    }
}
