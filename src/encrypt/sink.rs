//! Writing what is encrypted.

use std::io::{self, Write};

use age::Encryptor;
use age::stream::StreamWriter;

use super::Recipient;
use crate::archive::{Error, Result, Sink};

/// Encrypts what goes to another sink. Nothing of it can be patched: no byte is ever encrypted twice with one key.
pub(crate) struct EncryptedSink {
    stream: StreamWriter<Box<dyn Sink>>,
    name: String,
}

impl EncryptedSink {
    /// For all of these, of whom there is one at least.
    pub(crate) fn new(sink: Box<dyn Sink>, recipients: &[Recipient]) -> Result<Self> {
        let name = sink.name();
        let stream = encrypt(sink, recipients);
        let stream =
            stream.map_err(|source| Error::Io { action: "encrypt", subject: name.clone(), source })?;
        Ok(Self { stream, name })
    }
}

/// Encrypts what goes to `output`.
pub(crate) fn encrypt<W: Write>(output: W, recipients: &[Recipient]) -> io::Result<StreamWriter<W>> {
    let all = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
    Encryptor::with_recipients(all).map_err(io::Error::other)?.wrap_output(output)
}

impl Write for EncryptedSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Sink for EncryptedSink {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn can_patch(&self) -> bool {
        false
    }

    fn is_secret(&self) -> bool {
        true
    }

    fn patch(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotSeekable.into())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self { stream, name } = *self;
        let sink = stream.finish();
        sink.map_err(|source| Error::Io { action: "write", subject: name, source })?.commit()
    }
}
