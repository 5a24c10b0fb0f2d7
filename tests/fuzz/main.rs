//! Files from outside, as damaged as they come: no reader panics, and none allocates beyond a stated limit.
//!
//! The harness is that of `protocol/tests/fuzz`; see there for longer runs. The
//! files under `seeds/` are damaged: binary ones are written by `scripts/fuzz_seeds.py`. Whatever fails is kept under
//! `__fuzz__/<reader>/crashes`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../../protocol/tests/common/mod.rs"]
mod common;
#[path = "../../protocol/tests/fuzz/harness.rs"]
mod harness;
mod readers;
