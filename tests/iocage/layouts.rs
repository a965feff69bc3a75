//! From iocage's layout to libioc's and back, and by what each is known.

use serde_json::{Value, json};

use super::support::bundle::Bundle;
use super::support::pool::{Place, Pool, Size, destroy, names, zfs};
use super::support::run::{Ended, export, remand, restore};
use super::support::{Scratch, skipped};
use super::{assert_same, listed, manifest, plain, read};

#[test]
fn from_iocage_to_libioc_and_back() {
    for place in Place::all("iocage: to libioc and back") {
        let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
        let archive = scratch.join("all.tar");
        remand(["export", "blog", "web01", "template:web"]).on(&source).arg(&archive).ends(0);
        // The bytes in the archive are those that were found.
        let mut bundle = Bundle::open(&archive);
        assert_eq!(
            bundle.member("./jails/web01/config.json").data,
            read(&source, "jails/web01/config.json").as_bytes()
        );
        let libioc = Pool::with_release(&place, Size::Small);
        let ended = restore(&libioc, &archive, &[]);
        ended.tells("libioc keeps templates among its jails");
        let rows = plain(&listed(&libioc, &[]));
        assert_eq!(rows[..2], ["jail blog template:web", "jail web01 base-1.0"]);
        assert!(rows[2].starts_with("template web "), "{rows:?}");
        for (from, to) in
            [("templates/web", "jails/web"), ("jails/blog", "jails/blog"), ("jails/web01", "jails/web01")]
        {
            assert_same(&source, &libioc, from, to);
        }
        let config = libioc.config("jails/web");
        assert_eq!([&config["template"], &config["boot"], &config["release"]], ["yes", "yes", "base-1.0"]);
        assert_eq!((config.get("CONFIG_VERSION"), &config["type"]), (None, &json!("template")));
        assert!(!read(&libioc, "jails/web/fstab").contains("templates"));

        // And back: what says that it is a template is one.
        let back = scratch.join("back.tar");
        remand(["export", "blog", "template:web"]).on(&libioc).arg(&back).ends(0);
        assert_eq!(manifest(&back)["resources"][0]["layout"], "libioc");
        let again = Pool::iocage_with_release(&place);
        restore(&again, &back, &[]).tells("iocage keeps templates apart from its jails");
        for name in ["templates/web", "jails/blog"] {
            assert_same(&source, &again, name, name);
            assert_eq!(
                read(&again, &format!("{name}/fstab")),
                read(&source, &format!("{name}/fstab"))
                    .replace(source.directory().to_str().unwrap(), again.directory().to_str().unwrap())
            );
        }
        let config = again.config("jails/blog");
        assert_eq!(
            [&config["boot"], &config["source_template"], &config["host_hostuuid"], &config["ip4_addr"]],
            [&serde_json::json!(1), &"web".into(), &"blog".into(), &"vnet0|192.168.24.2/24".into()]
        );
    }
}

#[test]
fn libiocs_basejails_get_the_lines_that_iocage_needs() {
    for place in Place::all("iocage: basejails of libioc") {
        let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
        source.configure("jails/web01", &[("basejail", "yes".into())]);
        for fstab in [true, false] {
            let archive = scratch.join(&format!("{fstab}.tar"));
            if !fstab {
                std::fs::remove_file(source.path("jails/web01/fstab")).unwrap();
            }
            export(&source, "web01", &archive, &["--portable"]);
            let target = Pool::iocage_with_release(&place);
            restore(&target, &archive, &[]);
            let lines = read(&target, "jails/web01/fstab");
            assert!(lines.ends_with(&target.mount_line("base-1.0", "web01")), "{lines}");
            assert_eq!(lines.contains("/usr/share"), fstab, "{lines}");
            let rows = remand(["list"]).on(&target).ends(0).text();
            assert!(rows.contains("nullfs basejail"), "{rows}");
            // libioc mounts them by itself.
            let libioc = Pool::with_release(&place, Size::Small);
            restore(&libioc, &archive, &[]);
            assert!(!names(&libioc.path("jails/web01")).contains(&"fstab".to_owned()) || fstab);
        }
    }
}

#[test]
fn an_old_libioc_archive_of_a_template_becomes_a_jail_that_says_so() {
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Small));
    let archive = scratch.join("web01.tar");
    export(&source, "web01", &archive, &[]);
    assert_eq!(manifest(&archive)["resources"][0]["kind"], "jail");
    source.configure("jails/web01", &[("template", "yes".into())]);
    remand(["export", "web01"]).on(&source).arg(scratch.join("no.tar")).ends(10).tells("template:web01");
    let template = scratch.join("template.tar");
    export(&source, "template:web01", &template, &[]);
    // In libioc's pools both have one place.
    let target = Pool::with_release(&Place::dir(), Size::Small);
    restore(&target, &archive, &[]);
    remand(["restore"]).on(&target).arg(&template).ends(12);
}

#[test]
fn a_copy_tells_its_release_by_its_config() {
    let pool = Pool::iocage(&Place::dir());
    let base = |keys: &[(&str, Value)]| {
        pool.configure("jails/web01", keys);
        let rows = listed(&pool, &[]);
        rows.into_iter().find(|[_, name, _]| name == "web01").map(|[_, _, base]| base).unwrap()
    };
    pool.release("base-2.0", Size::Small);
    assert_eq!(base(&[("cloned_release", "base-2.0".into())]), "base-2.0");
    assert_eq!(base(&[("cloned_release", "LEGACY_JAIL".into())]), "base-1.0");
    assert_eq!(base(&[("release", "base-2.0-p13".into())]), "base-2.0");
    // Under its full name it comes first.
    pool.release("base-2.0-p13", Size::Small);
    assert_eq!(base(&[]), "base-2.0-p13");
    assert_eq!(base(&[("source_template", "web".into())]), "template:web");
    assert_eq!(base(&[("source_template", "gone".into())]), "base-2.0-p13");
    assert_eq!(base(&[("source_template", "gone".into()), ("release", "EMPTY".into())]), "-");
}

#[test]
fn marks_tell_the_layout_and_the_user_can() {
    let scratch = Scratch::new();
    let source = Pool::iocage(&Place::dir());
    let (jail, template) = (scratch.join("web01.tar"), scratch.join("web.tar"));
    export(&source, "web01", &jail, &[]);
    export(&source, "template:web", &template, &["--standalone"]);
    // Without any mark it is libioc's.
    let pool = Pool::with_release(&Place::dir(), Size::Small);
    restore(&pool, &template, &[]);
    assert_eq!(names(&pool.path("jails")), ["web"]);
    pool.delete("jails/web");
    let settings = scratch.join("remand.toml");
    std::fs::write(&settings, "layout = \"iocage\"\n").unwrap();
    restore(&pool, &template, &["--config", settings.to_str().unwrap()]);
    assert_eq!(
        (names(&pool.path("templates")), names(&pool.path("jails"))),
        (vec!["web".to_owned()], vec![])
    );
    // It has one now; and the command line wins over the file.
    assert_eq!(plain(&listed(&pool, &[]))[0], "template web base-1.0");
    assert_eq!(plain(&listed(&pool, &["--layout", "libioc"])), ["release base-1.0 -"]);
    let both = ["--layout", "libioc", "--config", settings.to_str().unwrap()];
    assert_eq!(plain(&listed(&pool, &both)), ["release base-1.0 -"]);
    remand(["list", "--layout", "bastille"]).on(&pool).ends(2);
    // A jail whose config has a version is iocage's.
    let other = Pool::with_release(&Place::dir(), Size::Small);
    restore(&other, &jail, &["--layout", "iocage"]);
    restore(&other, &template, &[]);
    assert_eq!(
        (names(&other.path("templates")), names(&other.path("jails"))),
        (vec!["web".into()], vec!["web01".to_owned()])
    );
}

/// The dataset that iocage uses on the zpool which it has marked.
struct Active(String);

impl Drop for Active {
    fn drop(&mut self) {
        let (zpool, _) = self.0.split_once('/').unwrap();
        zfs(["inherit", "org.freebsd.ioc:active", zpool]);
        destroy(&self.0);
    }
}

#[test]
fn the_pool_that_iocage_has_activated_is_found() {
    let group = "iocage: the active pool";
    let Some(Place::Zfs(parent)) = Place::zfs(group) else { return };
    let zpool = parent.split('/').next().unwrap();
    let name = format!("{zpool}/iocage");
    if zfs(["list", "-H", "-o", "name", "-r", zpool]).lines().any(|line| line == name) {
        return skipped(group, &format!("{name} is there already"));
    }
    zfs(["create", &name]);
    let active = Active(name);
    zfs(["set", "org.freebsd.ioc:active=yes", zpool]);
    for part in [
        "jails",
        "templates",
        "releases",
        "releases/base-1.0",
        "releases/base-1.0/root",
        "templates/web",
        "templates/web/root",
    ] {
        zfs(["create", &format!("{}/{part}", active.0)]);
    }
    let ended: Ended = remand(["list"]).ends(0);
    let rows = ended.text();
    assert!(rows.contains("template  web") && rows.contains("base-1.0"), "{rows}");
}

/// A native stream carries a template that is read-only, as iocage leaves it.
#[test]
fn a_template_that_is_read_only_comes_back_so() {
    let Some(place) = Place::zfs("iocage: a read-only template") else { return };
    let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
    zfs(["set", "readonly=on", &format!("{}/templates/web", source.name())]);
    let value = |pool: &Pool| {
        zfs(["get", "-H", "-o", "value", "readonly", &format!("{}/templates/web", pool.name())])
    };
    if value(&source) != "on" {
        // zfs-fuse tells how a dataset is mounted, which it cannot change.
        return skipped(
            "iocage: a read-only template",
            "this ZFS does not tell that a mounted dataset is read-only",
        );
    }
    for (options, base) in [(&[][..], true), (&["--standalone"], false)] {
        let archive = scratch.join(&format!("{base}.tar"));
        export(&source, "template:web", &archive, options);
        let target = Pool::iocage_with_release(&place);
        restore(&target, &archive, &[]);
        assert_same(&source, &target, "templates/web", "templates/web");
        assert_eq!(value(&target), "on");
    }
}
