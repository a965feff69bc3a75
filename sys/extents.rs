//! Where the bytes of a file lie on the device: `FIEMAP`.
