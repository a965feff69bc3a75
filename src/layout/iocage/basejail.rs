//! iocage's basejails: lines of the fstab mount the directories of a release, or of a template, over those of the root.

use std::io::ErrorKind;
use std::path::Path;

use remand_backends::Backend;

use super::{Arrangement, Arrival, Iocage};
use crate::config::{Config, View};
use crate::error::{Error, Result};
use crate::fstab::{self, PLACEHOLDER};
use crate::layout::ioc::basejail::{DIRECTORIES, mounted};
use crate::layout::ioc::{ROOT, join};
use crate::resource::{Basejail, ResourceKind, Selector, check_name};

/// What the config and the fstab say.
pub(super) fn configured(directory: &Path, view: &View) -> Result<Option<Basejail>> {
    if view.basejail.is_none() {
        return Ok(None);
    }
    let path = directory.join("fstab");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io("read", path.display())(error)),
    };
    let mounts = fstab::base_mounts(&fstab::to_archive(&text, directory));
    let of_bases = mounts.iter().filter(|mount| is_base(&mount.base));
    Ok(Some(mounted(of_bases.map(|mount| mount.path.as_str()))))
}

/// Whether a directory is that of a release or a template, in whatever pool.
fn is_base(path: &Path) -> bool {
    let above = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let kinds = [ResourceKind::Release, ResourceKind::Template];
    above.is_some_and(|above| kinds.into_iter().any(|kind| Iocage::above(kind) == Some(above)))
}

/// An fstab with the lines that iocage writes for a basejail, if it has none. Which directories are mounted the archive says, or else the
/// release.
pub(super) fn with_mounts(
    backend: &dyn Backend,
    text: &[u8],
    config: &Config,
    arrival: &Arrival<'_>,
) -> Result<Option<Vec<u8>>> {
    if !fstab::base_mounts(text).is_empty() {
        return Ok(None);
    }
    let release = || Some(Selector { kind: ResourceKind::Release, name: config.get("release")? });
    let Some(base) = arrival.base().cloned().or_else(release) else { return Ok(None) };
    let Some(above) = Iocage::above(base.kind).filter(|_| check_name(&base.name).is_ok()) else {
        return Ok(None);
    };
    let place = join(&remand_backends::DatasetName::pool(), &format!("{above}/{}/{ROOT}", base.name))?;
    let root = backend.directory().join(place.as_str());
    let provided: Vec<&str> = if arrival.directories.is_empty() {
        DIRECTORIES.into_iter().filter(|path| root.join(path).is_dir()).collect()
    } else {
        arrival.directories.iter().map(String::as_str).collect()
    };
    if provided.is_empty() {
        return Ok(None);
    }
    let mut text = text.to_vec();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    for path in provided {
        text.extend(fstab::encode_path(&root.join(path)));
        text.extend(format!("\t{PLACEHOLDER}{ROOT}/{path}\tnullfs\tro\t0\t0\n").bytes());
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Form;

    fn paths(config: &str, fstab: &str) -> Option<Vec<String>> {
        let pool = tempfile::tempdir().unwrap();
        let jail = pool.path().join("jails/web01");
        std::fs::create_dir_all(&jail).unwrap();
        let fstab = fstab.replace("POOL", pool.path().to_str().unwrap());
        std::fs::write(jail.join("fstab"), fstab).unwrap();
        let config = Config::parse(Form::Json, config.into(), "config.json").unwrap();
        match configured(&jail, &View::of(&config, None)).unwrap()? {
            Basejail::Mounted(paths) => Some(paths.iter().map(ToString::to_string).collect()),
            Basejail::Cloned => panic!("iocage clones none"),
        }
    }

    #[test]
    fn the_fstab_says_what_is_mounted() {
        let fstab = "POOL/releases/14.2-RELEASE/root/bin\tPOOL/jails/web01/root/bin\tnullfs\tro\t0\t0\n\
            /other/iocage/templates/web/root/usr/lib POOL/jails/web01/root/usr/lib nullfs ro 0 0\n\
            POOL/releases/14.2-RELEASE/root/sbin\tPOOL/jails/web01/root/mnt\tnullfs\tro\t0\t0\n\
            /srv/root/media POOL/jails/web01/root/media nullfs ro 0 0\n\
            # POOL/releases/14.2-RELEASE/root/lib POOL/jails/web01/root/lib nullfs ro 0 0\n\
            POOL/releases/14.2-RELEASE/root/boot\tPOOL/jails/web02/root/boot\tnullfs\tro\t0\t0\n";
        assert_eq!(paths(r#"{"basejail": 1}"#, fstab).unwrap(), ["bin", "usr/lib"]);
        assert_eq!(paths(r#"{"type": "basejail"}"#, fstab).unwrap(), ["bin", "usr/lib"]);
        assert_eq!(paths(r#"{"basejail": 1}"#, "").unwrap(), [""; 0]);
        assert_eq!(paths(r#"{"basejail": 0}"#, fstab), None);
        assert_eq!(paths("{}", fstab), None);
    }

    #[test]
    fn lines_for_a_basejail_that_has_none_are_of_what_the_release_has() {
        let pool = tempfile::tempdir().unwrap();
        for path in ["bin", "usr/lib"] {
            std::fs::create_dir_all(pool.path().join("releases/14.2-RELEASE/root").join(path)).unwrap();
        }
        let backend = remand_backends::open(&format!("dir:{}", pool.path().display())).unwrap();
        let config =
            Config::parse(Form::Json, r#"{"release": "14.2-RELEASE"}"#.into(), "config.json").unwrap();
        let mut arrival = Arrival {
            kind: ResourceKind::Jail,
            old_name: "a",
            name: "a",
            layout: "libioc",
            had: None,
            has: None,
            directories: Vec::new(),
        };
        let made = |text: &str, arrival: &Arrival<'_>| {
            let made = with_mounts(backend.as_ref(), text.as_bytes(), &config, arrival).unwrap();
            made.map(|text| String::from_utf8(text).unwrap())
        };
        let line = |release: &str, path: &str| {
            let root = pool.path().display();
            format!("{root}/releases/{release}/root/{path}\tbackup:///root/{path}\tnullfs\tro\t0\t0\n")
        };
        let [bin, lib] = ["bin", "usr/lib"].map(|path| line("14.2-RELEASE", path));
        assert_eq!(made("# own", &arrival).unwrap(), format!("# own\n{bin}{lib}"));
        assert_eq!(made(&bin, &arrival), None);
        // Of a release that is not there yet the archive says it.
        arrival.has = Some("release:new".parse().unwrap());
        assert_eq!(made("", &arrival), None);
        arrival.directories = vec!["sbin".into()];
        assert_eq!(made("", &arrival).unwrap(), line("new", "sbin"));
    }
}
