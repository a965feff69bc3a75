//! The config file of the command line: any text is an error that tells where, or defaults that the options can have.
#![no_main]

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;

mod args {
    pub(crate) use super::hooks::duration;
    pub(crate) use super::values::{CompressionWord, EngineWord, FormatWord, HookWord, LayoutWord};
}
#[path = "../../src/cli/config.rs"]
mod config;
#[allow(dead_code)] // the command line uses the rest
#[path = "../../src/cli/args/hooks.rs"]
mod hooks;
#[allow(dead_code)] // the command line uses the rest
#[path = "../../src/cli/args/values.rs"]
mod values;

use values::HookWord;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    remand_fuzz::bounded();
    let mut file = tempfile::tempfile_in("/dev/shm").expect("memory takes it");
    file.write_all(data).expect("memory takes it");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match config::Config::load(Some(Path::new(&path))) {
        Ok(config) => {
            assert!(config.level.is_none() || config.compression.is_some());
            assert!(config.level.is_none_or(|level| (1..=19).contains(&level)));
        }
        Err(error) => assert!(!error.to_string().contains('\0')),
    }
});
