//! `fedswarm bench rounds`: how long a round takes that trains nothing, signed, recomputed by every voter and certified.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use fedswarm_network::TransportKind;
use serde::Serialize;

use super::crowd::Crowd;
use super::network::Plan;
use super::{Tell, percentile, process};
use crate::Error;

/// Rounds before those that are measured.
const WARM_UP: u64 = 3;

/// What rounds took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Members.
    pub members: usize,
    /// Of them, those that vote.
    pub voters: u16,
    /// Numbers in the shared model.
    pub parameters: u32,
    /// Rounds that were measured.
    pub rounds: u64,
    /// Milliseconds from the moment at which all members hold a round's final record to that at which all hold the next.
    pub median_ms: f64,
    /// The same, of the slowest in a hundred; of thirty, the slowest.
    pub p99_ms: f64,
    /// Milliseconds between the first member's record and the last one's, median.
    pub spread_ms: f64,
    /// Processor milliseconds a round, of all nodes together.
    pub cpu_ms: f64,
    /// Bytes a round that all nodes sent, as they count them themselves: on streams, before encryption.
    pub sent_bytes: u64,
    /// Of them, those of payloads and of the lists of their hashes.
    pub blob_bytes: u64,
    /// Load of the machine at the end.
    pub load: Option<f64>,
}

/// Runs so many rounds and measures them.
///
/// # Errors
/// [`Error`]: what kept the swarm from getting through.
pub async fn run(plan: &Plan, transport: TransportKind, rounds: u64, tell: Tell<'_>) -> Result<Figures, Error> {
    let mut crowd = Crowd::start(&Plan { rounds: 0, ..*plan }, transport, false).await?;
    crowd.meshed().await?;
    crowd.settled().await?;
    tell(&format!("{} nodes are meshed; {rounds} rounds", plan.members()));
    let first = crowd.founded.round + WARM_UP;
    crowd.gate.allow(WARM_UP);
    crowd.rounds_to(first, |_, _, _| {}).await?;
    let cpu = || process::cpu_seconds(None).unwrap_or(f64::NAN);
    let sent = |crowd: &Crowd| {
        let all = crowd.nodes.iter().map(|node| node.network().traffic());
        all.fold((0, 0), |(sent, blobs), traffic| (sent + traffic.sent, blobs + traffic.blobs.sent))
    };
    let (sent_before, cpu_before, began) = (sent(&crowd), cpu(), Instant::now());
    crowd.gate.allow(rounds);
    let mut seen: BTreeMap<u64, (Instant, Instant)> = BTreeMap::new();
    let each = |round, _, at| _ = seen.entry(round).and_modify(|(_, last)| *last = at).or_insert((at, at));
    crowd.rounds_to(first + rounds, each).await?;
    let (sent_after, cpu_after) = (sent(&crowd), cpu());
    crowd.end().await;
    let mut before = began;
    let (mut latencies, mut spreads) = (Vec::new(), Vec::new());
    for (first, last) in seen.into_values() {
        latencies.push(last.saturating_duration_since(before).as_secs_f64() * 1e3);
        spreads.push((last - first).as_secs_f64() * 1e3);
        before = last;
    }
    latencies.sort_by(f64::total_cmp);
    spreads.sort_by(f64::total_cmp);
    let of = |values: &[f64], percent| percentile(values, percent).unwrap_or(f64::NAN);
    Ok(Figures {
        members: plan.members(),
        voters: plan.voters,
        parameters: plan.parameters,
        rounds,
        median_ms: of(&latencies, 50),
        p99_ms: of(&latencies, 99),
        spread_ms: of(&spreads, 50),
        cpu_ms: (cpu_after - cpu_before) * 1e3 / rounds as f64,
        sent_bytes: (sent_after.0 - sent_before.0) / rounds,
        blob_bytes: (sent_after.1 - sent_before.1) / rounds,
        load: process::load(),
    })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} nodes, {} of them voters, {} parameters: {:.1} ms a round (median of {}), {:.1} ms p99",
            self.members, self.voters, self.parameters, self.median_ms, self.rounds, self.p99_ms
        )?;
        write!(
            f,
            "  {:.1} ms from the first member's record to the last one's; {:.0} ms of processor time; {:.1} kB sent, {:.1} kB of it blobs; load {:.1}",
            self.spread_ms,
            self.cpu_ms,
            self.sent_bytes as f64 / 1e3,
            self.blob_bytes as f64 / 1e3,
            self.load.unwrap_or(f64::NAN)
        )
    }
}
