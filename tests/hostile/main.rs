//! Archives that somebody made to do harm, or that need a newer version: refused (23) or damaged (22), and nothing changed anywhere.
//!
//! Every one of them has an index and a seal that fit, so that only the one thing that is wrong can give it away. Each is given to all
//! commands that read archives; memory and time are measured.

#[path = "../support/mod.rs"]
mod support;

mod bombs;
mod directory;
mod legal;
mod manifests;
mod members;
mod streams;
mod trace;
mod trap;
