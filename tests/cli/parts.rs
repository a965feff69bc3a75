//! Parts of archives: ls, cat, restore --to.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{small, target};
use crate::support::bundle::Bundle;
use crate::support::pool::{Place, Pool, Size};
use crate::support::run::{Run, export, remand};
use crate::support::{Scratch, program_for};

const FORMS: [&str; 4] = ["a.tar", "a.tar.gz", "a.tar.zst", "directory"];

fn ls(archive: &Path, arguments: &[&str]) -> Run {
    remand(["ls"])
        .args(&arguments[..arguments.len().saturating_sub(1)])
        .arg(archive)
        .args(&arguments[arguments.len().saturating_sub(1)..])
}

/// The words of each line, sorted.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn ls_shows_what_differs_and_how() {
    let (scratch, pool) = small();
    for form in FORMS {
        let archive = scratch.join(form);
        export(&pool, "web01", &archive, &[]);
        let resources = ls(&archive, &[]).ends(0).text();
        assert_eq!(
            lines(&resources),
            ["KIND NAME MODE BASE DATASETS", "jail web01 differential base-1.0 root"]
        );
        let all = lines(&ls(&archive, &["web01"]).ends(0).text());
        let expected = [
            "A /srv/",
            "A /srv/absolute",
            "A /srv/new",
            "A /srv/new-link",
            "A /srv/out",
            "D /old/gone",
            "M /etc/conf",
            "m /",
            "m /etc/",
            "m /etc/mode",
            "m /old/",
        ];
        assert_eq!(all, expected, "{form}");
        let below = lines(&ls(&archive, &["jail:web01:/srv/"]).ends(0).text());
        assert_eq!(below, all[..5]);
        assert_eq!(lines(&ls(&archive, &[":/etc/conf"]).ends(0).text()), ["M /etc/conf"]);
        let long = ls(&archive, &["-l", ":/srv"]).ends(0).text();
        assert!(long.contains("/srv/absolute -> /etc/passwd\n"), "{long}");
        assert!(long.contains("/srv/new-link link to /srv/new\n"), "{long}");
        let json = ls(&archive, &["--json", ":/old/gone"]).ends(0).json();
        assert_eq!(
            json[0]["entry"],
            serde_json::json!({ "path": "/old/gone", "change": "deleted", "kind": "file" })
        );
        assert_eq!(json[1]["result"]["entries"], 1);
    }
    let archive = scratch.join("a.tar.gz");
    let piped = ls(Path::new("-"), &["web01:/etc"]).input(std::fs::read(&archive).unwrap()).ends(0);
    assert_eq!(lines(&piped.text()), ["M /etc/conf", "m /etc/", "m /etc/mode"]);
    for missing in ["web02", "release:web01", ":/nowhere", ":/etc/passwd", ":/etc/con"] {
        ls(&archive, &[missing]).ends(10);
    }
    remand(["ls"]).arg(&archive).args(&["--dataset", "data", "web01"]).ends(10);
    ls(&archive, &[":/../etc"]).ends(2);
    ls(&scratch.join("none.tar"), &[":/etc"]).ends(10);
}

#[test]
fn cat_prints_files_and_takes_unchanged_ones_from_the_base() {
    let (scratch, pool) = small();
    let root = pool.path("jails/web01/root");
    let read = |name: &str| std::fs::read(root.join(name)).unwrap();
    let elsewhere = target();
    let without = Pool::empty(&Place::dir());
    for form in FORMS {
        let archive = scratch.join(form);
        export(&pool, "web01", &archive, &[]);
        let cat = |file: &str| remand(["cat"]).arg(&archive).arg(file);
        // In the order of the arguments, and no pool is needed.
        let both = remand(["cat"]).arg(&archive).args(&[":/srv/new", "web01:etc/conf"]).ends(0).stdout;
        assert_eq!(both, [read("srv/new"), read("etc/conf")].concat(), "{form}");
        assert_eq!(cat(":/srv/new-link").ends(0).stdout, read("srv/new"));
        for unchanged in ["etc/passwd", "etc/mode", "bin/tool"] {
            let file = format!(":/{unchanged}");
            assert_eq!(cat(&file).on(&elsewhere).ends(0).stdout, read(unchanged), "{form}");
            cat(&file).on(&without).ends(20).tells("The base base-1.0 is not in the pool");
        }
        cat(":/srv/absolute").ends(1).tells("a symbolic link to /etc/passwd");
        cat(":/srv/out/x").ends(1).tells("/srv/out, which is a symbolic link to ../../../../../etc/shadow");
        cat(":/bin/link").on(&elsewhere).ends(1).tells("a symbolic link to tool");
        cat(":/bin/link/x").on(&elsewhere).ends(1).tells("leads through /bin/link");
        cat(":/etc").ends(1).tells("a directory");
        cat(":/old/gone").ends(10);
        cat(":/srv/none").on(&elsewhere).ends(10);
        cat(":/none").on(&elsewhere).ends(10);
    }
    // Another base of the same name.
    std::fs::write(elsewhere.path("releases/base-1.0/root/etc/passwd"), "other").unwrap();
    let archive = scratch.join("a.tar.gz");
    remand(["cat"]).arg(&archive).arg(":/bin/tool").on(&elsewhere).ends(21);
    let pipe = |file: &str| remand(["cat", "-", file]).input(std::fs::read(&archive).unwrap());
    assert_eq!(pipe(":/etc/conf").ends(0).stdout, read("etc/conf"));
    pipe(":/srv/new-link").ends(1).tells("another name of ./root/srv/new");
}

fn extract(archive: &Path, part: &str, to: &Path) -> Run {
    remand(["restore"]).arg(archive).arg(part).arg("--to").arg(to)
}

#[test]
fn a_subtree_comes_out_as_it_was() {
    let (scratch, pool) = small();
    let elsewhere = target();
    let etc = pool.path("jails/web01/root/etc");
    for form in FORMS {
        let archive = scratch.join(form);
        export(&pool, "web01", &archive, &[]);
        for piped in [false, true] {
            if piped && form == "directory" {
                continue;
            }
            let to = scratch.join(&format!("{form}-{piped}"));
            let run = if piped {
                extract(Path::new("-"), ":/etc", &to).input(std::fs::read(&archive).unwrap())
            } else {
                extract(&archive, "web01:/etc", &to)
            };
            run.on(&elsewhere).ends(0);
            assert_eq!(names(&to), ["etc"]);
            assert_eq!(names(&to.join("etc")), ["conf", "mode", "passwd"], "{form}");
            for name in ["conf", "mode", "passwd", ""] {
                let (was, is) = (etc.join(name), to.join("etc").join(name));
                let (was_like, is_like) = (was.metadata().unwrap(), is.metadata().unwrap());
                assert_eq!(
                    (was_like.mode(), was_like.uid(), was_like.mtime(), was_like.mtime_nsec()),
                    (is_like.mode(), is_like.uid(), is_like.mtime(), is_like.mtime_nsec()),
                    "{form} {name}"
                );
                if !name.is_empty() {
                    assert_eq!(std::fs::read(was).unwrap(), std::fs::read(is).unwrap());
                }
            }
        }
        let to = scratch.join("one");
        let _ = std::fs::remove_dir_all(&to);
        // What the jail added needs no base.
        extract(&archive, ":/srv", &to).ends(0);
        assert_eq!(names(&to.join("srv")), ["absolute", "new", "new-link", "out"]);
        let inode = |name: &str| to.join("srv").join(name).metadata().unwrap().ino();
        assert_eq!(inode("new"), inode("new-link"));
        assert_eq!(std::fs::read_link(to.join("srv/out")).unwrap(), Path::new("../../../../../etc/shadow"));
        extract(&archive, ":/srv/new-link", &to).ends(0);
        assert_eq!(std::fs::read(to.join("new-link")).unwrap(), std::fs::read(to.join("srv/new")).unwrap());
        extract(&archive, ":/srv/absolute", &to).ends(0);
        extract(&archive, ":/etc/passwd", &to).on(&elsewhere).ends(0);
        extract(&archive, ":/old", &to).on(&elsewhere).ends(0);
        assert!(names(&to.join("old")).is_empty());
        extract(&archive, ":", &to).on(&elsewhere).ends(0);
        assert_eq!(names(&to.join("web01")), ["bin", "etc", "old", "srv"]);
        assert_eq!(
            names(&to),
            ["absolute", "new-link", "old", "passwd", "srv", "web01"],
            "nothing is left behind"
        );
    }
}

#[test]
fn without_the_base_what_the_archive_has_comes_with_a_warning() {
    let (scratch, pool) = small();
    let without = Pool::empty(&Place::dir());
    let (archive, to) = (scratch.join("a.tar.gz"), scratch.join("to"));
    export(&pool, "web01", &archive, &[]);
    let ended = extract(&archive, ":/etc", &to).on(&without).ends(3);
    ended.tells("only what the archive holds was extracted");
    assert_eq!(names(&to.join("etc")), ["conf"]);
    extract(&archive, ":/etc/passwd", &to).on(&without).ends(20);
    extract(&archive, ":/bin", &to).on(&without).ends(20);
    assert_eq!(names(&to), ["etc"]);
}

#[test]
fn what_exists_stays_and_a_failure_leaves_nothing() {
    let (scratch, pool) = small();
    let archive = scratch.join("a.tar.gz");
    export(&pool, "web01", &archive, &[]);
    let to = scratch.join("to");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("srv"), "mine").unwrap();
    extract(&archive, ":/srv", &to).ends(12).tells("srv exists already");
    assert_eq!(std::fs::read(to.join("srv")).unwrap(), b"mine");
    std::fs::remove_file(to.join("srv")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", to.join("srv")).unwrap();
    extract(&archive, ":/srv", &to).ends(12);
    assert_eq!(names(&to), ["srv"]);
    // Damage in the content of what is wanted: a.tar has it in plain sight.
    let (plain, fresh) = (scratch.join("a.tar"), scratch.join("fresh"));
    export(&pool, "web01", &plain, &[]);
    let mut bytes = std::fs::read(&plain).unwrap();
    let content = std::fs::read(pool.path("jails/web01/root/srv/new")).unwrap();
    let at = bytes.windows(content.len()).position(|window| window == content).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&plain, &bytes).unwrap();
    extract(&plain, ":/srv", &fresh).ends(22);
    assert!(!fresh.exists());
    let cat = remand(["cat"]).arg(&plain).arg(":/srv/new").ends(22);
    assert!(cat.stdout.is_empty(), "nothing damaged is printed");
    remand(["cat"]).arg(&plain).arg(":/etc/conf").ends(0);
    extract(&archive, ":/nowhere", &fresh).ends(10);
    extract(&archive, ":/srv", &scratch.join("no/such/parent")).ends(1);
    remand(["restore"]).arg(&archive).arg(":/srv").ends(2);
    remand(["restore", "--name", "x", "--to", "y"]).arg(&archive).arg(":/srv").ends(2);
    assert!(!fresh.exists());
}

#[test]
fn a_hostile_archive_writes_nothing_elsewhere() {
    let (scratch, pool) = small();
    let (plain, bad, to) = (scratch.join("a.tar"), scratch.join("bad.tar"), scratch.join("to"));
    export(&pool, "web01", &plain, &["--standalone"]);
    // A file below something that the archive makes a link out of the tree.
    let mut bundle = Bundle::open(&plain);
    let outside = scratch.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let mut lines = bundle.index();
    lines.pop();
    for line in &mut lines {
        if line["path"] == "./root.tree/srv/out" {
            line["target"] = outside.to_str().unwrap().into();
        }
    }
    bundle.seal(&lines);
    bundle.save(&bad);
    // The header does not say what the line says.
    extract(&bad, ":/srv", &to).ends(22);
    assert!(!to.exists() && names(&outside).is_empty());
}

#[test]
fn little_is_read_for_a_single_file() {
    let pool = Pool::with_jail(&Place::dir(), Size::Small);
    let scratch = Scratch::new();
    let root = pool.path("jails/web01/root");
    let noise: Vec<u8> =
        (0..8_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(root.join("srv/large"), &noise).unwrap();
    std::fs::write(root.join("srv/zz"), "small").unwrap();
    for form in ["a.tar.gz", "a.tar.zst", "a.tar"] {
        let archive = scratch.join(form);
        export(&pool, "web01", &archive, &[]);
        // The large file is broken in its middle; nobody looks at it.
        let mut bytes = std::fs::read(&archive).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        std::fs::write(&archive, &bytes).unwrap();
        assert_eq!(remand(["cat"]).arg(&archive).arg(":/srv/zz").ends(0).stdout, b"small", "{form}");
        ls(&archive, &[":/srv"]).ends(0);
        remand(["cat"]).arg(&archive).arg(":/srv/large").ends(22);
        remand(["verify"]).arg(&archive).ends(22);
    }
}

/// Where the table of offsets begins in an archive, which the table's end says.
fn table_at(archive: &[u8]) -> usize {
    let magic = b"remandT\x01";
    let end = archive.windows(magic.len()).rposition(|bytes| bytes == magic).expect("the end of a table");
    let at = archive[end + magic.len()..][..8].try_into().unwrap();
    usize::try_from(u64::from_le_bytes(at)).unwrap()
}

#[test]
fn a_table_that_is_damaged_is_told_by_verify() {
    let (scratch, pool) = small();
    for form in ["a.tar.gz", "a.tar.zst"] {
        let archive = scratch.join(form);
        export(&pool, "web01", &archive, &[]);
        remand(["verify"]).arg(&archive).ends(0);
        let whole = std::fs::read(&archive).unwrap();
        for place in table_at(&whole)..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 4;
            std::fs::write(&archive, &bytes).unwrap();
            remand(["verify"]).arg(&archive).ends(22);
        }
        std::fs::write(&archive, &whole[..whole.len() - 1]).unwrap();
        remand(["verify"]).arg(&archive).ends(22);
    }
}

#[test]
fn other_tools_do_not_see_the_table() {
    let (scratch, pool) = small();
    let run = |program: &PathBuf, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(scratch.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{} {arguments:?}: {stderr}", program.display());
        (output.stdout, stderr)
    };
    for name in ["a.tar", "a.tar.gz", "a.tar.zst"] {
        export(&pool, "web01", &scratch.join(name), &[]);
        // Otherwise the manifest of the next one would have a record of this one.
        std::fs::remove_file(pool.path(".remand/records.db")).unwrap();
    }
    let piped = remand(["export"]).on(&pool).args(&["-c", "gzip", "web01", "-"]).ends(0).stdout;
    std::fs::write(scratch.join("piped.tar.gz"), piped).unwrap();
    let archive = scratch.join("piped.tar.gz");
    assert_eq!(lines(&ls(&archive, &[":/etc/conf"]).ends(0).text()), ["M /etc/conf"]);
    for (program, arguments) in [
        ("tar", &["-tf", "a.tar.gz"][..]),
        ("tar", &["-tf", "piped.tar.gz"]),
        ("tar", &["--zstd", "-tf", "a.tar.zst"]),
        ("bsdtar", &["-tf", "a.tar.gz"]),
        ("bsdtar", &["-tf", "a.tar.zst"]),
        ("gzip", &["-t", "a.tar.gz"]),
        ("zstd", &["-tq", "a.tar.zst"]),
        ("python3", &["-c", "import tarfile; print('\\n'.join(tarfile.open('a.tar.gz').getnames()))"]),
    ] {
        let Some(path) = program_for("tools and the table of offsets", program) else { continue };
        let (stdout, stderr) = run(&path, arguments);
        let testing = matches!(program, "gzip" | "zstd");
        assert!(testing || String::from_utf8_lossy(&stdout).contains("index.jsonl"), "{program}");
        let quiet = stderr.lines().all(|line| line.contains("REMAND."));
        assert!(quiet, "{program} {arguments:?} complains: {stderr}");
    }
    // Not one byte more than without compression.
    let plain = std::fs::read(scratch.join("a.tar")).unwrap().len();
    let (unpacked, _) = run(&PathBuf::from("gzip"), &["-dc", "a.tar.gz"]);
    assert_eq!(unpacked.len(), plain);
}

#[test]
fn a_hard_link_to_an_unchanged_file_has_its_content() {
    let (scratch, pool) = small();
    let elsewhere = target();
    let root = pool.path("jails/web01/root");
    std::fs::hard_link(root.join("bin/tool"), root.join("srv/tool")).unwrap();
    std::fs::hard_link(root.join("srv/new"), root.join("etc/new")).unwrap();
    let tool = std::fs::read(root.join("bin/tool")).unwrap();
    for form in FORMS {
        let (archive, to) = (scratch.join(form), scratch.join(&format!("to-{form}")));
        export(&pool, "web01", &archive, &[]);
        for path in [":/srv/tool", ":/bin/tool"] {
            assert_eq!(remand(["cat"]).arg(&archive).arg(path).on(&elsewhere).ends(0).stdout, tool, "{form}");
        }
        extract(&archive, ":/srv", &to).on(&elsewhere).ends(0);
        extract(&archive, ":/etc", &to).on(&elsewhere).ends(0);
        assert_eq!(std::fs::read(to.join("srv/tool")).unwrap(), tool, "{form}");
        let new = std::fs::read(root.join("srv/new")).unwrap();
        for name in ["srv/new", "etc/new"] {
            assert_eq!(std::fs::read(to.join(name)).unwrap(), new, "{form}");
        }
        let mtime = |path: &Path| path.metadata().unwrap().mtime();
        assert_eq!(mtime(&to.join("srv/tool")), mtime(&root.join("srv/tool")));
    }
    // Without the base that one alone is missing.
    let (without, to) = (Pool::empty(&Place::dir()), scratch.join("without"));
    extract(&scratch.join("a.tar.gz"), ":/srv", &to).on(&without).ends(3);
    assert_eq!(names(&to.join("srv")), ["absolute", "new", "new-link", "out"]);
}
