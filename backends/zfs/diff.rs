//! What changed between two snapshots: `zfs diff`.
//!
//! It reads the changed objects of the later snapshot and asks for the path of each in both. That leaves one gap which nothing that it
//! prints betrays: an object's path is found by way of the directory in which it was last given a name. If that name
//! was removed since, while an older one in another directory remains (`ln a/x b/y; rm b/y`), then the object has no path for
//! it. Where that is so in both snapshots a change of its content or attributes is not told: see
//! [`NativeDiff::leaves_out`]. Names that come and go are told all the same, by their directory.
//!
//! Of an object with several names one is told. Both datasets must be mounted, and their keys loaded. An object that it cannot
//! look into it leaves out with a word on standard error and status 0, so any word there is a failure here.

use super::{Zfs, tool};
use crate::process::Program;
use crate::zfs::parse::mounted_at;
use crate::{Error, Hint, NativeDiff, Result, Snapshot};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub mod parse;

/// Two paths of the longest kind, each byte of them escaped.
const LONGEST_LINE_BYTES: u64 = 64 * 1024;

impl NativeDiff for Zfs {
    fn changes(&self, base: &Snapshot, now: &Snapshot, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
        let (base, now_full) = (self.full_snapshot(base)?, self.full_snapshot(now)?);
        let dataset = self.full(&now.dataset)?;
        // Where it is mounted in truth, which its property need not tell: paths are printed with that.
        let mount = mounted_at(&tool::run(["mount"])?, &dataset)
            .ok_or_else(|| Error::NotMounted(format!("dataset {dataset}")))?;
        let mount = match mount.as_os_str().as_bytes() {
            b"/" => b"",
            mount => mount,
        };
        let program = tool::zfs(["diff", "-FH", &base, &now_full]).and_silent();
        let mut lines = BufReader::new(program.stream()?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.by_ref().take(LONGEST_LINE_BYTES).read_until(b'\n', &mut line);
            read.map_err(|source| failure(&program, source))?;
            if line.is_empty() {
                return Ok(());
            }
            let whole = line.strip_suffix(b"\n").and_then(|line| parse::line(line, mount));
            let Some(change) = whole else {
                let line = String::from_utf8_lossy(&line).into_owned();
                return Err(Error::Output { command: program.display(), line });
            };
            for found in change.hints() {
                if !hint(found) {
                    return Ok(());
                }
            }
        }
    }

    fn leaves_out(&self) -> Option<&'static str> {
        Some(
            "changes of a file whose latest name, in another directory than the others, went before the base was made",
        )
    }

    fn names_of(&self, _tree: &Path, _inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
        Ok(None)
    }
}

fn failure(program: &Program, source: std::io::Error) -> Error {
    match source.downcast::<Error>() {
        Ok(failed) => failed,
        Err(source) => Error::io("read the output of", program.display(), source),
    }
}
