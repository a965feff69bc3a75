//! Which engine compares.

use super::Engine;
use super::content::Content;
use super::lineage::Lineage;
use super::quick::Quick;
use super::rsync::Rsync;

/// The engine that `--engine` calls `name`, or `None` where there is no such engine. `parted_seconds` is as for
/// [`cheapest`]; without it the lineage engine takes nothing for proven.
pub fn engine(name: &str, parted_seconds: Option<i64>) -> Option<Box<dyn Engine>> {
    let lineage = Lineage { before_seconds: parted_seconds.unwrap_or(i64::MIN) };
    let engines: [Box<dyn Engine>; 4] =
        [Box::new(Content), Box::new(lineage), Box::new(Rsync), Box::new(Quick)];
    engines.into_iter().find(|engine| engine.name() == name)
}

/// The cheapest engine that is safe. `parted_seconds` says that one of the trees is a clone of the other, made by the
/// file system itself, so that both share inode numbers and ctimes, and when the snapshot between them was made.
pub fn cheapest(parted_seconds: Option<i64>) -> Box<dyn Engine> {
    match parted_seconds {
        Some(before_seconds) => Box::new(Lineage { before_seconds }),
        None => Box::new(Content),
    }
}
