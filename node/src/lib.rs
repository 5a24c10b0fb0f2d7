//! One running peer: storage, training threads, and the driver of the round machine.
//!
//! ```text
//! bytes -> network -> verifier -> round machine -> effects -> driver -> network | store | trainers | timers
//!                                      ^                         |
//!                                      +------- inputs ----------+
//! ```
//!
//! [`start`] gives a handle and a queue of [`NodeEvent`]s. The driver holds no protocol logic: what to say, and when, is decided
//! by [`fedswarm_protocol::round::State`] alone.

#![forbid(unsafe_code)]

pub mod archive;
pub mod artefacts;
pub mod audit;
pub mod ballot_box;
pub mod blobs;
pub mod doctor;
mod driver;
mod error;
mod event;
pub mod files;
pub mod founding;
pub mod generators;
pub mod identity;
pub mod invitation;
pub mod member_folder;
pub mod payload;
pub mod roster;
pub mod run_config;
pub mod status;
pub mod store;
mod stored_chain;
pub mod trainers;
pub mod vitals;
mod vote_mark;

pub use driver::{
    CrashPoint, HoldPoint, Hosting, InStep, Keep, Made, NodeConfig, NodeHandle, Request, Storage, shutdown_all, start,
};
pub use error::Error;
pub use event::{Measured, NodeEvent};
