//! Doors for the fuzz targets in `fuzz/`: parsers that nobody else reaches alone.

use std::collections::BTreeMap;
use std::io::Read;

use crate::btrfs::{mounts, relay};
use crate::{remembered, zfs};

pub use crate::btrfs::names::made_valid as snapshot_name;

/// What is in the way of a path, by the text of `/proc/self/mountinfo`: the mount point, and whether it lies in the path.
pub fn mount_in_the_way(table: &[u8], path: &[u8]) -> Option<(Vec<u8>, bool)> {
    mounts::in_the_way(table, path)
}

/// The datasets that an rc.conf names for libioc.
pub fn rc_conf_datasets(text: &str) -> Vec<String> {
    zfs::rc_conf_datasets(text)
}

/// What a plain directory remembers of its datasets, printed again.
pub fn remembered(text: &str) -> Option<String> {
    remembered::parse(text).ok().map(|record| remembered::format(&record))
}

/// What is handed on to zfs(8) of `source`, and whether all of it is, or it is damaged (false) or refused (true) from there on.
pub fn zfs_relayed(source: &mut dyn Read) -> (Vec<u8>, Result<(), bool>) {
    let mut relayed = Vec::new();
    let outcome = zfs::relay::Relay::new(source).read_to_end(&mut relayed).map(drop);
    let refused = |error: std::io::Error| match error.downcast::<zfs::relay::Wrong>() {
        Ok(wrong) => matches!(wrong, zfs::relay::Wrong::Refused(_)),
        Err(error) => panic!("{error}"),
    };
    (relayed, outcome.map_err(refused))
}

/// The streams of btrfs-send(8) in `source`, each as it is handed on under the name `name`, where what they build on came with
/// them. A failure ends the list with `Err`: of a damaged stream (false), or of one that is refused (true).
pub fn relayed(mut source: &[u8], name: &str) -> Vec<Result<Vec<u8>, bool>> {
    let mut known = BTreeMap::new();
    let mut streams = Vec::new();
    let refused = |wrong: &relay::Wrong| matches!(wrong, relay::Wrong::Refused(_));
    loop {
        let begin = match relay::Begin::read(&mut source) {
            Ok(None) => return streams,
            Ok(Some(begin)) => begin,
            Err(wrong) => {
                streams.push(Err(refused(&wrong)));
                return streams;
            }
        };
        let mut relayed = Vec::new();
        let outcome = relay::Part::new(&begin, name, &known, &mut source).and_then(|mut part| {
            match part.read_to_end(&mut relayed) {
                Ok(_) => Ok(part.specials()),
                Err(error) => Err(part.wrong().unwrap_or(relay::Wrong::Source(error))),
            }
        });
        let specials = match outcome {
            Ok(specials) => specials,
            Err(wrong) => {
                streams.push(Err(refused(&wrong)));
                return streams;
            }
        };
        // Here it has another identity.
        let mut here = begin.uuid;
        here.reverse();
        known.insert(begin.uuid, relay::Came { here, specials });
        streams.push(Ok(relayed));
    }
}
