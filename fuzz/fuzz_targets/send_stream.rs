//! Any bytes are an error or hints, in bounded memory. The checksums are put right first: behind them is what can go wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use remand_backends::Hint;
use remand_backends::btrfs::send_stream::{Base, Decoder, Kind, Namespace};
use std::io;

/// Has every name; what ends in an odd byte is a directory.
struct Everything;

impl Base for Everything {
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>> {
        Ok(path.last().map(|byte| if byte % 2 == 1 { Kind::Directory } else { Kind::Other }))
    }
}

/// Has no name but those of one byte.
struct Little;

impl Base for Little {
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>> {
        if path.len() == 1 { Everything.kind(path) } else { Ok(None) }
    }
}

fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (crc & 1) * 0x82f6_3b78)
    })
}

fn mend(stream: &mut [u8]) {
    let mut rest = stream.get_mut(17..).unwrap_or_default();
    while rest.len() >= 10 {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        if rest.len() - 10 < length {
            return;
        }
        let (command, behind) = rest.split_at_mut(10 + length);
        command[6..10].fill(0);
        let crc = crc32c(0, command);
        command[6..10].copy_from_slice(&crc.to_le_bytes());
        rest = behind;
    }
}

fn play(stream: &[u8], base: impl Base) {
    let mut decoder = Decoder::new(stream);
    let mut namespace = Namespace::new(base);
    while let Ok(Some(command)) = decoder.next() {
        if namespace.apply(&command).is_err() {
            return;
        }
    }
    let mut hints = 0;
    let told = namespace.finish(&mut |hint: Hint| {
        assert!(hint.path().len() < 4096 && !hint.path().starts_with(b"/"));
        hints += 1;
        true
    });
    if told.is_ok() {
        assert!(hints <= stream.len());
    }
}

fuzz_target!(|data: &[u8]| {
    play(data, Everything);
    let mut mended = data.to_vec();
    mend(&mut mended);
    play(&mended, Everything);
    play(&mended, Little);
});
