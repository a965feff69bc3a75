//! The few system calls of remand that no crate wraps, and one call of libdeflate: the only place with `unsafe`.
//!
//! Each function is safe to call with any argument; what the kernel answers is checked before it is believed. On a platform that lacks
//! a call its function is there all the same and fails with [`std::io::ErrorKind::Unsupported`].

pub mod btrfs;
pub mod deflate;
pub mod extents;
