//! Keys that the configs of libioc and iocage share, and how each spells their values.

use crate::config::Config;

/// `truthy_props` of iocage: keys whose value is yes or no. iocage writes the numbers 1 and 0, which libioc does not take for
/// either; libioc writes `yes` and `no`, or true and false.
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

/// As libioc and iocage read a switch.
pub(in crate::layout) fn is_true(value: &str) -> bool {
    ["yes", "true", "on", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// As libioc reads one that is off; iocage takes for off whatever is not on.
fn is_false(value: &str) -> bool {
    ["no", "false", "off", "0"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

/// Writes switches that are on as `yes`, and those that are off as `no`. A value that is neither stays.
pub(in crate::layout) fn spell_switches(config: &mut Config, yes: &str, no: &str) {
    for key in SWITCHES {
        match config.get(key) {
            Some(value) if is_true(&value) => config.set(key, yes),
            Some(value) if is_false(&value) => config.set(key, no),
            _ => {}
        }
    }
}

/// `14.2-RELEASE` of `14.2-RELEASE-p3`; `None` where there is no patch level.
pub(in crate::layout) fn without_patch_level(release: &str) -> Option<&str> {
    let (name, level) = release.rsplit_once("-p")?;
    let is_level = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit());
    (is_level && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_level_is_what_follows_the_last_p() {
        for (release, name) in [
            ("14.2-RELEASE-p3", Some("14.2-RELEASE")),
            ("14.2-RELEASE-p13", Some("14.2-RELEASE")),
            ("14.2-RELEASE", None),
            ("my-p3-release", None),
            ("my-patched", None),
            ("my-p", None),
            ("-p3", None),
            ("a-p1-p2", Some("a-p1")),
        ] {
            assert_eq!(without_patch_level(release), name, "{release}");
        }
    }

    #[test]
    fn switches_are_spelt_as_their_manager_does_and_others_stay() {
        let text =
            r#"{"boot": 1, "vnet": "off", "bpf": "YES", "dhcp": "auto", "securelevel": 1, "nat": false}"#;
        let mut config = Config::parse(text.into(), "x").unwrap();
        spell_switches(&mut config, "yes", "no");
        let got = ["boot", "vnet", "bpf", "dhcp", "securelevel", "nat"].map(|key| config.get(key).unwrap());
        assert_eq!(got, ["yes", "no", "yes", "auto", "1", "no"]);
        spell_switches(&mut config, "1", "0");
        assert_eq!(config.get("vnet").as_deref(), Some("0"));
    }
}
