//! The bytes that peers exchange and agree on, held fast.
//!
//! [`pins`] folds thousands of values of every wire type into one hash each, so that a change of format cannot go unseen.
//! [`golden`] and [`ed25519`] compare with oracles that share no code with this crate (`scripts/golden_oracle.py` and
//! `scripts/ed25519_edge_cases.py`). All three must hold in every build: release, debug and `target-cpu=native`
//! (`scripts/conformance_builds.sh`).

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../common/mod.rs"]
mod common;
mod ed25519;
mod golden;
mod pins;
