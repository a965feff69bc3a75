use super::*;

#[test]
fn a_device_number_has_twelve_bits_and_twenty() {
    for (major, minor, fits) in [
        (0, 0, true),
        (1, 3, true),
        (4095, 1_048_575, true),
        (4096, 0, false),
        (0, 1_048_576, false),
        (u32::MAX, 0, false),
        (0, u32::MAX, false),
    ] {
        assert_eq!(has_device(Device { major, minor }), fits, "{major}:{minor}");
    }
}

#[test]
fn only_what_does_nothing_when_it_is_opened_is() {
    let opened: Vec<_> = Kind::ALL.into_iter().filter(|kind| opens(*kind)).collect();
    assert_eq!(opened, [Kind::File, Kind::Directory]);
}

#[test]
fn flags_are_those_of_the_table() {
    for (_, flag) in INODE_FLAGS {
        assert!(!flag.is_empty() && FLAGS.contains(*flag), "{flag}");
    }
    assert_eq!(FLAGS.each().count(), INODE_FLAGS.len());
    assert!(!FLAGS.contains(Flags::UCHG));
}
