mod decoding;
mod names;
