//! Bytes and inputs from outside, as hostile as they come: nothing panics, nothing allocates beyond a stated limit, and
//! whatever is accepted has one encoding.
//!
//! `cargo test` replays the corpus and a fixed number of seeded mutants of it. More, on demand:
//!
//! ```text
//! FEDSWARM_FUZZ_ITERATIONS=10000000 cargo test --release -p fedswarm-protocol --test fuzz
//! cargo bolero test --package fedswarm-protocol --sanitizer NONE decoders::envelope    # guided by coverage (libFuzzer)
//! ```
//!
//! Anything that fails goes into `__fuzz__/<target>/crashes/` and stays in the repository. The corpus is made from valid
//! messages by `FEDSWARM_WRITE_CORPUS=1 cargo test --release -p fedswarm-protocol --test fuzz corpus`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../common/mod.rs"]
mod common;
mod corpus;
mod decoders;
mod harness;
mod machine;
mod mutants;
mod swarm;
