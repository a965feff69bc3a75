use super::*;

/// From `zfs` without arguments, `OpenZFS` 2.3.9, shortened.
const OPENZFS_USAGE: &str = "missing command
usage: zfs command args ...
where 'command' is one of the following:

\tcreate [-Pnpuv] [-o property=value] ... <filesystem>
\tdiff [-FHth] <snapshot> [snapshot|filesystem]

\tlist [-Hp] [-j [--json-int]] [-r|-d max] [-o property[,...]] [-s property]...
\t    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ...

\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...
\tsend [-DLPbcehnpsVvw] [-i|-I snapshot]
\t     [-R [-X dataset[,dataset]...]]     <snapshot>
\tsend [-nVvPe] -t <receive_resume_token>
\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...
\t    <filesystem|volume|snapshot>
\treceive -A <filesystem|volume>
";

/// The same of zfs-fuse 0.7.
const FUSE_USAGE: &str = "missing command
usage: zfs command args ...
\tcreate [-p] [-o property=value] ... <filesystem>
\tlist [-rH][-d max] [-o property[,...]] [-t type[,...]] [-s property] ...
\tsnapshot [-r] [-o property=value] ... <filesystem@snapname|volume@snapname>
\tsend [-RDp] [-[iI] snapshot] <snapshot>
\treceive [-vnF] <filesystem|volume|snapshot>
\treceive [-vnF] -d <filesystem>
";

#[test]
fn features_come_from_the_usage() {
    let new = features(OPENZFS_USAGE);
    assert!(new.receive_override && new.receive_resumable && new.diff && new.snapshot_many);
    assert!("LPcenpwR".chars().all(|letter| new.send.contains(&letter)), "{new:?}");
    let old = features(FUSE_USAGE);
    assert!(!old.receive_override && !old.receive_resumable && !old.diff && !old.snapshot_many);
    assert!("RDp".chars().all(|letter| old.send.contains(&letter)));
    assert!("LPcenw".chars().all(|letter| !old.send.contains(&letter)), "{old:?}");
    assert_eq!(features(""), Features::default());
}

#[test]
fn lists_are_read() {
    let text = "t\tfilesystem\tyes\t-\t/t\nt/a b:c\tfilesystem\tno\tt/r@p3\tlegacy\n\
                t/v\tvolume\t-\t-\t-\nt/x\tfilesystem\tyes\t-\t/mnt\twith tab\n";
    let found = listed(text).unwrap();
    assert_eq!(found[0].directory(), Some("/t".into()));
    assert_eq!(found[1].origin.as_deref(), Some("t/r@p3"));
    assert_eq!(found[1].directory(), None);
    assert!(found[2].volume && !found[2].mounted);
    assert_eq!(found[3].mountpoint, "/mnt\twith tab");
    assert_eq!(listed("").unwrap(), []);
}

#[test]
fn malformed_lists_are_errors_that_quote_the_line() {
    for line in [
        "t",
        "t\tfilesystem",
        "t\tfilesystem\tyes\t-",
        "t\tfilesystem\tyes\t-\t",
        "\tfilesystem\tyes\t-\t/t",
        "t\tbookmark\tyes\t-\t/t",
        "t\tsnapshot\t-\t-\t-",
        "t\tfilesystem\tperhaps\t-\t/t",
        "t\tfilesystem\tyes\tt/no-snapshot\t/t",
        "t filesystem yes - /t",
        "",
        "no datasets available",
    ] {
        let text = format!("ok\tfilesystem\tyes\t-\t/ok\n{line}\n");
        assert_eq!(listed(&text), Err(Unclear(line.to_owned())), "{line:?}");
    }
}

#[test]
fn a_listing_has_what_was_asked_for_and_whole_lines() {
    for whole in ["t/a\n", "t/a\tno\nt/a/b\tno\n", "t/a@1\nt/a\n"] {
        assert!(is_listing_of(whole, "t/a"), "{whole:?}");
    }
    for cut in ["", "\n", "t/a", "t/a\tno\nt/a/b", "t/a/b\n", "t/a b\n", "t/a@1\tno\n", "x\tt/a\n"] {
        assert!(!is_listing_of(cut, "t/a"), "{cut:?}");
    }
}

#[test]
fn what_a_dataset_lies_in_is_listed_with_it() {
    let is_closed = |names: &[&str]| {
        let line = |name: &&str| format!("{name}\tfilesystem\tno\t-\t/x\n");
        super::is_closed(&listed(&names.iter().map(line).collect::<String>()).unwrap(), "t/a")
    };
    assert!(is_closed(&["t/a"]) && is_closed(&["t/a/b/c", "t/a", "t/a/b"]));
    assert!(!is_closed(&["t/a", "t/a/b/c"]) && !is_closed(&["t/a", "t"]) && !is_closed(&["t/a", "t/b"]));
}

#[test]
fn columns_need_their_number() {
    assert_eq!(columns::<2>("a\tb\nc d\te\tf\n").unwrap(), [["a", "b"], ["c d", "e\tf"]]);
    for bad in ["a", "a\t", "\tb", "\n"] {
        assert!(columns::<2>(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn properties_keep_tabs_and_colons_and_admit_doubt() {
    let names = &["recordsize", "org.x:y"];
    let found = properties(names, "recordsize\t65536\norg.x:y\ta\tb: c\n").unwrap();
    assert_eq!(found[1], ("org.x:y".to_owned(), "a\tb: c".to_owned()));
    assert_eq!(properties(&[], "").unwrap(), []);
    // A value of two lines, one that takes another's place, and one that is missing.
    assert_eq!(properties(names, "recordsize\t65536\norg.x:y\ta\nb\n"), None);
    assert_eq!(properties(names, "recordsize\t65536\nrecordsize\t1\n"), None);
    assert_eq!(properties(names, "recordsize\t65536\n"), None);
    assert_eq!(properties(names, "recordsize 65536\norg.x:y\ta\n"), None);
}

#[test]
fn estimates_are_the_last_size() {
    assert_eq!(estimate("full\tt/x@t\t3034360\nsize\t3034360\n"), Some(3_034_360));
    assert_eq!(estimate("full\tt/size@s\t1\nincremental\ts\tt/x@t\t624\nsize\t3055912\n"), Some(3_055_912));
    for bad in ["", "size", "size\t", "size\tmuch\n", "size\t-1\n", "full\tt@s\t10\n"] {
        assert_eq!(estimate(bad), None, "{bad:?}");
    }
}

#[test]
fn mounts_are_found_by_name_and_by_path() {
    let text = "t                               /t\n\
                t/a b                           /t/a b\n\
                t/a                             /mnt/x y\n\
                t/a-name-that-is-longer-than-thirty  /long\n";
    assert_eq!(mounted_at(text, "t/a b"), Some("/t/a b".into()));
    assert_eq!(mounted_at(text, "t/a"), Some("/mnt/x y".into()));
    assert_eq!(mounted_at(text, "t/a-name-that-is-longer-than-thirty"), Some("/long".into()));
    assert_eq!(mounted_at(text, "t/b"), None);
    assert_eq!(mounted_dataset(text, "/mnt/x y"), Some("t/a"));
    assert_eq!(mounted_dataset(text, "/t/a b"), Some("t/a b"));
    assert_eq!(mounted_dataset(text, "/t"), Some("t"));
    assert_eq!(mounted_dataset(text, "/long"), Some("t/a-name-that-is-longer-than-thirty"));
    for none in ["/", "/x y", "/mnt", "y", ""] {
        assert_eq!(mounted_dataset(text, none), None, "{none}");
    }
}

#[test]
fn failures_are_told_apart_by_whole_lines() {
    let name = || "t/a b".to_owned();
    for (stderr, wanted) in [
        ("cannot open 't/a b': dataset does not exist", Failure::Absent(name())),
        ("cannot create 't/a b': dataset already exists", Failure::Exists(name())),
        (
            "cannot create snapshot 't/a b': dataset already exists\nno snapshots were created",
            Failure::Exists(name()),
        ),
        ("cannot rename 't/a b': dataset already exists", Failure::Exists(name())),
        (
            "cannot receive new filesystem stream: destination 't/a b' exists\nmust specify -F to overwrite it",
            Failure::Exists(name()),
        ),
        ("cannot create 't/a b': parent does not exist", Failure::NoParent(name())),
        ("cannot destroy 't/a b': dataset is busy", Failure::Busy),
        ("cannot unmount '/t/a b': pool or dataset is busy", Failure::Busy),
        ("cannot destroy 't/a@s': snapshot has dependent clones\nuse '-R' to destroy", Failure::Busy),
        ("umount: /t/a: target is busy.\ncannot unmount '/t/a': umount failed", Failure::Busy),
        (
            "connect: No such file or directory\nPlease make sure that the zfs-fuse daemon is running.",
            Failure::NoZfs,
        ),
        (
            "could not find any snapshots to destroy; check snapshot names.",
            Failure::Absent("snapshot of that name".into()),
        ),
    ] {
        assert_eq!(failure(stderr), Some(wanted), "{stderr}");
    }
    for unknown in [
        "",
        "cannot open 't': permission denied",
        "cannot open 't': I/O error",
        "warning: cannot open 't': dataset does not exist",
        "cannot open 't': dataset does not exist, perhaps",
        "cannot open t: dataset does not exist",
        "cannot create 't/a': out of space",
        "cannot destroy 't/busy': permission denied",
        "internal error: Function not implemented",
    ] {
        assert_eq!(failure(unknown), None, "{unknown}");
    }
}

fn head(little: bool, version: u64, objects: u32) -> Vec<u8> {
    let long = |value: u64| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let short = |value: u32| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let mut bytes = vec![0; 8];
    bytes.extend(long(0x2_f5ba_cbac));
    bytes.extend(long(version));
    bytes.extend(long(0));
    bytes.extend(short(objects));
    bytes
}

#[test]
fn a_stream_tells_its_kind() {
    for little in [true, false] {
        assert_eq!(stream_kind(&head(little, 1, 2)), Some(StreamKind::FileSystem));
        assert_eq!(stream_kind(&head(little, 0x0100_0001, 3)), Some(StreamKind::Volume));
        assert_eq!(stream_kind(&head(little, 2, 0)), Some(StreamKind::Package));
        assert_eq!(stream_kind(&head(little, 1, 9)), None);
        assert_eq!(stream_kind(&head(little, 0, 2)), None);
        let whole = head(little, 1, 2);
        assert_eq!(whole.len(), STREAM_HEAD_BYTES);
        for cut in 0..whole.len() {
            assert_eq!(stream_kind(&whole[..cut]), None);
        }
    }
    assert_eq!(stream_kind(&[0xff; 64]), None);
}
