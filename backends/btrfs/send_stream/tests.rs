mod decoding;
mod names;
mod oracle;
