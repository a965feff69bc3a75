//! The snapshot engine, told what changed by a backend that can be honest, wordy or broken.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use remand_backends::{DatasetName, Hint, NativeDiff, Snapshot as Frozen};

use super::engines::{PATHS, apply_all, check_engine, random};
use super::scratch::{Btrfs, Scratch};
use super::{OPTIONS, brief, changes, content, engine, path};
use crate::change::snapshot::{Asked, Snapshot};
use crate::change::{Change, Error, Options, Summary, What};
use crate::tree::Tree;

/// Says what it was told to.
struct Told {
    hints: Vec<Hint>,
    /// Fails after the hints.
    fails: bool,
    /// Tells all names of an entry.
    knows_names: bool,
    questions: AtomicUsize,
}

impl Told {
    fn new(hints: Vec<Hint>) -> Self {
        Self { hints, fails: false, knows_names: true, questions: AtomicUsize::new(0) }
    }
}

impl NativeDiff for Told {
    fn changes(
        &self,
        _: &Frozen,
        _: &Frozen,
        hint: &mut dyn FnMut(Hint) -> bool,
    ) -> remand_backends::Result<()> {
        for told in &self.hints {
            if !hint(told.clone()) {
                return Ok(());
            }
        }
        if self.fails {
            return Err(remand_backends::Error::NotFound("the other half".into()));
        }
        Ok(())
    }

    fn names_of(&self, tree: &Path, inode: u64) -> remand_backends::Result<Option<Vec<Vec<u8>>>> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let names = || listed(tree).into_iter().filter(|(_, entry)| entry.inode == inode);
        Ok(self.knows_names.then(|| names().map(|(name, _)| name).collect()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Listed {
    inode: u64,
    parent: u64,
    ctime: (i64, i64),
}

/// Every path below `root`, and "" for itself.
fn listed(root: &Path) -> BTreeMap<Vec<u8>, Listed> {
    let mut all = BTreeMap::new();
    add(root, b"", 0, &mut all);
    all
}

fn add(root: &Path, at: &[u8], parent: u64, all: &mut BTreeMap<Vec<u8>, Listed>) {
    let place = root.join(OsStr::from_bytes(at));
    let found = fs::symlink_metadata(&place).unwrap();
    all.insert(
        at.to_owned(),
        Listed { inode: found.ino(), parent, ctime: (found.ctime(), found.ctime_nsec()) },
    );
    if found.is_dir() {
        for below in fs::read_dir(place).unwrap() {
            let name = below.unwrap().file_name();
            let slash: &[u8] = if at.is_empty() { b"" } else { b"/" };
            add(root, &[at, slash, name.as_bytes()].concat(), found.ino(), all);
        }
    }
}

/// As little as a backend may tell: of each entry that was touched, came, went or has other names one name in each tree. What
/// moved along with a directory is not told.
fn honest(base: &Path, now: &Path, random: &mut Random) -> Vec<Hint> {
    let trees = [listed(base), listed(now)];
    let mut entries: BTreeMap<u64, [Vec<&[u8]>; 2]> = BTreeMap::new();
    for (side, tree) in trees.iter().enumerate() {
        for (path, entry) in tree {
            entries.entry(entry.inode).or_default()[side].push(path);
        }
    }
    let mut hints = Vec::new();
    for names in entries.values() {
        let seen = |side: usize| -> BTreeSet<(u64, &[u8], (i64, i64))> {
            let own = |path: &&'_ [u8]| path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
            let entry = |path: &&[u8]| trees[side][*path];
            names[side]
                .iter()
                .map(|path| (entry(path).parent, &path[own(path)..], entry(path).ctime))
                .collect()
        };
        if seen(0) != seen(1) {
            let told = names.iter().filter(|names| !names.is_empty());
            hints.extend(told.map(|names| Hint::Entry(names[random.below(names.len())].to_vec())));
        }
    }
    hints
}

/// Numbers that look random, the same ones for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
    }
}

/// Hints that are true, and others between them that are not.
fn wordy(mut hints: Vec<Hint>, random: &mut Random) -> Vec<Hint> {
    let kinds: [fn(Vec<u8>) -> Hint; 3] = [Hint::Entry, Hint::Names, Hint::Subtree];
    for at in 0..hints.len() {
        let path = hints[at].path().to_vec();
        hints.push(kinds[random.below(3)](path));
    }
    for _ in 0..4 {
        hints.push(kinds[random.below(3)](PATHS[random.below(PATHS.len())].to_vec()));
        hints.push(kinds[random.below(3)](b"d/none/of/these".to_vec()));
    }
    random.shuffle(&mut hints);
    hints
}

fn frozen() -> Frozen {
    Frozen { dataset: DatasetName::new("releases/x/root").unwrap(), name: None }
}

/// All that is known of each change.
fn full(found: &[Change]) -> Vec<String> {
    let replaced = |change: &Change| match &change.what {
        What::Whole { replaced, .. } | What::Link { replaced, .. } => replaced.clone(),
        What::Metadata { replaced, .. } | What::Deleted { replaced } => Some(replaced.clone()),
    };
    let briefs = brief(found);
    let all = briefs.iter().zip(found);
    all.map(|(brief, change)| format!("{brief} {:?} {:?}", change.differs, replaced(change))).collect()
}

fn with_hints(told: &Told, proven: bool, limit: usize, base: &Tree, now: &Tree) -> (Vec<String>, Summary) {
    let frozen = frozen();
    let asked = Asked { native: told, base: &frozen, now: &frozen };
    let engine = Snapshot::new(asked, proven.then_some(i64::MAX)).limited(limit);
    let (found, summary) = check_engine(&engine, base, now);
    (full(&found), summary)
}

fn btrfs(test: &str) -> Option<Btrfs> {
    let mounted = Btrfs::mount();
    if mounted.is_none() {
        eprintln!("SKIPPED {test}: needs root, loop devices and mkfs.btrfs");
    }
    mounted
}

#[test]
fn hints_lead_to_every_change_of_a_clone() {
    let Some(btrfs) = btrfs("hints_lead_to_every_change_of_a_clone") else { return };
    let scratch = Scratch::at(&btrfs.path());
    let case = AtomicUsize::new(0);
    random(64, |base_ops, now_ops| {
        btrfs.subvolume(&["create", "base"]);
        apply_all(&scratch.path("base"), base_ops);
        btrfs.subvolume(&["snapshot", "base", "now"]);
        // Longer than a tick of the clock that ctimes are made of.
        std::thread::sleep(Duration::from_millis(25));
        apply_all(&scratch.path("now"), now_ops);
        let (base, now) = (scratch.tree("base"), scratch.tree("now"));
        let walked = |name| {
            let engine = engine(name, Some(i64::MAX)).unwrap();
            full(&changes(&*engine, Some(&base), &now, OPTIONS).unwrap().0)
        };
        let (lineage, content) = (walked("lineage"), walked("content"));
        let mut random = Random(case.fetch_add(1, Ordering::Relaxed) as u64);
        let hints = honest(&scratch.path("base"), &scratch.path("now"), &mut random);
        for knows_names in [true, false] {
            for hints in [hints.clone(), wordy(hints.clone(), &mut random)] {
                let told = Told { knows_names, ..Told::new(hints) };
                let (found, summary) = with_hints(&told, true, 1000, &base, &now);
                assert_eq!((found, summary.fallback), (lineage.clone(), None), "{:?}", told.hints);
                let (found, summary) = with_hints(&told, false, 1000, &base, &now);
                assert_eq!((found, summary.fallback), (content.clone(), None), "{:?}", told.hints);
            }
        }
        let half = hints[..hints.len() / 2].to_vec();
        let (found, summary) = with_hints(&Told { fails: true, ..Told::new(half) }, true, 1000, &base, &now);
        assert_eq!(found, lineage);
        assert!(summary.fallback.is_some_and(|reason| reason.contains("the other half")));
        if hints.iter().collect::<BTreeSet<_>>().len() > 2 {
            let (found, summary) = with_hints(&Told::new(hints), true, 2, &base, &now);
            assert_eq!(found, lineage);
            assert_eq!(summary.fallback.as_deref(), Some("more than 2 paths may differ"));
        }
        btrfs.subvolume(&["delete", "base", "now"]);
    });
}

/// Asks btrfs itself.
struct Real<'a>(&'a Scratch);

impl NativeDiff for Real<'_> {
    fn changes(
        &self,
        _: &Frozen,
        _: &Frozen,
        hint: &mut dyn FnMut(Hint) -> bool,
    ) -> remand_backends::Result<()> {
        remand_backends::btrfs::diff::changes(&self.0.path("base"), &self.0.path("now"), hint)
    }

    fn names_of(&self, tree: &Path, inode: u64) -> remand_backends::Result<Option<Vec<Vec<u8>>>> {
        Ok(Some(remand_sys::btrfs::names_of_inode(fs::File::open(tree).unwrap(), inode).unwrap()))
    }
}

#[test]
fn btrfs_itself_leads_to_every_change() {
    let Some(btrfs) = btrfs("btrfs_itself_leads_to_every_change") else { return };
    let scratch = Scratch::at(&btrfs.path());
    let frozen = frozen();
    random(64, |base_ops, now_ops| {
        btrfs.subvolume(&["create", "origin"]);
        apply_all(&scratch.path("origin"), base_ops);
        btrfs.subvolume(&["snapshot", "-r", "origin", "base"]);
        btrfs.subvolume(&["snapshot", "base", "clone"]);
        std::thread::sleep(Duration::from_millis(25));
        apply_all(&scratch.path("clone"), now_ops);
        btrfs.subvolume(&["snapshot", "-r", "clone", "now"]);
        let (base, now) = (scratch.tree("base"), scratch.tree("now"));
        let real = Real(&scratch);
        let asked = Asked { native: &real, base: &frozen, now: &frozen };
        for (name, proof) in [("lineage", Some(i64::MAX)), ("content", None)] {
            let (found, summary) = check_engine(&Snapshot::new(asked, proof), &base, &now);
            assert_eq!(summary.fallback, None);
            let walked = engine(name, Some(i64::MAX)).unwrap();
            let (expected, _) = changes(&*walked, Some(&base), &now, OPTIONS).unwrap();
            assert_eq!(full(&found), full(&expected));
        }
        btrfs.subvolume(&["delete", "origin", "base", "clone", "now"]);
    });
}

/// In a copy every entry is another one, so that the root alone leads everywhere.
#[test]
fn one_hint_at_the_root_leads_to_every_change_of_a_copy() {
    random(64, |base_ops, now_ops| {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("base")).unwrap();
        apply_all(&scratch.path("base"), base_ops);
        scratch.copy("base", "now");
        apply_all(&scratch.path("now"), now_ops);
        let (base, now) = (scratch.tree("base"), scratch.tree("now"));
        let expected = full(&content(Some(&base), &now, OPTIONS).0);
        for hint in [Hint::Entry, Hint::Names, Hint::Subtree] {
            let told = Told::new(vec![hint(Vec::new())]);
            assert_eq!(with_hints(&told, false, 1000, &base, &now).0, expected);
        }
    });
}

/// What is changed without a hint is not found, which proves that it was not looked at.
#[test]
fn nothing_is_looked_at_without_a_hint() {
    let Some(btrfs) = btrfs("nothing_is_looked_at_without_a_hint") else { return };
    let scratch = Scratch::at(&btrfs.path());
    btrfs.subvolume(&["create", "base"]);
    let name = |side: &str, number: usize| format!("{side}/d{}/e{}/f{number}", number % 20, number % 200);
    for directory in 0..200 {
        fs::create_dir_all(scratch.path(&name("base", directory)).parent().unwrap()).unwrap();
    }
    for number in 0..20_000 {
        fs::write(scratch.path(&name("base", number)), b"old").unwrap();
    }
    btrfs.subvolume(&["snapshot", "base", "now"]);
    let mut hints = Vec::new();
    for number in 0..1000 {
        fs::write(scratch.path(&name("now", number * 19)), b"new").unwrap();
        fs::write(scratch.path(&name("now", 100_000 + number)), b"").unwrap();
        if number % 20 == 0 {
            hints.push(Hint::Entry(name("now", number * 19)["now/".len()..].into()));
        }
    }
    let told = Told::new(hints);
    let frozen = frozen();
    let engine = Snapshot::new(Asked { native: &told, base: &frozen, now: &frozen }, Some(i64::MAX));
    let (base, now) = (scratch.tree("base"), scratch.tree("now"));
    let (found, summary) = changes(&engine, Some(&base), &now, OPTIONS).unwrap();
    assert_eq!(found.len(), 50, "{:?}", brief(&found));
    assert_eq!((summary.seen_entries, summary.fallback), (51, None));
}

#[test]
fn names_of_an_entry_are_asked_for_only_where_some_are_missing() {
    let Some(btrfs) = btrfs("names_of_an_entry_are_asked_for_only_where_some_are_missing") else { return };
    let scratch = Scratch::at(&btrfs.path());
    btrfs.subvolume(&["create", "base"]);
    let link = |from: &str, to: &str| {
        fs::hard_link(scratch.path(from), scratch.path(to)).unwrap();
    };
    scratch.write("base/a/one", b"1");
    scratch.write("base/b/two", b"2");
    link("base/a/one", "base/b/one");
    link("base/b/two", "base/b/zwei");
    btrfs.subvolume(&["snapshot", "base", "now"]);
    scratch.write("now/new/f", b"f");
    (0..100).for_each(|number| link("now/new/f", &format!("now/new/f{number}")));
    let told = Told::new(vec![Hint::Entry(b"new".to_vec()), Hint::Entry(Vec::new())]);
    let (base, now) = (scratch.tree("base"), scratch.tree("now"));
    let (found, _) = with_hints(&told, true, 1000, &base, &now);
    assert_eq!((found.len(), told.questions.into_inner()), (102, 0));
    fs::rename(scratch.path("now/a/one"), scratch.path("now/one")).unwrap();
    let hints = ["a", "", "new"].map(|path| Hint::Entry(path.into()));
    let told = Told::new(hints.into());
    let (found, _) = with_hints(&told, true, 1000, &base, &now);
    // Of `one` in both trees; nothing leads to `two`.
    assert_eq!((found.len(), told.questions.into_inner()), (106, 2), "{found:?}");
}

#[test]
fn what_is_excluded_or_interrupted_stays_so() {
    let scratch = Scratch::new();
    for name in ["base/a/old", "base/ab", "now/a/new", "now/x/a/f"] {
        scratch.write(name, b"");
    }
    let exclude = [path("a"), path("x/a")];
    let hints = ["", "a/old", "a", "x/a/f", "x/a"];
    let told = Told::new(hints.map(|path| Hint::Subtree(path.into())).into());
    let frozen = frozen();
    let engine = Snapshot::new(Asked { native: &told, base: &frozen, now: &frozen }, None);
    let (base, now) = (scratch.tree("base"), scratch.tree("now"));
    let (found, _) = changes(&engine, Some(&base), &now, Options { exclude: &exclude, ..OPTIONS }).unwrap();
    assert_eq!(brief(&found), ["D ab", "A x"]);
    let stop = std::sync::atomic::AtomicBool::new(true);
    let result = changes(&engine, Some(&base), &now, Options { interrupted: &stop, ..OPTIONS });
    assert!(matches!(result, Err(Error::Interrupted)));
}

#[test]
fn hints_that_are_no_paths_make_it_walk() {
    let scratch = Scratch::new();
    scratch.write("base/f", b"1");
    scratch.write("now/f", b"2");
    let (base, now) = (scratch.tree("base"), scratch.tree("now"));
    for hint in ["../now", "/etc", "a//b"] {
        let (found, summary) = with_hints(&Told::new(vec![Hint::Entry(hint.into())]), false, 9, &base, &now);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(summary.fallback.is_some_and(|reason| reason.contains(hint)));
    }
}
