//! What holds for every form of a config, and changes of it.

use proptest::prelude::*;

use super::*;

fn config(text: &str) -> Config {
    Config::parse(Form::Json, text.as_bytes().to_vec(), "config.json").unwrap()
}

fn text(config: Config) -> String {
    String::from_utf8(config.into_bytes()).unwrap()
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
    let source = "{ \"b\" : 1,\n\t\"a\":\"\\u00fc\" }";
    let mut c = config(source);
    c.set("b", "1");
    assert_eq!(c.into_bytes(), source.as_bytes());
}

#[test]
fn a_change_keeps_order_and_indentation() {
    let mut c = config("{\n  \"release\": \"a\",\n  \"user\": {\n    \"k\": 1\n  }\n}\n");
    c.set("release", "b");
    c.set("user.k", "2");
    assert_eq!(text(c), "{\n  \"release\": \"b\",\n  \"user\": {\n    \"k\": \"2\"\n  }\n}\n");
}

/// The same jail in each form, and what becomes of it.
#[test]
fn a_new_identity_touches_what_must_differ_and_nothing_else() {
    let json = r#"{"hostid":"4c4c4544-0051-3310-8051-b4c04f4a3433","host_hostuuid":"web01","vnet0_mac":"63ecac12d0f8,63ecac12d0f9",
        "ip4_addr":"vnet0|192.168.24.2/24","ip6_addr":"vnet1|accept_rtadv","release":"14.2"}"#;
    let ucl = "hostid = 4c4c4544-0051-3310-8051-b4c04f4a3433; host_hostuuid: web01 # who\nvnet0_mac = \"63ecac12d0f8,63ecac12d0f9\"\n\
        ip4_addr \"vnet0|192.168.24.2/24\";\nip6_addr = vnet1|accept_rtadv\nrelease = 14.2\n";
    let mut all: Vec<_> = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json)
        .unwrap()
        .into_iter()
        .collect();
    all.sort_by_key(|(key, _)| !key.starts_with("hostid"));
    let properties: serde_json::Map<_, _> =
        all.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect();
    let properties = serde_json::Value::from(properties).to_string();
    for (form, source) in [(Form::Json, json), (Form::Ucl, ucl), (Form::Properties, &properties)] {
        let mut c = Config::parse(form, source.as_bytes().to_vec(), "config").unwrap();
        let mut told: Vec<_> =
            c.renew_identity("web01", "web02", counting()).into_iter().map(|r| r.key).collect();
        told.sort();
        assert_eq!(told, ["host_hostuuid", "hostid", "ip4_addr", "vnet0_mac"], "{form:?}");
        let again = Config::parse(form, c.into_bytes(), "config").unwrap();
        assert_eq!(again.get("hostid").map(|id| id.len()), Some(36));
        assert_ne!(again.get("hostid").as_deref(), Some("4c4c4544-0051-3310-8051-b4c04f4a3433"));
        assert_eq!(again.get("host_hostuuid").as_deref(), Some("web02"));
        assert_ne!(again.get("vnet0_mac").as_deref(), Some("63ecac12d0f8,63ecac12d0f9"));
        assert_eq!(again.get("vnet0_mac").map(|mac| mac.len()), Some(25));
        assert_eq!(again.get("ip4_addr"), None);
        assert_eq!(again.get("ip6_addr").as_deref(), Some("vnet1|accept_rtadv"));
        assert_eq!(again.get("release").as_deref(), Some("14.2"));
    }
}

#[test]
fn what_is_random_is_all_of_it() {
    let mut c = config(r#"{"hostid": "a", "vnet0_mac": "63ecac12d0f8,63ecac12d0f9"}"#);
    c.renew_identity("web01", "web02", counting());
    assert_eq!(c.get("hostid").as_deref(), Some("00010203-0405-4607-8809-0a0b0c0d0e0f"));
    assert_eq!(c.get("vnet0_mac").as_deref(), Some("121112131414,121112131415"));
}

#[test]
fn a_new_name_is_where_the_manager_has_it() {
    let source = r#"{"id": "web01", "host_hostuuid": "web01", "jail_zfs_dataset": "iocage/jails/web01/data x/jails/web011"}"#;
    let named = |dialect| {
        let mut c = config(source);
        c.rename("web01", "web02", dialect);
        ["id", "host_hostuuid", "jail_zfs_dataset"].map(|key| c.get(key).unwrap())
    };
    let datasets = "iocage/jails/web02/data x/jails/web011";
    assert_eq!(named(Dialect::Iocage), ["web02", "web02", datasets]);
    assert_eq!(named(Dialect::Libioc), ["web02", "web01", datasets]);
}

#[test]
fn what_is_no_config_is_an_error_that_names_the_file() {
    let error = |form, text: &str| {
        Config::parse(form, text.as_bytes().to_vec(), "web01/config").unwrap_err().to_string()
    };
    assert_eq!(error(Form::Json, "[1]"), "web01/config cannot be understood: it is JSON, but no object");
    assert_eq!(
        error(Form::Properties, r#"{"compression": "off"}"#),
        "web01/config cannot be understood: compression is no name of a property that begins with org.freebsd.iocage:"
    );
    for bad in [
        r#"{"org.freebsd.iocage:x": 1}"#,
        r#"{"org.freebsd.iocage:X": "1"}"#,
        r#"{"org.freebsd.iocage:": "1"}"#,
    ] {
        assert!(error(Form::Properties, bad).starts_with("web01/config cannot be understood"), "{bad}");
    }
    let many: Vec<_> = (0..1001).map(|number| format!("\"{PREFIX}k{number}\": \"\"")).collect();
    error(Form::Properties, &format!("{{{}}}", many.join(",")));
}

#[test]
fn a_million_brackets_are_an_error_and_no_crash() {
    for form in Form::ALL {
        for bracket in ["{\"a\":", "[", "{", "a {", "a [", "/*"] {
            let text = bracket.repeat(1_000_000).into_bytes();
            assert!(Config::parse(form, text, "config").is_err(), "{form:?} {bracket}");
        }
    }
    // As many as fit.
    for (head, bracket) in [("", "a {"), ("a = ", "["), ("", "a = ["), ("", "/*")] {
        let text = format!("{head}{}", bracket.repeat(200_000));
        assert!(Config::parse(Form::Ucl, text.into_bytes(), "config").is_err(), "{bracket}");
    }
}

/// A long name before many keys would take the memory of all of them together.
#[test]
fn keys_that_are_absurdly_long_are_left_out() {
    let long = "x".repeat(100_000);
    let inner: Vec<_> = (0..10_000).map(|number| format!("\"{number}\": 1")).collect();
    let c = config(&format!("{{\"{long}\": {{{}}}, \"a\": 1}}", inner.join(",")));
    assert_eq!(c.keys(), ["a"]);
}

#[test]
fn what_is_set_keeps_its_type_and_switches_are_as_the_manager_has_them() {
    use Dialect::{Iocage, Libioc};
    let source = r#"{"priority": 7, "vnet": false, "tags": ["a"], "comment": "x", "boot": 1, "user": {"a": {"b": 1}}}"#;
    let set = |dialect, key: &str, value: &str| -> std::result::Result<serde_json::Value, String> {
        let mut c = config(source);
        c.assign(key, value, dialect)?;
        Ok(serde_json::from_slice(&c.into_bytes()).unwrap())
    };
    for (dialect, key, value, expected) in [
        (Libioc, "priority", "8", serde_json::json!(8)),
        (Libioc, "priority", "-2.5", serde_json::json!(-2.5)),
        (Libioc, "priority", "08", serde_json::json!("08")),
        (Libioc, "priority", "high", serde_json::json!("high")),
        (Libioc, "vnet", "yes", serde_json::json!(true)),
        (Libioc, "vnet", "maybe", serde_json::json!("maybe")),
        (Libioc, "tags", "b,c", serde_json::json!(["b", "c"])),
        (Libioc, "comment", "8", serde_json::json!("8")),
        (Libioc, "boot", "yes", serde_json::json!("yes")),
        (Libioc, "template", "yes", serde_json::json!("yes")),
        (Iocage, "boot", "no", serde_json::json!(0)),
        (Iocage, "boot", "on", serde_json::json!(1)),
        (Iocage, "template", "yes", serde_json::json!(1)),
        (Iocage, "comment", "yes", serde_json::json!("yes")),
    ] {
        assert_eq!(set(dialect, key, value).unwrap()[key], expected, "{dialect:?} {key}={value}");
    }
    assert_eq!(set(Libioc, "user.a.c", "x").unwrap()["user"], serde_json::json!({"a": {"b": 1, "c": "x"}}));
    assert_eq!(set(Libioc, "user.n.c", "x").unwrap()["user"]["n.c"], "x");
    assert_eq!(set(Libioc, "new.key", "x").unwrap()["new.key"], "x");
    assert_eq!(
        set(Libioc, "user", "x").unwrap_err(),
        "user is a section of the config; name a key in it, user.KEY"
    );
    assert_eq!(set(Libioc, "boot.x", "x").unwrap_err(), "boot is a value of the config, and no section");
    let mut c = Config::parse(Form::Properties, b"{}".to_vec(), "x").unwrap();
    assert!(c.assign("CONFIG_VERSION", "1", Iocage).unwrap_err().contains("capital"));
    assert!(c.assign("boot", "on", Iocage).is_ok());
    assert_eq!(text(c), "{\n  \"org.freebsd.iocage:boot\": \"on\"\n}\n");
}

#[test]
fn what_is_taken_away_is_gone_wherever_it_stood() {
    let mut c = config(r#"{"user.a": 1, "user": {"a": 2, "b": 3}}"#);
    assert_eq!(c.unassign("user.a"), Ok(true));
    assert_eq!(c.unassign("user.a"), Ok(false));
    assert!(c.unassign("user").is_err());
    assert_eq!(c.keys(), ["user.b"]);
    let mut c = Config::parse(Form::Ucl, b"a = 1; b = 2\na = 3\nc { a = 4 }\n".to_vec(), "x").unwrap();
    assert_eq!(c.unassign("a"), Ok(true));
    assert!(c.unassign("c").is_err());
    assert_eq!(text(c), " b = 2\nc { a = 4 }\n");
}

/// A config of a form with these keys.
fn written(form: Form, pairs: &[(String, String)]) -> Vec<u8> {
    let all: serde_json::Map<String, serde_json::Value> =
        pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    match form {
        Form::Json => serde_json::Value::from(all).to_string().into_bytes(),
        Form::Properties => {
            let named = all.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value));
            serde_json::Value::from(named.collect::<serde_json::Map<_, _>>()).to_string().into_bytes()
        }
        Form::Ucl => {
            let lines = pairs.iter().enumerate().map(|(number, (key, value))| {
                let [sign, end] =
                    [["= ", ";\n"], [": ", "\n"], [": ", ", "], ["= ", " # why\n"], ["=", " /* { */ "]]
                        [number % 5];
                format!("{key} {sign}{value}{end}")
            });
            lines.collect::<Vec<_>>().concat().into_bytes()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Unchanged it is the same bytes. What is set is found, and nothing else changes; what is taken away is gone.
    #[test]
    fn every_form_keeps_what_nobody_changes(
        pairs in proptest::collection::vec(("[a-z][a-z0-9_]{0,8}(\\.[a-z]{1,4})?", "\\PC{0,20}"), 1..8),
        new in ("[a-z][a-z0-9_]{0,8}(\\.[a-z]{1,4})?", "\\PC{0,20}"),
        which in 0_usize..8,
    ) {
        let pairs: Vec<_> = pairs.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect();
        for form in Form::ALL {
            let bytes = written(form, &match form {
                // As JSON quotes text UCL does.
                Form::Ucl => pairs.iter().map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str()).to_string())).collect(),
                _ => pairs.clone(),
            });
            let parse = |bytes: Vec<u8>| Config::parse(form, bytes.clone(), "config").unwrap_or_else(|error| panic!("{error} in {}", bytes.escape_ascii()));
            let before = parse(bytes.clone());
            prop_assert_eq!(before.clone().into_bytes(), bytes);
            for (key, value) in &pairs {
                prop_assert_eq!(before.get(key), Some(value.clone()));
            }
            let mut after = before.clone();
            if after.assign(&new.0, &new.1, Dialect::Libioc).is_err() {
                continue;
            }
            let again = parse(after.into_bytes());
            prop_assert_eq!(again.get(&new.0), Some(new.1.clone()));
            for (key, value) in pairs.iter().filter(|(key, _)| *key != new.0) {
                prop_assert_eq!(again.get(key), Some(value.clone()));
            }
            let (gone, _) = &pairs[which % pairs.len()];
            let mut after = before.clone();
            prop_assert!(after.remove(gone));
            let again = parse(after.into_bytes());
            prop_assert_eq!(again.get(gone), None);
            prop_assert_eq!(again.keys().len(), pairs.len() - 1);
        }
    }
}
