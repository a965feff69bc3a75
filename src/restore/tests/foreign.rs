//! Archives of other tools.

use std::io::Write as _;

use super::*;
use crate::foreign::stream_head;

/// What iocage exports of a jail: the stream of its own dataset, and that of its root.
fn of_iocage(path: &Path) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, dataset) in [("web_2026-11-29", "z/jails/web"), ("web_2026-11-29_root", "z/jails/web/root")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&stream_head(&format!("{dataset}@ioc"), 1, 2, true)).unwrap();
    }
    zip.finish().unwrap();
}

/// The jail's own dataset is needed until all is restored. What cannot be removed of it is told, and counted.
#[test]
fn what_was_received_to_be_read_goes_when_all_is_done() {
    for stuck in [None, Some("staging")] {
        let host = Host::twisted(Twist { receives: true, of_zfs: true, stuck, ..Twist::default() });
        let path = host.path("web_2026-11-29.zip");
        of_iocage(&path);
        let report = host.restore(&path, &Options::default()).unwrap();
        assert_eq!(host.names("jails/web/root"), ["stream"]);
        let warnings = host.warnings();
        let left = warnings.iter().filter(|warning| warning.starts_with("clean-up: ")).count();
        assert_eq!(left, usize::from(stuck.is_some()), "{warnings:?}");
        assert_eq!(report.warnings, warnings.len() as u64, "{warnings:?}");
        assert_eq!(host.names(".remand/staging").len(), left);
        assert_eq!(host.names(".remand/runs").len(), left);
    }
    // A pool of another kind has no way to look into the stream.
    let host = Host::twisted(Twist { receives: true, ..Twist::default() });
    let path = host.path("web_2026-11-29.zip");
    of_iocage(&path);
    let error = host.restore(&path, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("cannot receive; restore it to a pool of ZFS"), "{error}");
    host.is_clean();
}
