//! The fstab of a jail: kept byte for byte but for the places of the pool, and what it needs of the host is told.

mod support;

use support::Scratch;
use support::pool::{Place, Pool, Size};
use support::run::{export, remand, restore};

fn text(pool: &Pool, jail: &str, release: &str) -> String {
    let (pool, jail) =
        (pool.directory().display(), pool.path(&format!("jails/{jail}")).display().to_string());
    format!(
        "# {jail}\n\
         {pool}/releases/{release}/root/bin\t {jail}/root/bin nullfs ro 0 0\n\
         {pool}/releases/{release}/root  {jail}/root/mnt/release\tnullfs ro 0 0\n\
         {pool}/releases {jail}/root/mnt/all nullfs ro 0 0\n\
         /usr/share {jail}/root/mnt/my\\ share nullfs ro 0 0\n\
         {jail}/data {jail}/root/mnt/two\\040words nullfs rw 0 0\n\
         proc {jail}/root/proc procfs rw 0 0"
    )
}

fn fstab(pool: &Pool, jail: &str) -> String {
    std::fs::read_to_string(pool.path(&format!("jails/{jail}/fstab"))).unwrap()
}

#[test]
fn places_of_the_pool_are_those_of_the_target() {
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Small));
    std::fs::write(source.path("jails/web01/fstab"), text(&source, "web01", "base-1.0")).unwrap();
    let archive = scratch.join("a.tar.gz");
    export(&source, "web01", &archive, &["--with-base"]);
    let comment = |text: String| text.split_once('\n').unwrap().1.to_owned();
    // The release comes along, and is there by the time that anybody looks for it.
    let target = Pool::empty(&Place::dir());
    restore(&target, &archive, &["--name", "web02"]);
    assert_eq!(comment(fstab(&target, "web02")), comment(text(&target, "web02", "base-1.0")));
    let target = Pool::empty(&Place::dir());
    target.release("base-2.0", Size::Small);
    restore(&target, &archive, &["--base", "base-2.0"]);
    assert_eq!(comment(fstab(&target, "web01")), comment(text(&target, "web01", "base-2.0")));
    // Nor is it lost on the way back.
    let back = scratch.join("back.tar.gz");
    export(&target, "web01", &back, &["--standalone"]);
    let there = Pool::empty(&Place::dir());
    there.release("base-2.0", Size::Small);
    restore(&there, &back, &["--name", "web03"]);
    let lines = comment(fstab(&there, "web03"));
    assert!(lines.contains(&format!(
        "{}/releases {}",
        there.directory().display(),
        there.path("jails/web03").display()
    )));
}

#[test]
fn beside_another_release_of_that_name_the_mounts_are_of_the_right_one() {
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Small));
    std::fs::write(source.path("jails/web01/fstab"), text(&source, "web01", "base-1.0")).unwrap();
    let archive = scratch.join("a.tar.gz");
    export(&source, "web01", &archive, &["--with-base"]);
    let target = Pool::empty(&Place::dir());
    target.release("base-1.0", Size::Common);
    restore(&target, &archive, &[]);
    let own = support::pool::names(&target.path("releases")).pop().unwrap();
    assert!(own.starts_with("base-1.0-remand-"), "{own}");
    assert!(
        fstab(&target, "web01").contains(&format!("/releases/{own}/root/bin\t")),
        "{}",
        fstab(&target, "web01")
    );
}

#[test]
fn sources_that_are_not_on_this_host_are_listed_with_their_lines() {
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Small));
    let pool = source.directory().display();
    let jail = source.path("jails/web01").display().to_string();
    let text = format!(
        "/nowhere/media {jail}/root/mnt/a nullfs ro 0 0\n\
         # /nowhere/else {jail}/root/mnt/b nullfs ro 0 0\n\
         {pool}/jails/gone/files {jail}/root/mnt/c nullfs ro 0 0\n\
         /dev/no-such-disk {jail}/root/mnt/d ufs rw 0 0\n\
         {jail}/not-there {jail}/root/mnt/e nullfs rw 0 0\n\
         UUID=12-34 {jail}/root/mnt/f ext4 rw 0 0\n\
         /nowhere/bound {jail}/root/mnt/g none rw,bind 0 0\n"
    );
    std::fs::write(source.path("jails/web01/fstab"), text).unwrap();
    let archive = scratch.join("a.tar.gz");
    export(&source, "web01", &archive, &[]);
    let target = Pool::with_release(&Place::dir(), Size::Small);
    let ended = remand(["restore"]).on(&target).arg(&archive).ends(3);
    let here = target.path("jails/gone/files").display().to_string();
    let wanted = [(1, "/nowhere/media"), (3, &here), (4, "/dev/no-such-disk"), (7, "/nowhere/bound")];
    let warned: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("warning: fstab")).collect();
    let expected = wanted
        .map(|(line, path)| format!("warning: fstab, line {line}: mounts {path}, which is not on this host"));
    assert_eq!(warned, expected);
    assert_eq!(target.jails(), ["web01"]);
}
