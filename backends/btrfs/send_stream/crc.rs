//! CRC-32C as the kernel takes it: begun with 0 and not inverted at the end. By tables, eight bytes at a time: what is restored passes
//! here, and a crate with hand-written assembly would be a dependency for little more.

const POLYNOMIAL: u32 = 0x82f6_3b78;
/// What a byte does to the sum, with so many bytes behind it.
const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut index = 0;
    while index < 256 {
        #[allow(clippy::cast_possible_truncation)] // below 256
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][index] = value;
        index += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        index = 0;
        while index < 256 {
            let value = tables[behind - 1][index];
            tables[behind][index] = tables[0][value.to_le_bytes()[0] as usize] ^ value >> 8;
            index += 1;
        }
        behind += 1;
    }
    tables
}

/// Goes on with `crc` over more bytes.
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(crc, |crc, bytes| {
        let mixed = (u64::from_le_bytes(*bytes) ^ u64::from(crc)).to_le_bytes();
        let steps = mixed.iter().zip(TABLES.iter().rev());
        steps.fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)])
    });
    rest.iter().fold(crc, |crc, byte| TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn agrees_with_the_check_value_of_the_standard() {
        // The standard's begins with all ones and is inverted at the end.
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        // Of RFC 3720: 32 bytes.
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(
            !crc32c(!0, &std::array::from_fn::<u8, 32, _>(|at| u8::try_from(at).unwrap())),
            0x46dd_794e
        );
    }

    #[test]
    fn goes_on_wherever_it_was_cut() {
        let bytes: Vec<u8> = (0..100u8).map(|at| at.wrapping_mul(7)).collect();
        for cut in 0..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(crc32c(crc32c(5, first), second), crc32c(5, &bytes), "cut at {cut}");
        }
    }
}
