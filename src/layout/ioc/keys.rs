//! Names of releases as the configs of libioc and iocage have them.

/// `14.2-RELEASE` of `14.2-RELEASE-p3`; `None` where there is no patch level.
pub(in crate::layout) fn without_patch_level(release: &str) -> Option<&str> {
    let (name, level) = release.rsplit_once("-p")?;
    let is_level = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit());
    (is_level && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_level_is_what_follows_the_last_p() {
        for (release, name) in [
            ("14.2-RELEASE-p3", Some("14.2-RELEASE")),
            ("14.2-RELEASE-p13", Some("14.2-RELEASE")),
            ("14.2-RELEASE", None),
            ("my-p3-release", None),
            ("my-patched", None),
            ("my-p", None),
            ("-p3", None),
            ("a-p1-p2", Some("a-p1")),
        ] {
            assert_eq!(without_patch_level(release), name, "{release}");
        }
    }
}
