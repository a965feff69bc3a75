//! libioc and remand read each other's archives, and remand what iocage exports.
//!
//! libioc's archives are made by libioc itself where `REMAND_TEST_LIBIOC` names the directory that its package is in, and by a double of its
//! backup otherwise; libioc's own restore is the oracle. iocage's exports are made by a double of its export.

#[path = "../support/mod.rs"]
mod support;

mod exports;
mod forms;
mod hostile;
mod made;
mod shown;
mod table;
