//! pax records: `LENGTH KEY=VALUE\n`, where the length counts the whole record, itself included.
//!
//! Values are bytes and may hold anything, line feeds and NUL too.

use std::collections::BTreeMap;

use super::bounds::MAX_PAX_RECORDS;

/// Appends a record.
pub(super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // Space, equals sign and line feed.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + decimal_digits(rest);
    if decimal_digits(length) + rest > length {
        length += 1;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Splits records; later ones may not repeat a key. The error says what is wrong.
pub(super) fn parse(mut records: &[u8]) -> Result<BTreeMap<&[u8], &[u8]>, &'static str> {
    let mut found = BTreeMap::new();
    while !records.is_empty() {
        let space =
            records.iter().take(20).position(|&byte| byte == b' ').ok_or("a pax record has no length")?;
        let length = std::str::from_utf8(&records[..space])
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<usize>().ok())
            .filter(|&length| length > space && length <= records.len())
            .ok_or("a pax record's length is wrong")?;
        let (record, rest) = records.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n").ok_or("a pax record has no end")?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or("a pax record has no value")?;
        if found.insert(&record[..equals], &record[equals + 1..]).is_some() {
            return Err("a pax record is repeated");
        }
        if found.len() > MAX_PAX_RECORDS {
            return Err("it has too many pax records");
        }
        records = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        for size in (0..120).chain(980..1010).chain(99_980..100_010) {
            let value = vec![b'v'; size];
            let mut records = Vec::new();
            push(&mut records, b"k", &value);
            let text = records.split(|&byte| byte == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(text).unwrap().parse::<usize>().unwrap(), records.len());
            assert_eq!(parse(&records).unwrap()[&b"k"[..]], &value[..]);
        }
    }

    #[test]
    fn damaged_records() {
        for bad in [
            &b"x"[..],
            b"9 a=b\n",
            b"5 a=b\n",
            b"6 a=bc",
            b"6 abc\n",
            b"0 a=b\n",
            b"1 a=b\n",
            b"2 a=b\n",
            b"+6 a=b\n",
            b"6 a=b\n6 a=c\n",
            b"99999999999999999999999999 a=b\n",
            b"\0\0\0\0",
        ] {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn no_more_records_than_the_bound() {
        let mut records = Vec::new();
        for number in 0..MAX_PAX_RECORDS {
            push(&mut records, number.to_string().as_bytes(), b"");
        }
        assert_eq!(parse(&records).unwrap().len(), MAX_PAX_RECORDS);
        push(&mut records, b"one more", b"");
        assert!(parse(&records).is_err());
    }

    proptest::proptest! {
        #[test]
        fn records_and_back(
            records in proptest::collection::btree_map("[a-zA-Z.]{1,12}", proptest::collection::vec(0_u8.., 0..300), 0..6)
        ) {
            let mut bytes = Vec::new();
            for (key, value) in &records {
                push(&mut bytes, key.as_bytes(), value);
            }
            let back = parse(&bytes).unwrap();
            proptest::prop_assert_eq!(back.len(), records.len());
            for (key, value) in &records {
                proptest::prop_assert_eq!(back[key.as_bytes()], &value[..]);
            }
        }

        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(0_u8.., 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
