//! Opens directories of both trees by their paths.
//!
//! Some of the way to the last one stays open, up to a bound: in the module's order of directories the next one is near.

use std::collections::VecDeque;

use crate::change::walk::{self, Opened};
use crate::change::{Error, Result, Trees};
use crate::tree::{Dir, Tree, TreePath};

/// Directories that are held open, for each tree.
const HELD_LEVELS: usize = 32;

/// A directory in base and now.
pub(super) type Sides = [Option<Dir>; 2];

/// See the module.
pub(super) struct Directories<'a> {
    trees: Trees<'a>,
    /// Each is in the one before it.
    held: VecDeque<(TreePath, Sides)>,
}

impl<'a> Directories<'a> {
    pub(super) fn new(trees: Trees<'a>) -> Self {
        Self { trees, held: VecDeque::new() }
    }

    /// The directory at `path` on the sides that have it. `None` where neither has, or another file system is mounted on the
    /// way: nothing is known of what lies beneath it.
    pub(super) fn open(&mut self, path: &TreePath) -> Result<Option<Sides>> {
        while self.held.back().is_some_and(|(held, _)| held != path && !held.is_above(path)) {
            self.held.pop_back();
        }
        let (mut at, mut sides) = match self.held.back() {
            Some((held, sides)) => (held.clone(), sides.clone()),
            None => (TreePath::root(), [self.trees.base.map(Tree::root), Some(self.trees.now.root())]),
        };
        let Some(way) = path.way_from(&at) else { return Ok(None) };
        if let [Some(base), Some(now)] = &sides {
            let below = |dir: &Dir| dir.open_below(&way).map_err(Error::Tree);
            if let (Some(base), Some(now)) = (below(base)?, below(now)?) {
                let sides = [Some(base), Some(now)];
                if !way.is_root() {
                    self.hold(path.clone(), sides.clone());
                }
                return Ok(Some(sides));
            }
        }
        // One side at least does not have it; each component says where, and why.
        for name in way.components() {
            let [base, now] = &sides;
            sides = match (open(base.as_ref(), name)?, open(now.as_ref(), name)?) {
                (_, Opened::MountPoint) | (Opened::Absent | Opened::MountPoint, Opened::Absent) => {
                    return Ok(None);
                }
                (base, now) => [base.dir(), now.dir()],
            };
            at = at.join(name);
            self.hold(at.clone(), sides.clone());
        }
        Ok(Some(sides))
    }

    fn hold(&mut self, path: TreePath, sides: Sides) {
        self.held.push_back((path, sides));
        if self.held.len() > HELD_LEVELS {
            self.held.pop_front();
        }
    }
}

fn open(parent: Option<&Dir>, name: &[u8]) -> Result<Opened> {
    parent.map_or(Ok(Opened::Absent), |parent| walk::open(parent, name))
}
