//! `remand cat`.

use std::io::{ErrorKind, Write as _};

use remand::error::Error;
use remand::extract;
use remand::locator::Locator;

use super::args::Cat;
use super::failure::Failure;
use super::render::Outcome;
use super::{Session, find_pool, input};

pub(super) fn run(session: &Session, args: &Cat) -> Result<Outcome, Failure> {
    let Session { console, interrupted } = session;
    let config = args.place.config()?;
    let files = args.files.iter().map(|file| file.parse::<Locator>()).collect::<Result<Vec<_>, _>>()?;
    let input = input(&args.source, interrupted)?.with(args.opening.keys(&config)?);
    let pool = || find_pool(&args.place, &config);
    let what = extract::Cat { files: &files, dataset: &args.dataset };
    let mut output = std::io::stdout();
    match extract::cat(&pool, input, &what, &**console, interrupted, &mut output) {
        Ok(()) => {}
        // Whoever reads has seen enough.
        Err(Error::Io { action: "write", source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
            return Err(Failure::ReaderGone);
        }
        Err(error) => return Err(error.into()),
    }
    output.flush().map_err(|error| Failure::output(&error))?;
    let mut outcome = Outcome::default();
    outcome.result.insert("command".into(), "cat".into());
    Ok(outcome)
}
