use clap::Parser;

use super::*;
use crate::cli::args::{Arguments, Command, EngineWord};

fn parse(words: &[&str]) -> Export {
    let words = ["remand", "export"].iter().chain(words);
    match Arguments::try_parse_from(words).unwrap().command {
        Command::Export(args) => args,
        _ => unreachable!(),
    }
}

/// What an archive becomes; the exit status where the library refuses.
fn chosen(words: &[&str], config: &Config) -> Result<(Format, Compression), u8> {
    let args = parse(words);
    let (format, codec, level) = form(&args, config);
    target::form(path(&args), format, codec, level).map_err(|error| error.exit_status())
}

#[test]
fn without_a_config_file_the_library_decides() {
    let config = Config::default();
    for words in [&["w", "a.tar.gz"][..], &["w", "a"], &["w", "-"]] {
        assert_eq!(form(&parse(words), &config), (None, None, None), "{words:?}");
    }
    assert_eq!(chosen(&["w", "a.tar.xz"], &config), Err(2));
    assert_eq!(chosen(&["-l", "12", "w", "a.tar.gz"], &config), Err(2));
    assert_eq!(chosen(&["-c", "zstd", "w", "a.tar.gz"], &config), Err(2));
}

#[test]
fn the_config_file_fills_in_and_contradicts_nothing() {
    let zstd = Config { compression: Some(CompressionWord::Zstd), level: Some(15), ..Config::default() };
    let directory = Config { format: Some(FormatWord::Directory), ..zstd.clone() };
    let tar = Config { format: Some(FormatWord::Tar), ..zstd.clone() };
    let cases: [(&[&str], &Config, (Format, Compression)); 11] = [
        (&["w", "-"], &zstd, (Format::Tar, Compression::Zstd(15))),
        (&["w", "-"], &directory, (Format::Tar, Compression::Zstd(15))),
        (&["w", "a.tar.gz"], &directory, (Format::Tar, Compression::Gzip(4))),
        (&["w", "a.tar.zst"], &zstd, (Format::Tar, Compression::Zstd(15))),
        (&["w", "a"], &zstd, (Format::Directory, Compression::None)),
        (&["w", "a"], &tar, (Format::Tar, Compression::Zstd(15))),
        (&["--format", "tar", "w", "a"], &directory, (Format::Tar, Compression::Zstd(15))),
        (&["--format", "directory", "w", "a"], &tar, (Format::Directory, Compression::None)),
        (&["-l", "3", "w", "-"], &zstd, (Format::Tar, Compression::Zstd(3))),
        (&["-c", "gzip", "w", "a"], &directory, (Format::Tar, Compression::Gzip(4))),
        (&["-c", "none", "w", "-"], &zstd, (Format::Tar, Compression::None)),
    ];
    for (words, config, expected) in cases {
        assert_eq!(chosen(words, config), Ok(expected), "{words:?} {config:?}");
    }
}

#[test]
fn the_command_line_wins_over_the_config_file() {
    let config = Config { wait: Some(true), engine: Some(EngineWord::Rsync), ..Config::default() };
    let own = |words: &[&str], config| options(&parse(words), config).unwrap();
    let given = own(&["w", "-"], &config);
    assert_eq!((given.wait, given.engine.as_deref()), (true, Some("rsync")));
    let given = own(&["--no-wait", "--engine", "auto", "w", "-"], &config);
    assert_eq!((given.wait, given.engine), (false, None));
    assert_eq!(own(&["--quick", "w", "-"], &config).engine.as_deref(), Some("quick"));
    assert!(own(&["--no-wait", "--wait", "w", "-"], &Config::default()).wait, "the last one counts");
}

#[test]
fn a_name_that_no_resource_can_have_is_wrong_usage() {
    let ended = options(&parse(&["../x", "-"]), &Config::default());
    assert!(matches!(ended, Err(Failure::Error { status: 2, .. })));
}
