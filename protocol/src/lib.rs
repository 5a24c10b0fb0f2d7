//! What peers say and agree on: pure, without I/O, clock, entropy or floats in agreed state.
//!
//! Bytes become [`envelope::Verified`] messages, messages become inputs of the [`round`] machine, and the machine answers
//! with effects for a driver to carry out. The same code runs in nodes, in simulations and under a model checker.

#![forbid(unsafe_code)]

pub mod artefact;
pub mod audit;
pub mod blob;
pub mod bundle;
pub mod certificate;
pub mod codec;
pub mod derive;
pub mod election;
pub mod envelope;
pub mod evidence;
pub mod hash;
pub mod keys;
pub mod manifest;
pub mod membership;
pub mod merge;
pub mod message;
pub mod payload;
pub mod prototypes;
pub mod record;
pub mod round;
pub mod summary;
pub mod tensor;
pub mod update;

#[cfg(test)]
mod testing;

/// What is shared with the integration tests names this crate as they do.
#[cfg(test)]
extern crate self as fedswarm_protocol;
