//! Where an export goes, and in which form.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::archive::{Compression, Format};
use crate::error::{Error, Result};

/// Where an archive goes.
pub enum Destination {
    /// A file or directory of this name, which must not exist unless `force`.
    Path {
        /// Its name.
        path: PathBuf,
        /// Whether an archive that exists gives way.
        force: bool,
    },
    /// A pipe, such as standard output.
    Stream(Box<dyn Write + Send>),
}

/// A compression without its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
    /// `none`
    None,
}

/// Level that is used where none is asked for: what comes within a hundredth of the size that gzip(1) and zstd(1) make without a word.
/// The next one of gzip's takes a tenth more of a whole export's CPU time, and saves as much as this one lacks.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: u32 = 3;

/// Suffix of an encrypted archive, after that of its form.
const ENCRYPTED: &str = ".age";

fn is_named_encrypted(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
    name.is_some_and(|name| name.ends_with(ENCRYPTED))
}

/// Whether name and form of an archive go with its encryption: one with the name of a tar archive ends in `.age` if it is encrypted
/// and only then, so that nobody takes it for what it is not.
pub fn check_encryption(path: Option<&Path>, format: Format, encrypted: bool) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let shown = path.display();
    match (encrypted, is_named_encrypted(path)) {
        (true, _) if format == Format::Directory => Err(Error::Usage(format!(
            "An archive in DIRECTORY format is not encrypted; call it {shown}.tar.gz{ENCRYPTED}"
        ))),
        (true, false) if suffix(path)?.is_some() => Err(Error::Usage(format!(
            "{shown} has the name of an archive that is not encrypted; call it {shown}{ENCRYPTED}"
        ))),
        (false, true) => Err(Error::Usage(format!(
            "{shown} has the name of an encrypted archive; --encrypt-to says to whom"
        ))),
        _ => Ok(()),
    }
}

/// What a file's suffix says of its form: `None` where it says nothing.
fn suffix(path: &Path) -> Result<Option<Codec>> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(ENCRYPTED).unwrap_or(&name);
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    if ends(&[".txz", ".tar.xz"]) {
        return Err(Error::Usage(format!(
            "{}: xz archives are read, not written; use .tar.gz or .tar.zst",
            path.display()
        )));
    }
    Ok(match () {
        () if ends(&[".tar.gz", ".tgz"]) => Some(Codec::Gzip),
        () if ends(&[".tar.zst", ".tzst"]) => Some(Codec::Zstd),
        () if ends(&[".tar"]) => Some(Codec::None),
        () => None,
    })
}

/// The form of an archive at `path` (`None`: a pipe): what was asked for and what the suffix says must agree. A name without
/// a known suffix is a directory, unless a compression or the TAR format was asked for; a pipe gets `.tar.gz`.
pub fn form(
    path: Option<&Path>,
    format: Option<Format>,
    codec: Option<Codec>,
    level: Option<u32>,
) -> Result<(Format, Compression)> {
    let by_name = path.map(suffix).transpose()?.flatten();
    let shown = path.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    let format = match (format, path, by_name) {
        (Some(Format::Directory), None, _) => {
            return Err(Error::Usage("A directory cannot be written to standard output".into()));
        }
        (Some(Format::Directory), Some(path), by_name) if by_name.is_some() || is_named_encrypted(path) => {
            return Err(Error::Usage(format!(
                "{shown} has the name of a tar archive; --format directory needs another"
            )));
        }
        (Some(format), ..) => format,
        (None, Some(path), None) if codec.is_none() && level.is_none() && !is_named_encrypted(path) => {
            Format::Directory
        }
        (None, ..) => Format::Tar,
    };
    if format == Format::Directory {
        return match (codec, level) {
            (None | Some(Codec::None), None) => Ok((format, Compression::None)),
            _ => Err(Error::Usage("An archive in DIRECTORY format is not compressed".into())),
        };
    }
    let codec = match (codec, by_name) {
        (Some(asked), Some(named)) if asked != named => {
            return Err(Error::Usage(format!(
                "{shown} has the suffix of another compression than the one asked for"
            )));
        }
        (asked, named) => asked.or(named).unwrap_or(Codec::Gzip),
    };
    let checked = |default: u32, range: std::ops::RangeInclusive<u32>| match level {
        Some(level) if !range.contains(&level) => {
            Err(Error::Usage(format!("Level {level} is not in {} to {}", range.start(), range.end())))
        }
        level => Ok(level.unwrap_or(default)),
    };
    let compression = match codec {
        Codec::Gzip => Compression::Gzip(checked(GZIP_LEVEL, 1..=9)?),
        Codec::Zstd => Compression::Zstd(checked(ZSTD_LEVEL, 1..=19)?),
        Codec::None if level.is_some() => {
            return Err(Error::Usage("Without compression there is no level".into()));
        }
        Codec::None => Compression::None,
    };
    Ok((format, compression))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        path: &str,
        format: Option<Format>,
        codec: Option<Codec>,
        level: Option<u32>,
    ) -> std::result::Result<(Format, Compression), u8> {
        form((path != "-").then(|| Path::new(path)), format, codec, level)
            .map_err(|error| error.exit_status())
    }

    #[test]
    fn an_encrypted_archive_is_called_so() {
        let check = |path: &str, encrypted| {
            let path = (path != "-").then(|| Path::new(path));
            let (format, _) = form(path, None, None, None).unwrap();
            check_encryption(path, format, encrypted).map_err(|error| error.to_string())
        };
        for (path, encrypted) in [
            ("web.tar.gz.age", true),
            ("web.age", true),
            ("-", true),
            ("-", false),
            ("web", false),
            ("web.tar", false),
        ] {
            assert_eq!(check(path, encrypted), Ok(()), "{path}");
        }
        let error = check("web", true).unwrap_err();
        assert_eq!(error, "An archive in DIRECTORY format is not encrypted; call it web.tar.gz.age");
        let error = check("web.tar.gz", true).unwrap_err();
        assert_eq!(
            error,
            "web.tar.gz has the name of an archive that is not encrypted; call it web.tar.gz.age"
        );
        assert!(check("web.tar.age", false).is_err());
        // A name that says nothing is free.
        assert!(check_encryption(Some(Path::new("web")), Format::Tar, true).is_ok());
    }

    #[test]
    fn the_suffix_decides_and_contradictions_are_usage_errors() {
        let tar = Format::Tar;
        assert_eq!(of("a/web.tar.gz", None, None, None), Ok((tar, Compression::Gzip(4))));
        assert_eq!(of("web.TGZ", None, None, Some(9)), Ok((tar, Compression::Gzip(9))));
        assert_eq!(of("web.tar.zst", None, None, None), Ok((tar, Compression::Zstd(3))));
        assert_eq!(of("web.tar", None, None, None), Ok((tar, Compression::None)));
        assert_eq!(of("web", None, None, None), Ok((Format::Directory, Compression::None)));
        assert_eq!(of("web.tar.zst.age", None, None, None), Ok((tar, Compression::Zstd(3))));
        assert_eq!(of("web.age", None, None, None), Ok((tar, Compression::Gzip(4))));
        assert_eq!(of("web.age", Some(Format::Directory), None, None), Err(2));
        assert_eq!(of("web", Some(tar), None, None), Ok((tar, Compression::Gzip(4))));
        assert_eq!(of("-", None, Some(Codec::Zstd), Some(19)), Ok((tar, Compression::Zstd(19))));
        for (path, format, codec, level) in [
            ("web.tar.gz", None, Some(Codec::Zstd), None),
            ("web.tar.gz", Some(Format::Directory), None, None),
            ("web.txz", None, None, None),
            ("web.tar", None, None, Some(3)),
            ("web.tar.gz", None, None, Some(10)),
            ("-", Some(Format::Directory), None, None),
            ("web", Some(Format::Directory), Some(Codec::Gzip), None),
        ] {
            assert_eq!(of(path, format, codec, level), Err(2), "{path}");
        }
    }
}
