use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/remand.toml")).map_err(|error| error.to_string())
}

#[test]
fn every_key_is_read() {
    let text = "pool = \"tank/ioc\"\nlayout = \"iocage\"\nformat = \"directory\"\ncompression = \"zstd\"\nlevel = 12\n\
                engine = \"rsync\"\nwait = true\nverify-key = [\"/root/web.pub\", \"RWQ\"]\nrequire-signature = true\n\
                identity-file = [\"/root/age.key\"]\npre-snapshot = [\"a b\"]\npost-snapshot = [\"c\"]\n\
                hook-in = \"jail\"\nhook-timeout = \"5m\"\n";
    let expected = Config {
        pool: Some("tank/ioc".into()),
        layout: Some(LayoutWord::Iocage),
        format: Some(FormatWord::Directory),
        compression: Some(CompressionWord::Zstd),
        level: Some(12),
        engine: Some(EngineWord::Rsync),
        wait: Some(true),
        verify_key: vec!["/root/web.pub".into(), "RWQ".into()],
        require_signature: Some(true),
        identity_file: vec!["/root/age.key".into()],
        pre_snapshot: vec!["a b".into()],
        post_snapshot: vec!["c".into()],
        hook_in: Some(HookWord::Jail),
        hook_timeout: Some("5m".into()),
    };
    assert_eq!(parse(text).unwrap(), expected);
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn unknown_keys_name_file_line_and_key() {
    let message = parse("pool = \"p\"\ncompresion = \"gzip\"\n").unwrap_err();
    assert!(message.contains("/etc/remand.toml"), "{message}");
    assert!(message.contains("line 2"), "{message}");
    assert!(message.contains("compresion"), "{message}");
}

#[test]
fn values_are_checked() {
    for wrong in [
        "compression = \"lzma\"",
        "engine = \"magic\"",
        "wait = \"yes\"",
        "level = 3",
        "compression = \"gzip\"\nlevel = 10",
        "compression = \"gzip\"\nlevel = 0",
        "compression = \"none\"\nlevel = 1",
        "compression = \"zstd\"\nlevel = -1",
        "pool = ",
        "hook-timeout = \"0\"",
        "hook-in = \"cellar\"",
        "layout = \"bastille\"",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_users_file_wins_key_by_key() {
    let directory = tempfile::tempdir().unwrap();
    let system = directory.path().join("remand.toml");
    let home = directory.path().join("home");
    std::fs::create_dir_all(home.join(".config/remand")).unwrap();
    std::fs::write(&system, "pool = \"a\"\nwait = true\ncompression = \"gzip\"\nlevel = 9\n").unwrap();
    std::fs::write(home.join(".config/remand/config.toml"), "pool = \"b\"\ncompression = \"zstd\"\n")
        .unwrap();
    let homes = Homes { xdg_config_home: None, home: Some(home) };
    let absent = directory.path().join("absent.toml");

    let config = Config::load_from(None, &[absent.clone(), system.clone()], &homes).unwrap();
    assert_eq!(config.pool.as_deref(), Some("b"));
    assert_eq!(config.wait, Some(true));
    assert_eq!((config.compression, config.level), (Some(CompressionWord::Zstd), None));

    let xdg = Homes { xdg_config_home: Some(directory.path().join("elsewhere")), ..homes };
    let config = Config::load_from(None, std::slice::from_ref(&system), &xdg).unwrap();
    assert_eq!(config.pool.as_deref(), Some("a"), "XDG_CONFIG_HOME replaces ~/.config");

    let config = Config::load_from(Some(Path::new("")), &[system], &xdg).unwrap();
    assert_eq!(config.pool.as_deref(), Some("a"), "an empty name counts as none");
}

#[test]
fn an_explicit_file_must_exist_and_is_the_only_one() {
    let directory = tempfile::tempdir().unwrap();
    let system = directory.path().join("remand.toml");
    let explicit = directory.path().join("mine.toml");
    std::fs::write(&system, "wait = true\n").unwrap();
    let error =
        Config::load_from(Some(&explicit), std::slice::from_ref(&system), &Homes::default()).unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
    std::fs::write(&explicit, "pool = \"p\"\n").unwrap();
    let config = Config::load_from(Some(&explicit), &[system], &Homes::default()).unwrap();
    assert_eq!((config.wait, config.pool.as_deref()), (None, Some("p")));
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_absent() {
    let directory = tempfile::tempdir().unwrap();
    let error = Config::load_from(None, &[directory.path().to_path_buf()], &Homes::default()).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "a directory is no file");
}

/// Those of the fuzz target: what it has found once stays found.
#[test]
fn seeds_are_errors_or_defaults_that_options_can_have() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/cli_config");
    let mut read = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        if let Ok(config) = Config::load(Some(&seed.unwrap().path())) {
            assert!(config.level.is_none() || config.compression.is_some());
            read += 1;
        }
    }
    assert!(read > 0);
}
