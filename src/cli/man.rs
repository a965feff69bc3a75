//! `remand man`.

use std::io::Write;
use std::path::Path;

use super::args::Man;
use super::failure::{FAILED, Failure};
use super::render::Outcome;
use super::{Session, archive_name};

/// The manual pages, as they were when this program was built.
const PAGES: [(&str, &str); 2] = [
    ("remand.8", include_str!("../../man/remand.8")),
    ("remand-archive.5", include_str!("../../man/remand-archive.5")),
];

pub(super) fn run(_: &Session, args: &Man) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for (name, text) in PAGES {
        let path = args.directory.join(name);
        write(&args.directory, &path, text).map_err(|error| Failure::Error {
            chain: vec![format!("Cannot write {}", archive_name(&path)), error.to_string()],
            hint: None,
            status: FAILED,
        })?;
        outcome.summary.push(format!("Wrote {}", archive_name(&path)));
    }
    Ok(outcome)
}

/// Replaces a page in one step, so that man(1) never reads half of one.
fn write(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_replace_older_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("remand.8");
        std::fs::write(&path, "old").unwrap();
        write(directory.path(), &path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
