//! FreeBSD's securelevel(7), for who asks why flags stay.

/// Why nobody takes the flags away that the superuser sets, at this level; `None` where that is not the reason.
pub fn refusal(level: i32) -> Option<String> {
    (level > 0).then(|| {
        format!(
            "kern.securelevel is {level}: nobody takes the flags schg, sappnd and sunlnk away until the system is started with less than 1"
        )
    })
}

/// As [`refusal`], at the level of this system.
#[cfg(target_os = "freebsd")]
pub fn reason() -> Option<String> {
    let mut level: std::ffi::c_int = 0;
    let mut bytes = size_of_val(&level);
    // SAFETY: the answer is an int, for which there is room.
    let asked = unsafe {
        libc::sysctlbyname(
            c"kern.securelevel".as_ptr(),
            (&raw mut level).cast(),
            &raw mut bytes,
            std::ptr::null(),
            0,
        )
    };
    if asked == 0 { refusal(level) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_level_is_named() {
        assert!(refusal(2).unwrap().starts_with("kern.securelevel is 2: "));
        assert_eq!(refusal(0), None);
        assert_eq!(refusal(-1), None);
    }
}
