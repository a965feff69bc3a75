//! From a sequence of bytes to a sink: cut into chunks, compressed on all cores, written in order.
//!
//! ```text
//! caller ─chunk─▶ workers (compress) ─┐
//!    └────────────order──────────────▶ output thread ─▶ Sink
//! ```
//!
//! Both queues are bounded, so a slow sink slows the caller down and memory stays flat. What fails in a thread
//! is returned by the next call. Dropping an [`Output`] drops its sink, without commit, before it returns.

use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::table::{self, Content};
use super::{Compression, Sink, gzip, zstd};

/// Bytes that are compressed together.
const CHUNK_BYTES: usize = 1 << 20;
/// Those of the first chunks. Later ones are longer, by half of what came before, up to the full length: compressing begins early,
/// and what is small is compressed on several cores too.
const FIRST_BYTES: usize = 32 << 10;
/// More threads than this do not help, but each needs memory.
const MAX_THREADS: usize = 32;

/// Names a chunk that can be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(usize);

/// What the output thread does next.
enum Order {
    /// Write what a worker will deliver.
    Compressed(Receiver<io::Result<Vec<u8>>>, Content),
    /// Write these bytes.
    Plain(Vec<u8>),
    /// Write these bytes and remember where, as the next mark.
    Fixed(Vec<u8>, Content),
    /// Overwrite what was written for a mark.
    Patch(Mark, Vec<u8>),
    /// Write the table of offsets. The index begins there in the tar stream.
    Table(u64),
}

/// A chunk for a worker, and where its result goes.
type Job = (Vec<u8>, Sender<io::Result<Vec<u8>>>);

/// One thread's compressor.
enum Encoder {
    Gzip(gzip::Encoder),
    Zstd(zstd::Encoder),
}

/// Receives a tar stream.
pub(super) struct Output {
    compression: Compression,
    chunk: Vec<u8>,
    /// So long is the chunk when it is handed on.
    full: usize,
    /// Where the first header in the current chunk begins, and its line.
    header: Option<(u64, u64)>,
    /// Bytes of the tar stream in earlier chunks.
    cut_bytes: u64,
    marks: usize,
    order: Option<Sender<Order>>,
    jobs: Option<Sender<Job>>,
    /// Empty buffers that come back from the threads.
    spare: Receiver<Vec<u8>>,
    failure: Arc<Mutex<Option<io::Error>>>,
    writing: Option<JoinHandle<Option<Box<dyn Sink>>>>,
    workers: Vec<JoinHandle<()>>,
}

impl Output {
    /// Starts the threads that compress for and write to `sink`.
    pub(super) fn new(sink: Box<dyn Sink>, compression: Compression) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
        let threads = if compression == Compression::None { 0 } else { cores };
        let (order, orders) = bounded(threads + 3);
        let (jobs, queue) = bounded::<Job>(threads + 1);
        let (empty, spare) = bounded(threads + 4);
        let failure = Arc::new(Mutex::new(None));
        let mut this = Self {
            compression,
            chunk: Vec::with_capacity(FIRST_BYTES),
            full: FIRST_BYTES,
            header: None,
            cut_bytes: 0,
            marks: 0,
            order: Some(order),
            jobs: Some(jobs),
            spare,
            failure: Arc::clone(&failure),
            writing: None,
            workers: Vec::new(),
        };
        for _ in 0..threads {
            let mut encoder = match compression {
                Compression::Gzip(level) => Encoder::Gzip(gzip::Encoder::new(level)),
                Compression::Zstd(level) => Encoder::Zstd(zstd::Encoder::new(level)?),
                Compression::None => break,
            };
            let (queue, empty) = (queue.clone(), empty.clone());
            let worker = std::thread::Builder::new().name("compress".to_owned());
            this.workers.push(worker.spawn(move || {
                for (input, result) in queue {
                    // Whoever waited may have given up; then the result is not needed.
                    let _ = result.send(encoder.encode(&input));
                    let _ = empty.try_send(input);
                }
            })?);
        }
        let thread = std::thread::Builder::new().name("write".to_owned());
        this.writing = Some(thread.spawn(move || match write_all(sink, compression, &orders, &empty) {
            Ok(sink) => Some(sink),
            Err(error) => {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        })?);
        Ok(this)
    }

    /// How many bytes were appended.
    pub(super) fn position(&self) -> u64 {
        self.cut_bytes + self.chunk.len() as u64
    }

    /// Says that the header of the member with this line comes next.
    pub(super) fn begin_member(&mut self, line: u64) {
        let at = self.chunk.len() as u64;
        self.header.get_or_insert((at, line));
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.full - self.chunk.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.chunk.extend_from_slice(now);
            if self.chunk.len() == self.full {
                self.cut()?;
                let half = usize::try_from(self.cut_bytes / 2).unwrap_or(CHUNK_BYTES);
                self.full = half.clamp(FIRST_BYTES, CHUNK_BYTES);
            }
            bytes = later;
        }
        Ok(())
    }

    /// What comes next begins a chunk of its own.
    pub(super) fn end_chunk(&mut self) -> io::Result<()> {
        self.cut()
    }

    /// Appends bytes that [`Output::patch`] can overwrite. If a member's header is at their beginning, its line is `line`.
    pub(super) fn write_fixed(&mut self, bytes: &[u8], line: Option<u64>) -> io::Result<Mark> {
        self.cut()?;
        let mark = Mark(self.marks);
        let encoded = self.encode_fixed(mark, bytes)?;
        let content = Content { plain_bytes: bytes.len() as u64, header: line.map(|line| (0, line)) };
        self.cut_bytes += content.plain_bytes;
        self.send(Order::Fixed(encoded, content))?;
        self.marks += 1;
        Ok(mark)
    }

    /// Overwrites what was written at `mark` by as many other bytes.
    pub(super) fn patch(&mut self, mark: Mark, bytes: &[u8]) -> io::Result<()> {
        let encoded = self.encode_fixed(mark, bytes)?;
        self.send(Order::Patch(mark, encoded))
    }

    /// Writes what is left and, where there is compression, the table of offsets, and returns the sink, to be committed. The header
    /// of the index is at `index_at`.
    pub(super) fn finish(mut self, index_at: u64) -> io::Result<Box<dyn Sink>> {
        self.cut()?;
        if self.compression != Compression::None {
            self.send(Order::Table(index_at))?;
        }
        self.stop().ok_or_else(|| self.failed())
    }

    fn encode_fixed(&self, mark: Mark, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let announces = mark == Mark(0);
        match self.compression {
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip(_) => gzip::stored(bytes, announces),
            Compression::Zstd(_) => zstd::stored(bytes, announces),
        }
    }

    /// Hands the current chunk on.
    fn cut(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut next = self.spare.try_recv().unwrap_or_default();
        next.clear();
        let chunk = std::mem::replace(&mut self.chunk, next);
        let content = Content { plain_bytes: chunk.len() as u64, header: self.header.take() };
        self.cut_bytes += content.plain_bytes;
        if self.compression == Compression::None {
            return self.send(Order::Plain(chunk));
        }
        let (result, delivery) = bounded(1);
        self.send(Order::Compressed(delivery, content))?;
        match self.jobs.as_ref().map(|jobs| jobs.send((chunk, result))) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failed()),
        }
    }

    fn send(&mut self, order: Order) -> io::Result<()> {
        match self.order.as_ref().map(|orders| orders.send(order)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failed()),
        }
    }

    /// Why the output thread is gone. Only the first to ask is told the cause; nobody asks twice.
    fn failed(&mut self) -> io::Error {
        self.stop();
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.unwrap_or_else(|| io::Error::other("writing stopped after an earlier failure"))
    }

    /// Ends the threads; the sink, if all went well.
    fn stop(&mut self) -> Option<Box<dyn Sink>> {
        self.order = None;
        self.jobs = None;
        let sink = self.writing.take().and_then(|thread| thread.join().ok()).flatten();
        for worker in self.workers.drain(..) {
            // A worker that panicked has delivered nothing, which the output thread has noticed.
            let _ = worker.join();
        }
        sink
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Encoder {
    fn encode(&mut self, input: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.encode(input),
            Self::Zstd(encoder) => encoder.encode(input),
        }
    }
}

/// The output thread.
fn write_all(
    mut sink: Box<dyn Sink>,
    compression: Compression,
    orders: &Receiver<Order>,
    empty: &Sender<Vec<u8>>,
) -> io::Result<Box<dyn Sink>> {
    let mut offset = 0_u64;
    let mut marks: Vec<(u64, usize)> = Vec::new();
    let mut table = table::Builder::default();
    for order in orders {
        let bytes = match order {
            Order::Compressed(delivery, content) => {
                let bytes = delivery.recv().map_err(|_| io::Error::other("a compressing thread died"))??;
                table.chunk(bytes.len() as u64, content);
                bytes
            }
            Order::Plain(bytes) => bytes,
            Order::Fixed(bytes, content) => {
                marks.push((offset, bytes.len()));
                if compression != Compression::None {
                    table.chunk(bytes.len() as u64, content);
                }
                bytes
            }
            Order::Table(index_at) => {
                write_table(sink.as_mut(), compression, std::mem::take(&mut table).finish(index_at))?;
                continue;
            }
            Order::Patch(Mark(number), bytes) => {
                let (place, length) = marks[number];
                assert_eq!(bytes.len(), length, "a patch has the length of what it replaces");
                sink.patch(place, &bytes)?;
                continue;
            }
        };
        sink.write_all(&bytes)?;
        offset += bytes.len() as u64;
        if bytes.capacity() >= FIRST_BYTES {
            let _ = empty.try_send(bytes);
        }
    }
    Ok(sink)
}

/// Writes a table's parts and its end.
fn write_table(
    sink: &mut dyn Sink,
    compression: Compression,
    (bytes, end): (Vec<u8>, [u8; table::END_BYTES]),
) -> io::Result<()> {
    let gzip = matches!(compression, Compression::Gzip(_));
    for part in bytes.chunks(table::PART_BYTES) {
        sink.write_all(&if gzip { gzip::part(part)? } else { zstd::part(part)? })?;
    }
    sink.write_all(&if gzip { gzip::end(&end)? } else { zstd::end(&end)? })
}

#[cfg(test)]
mod tests;
