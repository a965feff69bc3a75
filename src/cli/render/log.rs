//! What the library logs (each program that it runs, each decision), for `-v`.

use std::io::{self, Write};
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::{Console, escape};

/// Shows log lines on `console` from now on, as many as its verbosity asks for.
pub(crate) fn start(console: &Arc<Console>) {
    let level = match console.verbosity() {
        0 => return,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .without_time()
        .with_writer(Lines(Arc::clone(console)))
        .finish();
    // Only a second call in one process could fail, and then the first one's subscriber is there.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Gives each log event's text to the console.
struct Lines(Arc<Console>);

/// One log event on its way.
struct Line {
    console: Arc<Console>,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { console: Arc::clone(&self.0), text: Vec::new() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        for line in text.trim_end().lines() {
            self.console.note(&escape::safe(line));
        }
    }
}
