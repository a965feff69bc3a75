#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| remand_fuzz::run("foreign", data));
