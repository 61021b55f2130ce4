//! The write-ahead log: what is acknowledged is in here, and only here is it promised.
//!
//! [`frame`] wraps a commit, [`record`] says what is in it, [`commit`] writes commits in groups,
//! [`checkpoint`] what stands for the commits so far, [`replay`] reads both back after a stop. Every byte is described in `FORMAT.md`.

pub mod checkpoint;
pub mod commit;
pub mod frame;
pub mod reader;
pub mod record;
pub mod replay;
pub mod row;
