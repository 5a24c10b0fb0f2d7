//! What the tests of the wire share: a small network with known keys, and seeded values of every type.
//!
//! Everything that has to follow a change of manifest, verifier, message or machine is here, so that the tests do not.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../../src/testing.rs"]
pub mod testing;
pub mod values;
pub mod world;
