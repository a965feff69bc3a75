//! FreeBSD's port, as far as a make(1) of BSD tells without the ports tree: a file stands for `bsd.port.mk` which does what that does
//! with the variables that are used.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::pool::names;
use crate::support::{Scratch, program_for};

const STAND_IN: &str = r"
.sinclude <${.CURDIR}/Makefile.crates>
PREFIX?=	/opt/local
STAGEDIR=	${WRKDIR}/stage
WRKSRC=		${WRKDIR}/source
MKDIR=		mkdir -p
INSTALL_MAN=	install -m 444
INSTALL_SCRIPT=	install -m 555
REINPLACE_CMD=	sed -i
stage: post-patch do-install post-install
do-install:
	${MKDIR} ${STAGEDIR}${PREFIX}/bin ${STAGEDIR}${PREFIX}/share/man/man5 ${STAGEDIR}${PREFIX}/share/man/man8
	cp ${PROGRAM} ${STAGEDIR}${PREFIX}/bin/remand
";

fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of cargo's.
fn table(name: &str) -> toml::Table {
    toml::from_str(&std::fs::read_to_string(source().join(name)).unwrap())
        .unwrap_or_else(|error| panic!("{name}: {}", error.message()))
}

struct Port {
    make: PathBuf,
    scratch: Scratch,
}

impl Port {
    fn new(group: &str) -> Option<Self> {
        let make = program_for(group, "bmake")?;
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.join("mk")).unwrap();
        std::fs::write(scratch.join("mk/bsd.port.mk"), STAND_IN).unwrap();
        // The system rules: none are needed.
        std::fs::write(scratch.join("mk/sys.mk"), "").unwrap();
        Some(Self { make, scratch })
    }

    fn make(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.make);
        command.arg("-C").arg(source().join("ports/sysutils/remand")).arg("-m").arg(self.scratch.join("mk"));
        command.arg(format!("WRKDIR={}", self.scratch.path().display()));
        command.arg(format!("PROGRAM={}", env!("CARGO_BIN_EXE_remand")));
        let output = command.args(arguments).output().expect("bmake");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn value(&self, variable: &str) -> String {
        self.make(&["-V", variable]).trim().to_owned()
    }
}

#[test]
fn the_port_says_of_the_package_what_cargo_says() {
    let Some(port) = Port::new("port") else { return };
    assert_eq!(port.value("DISTVERSION"), env!("CARGO_PKG_VERSION"));
    assert_eq!(port.value("PORTNAME"), env!("CARGO_PKG_NAME"));
    let licence = port.value("LICENSE");
    assert_eq!((licence.as_str(), env!("CARGO_PKG_LICENSE")), ("BSD2CLAUSE", "BSD-2-Clause"));
    // What portlint(1) asks for.
    let comment = port.value("COMMENT");
    assert!(
        comment.len() <= 70 && !comment.ends_with('.') && comment.starts_with(char::is_uppercase),
        "{comment}"
    );
    let about = std::fs::read_to_string(source().join("ports/sysutils/remand/pkg-descr")).unwrap();
    assert!(about.lines().all(|line| line.len() <= 80), "{about}");
    let cargo = table("Cargo.toml");
    for option in port.value("LIBZETTA_VARS").split('=').skip(1) {
        assert!(cargo["features"].get(option).is_some(), "no feature {option}");
    }
}

#[test]
fn the_port_installs_the_files_that_it_lists() {
    let Some(port) = Port::new("port") else { return };
    for part in ["man", "share/periodic/daily"] {
        std::fs::create_dir_all(port.scratch.join("source").join(part)).unwrap();
        for name in names(&source().join(part)) {
            let file = Path::new(part).join(name);
            std::fs::copy(source().join(&file), port.scratch.join("source").join(&file)).unwrap();
        }
    }
    port.make(&["stage"]);
    let stage = port.scratch.join("stage/opt/local");
    let mut found = BTreeSet::new();
    list(&stage, &mut PathBuf::new(), &mut found);
    let listed = port.value("PLIST_FILES");
    // Manual pages are compressed after the port's own part.
    let listed: BTreeSet<_> =
        listed.split_whitespace().map(|name| name.trim_end_matches(".gz").to_owned()).collect();
    assert_eq!(found, listed);
    let script = std::fs::read_to_string(stage.join("etc/periodic/daily/500.remand")).unwrap();
    assert!(script.contains("/opt/local/bin/remand") && !script.contains("/usr/local"), "{script}");
    for completions in ["etc/bash_completion.d/remand", "share/zsh/site-functions/_remand"] {
        assert!(std::fs::read_to_string(stage.join(completions)).unwrap().contains("remand"));
    }
}

fn list(directory: &Path, below: &mut PathBuf, found: &mut BTreeSet<String>) {
    for name in names(directory) {
        below.push(&name);
        let path = directory.join(&name);
        if path.is_dir() {
            list(&path, below, found);
        } else {
            found.insert(below.to_str().unwrap().to_owned());
        }
        below.pop();
    }
}

#[test]
fn the_port_is_prepared_with_the_crates_of_the_lock_file() {
    let (Some(port), Some(_), Some(tar)) =
        (Port::new("port"), program_for("port", "git"), program_for("port", "tar"))
    else {
        return;
    };
    if !source().join(".git").exists() {
        return crate::support::skipped("port: what it is built from", "this is no checkout");
    }
    let (directory, distfiles) = (port.scratch.join("port"), port.scratch.join("distfiles"));
    let prepared =
        Command::new(source().join("ports/prepare")).arg(&directory).arg(&distfiles).output().unwrap();
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    let crates =
        port.make(&["-f", directory.join("Makefile.crates").to_str().unwrap(), "-V", "CARGO_CRATES"]);
    let lock = table("Cargo.lock");
    let packages = lock["package"].as_array().unwrap().iter();
    let wanted = packages.filter(|package| package.get("source").is_some()).map(|package| {
        format!("{}-{}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap())
    });
    assert_eq!(crates.split_whitespace().collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    let file = distfiles.join(format!("remand-{}.tar.gz", env!("CARGO_PKG_VERSION")));
    let members = Command::new(tar).arg("-tzf").arg(file).output().unwrap().stdout;
    let first = format!("remand-{}/Cargo.toml", env!("CARGO_PKG_VERSION"));
    assert!(String::from_utf8(members).unwrap().lines().any(|member| member == first));
}
