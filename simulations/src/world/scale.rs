//! How large a world one machine carries: a run without training, measured.

use std::time::Instant;

use serde::Serialize;

use super::options::Options;
use super::outcome::Outcome;
use super::{World, WorldError};
use crate::rss;

/// What a run took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Members.
    pub members: u16,
    /// Of them, those that vote.
    pub voters: u16,
    /// Rounds that all of them hold a final record of.
    pub rounds: u64,
    /// Seconds that making the world took: keys, and the records by which contributors joined.
    pub founding_seconds: f64,
    /// Seconds that the rounds took.
    pub seconds: f64,
    /// Seconds of processor time that the rounds took; nothing where that cannot be read.
    pub cpu_seconds: Option<f64>,
    /// Members times rounds, a second.
    pub member_rounds_per_s: f64,
    /// Members times rounds, a second of processor time.
    pub member_rounds_per_cpu_s: Option<f64>,
    /// The most memory that the process has used.
    pub peak_rss_bytes: Option<u64>,
    /// Events.
    pub events: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Seconds of virtual time.
    pub virtual_seconds: f64,
}

/// Runs a world until all its members hold the last record, and measures it. It runs on this thread alone.
///
/// # Errors
/// Options from which no world can be made.
pub fn run(options: &Options) -> Result<(Outcome, Figures), WorldError> {
    let began = Instant::now();
    let mut world = World::new(options)?;
    let founding_seconds = began.elapsed().as_secs_f64();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut outcome = world.run();
    world.catch_up();
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds().zip(cpu).map(|(after, before)| after - before);
    // What it took to bring the last member to the end counts, too.
    (outcome.events, outcome.traffic) = (world.core.log.count(), world.core.traffic);
    outcome.broken = world.core.monitor.broken().cloned();
    let member_rounds = f64::from(options.members) * outcome.rounds as f64;
    let figures = Figures {
        members: options.members,
        voters: options.voters(),
        rounds: outcome.rounds,
        founding_seconds,
        seconds,
        cpu_seconds,
        member_rounds_per_s: member_rounds / seconds,
        member_rounds_per_cpu_s: cpu_seconds.map(|cpu| member_rounds / cpu),
        peak_rss_bytes: rss::peak_rss_bytes(),
        events: outcome.events,
        messages: outcome.traffic.0,
        message_bytes: outcome.traffic.1,
        virtual_seconds: world.core.now as f64 / 1e6,
    };
    Ok((outcome, figures))
}

/// Processor time of this thread so far: the first number of Linux's `schedstat`, in nanoseconds.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanos as f64 / 1e9)
}
