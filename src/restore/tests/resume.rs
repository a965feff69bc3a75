//! A restore that was interrupted within a stream is gone on with.

use remand_backends::{DatasetName, Partial};

use super::*;

const SHORT: &str = "short";
const LONG: &str = "a stream that is longer";

/// An archive of one jail with streams.
fn with_streams(host: &Host, datasets: &[(&str, &str)]) -> PathBuf {
    let path = host.path("streams.tar");
    let mut manifest = two_jails();
    manifest.resources.truncate(1);
    let mut members = vec![("jails/a/root.tree".to_owned(), "")];
    for (name, text) in datasets {
        let mut dataset = manifest.resources[0].datasets[0].clone();
        (dataset.name, dataset.encoding) = ((*name).to_owned(), Encoding::Btrfs);
        dataset.member = crate::export::plan::member(name, Encoding::Btrfs);
        members.push((format!("jails/a/{}", dataset.member), text));
        manifest.resources[0].datasets.push(dataset);
    }
    let members: Vec<_> = members.iter().map(|(name, text)| (&name[..], *text)).collect();
    archive(&path, &manifest, &members, None);
    path
}

/// The same directory, whose streams break off after so many bytes.
fn breaks_off(host: &mut Host, after: Option<u64>) {
    let twist = Twist { receives: true, breaks_off: after, ..Twist::default() };
    host.pool = Pool::twisted(host.directory.path(), twist);
}

/// How often what was received is not received again, and how often it is not used; and of those the bytes that are told.
fn told(host: &Host) -> (Vec<String>, usize) {
    let notices = host.notices();
    let again = |notice: &String| {
        let (subject, rest) = notice.split_once(": an interrupted restore has received ")?;
        Some(format!("{subject}: {}", rest.strip_suffix(" of it; that is not received again")?))
    };
    let unused = notices.iter().filter(|notice| notice.contains("it is not used")).count();
    (notices.iter().filter_map(again).collect(), unused)
}

#[track_caller]
fn is_kept(outcome: Result<Report>, bytes: u64) {
    let error = outcome.map(drop).unwrap_err();
    assert!(matches!(error, Error::Kept { received_bytes, .. } if received_bytes == bytes), "{error}");
}

fn streams(host: &Host, datasets: &[(&str, &str)]) {
    for (name, text) in datasets {
        let found = std::fs::read_to_string(host.path("jails/a").join(name).join("stream")).unwrap();
        assert_eq!(found, *text, "{name}");
    }
}

#[test]
fn what_was_received_is_not_received_again() {
    let _turn = crate::run::turn();
    let mut host = Host::new();
    let datasets = [("data", SHORT), ("more", LONG)];
    let path = with_streams(&host, &datasets);
    breaks_off(&mut host, Some(8));
    is_kept(host.restore(&path, &Options::default()), 8);
    assert_eq!((told(&host), host.names("jails")), ((vec![], 0), vec![]));
    // The next one takes the first of them, and ends in it: the other one stays where it is.
    breaks_off(&mut host, Some(2));
    is_kept(host.restore(&path, &Options::default()), 5);
    assert_eq!(told(&host), (vec!["data: a part".to_owned()], 0));
    assert_eq!((host.names("jails"), host.names(".remand/staging").len()), (vec![], 2));
    breaks_off(&mut host, None);
    host.restore(&path, &Options::default()).unwrap();
    assert_eq!(told(&host), (vec!["data: 5 bytes".to_owned(), "more: 8 bytes".to_owned()], 0));
    streams(&host, &datasets);
    host.is_clean();
}

#[test]
fn what_lies_in_a_dataset_that_is_taken_is_taken_with_it() {
    let _turn = crate::run::turn();
    let mut host = Host::new();
    let datasets = [("data", SHORT), ("data/db", LONG)];
    let path = with_streams(&host, &datasets);
    breaks_off(&mut host, Some(8));
    is_kept(host.restore(&path, &Options::default()), 8);
    breaks_off(&mut host, None);
    told(&host);
    host.restore(&path, &Options::default()).unwrap();
    assert_eq!(told(&host), (vec!["data: a part".to_owned(), "data/db: 8 bytes".to_owned()], 0));
    streams(&host, &datasets);
    host.is_clean();
}

/// Only what was noted before it was handed on can be compared. The rest stays for `remand cleanup`.
#[test]
fn what_is_not_covered_is_received_anew() {
    let _turn = crate::run::turn();
    let mut host = Host::new();
    let datasets = [("data", LONG)];
    let path = with_streams(&host, &datasets);
    breaks_off(&mut host, Some(8));
    is_kept(host.restore(&path, &Options::default()), 8);
    let [run] = &host.names(".remand/staging")[..] else { panic!("one") };
    let part = host.path(".remand/staging").join(run).join("data/stream.part");
    std::fs::File::options().write(true).open(part).unwrap().set_len(64 << 20).unwrap();
    breaks_off(&mut host, None);
    told(&host);
    host.restore(&path, &Options::default()).unwrap();
    assert_eq!(told(&host), (vec![], 1));
    streams(&host, &datasets);
    assert_eq!(host.names(".remand/staging"), std::slice::from_ref(run));
}

/// A receiver that has gone on may have counted a little twice; more than that was not noted, and is not gone on from.
#[test]
fn what_is_resumable_was_noted_but_for_a_little() {
    let _turn = crate::run::turn();
    let mut host = Host::new();
    let path = with_streams(&host, &[("data", LONG)]);
    breaks_off(&mut host, Some(8));
    is_kept(host.restore(&path, &Options::default()), 8);
    let [staging] = &host.names(".remand/staging")[..] else { panic!("one") };
    let noted = host.names(".remand/runs").into_iter().find(|name| name.ends_with(".received")).unwrap();
    let resumable = |received_bytes: u64| {
        let name = |name: &str| DatasetName::new(name).unwrap();
        let staging = format!(".remand/staging/{staging}");
        let partial = Partial { dataset: name(&format!("{staging}/data")), received_bytes };
        let noted = host.path(".remand/runs").join(&noted);
        crate::restore::resume::resumable_bytes(&noted, &name(&staging), &[partial]).unwrap()
    };
    // All of so short a stream is noted before any of it is handed on.
    let most = LONG.len() as u64 + (4 << 20);
    assert_eq!([8, most, most + 1].map(resumable), [8, most, 0]);
}
