//! What a stream says of its datasets, beside their content.
//!
//! A stream with properties is somebody's wish. Taken over is what only concerns how and how much a dataset stores; where it is mounted,
//! who it is shared with, what may be executed in it, and what other programs read out of user properties is not. This is the second
//! line of defence: a stream that lists properties is refused ([`super::relay`]), and zfs(8) overrides some while it receives.

use super::{CREATED, RECEIVED, Zfs, parse, tool};
use crate::{DatasetName, Result};

/// What a stream may say. The last four are those of an encrypted dataset, which come with its content.
const TAKEN: [&str; 42] = [
    "aclinherit",
    "aclmode",
    "acltype",
    "atime",
    "canmount",
    "casesensitivity",
    "checksum",
    "compression",
    "copies",
    "dedup",
    "dnodesize",
    "filesystem_limit",
    "logbias",
    "nbmand",
    "normalization",
    "prefetch",
    "primarycache",
    "quota",
    "readonly",
    "recordsize",
    "redundant_metadata",
    "refquota",
    "refreservation",
    "relatime",
    "reservation",
    "secondarycache",
    "snapdev",
    "snapdir",
    "snapshot_limit",
    "special_small_blocks",
    "sync",
    "utf8only",
    "version",
    "volblocksize",
    "volmode",
    "volsize",
    "vscan",
    "xattr",
    "encryption",
    "keyformat",
    "keylocation",
    "pbkdf2iters",
];

/// These may take rights away, and not give them.
const RIGHTS: [&str; 3] = ["devices", "exec", "setuid"];

/// Where a property that was overridden shows as one of ours.
const OVERRIDDEN: [&str; 3] = ["mountpoint", "sharenfs", "sharesmb"];

/// Whether a property stays that came from `source`; `is_off` tells whether it is off.
fn is_taken(name: &str, source: &str, is_off: impl FnOnce() -> Result<bool>) -> Result<bool> {
    match source {
        "received" if RIGHTS.contains(&name) => is_off(),
        "received" => Ok(TAKEN.contains(&name)),
        "local" => Ok(!OVERRIDDEN.contains(&name)),
        _ => Ok(true),
    }
}

impl Zfs {
    /// After a receive: everything that came is kept from being mounted, and leads nowhere out of the pool.
    pub(super) fn pacify(&self, name: &DatasetName) -> Result<()> {
        for listed in self.find_all(name)? {
            let full = listed.name.as_str();
            if !listed.volume {
                tool::run(["set", "canmount=noauto", full])?;
            }
            // Without values: those of user properties can hold anything.
            let missing = || Self::missing(full);
            let text =
                tool::get(full, ["get", "-H", "-o", "property,source", "all", full])?.ok_or_else(missing)?;
            for [property, source] in parse::columns::<2>(&text).map_err(tool::unclear("zfs get"))? {
                let is_off = || {
                    let value = tool::run(["get", "-H", "-o", "value", property, full])?;
                    Ok(value.trim_end() == "off")
                };
                if !is_taken(property, source, is_off)? {
                    tool::run(["inherit", property, full])?;
                }
            }
            tool::run(["set", &format!("{RECEIVED}=yes"), full])?;
        }
        tool::run(["inherit", CREATED, &self.full(name)?]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(name: &str, value: &str, source: &str) -> bool {
        is_taken(name, source, || Ok(value == "off")).unwrap()
    }

    #[test]
    fn a_stream_decides_on_storage_alone() {
        for (name, value) in [
            ("mountpoint", "/"),
            ("sharenfs", "on"),
            ("sharesmb", "on"),
            ("exec", "on"),
            ("setuid", "on"),
            ("devices", "on"),
            ("jailed", "on"),
            ("zoned", "on"),
            ("overlay", "on"),
            ("mlslabel", "x"),
            ("org.freebsd.ioc:active", "ioc"),
            ("org.openzfs.systemd:required-by", "sshd.service"),
            ("com.example:note", "x"),
        ] {
            assert!(!taken(name, value, "received"), "{name}");
        }
        for (name, value) in [("exec", "off"), ("compression", "lz4"), ("quota", "1G"), ("recordsize", "1M")]
        {
            assert!(taken(name, value, "received"), "{name}");
        }
        assert!(taken("com.example:note", "x", "inherited from tank"));
        assert!(taken("org.remand:created", "x", "local") && !taken("mountpoint", "/", "local"));
    }
}
