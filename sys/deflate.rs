//! Inflating data whose length is known, by libdeflate, with what its other wrappers do not tell: how much of the input was used.

use std::io;
use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_deflate_decompress_ex,
    libdeflate_free_decompressor, libdeflate_result_LIBDEFLATE_SUCCESS,
};

/// Undoes raw deflate (RFC 1951). Reused, because its tables are big.
pub struct Inflater(NonNull<libdeflate_decompressor>);

// SAFETY: it is memory that nobody else points at, and libdeflate keeps nothing that belongs to a thread.
unsafe impl Send for Inflater {}

impl Inflater {
    /// Fails where there is no memory.
    pub fn new() -> io::Result<Self> {
        // SAFETY: it takes nothing. What it returns is null or a decompressor that is ours until it is freed.
        let decompressor = unsafe { libdeflate_alloc_decompressor() };
        NonNull::new(decompressor).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// The bytes that the stream at the beginning of `input` holds, and how long that stream is. `None` if it is no deflated data, is not
    /// whole, or holds more than `most_bytes`, which are allocated whatever it holds.
    pub fn inflate(&mut self, input: &[u8], most_bytes: usize) -> Option<(Vec<u8>, usize)> {
        let mut output = Vec::<u8>::with_capacity(most_bytes);
        let (mut used, mut made) = (0, 0);
        // SAFETY: the decompressor is ours and nobody else uses it meanwhile. It reads no more than `input.len()` bytes at the first
        // pointer, writes no more than `most_bytes` at the second, where so many are allocated, and a number at each of the last two.
        let result = unsafe {
            libdeflate_deflate_decompress_ex(
                self.0.as_ptr(),
                input.as_ptr().cast(),
                input.len(),
                output.as_mut_ptr().cast(),
                most_bytes,
                &raw mut used,
                &raw mut made,
            )
        };
        if result != libdeflate_result_LIBDEFLATE_SUCCESS || made > most_bytes || used > input.len() {
            return None;
        }
        // SAFETY: so many bytes are allocated, and on success so many of them have been written.
        unsafe { output.set_len(made) };
        Some((output, used))
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: it was allocated by the library, is not used afterwards, and is freed once.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `abc` in a stored block.
    const STORED: &[u8] = &[1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c'];
    /// Nothing.
    const EMPTY: &[u8] = &[3, 0];
    /// A thousand times `a`, with fixed codes.
    const REPEATED: &[u8] = &[0x4b, 0x4c, 0x1c, 0x05, 0xa3, 0x60, 0x14, 0x0c, 0x77, 0x00, 0x00];

    #[test]
    fn what_a_stream_holds_and_how_long_it_is() {
        let mut inflater = Inflater::new().unwrap();
        for (stream, content) in [(STORED, b"abc".to_vec()), (EMPTY, vec![]), (REPEATED, vec![b'a'; 1000])] {
            let mut followed = stream.to_vec();
            followed.extend_from_slice(b"more");
            for most_bytes in [content.len(), content.len() + 1, 5000] {
                for input in [stream, &followed] {
                    let (bytes, used) = inflater.inflate(input, most_bytes).unwrap();
                    assert_eq!((&bytes, used), (&content, stream.len()));
                }
            }
        }
    }

    #[test]
    fn what_is_broken_cut_or_too_long_is_none() {
        let mut inflater = Inflater::new().unwrap();
        assert_eq!(inflater.inflate(STORED, 2), None);
        assert_eq!(inflater.inflate(REPEATED, 999), None);
        assert_eq!(inflater.inflate(&[7, 0], 10), None, "a block of a kind that there is not");
        assert_eq!(inflater.inflate(b"", 10), None);
        for length in 0..STORED.len() {
            assert_eq!(inflater.inflate(&STORED[..length], 10), None, "cut to {length}");
        }
        // And it goes on after that.
        assert_eq!(inflater.inflate(STORED, 3), Some((b"abc".to_vec(), STORED.len())));
    }
}
