//! Whole-system runs: real processes, real protocols, figures side by side.
//!
//! The rooms, from the ground up: `process` starts a server and reads what it costs; `http` talks to it;
//! `answer` compares what two servers say; `request` encodes remote write; `series` makes realistic data, `recorded` plays recorded data;
//! `prepared` puts a whole load on disk beforehand, so that making it costs nothing while a server is
//! measured; `load` sends it; `queries` times questions; `report` prints one table;
//! `synthetic` is what scrapes scrape; `power_cut` cuts the power of a machine. The binaries only read flags; the end-to-end tests in `tests/` use the
//! same rooms.
//!
//! Nothing here is part of the server, and no figure is ever asserted: a test asserts answers.
#![forbid(unsafe_code)]

pub mod answer;
pub mod flags;
pub mod http;
pub mod load;
pub mod power_cut;
pub mod prepared;
pub mod process;
pub mod queries;
pub mod recorded;
pub mod report;
pub mod request;
pub mod run;
pub mod series;
pub mod synthetic;
