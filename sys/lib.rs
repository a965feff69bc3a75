//! The few system calls of remand that no crate wraps: the only place with `unsafe`.
//!
//! Each function is safe to call with any argument; what the kernel answers is checked before it is believed. On a platform that lacks
//! a call its function is there all the same and fails with [`std::io::ErrorKind::Unsupported`]. Only what is FreeBSD's alone is in a
//! module that other platforms do not have.

#[cfg(any(target_os = "freebsd", test))]
mod apart;
pub mod btrfs;
pub mod extents;
#[cfg(target_os = "freebsd")]
pub mod freebsd;
pub mod mounts;
#[cfg(any(target_os = "freebsd", test))]
pub mod securelevel;
pub mod session;
pub mod writeback;
