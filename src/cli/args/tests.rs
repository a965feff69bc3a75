use std::io::Write as _;

use clap::{CommandFactory, Parser};

use super::Arguments;

const MANUAL: &str = include_str!("../../../man/remand.8");

fn commands() -> Vec<clap::Command> {
    let mut command = Arguments::command();
    command.build();
    command.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect()
}

/// The part of the manual about one command.
fn section(name: &str) -> &'static str {
    let heading = format!(".Ss remand {name}\n");
    let start = MANUAL.find(&heading).unwrap_or_else(|| panic!("remand(8) has no section about {name}"));
    let rest = &MANUAL[start + heading.len()..];
    let end = ["\n.Ss ", "\n.Sh "].iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
    &rest[..end]
}

/// What the manual names in a section: `Fl Fl wait` or `Fl -wait` is `--wait`, `Fl q` is `-q`.
fn flags(section: &str) -> Vec<String> {
    let mut flags = Vec::new();
    for line in section.lines().filter(|line| line.starts_with('.')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            if matches!(pair[0], "Fl" | ".Fl") {
                flags.push(format!("-{}", pair[1].replace("\\-", "-")));
            }
        }
    }
    flags
}

#[test]
fn the_grammar_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn the_manual_names_every_option_and_no_other() {
    let common = ["-h", "--help", "-V", "--version"];
    for command in commands() {
        let name = command.get_name().to_owned();
        let documented = flags(section(&name));
        let mut known = Vec::new();
        for argument in command.get_arguments() {
            known.extend(argument.get_long().map(|long| format!("--{long}")));
            known.extend(argument.get_short().map(|short| format!("-{short}")));
        }
        for option in known.iter().filter(|option| !common.contains(&option.as_str())) {
            assert!(documented.contains(option), "remand(8) lacks {option} of {name}");
        }
        for option in documented.iter().filter(|option| !common.contains(&option.as_str())) {
            assert!(known.contains(option), "remand(8) tells of {option}, which {name} does not have");
        }
        for value in command.get_arguments().flat_map(clap::Arg::get_possible_values) {
            let word = value.get_name();
            let named = section(&name).split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
            assert!(named, "remand(8) lacks {word} of {name}");
        }
    }
}

#[test]
fn the_manual_tells_environment_config_keys_and_statuses() {
    for name in ["REMAND_POOL", "REMAND_CONFIG", "XDG_CONFIG_HOME", "TERM"] {
        assert!(MANUAL.contains(&format!(".It Ev {name}\n")), "{name}");
    }
    for key in ["pool", "format", "compression", "level", "engine", "wait"] {
        assert!(MANUAL.contains(&format!(".It Cm {key} =")), "{key}");
    }
    let help = Arguments::command().render_long_help().to_string();
    for status in ["0", "1", "2", "3", "10", "11", "12", "20", "21", "22", "23", "130"] {
        assert!(MANUAL.contains(&format!(".It {status}\n")), "{status} in remand(8)");
        assert!(help.contains(&format!("\n  {status:<4} ")), "{status} in --help");
    }
}

#[test]
fn the_manual_is_valid_mdoc() {
    let linted = std::process::Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning", concat!(env!("CARGO_MANIFEST_DIR"), "/man/remand.8")])
        .output();
    let Ok(output) = linted else {
        // Not println: the test harness would swallow it.
        let _ = writeln!(std::io::stderr(), "SKIPPED manual page: there is no mandoc(1) here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn help_is_stable() {
    let mut text = Arguments::command().render_long_help().to_string();
    for mut command in commands() {
        let help = command.render_long_help().to_string();
        text.extend(["\n==== ", command.get_name(), "\n", &help]);
    }
    insta::assert_snapshot!("help", text);
}

#[test]
fn wrong_usage_is_refused() {
    for words in [
        &["export"][..],
        &["export", "-q", "-v", "web01", "-"],
        &["export", "-l", "20", "web01", "-"],
        &["export", "-l", "0", "web01", "-"],
        &["export", "-c", "lzma", "web01", "-"],
        &["restore", "--identity", "other", "a"],
        &["list", "extra"],
        &["nothing"],
        &[],
    ] {
        let error = Arguments::try_parse_from(["remand"].iter().chain(words)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
    }
}
