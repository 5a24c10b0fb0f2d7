//! Swarms on one machine: what to run ([`scenario`]), what came out ([`results`]), how to look at it
//! ([`report`], [`table`], [`progress`]), how to compare many runs fairly ([`compare`], [`stats`]), swarms in virtual
//! time, with faults and liars ([`world`]), and what the machine can do ([`mod@bench`]).
//!
//! Nothing here decides how a peer learns or how peers agree: this crate describes a run, starts it and reports on it.

#![forbid(unsafe_code)]

pub mod bench;
pub mod compare;
pub mod error;
pub mod progress;
pub mod report;
pub mod results;
pub mod rss;
pub mod scenario;
pub mod stats;
pub mod swarm;
pub mod table;
pub mod world;

pub use error::Error;
