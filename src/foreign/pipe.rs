//! From the adapter's thread to the reader's: a bounded pipe of bytes. Who writes waits for who reads, so memory stays flat.

use std::io::{self, Read, Write};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Bytes that are handed over at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces on their way.
const PIECES: usize = 4;

/// The end that is written to.
pub(super) struct Inlet {
    sender: Sender<Vec<u8>>,
    piece: Vec<u8>,
}

/// Holds a pipe open whose inlet was given away: it has not ended before this is gone too.
pub(super) struct Hold(Sender<Vec<u8>>);

/// The end that is read from. Its end comes when the inlet is gone.
pub(super) struct Outlet {
    receiver: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

pub(super) fn pipe() -> (Inlet, Outlet) {
    let (sender, receiver) = bounded(PIECES);
    (Inlet { sender, piece: Vec::new() }, Outlet { receiver, piece: io::Cursor::default() })
}

impl Inlet {
    pub(super) fn hold(&self) -> Hold {
        Hold(self.sender.clone())
    }
}

impl Hold {
    /// Whether nobody reads any more.
    pub(super) fn is_unread(&self) -> bool {
        matches!(self.0.try_send(Vec::new()), Err(crossbeam_channel::TrySendError::Disconnected(_)))
    }
}

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Read for Outlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.receiver.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_out_and_nobody_waits_for_a_reader_that_is_gone() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        let (mut inlet, mut outlet) = pipe();
        let back = std::thread::scope(|scope| {
            scope.spawn(|| {
                for part in bytes.chunks(70_001) {
                    inlet.write_all(part).unwrap();
                }
                inlet.flush().unwrap();
                drop(inlet);
            });
            let mut back = Vec::new();
            outlet.read_to_end(&mut back).unwrap();
            back
        });
        assert!(back == bytes);
        let (mut inlet, outlet) = pipe();
        let hold = inlet.hold();
        assert!(!hold.is_unread());
        drop(outlet);
        assert!(hold.is_unread());
        let error = inlet.write_all(&vec![0; PIECE_BYTES * (PIECES + 2)]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
