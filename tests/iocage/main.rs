//! Pools in iocage's layout, and the way from it to libioc's and back.

mod layouts;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::Scratch;
use support::bundle::Bundle;
use support::compare;
use support::pool::{Place, Pool, Size, names, zfs};
use support::run::{export, remand, restore};

/// Kind, name and base of all that a pool lists.
fn listed(pool: &Pool, options: &[&str]) -> Vec<[String; 3]> {
    let ended = remand(["list", "--json"]).args(options).on(pool).ends(0);
    let resources = ended.json().into_iter().filter_map(|mut line| Some(line.get_mut("resource")?.take()));
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    resources.map(|line| [text(&line["kind"]), text(&line["name"]), text(&line["base"])]).collect()
}

/// A base's label without its snapshot, which only some backends have.
fn plain(rows: &[[String; 3]]) -> Vec<String> {
    rows.iter()
        .map(|[kind, name, base]| format!("{kind} {name} {}", base.split('@').next().unwrap_or_default()))
        .collect()
}

/// What [`Pool::iocage`] lists after it was restored with its template, which travelled whole; a copy's base is in its config.
fn rows_of(place: &Place) -> Vec<String> {
    let base = if place.has_datasets() { "-" } else { "base-1.0" };
    let rows =
        ["jail blog template:web", "jail shop template:web", "template web BASE", "release base-1.0 -"];
    rows.iter().map(|row| row.replace("BASE", base)).collect()
}

#[track_caller]
fn assert_same(source: &Pool, target: &Pool, from: &str, to: &str) {
    let ignored = [source.unseen(), target.unseen()].concat();
    compare::assert_same_without(&source.path(from).join("root"), &target.path(to).join("root"), &ignored);
    assert_eq!(source.remains(), [""; 0]);
    assert_eq!(target.remains(), [""; 0]);
}

fn manifest(archive: &Path) -> Value {
    Bundle::open(archive).manifest()
}

fn read(pool: &Pool, file: &str) -> String {
    std::fs::read_to_string(pool.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn jails_templates_and_releases_are_listed_with_their_bases() {
    for place in Place::all("iocage: list") {
        let pool = Pool::iocage(&place);
        let rows = listed(&pool, &[]);
        assert_eq!(
            plain(&rows),
            ["jail blog template:web", "jail web01 base-1.0", "template web base-1.0", "release base-1.0 -",]
        );
        if place.is_zfs() {
            assert_eq!((&rows[0][2], &rows[1][2]), (&"template:web@blog".into(), &"base-1.0@web01".into()));
        }
    }
}

#[test]
fn a_jail_comes_back_byte_for_byte() {
    for place in Place::all("iocage: a jail") {
        let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
        let archive = scratch.join("web01.tar.gz");
        export(&source, "web01", &archive, &[]);
        let plain = scratch.join("web01.tar");
        export(&source, "web01", &plain, &[]);
        let manifest = manifest(&plain);
        // An older remand can restore it: nothing in it is about templates.
        assert_eq!(manifest.get("requires"), None);
        let record = &manifest["resources"][0];
        assert_eq!((&record["layout"], &record["base"].get("kind")), (&json!("iocage"), &None));
        let info = remand(["info"]).arg(&archive).ends(0).text();
        assert!(info.contains("web01") && info.contains("base-1.0"), "{info}");
        let target = Pool::iocage_with_release(&place);
        restore(&target, &archive, &[]);
        assert_same(&source, &target, "jails/web01", "jails/web01");
        assert_eq!(read(&source, "jails/web01/config.json"), read(&target, "jails/web01/config.json"));
        let moved = read(&source, "jails/web01/fstab")
            .replace(source.directory().to_str().unwrap(), target.directory().to_str().unwrap());
        assert_eq!(read(&target, "jails/web01/fstab"), moved);
        // iocage finds a jail by what its config calls it.
        restore(&target, &archive, &["--name", "web02", "--identity", "keep"]);
        let config = target.config("jails/web02");
        assert_eq!(
            [&config["host_hostuuid"], &config["jail_zfs_dataset"], &config["release"]],
            ["web02", "iocage/jails/web02/data", "base-1.0-p4"]
        );
    }
}

#[test]
fn a_template_and_the_jails_on_it_come_back_together() {
    for place in Place::all("iocage: a template") {
        let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
        source.template_jail("shop", "web");
        let archive = scratch.join("all.tar");
        remand(["export", "shop", "blog", "template:web"]).on(&source).arg(&archive).ends(0);
        let bundle = Bundle::open(&archive);
        let manifest = bundle.manifest();
        assert_eq!(
            (&manifest["requires"], &manifest["version"]["minor"]),
            (&json!(["templates"]), &json!(4))
        );
        let kinds: Vec<_> =
            manifest["resources"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
        assert_eq!(kinds, ["template", "jail", "jail"]);
        // The jails can be built on it in one pass, as on a release.
        let modes: Vec<_> =
            manifest["resources"].as_array().unwrap().iter().map(|one| &one["mode"]).collect();
        assert_eq!(modes, ["standalone", "differential", "differential"]);
        assert_eq!(manifest["resources"][1]["base"]["kind"], "template");
        assert!(bundle.members.iter().any(|member| member.text() == "./templates/web/config.json"));
        // On a host that has the release alone.
        let target = Pool::iocage_with_release(&place);
        restore(&target, &archive, &[]);
        for name in ["templates/web", "jails/blog", "jails/shop"] {
            assert_same(&source, &target, name, name);
            assert_eq!(
                read(&source, &format!("{name}/config.json")),
                read(&target, &format!("{name}/config.json"))
            );
        }
        assert_eq!(plain(&listed(&target, &[])), rows_of(&place));
        // On one that has the template too, which is the base then.
        remand(["restore"]).on(&target).arg(&archive).arg("blog=blog2").ends(0);
        assert_same(&source, &target, "jails/blog", "jails/blog2");
        let rows = listed(&target, &[]);
        assert!(
            rows.iter().any(|[_, name, base]| name == "blog2" && base.starts_with("template:web")),
            "{rows:?}"
        );
        if place.is_zfs() {
            let origin =
                zfs(["get", "-H", "-o", "value", "origin", &format!("{}/jails/blog2/root", target.name())]);
            assert!(origin.contains("/templates/web/root@"), "{origin}");
        }
    }
}

#[test]
fn a_template_alone_is_what_differs_from_its_release() {
    for place in Place::all("iocage: a template alone") {
        let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
        let archive = scratch.join("web.tar");
        export(&source, "template:web", &archive, &[]);
        let record = manifest(&archive)["resources"][0].clone();
        assert_eq!(
            [&record["mode"], &record["kind"], &record["base"]["name"]],
            ["differential", "template", "base-1.0"]
        );
        let target = Pool::iocage_with_release(&place);
        restore(&target, &archive, &["--name", "web2", "--identity", "keep"]);
        assert_same(&source, &target, "templates/web", "templates/web2");
        assert_eq!(plain(&listed(&target, &[]))[0], "template web2 base-1.0");
        let dry =
            remand(["export", "--dry-run", "template:web", "blog"]).on(&source).arg(scratch.join("x.tar"));
        dry.ends(0).tells("travels whole");
    }
}

#[test]
fn templates_on_templates_come_after_what_they_are_built_on() {
    for place in Place::all("iocage: a template of a template") {
        let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
        // Its name comes before that of its base.
        source.clone_root("templates/web", "app", "templates/app");
        std::fs::write(source.path("templates/app/root/srv/app"), "of the second template\n").unwrap();
        source.files("templates/app", &source.config("templates/web").to_string());
        source.configure(
            "templates/app",
            &[("host_hostuuid", "app".into()), ("source_template", "web".into())],
        );
        source.template_jail("web03", "web");
        let archive = scratch.join("all.tar.gz");
        remand(["export", "--all"]).on(&source).arg(&archive).ends(0);
        let target = Pool::empty_iocage(&place);
        restore(&target, &archive, &[]);
        for name in ["templates/web", "templates/app", "jails/blog", "jails/web01", "jails/web03"] {
            assert_same(&source, &target, name, name);
        }
        let rows = plain(&listed(&target, &[]));
        for row in ["jail blog template:web", "jail web01 base-1.0", "template app template:web"] {
            assert!(rows.iter().any(|other| other == row), "{rows:?}");
        }
        // A release makes all of it possible: a template alone needs its base.
        let other = Pool::empty_iocage(&place);
        let ended = remand(["restore"]).on(&other).arg(&archive).arg("template:app").ends(20);
        ended.tells("template:web");
    }
}

#[test]
fn exit_statuses_tell_what_is_missing_taken_or_other() {
    for place in Place::all("iocage: exit statuses") {
        let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
        let (jail, template) = (scratch.join("blog.tar"), scratch.join("web.tar"));
        export(&source, "blog", &jail, &[]);
        export(&source, "template:web", &template, &[]);
        remand(["export", "web"]).on(&source).arg(scratch.join("no.tar")).ends(10).tells("template:web");
        remand(["export", "template:blog"]).on(&source).arg(scratch.join("no.tar")).ends(10);

        let target = Pool::iocage_with_release(&place);
        let before = everything(&target);
        for options in [&["restore"][..], &["restore", "--dry-run"]] {
            remand(options).on(&target).arg(&jail).ends(20).tells("template:web");
        }
        assert_eq!(everything(&target), before);
        restore(&target, &template, &[]);
        remand(["restore"]).on(&target).arg(&template).ends(12).tells("template web");
        // iocage could not tell them apart.
        remand(["restore", "--name", "web"]).on(&target).arg(&jail).ends(12).tells("template web");
        restore(&target, &jail, &["--name", "blog", "--identity", "keep"]);
        assert_same(&source, &target, "jails/blog", "jails/blog");
        remand(["restore", "--name", "blog"]).on(&target).arg(&template).ends(12).tells("jail blog");
        let all = scratch.join("all.tar");
        remand(["export", "blog", "template:web"]).on(&source).arg(&all).ends(0);
        let two = remand(["restore"]).on(&target).arg(&all).args(&["blog=x", "template:web=x"]).ends(2);
        two.tells("cannot both be called x");

        // A template of the same name that is another.
        let other = Pool::iocage_with_release(&place);
        other.clone_root("releases/base-1.0", "web", "templates/web");
        other.files("templates/web", &source.config("templates/web").to_string());
        if place.is_zfs() {
            zfs(["snapshot", &format!("{}/templates/web/root@blog", other.name())]);
        }
        remand(["restore"]).on(&other).arg(&jail).ends(21).tells("template:web");
        remand(["restore", "--base", "template:none"]).on(&other).arg(&jail).ends(20).tells("template:none");
        remand(["restore", "--base", "jail:web01"]).on(&other).arg(&jail).ends(2);
        assert_eq!(names(&other.path("jails")), [""; 0]);
    }
}

/// All paths of a pool but those of remand itself.
fn everything(pool: &Pool) -> Vec<String> {
    let mut found = Vec::new();
    for kind in ["jails", "templates", "releases"] {
        found.extend(names(&pool.path(kind)).into_iter().map(|name| format!("{kind}/{name}")));
    }
    if pool.is_zfs() {
        let all = zfs(["list", "-H", "-r", "-t", "all", "-o", "name", pool.name()]);
        found.extend(all.lines().filter(|line| !line.contains("/.remand")).map(ToOwned::to_owned));
    }
    found
}

#[test]
fn a_release_without_a_snapshot_gets_one_that_goes_with_a_failure() {
    let Some(place) = Place::zfs("iocage: a release without a snapshot") else { return };
    let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
    let archive = scratch.join("web01.tar");
    export(&source, "web01", &archive, &[]);
    let target = Pool::iocage_with_release(&place);
    zfs(["destroy", &format!("{}/releases/base-1.0/root@p0", target.name())]);
    let before = everything(&target);
    let bytes = std::fs::read(&archive).unwrap();
    let cut = scratch.join("cut.tar");
    std::fs::write(&cut, &bytes[..bytes.len() - 2048]).unwrap();
    remand(["restore"]).on(&target).arg(&cut).ends(22);
    remand(["restore", "--dry-run"]).on(&target).arg(&archive).ends(0).tells("has no snapshot yet");
    assert_eq!(everything(&target), before);
    restore(&target, &archive, &[]);
    assert_same(&source, &target, "jails/web01", "jails/web01");
    let origin = zfs(["get", "-H", "-o", "value", "origin", &format!("{}/jails/web01/root", target.name())]);
    assert!(origin.ends_with("/releases/base-1.0/root@web01"), "{origin}");
}

#[test]
fn a_basejail_mounts_the_release_of_the_target() {
    for place in Place::all("iocage: a basejail") {
        let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
        source.make_basejail("web01");
        let archive = scratch.join("web01.tar");
        export(&source, "web01", &archive, &[]);
        let bundle = Bundle::open(&archive);
        let below = bundle.members.iter().any(|member| member.text().trim_end_matches('/').contains("/bin/"));
        assert!(!below, "what the release provides is not in it");
        let directories = &bundle.manifest()["resources"][0]["base_directories"];
        assert_eq!(*directories, json!([{ "path": "bin", "empty": true }]));
        let target = Pool::iocage_with_release(&place);
        target.release("base-2.0", Size::Small);
        restore(&target, &archive, &[]);
        assert_same(&source, &target, "jails/web01", "jails/web01");
        assert_eq!(read(&target, "jails/web01/fstab"), target.mount_line("base-1.0", "web01"));
        restore(&target, &archive, &["--name", "web02", "--base", "base-2.0"]);
        assert_eq!(read(&target, "jails/web02/fstab"), target.mount_line("base-2.0", "web02"));
        let config = target.config("jails/web02");
        assert_eq!([&config["release"], &config["cloned_release"]], ["base-2.0", "base-2.0"]);
    }
}

/// As iocage makes them: a copy of the release, which is no clone.
#[test]
fn a_thick_basejail_needs_no_base_and_mounts_the_targets() {
    let Some(place) = Place::zfs("iocage: a thick basejail") else { return };
    let (scratch, source) = (Scratch::new(), Pool::iocage(&place));
    zfs(["promote", &format!("{}/jails/web01/root", source.name())]);
    source.make_basejail("web01");
    let archive = scratch.join("web01.tar");
    export(&source, "web01", &archive, &["--portable"]);
    assert_eq!(manifest(&archive)["resources"][0]["mode"], "standalone");
    let target = Pool::empty_iocage(&place);
    let ended = remand(["restore"]).on(&target).arg(&archive).ends(3);
    ended.tells("releases/base-1.0/root/bin, which is not on this host");
    assert_eq!(read(&target, "jails/web01/fstab"), target.mount_line("base-1.0", "web01"));
}
