//! Config and fstab on their way back, which are held in memory.

use crate::config::MAX_BYTES;
use crate::error::{Error, Result};
use crate::tree::Content;

/// The whole content, in memory.
pub(super) fn read_all(name: &str, content: &mut dyn Content) -> Result<Vec<u8>> {
    if content.size() > MAX_BYTES {
        return Err(Error::Refused(format!("{name} is larger than {MAX_BYTES} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(content.size()).unwrap_or_default()];
    while let Some((offset, data)) = content.next_data().map_err(Error::io("read", name))? {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = at.saturating_add(data.len());
        let slot =
            bytes.get_mut(at..end).ok_or_else(|| Error::Refused(format!("{name} is longer than it says")))?;
        slot.copy_from_slice(data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::tree::Extent;

    /// Says one size, and has these pieces.
    struct Pieces(u64, Vec<(u64, Vec<u8>)>, Vec<u8>);

    impl Content for Pieces {
        fn size(&self) -> u64 {
            self.0
        }

        fn extents(&self) -> &[Extent] {
            &[]
        }

        fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
            let Some((offset, bytes)) = self.1.pop() else { return Ok(None) };
            self.2 = bytes;
            Ok(Some((offset, &self.2)))
        }

        fn is_stable(&mut self) -> io::Result<bool> {
            Ok(true)
        }
    }

    #[test]
    fn a_config_is_as_long_as_it_says_and_no_longer_than_one_can_be() {
        let read = |size, pieces: &[(u64, &[u8])]| {
            let pieces = pieces.iter().rev().map(|(at, bytes)| (*at, bytes.to_vec())).collect();
            read_all("config.json", &mut Pieces(size, pieces, Vec::new()))
        };
        assert_eq!(read(0, &[]).unwrap(), b"");
        assert_eq!(read(5, &[(0, b"ab"), (4, b"e")]).unwrap(), b"ab\0\0e");
        for pieces in [&[(0, &b"abcdef"[..])][..], &[(5, b"f")], &[(u64::MAX, b"g")]] {
            assert_eq!(read(5, pieces).unwrap_err().exit_status(), 23);
        }
        assert_eq!(read(16 << 20, &[]).unwrap().len(), 16 << 20);
        assert_eq!(read((16 << 20) + 1, &[]).unwrap_err().exit_status(), 23);
    }
}
