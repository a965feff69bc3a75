use super::*;

#[test]
fn subjects_are_no_options() {
    for good in ["web01", "systemd-nspawn@web01.service", "ioc-a*b", "a_b.c", "machine-web\\x2d01.scope"] {
        assert!(is_subject(good), "{good}");
    }
    for bad in ["", "-n", "--all", "a b", "a;b", "a/b", "a\n"] {
        assert!(!is_subject(bad), "{bad}");
    }
}

#[test]
fn roots_are_compared_by_what_they_are() {
    let scratch = tempfile::tempdir().unwrap();
    let (root, other, link) =
        (scratch.path().join("root"), scratch.path().join("root2"), scratch.path().join("link"));
    std::fs::create_dir(&root).unwrap();
    std::fs::create_dir(&other).unwrap();
    std::os::unix::fs::symlink(&root, &link).unwrap();
    let at = |root: Root| Instance { name: "a".into(), controlled_as: None, root, is_frozen: false };
    assert!(at(Root::Path(link)).is_at(&root));
    assert!(!at(Root::Path(other.clone())).is_at(&root));
    let (device, number) = inode(&root).unwrap();
    assert!(at(Root::Inode(device, number)).is_at(&root) && !at(Root::Inode(device, number)).is_at(&other));
    // What is not there is nobody's root.
    assert!(!at(Root::Path("/nowhere/a".into())).is_at(Path::new("/nowhere/b")));
}

#[test]
fn a_record_is_trusted_with_what_supervisors_do_alone() {
    let layout = crate::layout::libioc::Libioc;
    let held = |supervisor: &str, subject: &str| Held {
        resource: "jail a".into(),
        root: "/a".into(),
        hold: Hold::Freeze,
        supervisor: supervisor.into(),
        subject: subject.into(),
    };
    let line = |held: Held| held.end(&layout).map(|program| program.display());
    assert_eq!(line(held("machine", "a.service")).unwrap(), "systemctl thaw a.service");
    for (supervisor, subject) in
        [("machine", "--force"), ("machine", "a.target"), ("jail", "a"), ("rm", "a"), ("process", "1")]
    {
        let refused = line(held(supervisor, subject)).unwrap_err().to_string();
        assert!(refused.contains("the jail a is frozen by"), "{refused}");
    }
}
