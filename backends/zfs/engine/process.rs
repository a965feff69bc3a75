//! The engine that runs zfs(8). What it makes and destroys recursively, the program does in one transaction.

use super::{RUN, Sending, ZfsEngine};
use crate::Result;
use crate::zfs::{Zfs, list_one, tool};
use std::io::Read;

#[derive(Debug)]
pub(super) struct Process;

impl ZfsEngine for Process {
    fn snapshot(&self, datasets: &[String], name: &str, recursive: bool) -> Result<()> {
        for dataset in datasets {
            if list_one(dataset)?.is_none() {
                return Err(Zfs::missing(dataset));
            }
        }
        let full: Vec<_> = datasets.iter().map(|dataset| format!("{dataset}@{name}")).collect();
        let mark = format!("{RUN}={name}");
        let options = recursive.then_some("-r").into_iter().chain(["-o", &mark]);
        tool::run(["snapshot"].into_iter().chain(options).chain(full.iter().map(String::as_str))).map(drop)
    }

    fn destroy_snapshots(&self, dataset: &str, name: &str, recursive: bool) -> Result<()> {
        let full = format!("{dataset}@{name}");
        let depth = if recursive { "-r" } else { "-d1" };
        // With the dataset, so that there is something to list.
        let kinds = "filesystem,volume,snapshot";
        let Some(text) = tool::list(dataset, ["list", "-H", depth, "-t", kinds, "-o", "name", dataset])?
        else {
            return Ok(());
        };
        let found: Vec<_> = text
            .lines()
            .filter(|line| {
                line.split_once('@').is_some_and(|(on, found)| found == name && (recursive || on == dataset))
            })
            .collect();
        if found.contains(&full.as_str()) && recursive {
            return tool::run_patiently(["destroy", "-r", full.as_str()]).map(drop);
        }
        for one in found {
            tool::run_patiently(["destroy", one])?;
        }
        Ok(())
    }

    fn send(&self, sending: &Sending) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(tool::zfs(sending.arguments(&[])).stream()?))
    }
}
