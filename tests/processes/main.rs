//! Networks of real processes - `fedswarm run`, eight times, and `fedswarm bootstrap` - that are killed, stopped and cut off
//! from each other. The harness follows the lines that nodes print with `--json`, and acts at a phase of a round, not after a
//! pause.
//!
//! Those that take long run on demand: `cargo test --release --workspace --test processes -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, missing_docs)]

mod abuse;
mod all_at_once;
mod churn;
#[path = "../../network/tests/common/mod.rs"]
mod common;
mod compose;
#[path = "../../network/tests/common/evil.rs"]
mod evil;
mod failover;
mod images;
mod internet;
mod journal;
mod killed;
mod lan;
mod largest_gossip;
mod links;
mod nat;
mod network;
mod operating;
mod outcome;
mod paths;
mod paused;
mod phases;
mod process;
mod readme;
mod resumed;
mod scrape;
mod slow_uplink;
mod split;
mod symmetric_nat;
mod tended;
mod world;
