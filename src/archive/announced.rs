//! Which members a manifest announces. Everything else in an archive is refused.

use std::cmp::Ordering;

use super::format::{FILES, INDEX, MANIFEST, SIGNATURE};
use super::manifest::{DatasetRecord, Encoding, ResourceRecord};
use super::{Error, Manifest, MemberName, Result};
use crate::tree::TreePath;

/// What lies at and below a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One regular file: config, fstab.
    File,
    /// One regular file that holds a native stream.
    Stream,
    /// A directory of files beside the config.
    Files,
    /// What differs from a base.
    Delta,
    /// A whole tree.
    Tree,
}

impl Place {
    /// Whether it has members below it.
    pub(super) fn is_directory(self) -> bool {
        matches!(self, Self::Files | Self::Delta | Self::Tree)
    }
}

/// All places of an archive, none within another.
pub(super) struct Announced {
    /// In the order of [`by_components`].
    places: Vec<(TreePath, Place)>,
}

/// Order in which nothing comes between a directory and what is in it.
fn by_components(a: &TreePath, b: &TreePath) -> Ordering {
    a.components().cmp(b.components())
}

impl Announced {
    /// The places that `manifest` announces, which must make sense.
    pub(super) fn new(manifest: &Manifest) -> Result<Self> {
        let mut places = Vec::new();
        for own in [MANIFEST, INDEX, SIGNATURE] {
            places.push((TreePath::root().join(own.as_bytes()), Place::File));
        }
        for resource in &manifest.resources {
            add_resource(&mut places, resource)?;
        }
        places.sort_by(|(a, _), (b, _)| by_components(a, b));
        for pair in places.windows(2) {
            let (inner, outer) = (MemberName::new(pair[1].0.clone()), &pair[0].0);
            if inner.below(outer).is_some() {
                return Err(Error::Refused(format!("its manifest announces {inner} within ./{outer}")));
            }
        }
        Ok(Self { places })
    }

    /// The place that a member is in, and its path in there; `None` where nothing is announced.
    pub(super) fn find(&self, name: &MemberName) -> Option<(usize, Place, TreePath)> {
        let after = self.places.partition_point(|(path, _)| by_components(path, name.path()).is_le());
        let number = after.checked_sub(1)?;
        let (path, place) = &self.places[number];
        let below = name.below(path)?;
        (below.is_root() || place.is_directory()).then_some((number, *place, below))
    }
}

fn add_resource(places: &mut Vec<(TreePath, Place)>, resource: &ResourceRecord) -> Result<()> {
    let refuse =
        |name: &str| Error::Refused(format!("its manifest announces {name:?}, which is no name of a member"));
    let prefix = match resource.prefix.strip_prefix("./") {
        Some("") => TreePath::root(),
        Some(path) => path
            .strip_suffix('/')
            .filter(|path| !path.is_empty())
            .and_then(|path| TreePath::new(path.as_bytes()).ok())
            .ok_or_else(|| refuse(&resource.prefix))?,
        None => return Err(refuse(&resource.prefix)),
    };
    let mut add = |name: &str, place| {
        let whole = if prefix.is_root() {
            name.to_owned()
        } else {
            format!("{}/{name}", &resource.prefix[2..resource.prefix.len() - 1])
        };
        match TreePath::new(whole.as_bytes()) {
            Ok(path) if !name.is_empty() => {
                places.push((path, place));
                Ok(())
            }
            _ => Err(refuse(name)),
        }
    };
    add(FILES, Place::Files)?;
    for name in resource.config.iter().chain(&resource.fstab) {
        add(name, Place::File)?;
    }
    for DatasetRecord { member, encoding, .. } in &resource.datasets {
        match encoding {
            Encoding::Delta => add(member, Place::Delta)?,
            Encoding::Tree => add(member, Place::Tree)?,
            Encoding::Zfs | Encoding::Btrfs => add(member, Place::Stream)?,
            Encoding::Base => {}
        }
    }
    Ok(())
}
