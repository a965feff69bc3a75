//! remand exports jails and containers from a storage pool as small archives and restores them, byte
//! for byte and attribute for attribute, on another host.
#![forbid(unsafe_code)]

pub mod archive;
pub mod change;
pub mod tree;
