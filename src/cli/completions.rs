//! `remand completions`.

use clap::CommandFactory;

use super::Session;
use super::args::{Arguments, Completions};
use super::failure::Failure;
use super::render::Outcome;

pub(super) fn run(session: &Session, args: &Completions) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "remand", &mut script);
    session.console.data(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::default())
}
