//! The making of an archive of version 1 from another tool's, on a thread of its own, while it is read.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::Arc;

use super::place::{About, Place};
use super::{Item, Survey, changed, iocage, libioc, moved, pipe, put};
use crate::archive::reader::Origin;
use crate::archive::reader::members::whole;
use crate::archive::{Compression, Error, Line, MemberName, ReadAt, Result, WriteSink, Writer};
use crate::tree::TreePath;

/// What is on its way to the reader.
pub(super) struct Adapter {
    pub(super) place: Place,
    pub(super) about: About,
    pub(super) survey: Survey,
    pub(super) own: Option<iocage::Own>,
    /// The checksum of the file, while it is not compared.
    pub(super) sum: Option<(iocage::Sum, Arc<dyn ReadAt>)>,
}

/// An archive whose making begins when somebody reads it.
pub(super) struct Made {
    adapter: Option<Adapter>,
    origin: Arc<Origin>,
    outlet: Option<pipe::Outlet>,
}

impl Made {
    pub(super) fn new(adapter: Adapter, origin: &Arc<Origin>) -> Self {
        Self { adapter: Some(adapter), origin: Arc::clone(origin), outlet: None }
    }

    /// Starts the thread that makes the archive.
    fn start(adapter: Adapter, origin: &Arc<Origin>) -> io::Result<pipe::Outlet> {
        let (inlet, outlet) = pipe::pipe();
        let work = origin.begin();
        std::thread::Builder::new().name("adapt".to_owned()).spawn(move || {
            let hold = inlet.hold();
            let made = adapter.make(inlet);
            // Told before the pipe ends. If nobody reads any more, that is why it failed.
            if let Err(error) = made
                && !hold.is_unread()
            {
                work.fail(error);
            }
            drop(hold);
            drop(work);
        })?;
        Ok(outlet)
    }
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(adapter) = self.adapter.take() {
            self.outlet = Some(Self::start(adapter, &self.origin)?);
        }
        self.outlet.as_mut().map_or(Ok(0), |outlet| outlet.read(buffer))
    }
}

impl Adapter {
    /// Writes the whole archive.
    fn make(self, inlet: pipe::Inlet) -> Result<()> {
        let sink = WriteSink::new(inlet, &self.about.name);
        let mut writer = Writer::tar(Box::new(sink), Compression::None, &std::env::temp_dir())?;
        writer.manifest(&self.survey.manifest, 0)?;
        if let Some((sum, file)) = &self.sum {
            sum.check(&mut whole(file), &self.about)?;
        }
        if let Some(own) = &self.own {
            own.write(&self.survey, &self.about, &mut writer)?;
        }
        self.members(&mut writer)?;
        writer.finish().map(drop)
    }

    /// All members: those that are no streams in the first walk through the source, and each stream as soon as that of the dataset
    /// which it lies in has come. So there are no more walks than datasets lie in each other.
    fn members(&self, writer: &mut Writer) -> Result<()> {
        let items = &self.survey.items;
        let by_source: HashMap<&[u8], &Item> =
            items.iter().map(|item| (item.source.path().as_bytes(), item)).collect();
        let waiting: RefCell<HashSet<&str>> =
            items.iter().map(|item| item.dataset.as_str()).collect::<HashSet<_>>().into();
        for walk in 0.. {
            let before = waiting.borrow().len();
            let target = |line: &Line| if walk == 0 { libioc::target(&self.survey, line) } else { None };
            let stream = |line: &Line| {
                let item =
                    by_source.get(line.name.path().as_bytes()).filter(|item| walk > 0 || !item.early)?;
                let waiting = waiting.borrow();
                let above = item.dataset.rsplit_once('/').is_some_and(|(above, _)| waiting.contains(above));
                (waiting.contains(&*item.dataset) && !above).then_some(*item)
            };
            self.place.each(
                &self.about,
                &mut |line| target(line).is_some() || stream(line).is_some(),
                &mut |line, content| {
                    let Some(item) = stream(line) else {
                        return put(moved(line, &Clone::clone), content, writer);
                    };
                    waiting.borrow_mut().remove(&*item.dataset);
                    let path = TreePath::new(item.target.as_bytes());
                    let path = path.map_err(|error| Error::Refused(error.to_string()))?;
                    put(moved(line, &|_| MemberName::new(path.clone())), content, writer)
                },
            )?;
            let left = waiting.borrow().len();
            if left == 0 {
                break;
            }
            if walk > 0 && left == before {
                return Err(changed(&self.about));
            }
        }
        Ok(())
    }
}
