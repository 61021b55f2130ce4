//! The write-ahead log: what is acknowledged is in here, and only here is it promised.
//!
//! [`frame`] wraps a commit, [`record`] says what is in it, [`commit`] writes commits in groups,
//! [`replay`] reads them back after a stop. Every byte is described in `FORMAT.md`.

pub mod commit;
pub mod frame;
pub mod record;
pub mod replay;
