//! Any line is not understood, or hints whose paths are inside the dataset.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remand_backends::zfs::diff::parse;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|&byte| byte == b'\n') {
        for mount in [&b""[..], b"/tank/web 1"] {
            let Some(change) = parse::line(line, mount) else { continue };
            for hint in change.hints() {
                let path = hint.path();
                assert!(path.is_empty() || path.split(|&byte| byte == b'/').all(|name| !matches!(name, b"" | b"." | b"..")));
                assert!(!path.contains(&0));
            }
        }
    }
});
