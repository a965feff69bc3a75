//! Config and fstab on their way back.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::layout::Arrival;
use crate::resource::ResourceKind;
use crate::restore::Identity;
use crate::restore::plan::Plan;
use crate::restore::work::Context;
use crate::run::fill_random;
use crate::tree::Content;

/// More than any config or fstab has; they are held in memory.
const MAX_BYTES: u64 = 16 << 20;

/// The whole content, in memory.
pub(super) fn read_all(name: &str, content: &mut dyn Content) -> Result<Vec<u8>> {
    if content.size() > MAX_BYTES {
        return Err(Error::Refused(format!("{name} is larger than {MAX_BYTES} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(content.size()).unwrap_or_default()];
    while let Some((offset, data)) = content.next_data().map_err(Error::io("read", name))? {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = at.saturating_add(data.len());
        let slot =
            bytes.get_mut(at..end).ok_or_else(|| Error::Refused(format!("{name} is longer than it says")))?;
        slot.copy_from_slice(data);
    }
    Ok(bytes)
}

/// The config of the restored resource: byte for byte the archive's, unless name, base, identity or layout change.
pub(super) fn config(
    bytes: Vec<u8>,
    plan: &Plan,
    arrival: &Arrival<'_>,
    identity: Identity,
    Context { pool, steps, .. }: Context<'_>,
) -> Result<Vec<u8>> {
    if plan.record.kind == ResourceKind::Release {
        return Ok(bytes);
    }
    let renamed = plan.name != plan.record.name;
    let another_base = arrival.has.is_some() && arrival.has != arrival.had;
    let another_layout = arrival.layout != pool.layout().name();
    if !renamed && !another_base && identity == Identity::Keep {
        if !another_layout {
            return Ok(bytes);
        }
        // It travels as it is where nobody asks for a change.
        if let Err(error) = Config::parse(bytes.clone(), "config.json in the archive") {
            steps.notice("config.json", format!("is left as it is: {error}"));
            return Ok(bytes);
        }
    }
    let mut config = Config::parse(bytes, "config.json in the archive")?;
    if renamed {
        config.rename(&plan.record.name, &plan.name);
    }
    if identity == Identity::New {
        for renewed in config.renew_identity(&plan.record.name, &plan.name, fill_random) {
            steps.notice(
                "config.json",
                match renewed.value {
                    Some(value) => format!("new identity: {} is now {value}", renewed.key),
                    None => format!("new identity: {} was taken away; set one that is free", renewed.key),
                },
            );
        }
    }
    for notice in pool.layout().adapt(pool.backend(), &mut config, arrival)? {
        steps.notice("config.json", notice);
    }
    Ok(config.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::tree::Extent;

    /// Says one size, and has these pieces.
    struct Pieces(u64, Vec<(u64, Vec<u8>)>, Vec<u8>);

    impl Content for Pieces {
        fn size(&self) -> u64 {
            self.0
        }

        fn extents(&self) -> &[Extent] {
            &[]
        }

        fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
            let Some((offset, bytes)) = self.1.pop() else { return Ok(None) };
            self.2 = bytes;
            Ok(Some((offset, &self.2)))
        }

        fn is_stable(&mut self) -> io::Result<bool> {
            Ok(true)
        }
    }

    #[test]
    fn a_config_is_as_long_as_it_says_and_no_longer_than_one_can_be() {
        let read = |size, pieces: &[(u64, &[u8])]| {
            let pieces = pieces.iter().rev().map(|(at, bytes)| (*at, bytes.to_vec())).collect();
            read_all("config.json", &mut Pieces(size, pieces, Vec::new()))
        };
        assert_eq!(read(0, &[]).unwrap(), b"");
        assert_eq!(read(5, &[(0, b"ab"), (4, b"e")]).unwrap(), b"ab\0\0e");
        for pieces in [&[(0, &b"abcdef"[..])][..], &[(5, b"f")], &[(u64::MAX, b"g")]] {
            assert_eq!(read(5, pieces).unwrap_err().exit_status(), 23);
        }
        assert_eq!(read(16 << 20, &[]).unwrap().len(), 16 << 20);
        assert_eq!(read((16 << 20) + 1, &[]).unwrap_err().exit_status(), 23);
    }
}
