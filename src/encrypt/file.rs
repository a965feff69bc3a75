//! An encrypted file that is read at any place.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamReader;

use super::{BUFFER_BYTES, Identity, broken, decrypt, read_header};
use crate::archive::{self, ReadAt};

/// Decrypts what is read of a file. The length of its content is proven first, so a file that was cut is damaged at once.
pub(crate) fn open_file(
    file: &Arc<dyn ReadAt>,
    name: &str,
    identities: &[Identity],
) -> archive::Result<Arc<dyn ReadAt>> {
    let open = || BufReader::with_capacity(BUFFER_BYTES, Placed { file: Arc::clone(file), at: 0 });
    read_header(&mut open(), name)?;
    let mut stream = decrypt(open(), name, identities)?;
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::InvalidData => archive::Error::Damaged(format!("{name} ends in the middle")),
        _ => archive::Error::Io { action: "read", subject: name.to_owned(), source },
    };
    let size = stream.seek(SeekFrom::End(0)).map_err(failed)?;
    let at = stream.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(Arc::new(Decrypted { reader: Mutex::new(At { stream, at }), size }))
}

struct Decrypted {
    reader: Mutex<At>,
    size: u64,
}

struct At {
    stream: StreamReader<BufReader<Placed>>,
    at: u64,
}

impl ReadAt for Decrypted {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.size {
            return Ok(0);
        }
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if reader.at != offset {
            // Unless all goes well the place is not known.
            reader.at = u64::MAX;
            reader.stream.seek(SeekFrom::Start(offset)).map_err(broken)?;
        }
        reader.at = u64::MAX;
        let read = reader.stream.read(buffer).map_err(broken)?;
        reader.at = offset + read as u64;
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

/// A file with a place of its own.
struct Placed {
    file: Arc<dyn ReadAt>,
    at: u64,
}

impl Read for Placed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Placed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.file.size()?, by),
        };
        self.at = from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
