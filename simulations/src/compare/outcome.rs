//! What a comparison says: one row per method, and differences in pairs.

use serde::{Deserialize, Serialize};

use super::Grid;
use crate::Error;
use crate::results::{PerPeerAndRound, Results};
use crate::scenario::Scenario;
use crate::stats::{self, PairedDifference};

/// The flagship, and its control: the same model with merging off. A gain over the control is collaboration; a gain
/// over local training alone could be the second expert's capacity.
const FLAGSHIP: (&str, &str) = ("fedmoe", "moe-local");

/// A finished comparison. Accuracies are fractions from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The command that repeats it; filled in by the caller.
    pub command: String,
    /// The scenario of all cells, as it was asked for.
    pub scenario: Scenario,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The accuracy whose round is asked for.
    pub reach: Option<f64>,
    /// One row per method, in the order asked for.
    pub methods: Vec<MethodRow>,
    /// Differences in pairs, at the asked rounds and at the last.
    pub pairs: Vec<Pair>,
}

/// One method over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodRow {
    /// The method.
    pub method: String,
    /// Accuracy at the asked rounds and after the last, in order.
    pub points: Vec<Point>,
    /// The mean of the best rounds' accuracies.
    pub mean_best: f64,
    /// The mean over seeds of the sample deviation among the peers' last accuracies.
    pub peer_spread: Option<f64>,
    /// The mean over seeds of the worst peer's last accuracy.
    pub worst_peer: f64,
    /// Bytes sent per peer and round, the mean over seeds.
    pub bytes_per_peer_and_round: f64,
    /// What the bytes were for, the mean over seeds.
    pub costs: PerPeerAndRound,
    /// Seconds of the median round, the mean over seeds.
    pub seconds_per_round: f64,
    /// When the asked accuracy was reached, if one was asked for.
    pub reached: Option<Reached>,
    /// Each seed by itself, in the comparison's order of seeds.
    pub by_seed: Vec<OfSeed>,
}

/// One method with one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfSeed {
    /// Accuracy after each round; the first entry is untrained.
    pub by_round: Vec<f64>,
    /// Of the best round.
    pub best: f64,
    /// The sample deviation among the peers' last accuracies.
    pub peer_spread: Option<f64>,
    /// The worst peer's last accuracy.
    pub worst_peer: f64,
    /// Bytes sent per peer and round.
    pub sent: f64,
    /// What they were for.
    pub costs: PerPeerAndRound,
    /// Seconds of the median round.
    pub seconds_per_round: f64,
    /// The first round after which the asked accuracy was there; absent if it never was, or none was asked for.
    pub reached: Option<u64>,
}

/// When an accuracy was reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// The mean round over the seeds that reached it; absent if none did.
    pub round: Option<f64>,
    /// Seeds that reached it.
    pub seeds: usize,
}

/// Accuracy after some round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The round.
    pub round: u64,
    /// The mean over seeds.
    pub mean: f64,
    /// The sample deviation over seeds; absent for one seed.
    pub deviation: Option<f64>,
    /// Each seed's, in the comparison's order of seeds.
    pub by_seed: Vec<f64>,
}

/// `method` minus `against` after some round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The method.
    pub method: String,
    /// What it is compared with.
    pub against: String,
    /// The round.
    pub round: u64,
    /// The difference.
    pub difference: PairedDifference,
}

impl Comparison {
    /// Compares the results of a whole grid, seed by seed in the grid's order.
    pub(super) fn of(grid: &Grid, results: &[Results]) -> Result<Self, Error> {
        for (seed, of_seed) in grid.seeds.iter().zip(results.chunks(grid.methods.len())) {
            same_images(*seed, of_seed)?;
        }
        let of_method = |method: &String| -> Vec<&Results> {
            results.iter().filter(|results| results.summary.method == *method).collect()
        };
        let mut rounds = grid.at.clone();
        rounds.push(grid.scenario.rounds);
        rounds.sort_unstable();
        rounds.dedup();
        let methods: Vec<MethodRow> =
            grid.methods.iter().map(|method| MethodRow::of(method, &of_method(method), &rounds, grid.reach)).collect();
        let pairs = pairs(&methods);
        let scenario = Scenario { out: None, ..grid.scenario.clone() };
        Ok(Self { command: String::new(), scenario, seeds: grid.seeds.clone(), reach: grid.reach, methods, pairs })
    }
}

impl OfSeed {
    fn of(results: &Results, reach: Option<f64>) -> Self {
        let summary = &results.summary;
        let accuracy = &summary.accuracy;
        let first = |reach| accuracy.by_round.iter().skip(1).position(|a| *a >= reach).map(|at| at as u64 + 1);
        Self {
            by_round: accuracy.by_round.clone(),
            best: accuracy.best,
            peer_spread: stats::sample_deviation(&accuracy.per_node_last),
            worst_peer: accuracy.per_node_last.iter().copied().fold(1.0, f64::min),
            sent: summary.bytes_per_peer_and_round(),
            costs: summary.costs().unwrap_or_default(),
            seconds_per_round: summary.seconds.per_round_median,
            reached: reach.and_then(first),
        }
    }
}

impl MethodRow {
    fn of(method: &str, results: &[&Results], rounds: &[u64], reach: Option<f64>) -> Self {
        let by_seed: Vec<OfSeed> = results.iter().map(|results| OfSeed::of(results, reach)).collect();
        let over_seeds =
            |f: fn(&OfSeed) -> f64| stats::mean(&by_seed.iter().map(f).collect::<Vec<_>>()).unwrap_or_default();
        let point = |round: &u64| {
            // A cell's results are only taken when every round was measured.
            let at = |of: &OfSeed| of.by_round.get(*round as usize).copied().unwrap_or_default();
            let by_seed: Vec<f64> = by_seed.iter().map(at).collect();
            let mean = stats::mean(&by_seed).unwrap_or_default();
            Point { round: *round, mean, deviation: stats::sample_deviation(&by_seed), by_seed }
        };
        let spreads: Vec<f64> = by_seed.iter().filter_map(|of| of.peer_spread).collect();
        let costs: Vec<PerPeerAndRound> = by_seed.iter().map(|of| of.costs).collect();
        let reached: Vec<f64> = by_seed.iter().filter_map(|of| of.reached).map(|round| round as f64).collect();
        Self {
            method: method.to_owned(),
            points: rounds.iter().map(point).collect(),
            mean_best: over_seeds(|of| of.best),
            peer_spread: stats::mean(&spreads),
            worst_peer: over_seeds(|of| of.worst_peer),
            bytes_per_peer_and_round: over_seeds(|of| of.sent),
            costs: PerPeerAndRound::mean(&costs).unwrap_or_default(),
            seconds_per_round: over_seeds(|of| of.seconds_per_round),
            reached: reach.map(|_| Reached { round: stats::mean(&reached), seeds: reached.len() }),
            by_seed,
        }
    }

    /// Mean accuracy over the seeds after each round; the first entry is untrained.
    #[must_use]
    pub fn curve(&self) -> Vec<f64> {
        let rounds = self.by_seed.first().map_or(0, |of| of.by_round.len());
        let at = |round: usize| -> Vec<f64> {
            self.by_seed.iter().filter_map(|of| of.by_round.get(round).copied()).collect()
        };
        (0..rounds).filter_map(|round| stats::mean(&at(round))).collect()
    }
}

/// Every method against the first, and the flagship against its control.
fn pairs(methods: &[MethodRow]) -> Vec<Pair> {
    let Some((first, others)) = methods.split_first() else { return Vec::new() };
    let named = |name: &str| methods.iter().find(|row| row.method == name);
    let mut wanted: Vec<(&MethodRow, &MethodRow)> = others.iter().map(|row| (row, first)).collect();
    if let (Some(flagship), Some(control)) = (named(FLAGSHIP.0), named(FLAGSHIP.1))
        && first.method != control.method
    {
        wanted.push((flagship, control));
    }
    let pair = |(a, b): (&MethodRow, &MethodRow)| -> Vec<Pair> {
        let both = a.points.iter().zip(&b.points);
        both.filter_map(|(pa, pb)| {
            let difference = PairedDifference::between(&pa.by_seed, &pb.by_seed)?;
            Some(Pair { method: a.method.clone(), against: b.method.clone(), round: pa.round, difference })
        })
        .collect()
    };
    wanted.into_iter().flat_map(pair).collect()
}

/// Runs of one seed must hold the same images, peer by peer; anything else is not a comparison of methods.
fn same_images(seed: u64, results: &[Results]) -> Result<(), Error> {
    let Some((first, others)) = results.split_first() else { return Ok(()) };
    for other in others {
        let (a, b) = (&first.summary.method, &other.summary.method);
        if first.peers.len() != other.peers.len() {
            let (n, m) = (first.peers.len(), other.peers.len());
            return Err(Error::Unfair(format!("with seed {seed}, {a} ran with {n} peers and {b} with {m}")));
        }
        for (p, q) in first.peers.iter().zip(&other.peers) {
            let held = |peer: &crate::results::Peer| (peer.train_samples, peer.test_samples, peer.label_counts.clone());
            if held(p) != held(q) {
                let problem = format!("with seed {seed}, {} holds other images under {a} than under {b}", p.name);
                return Err(Error::Unfair(problem));
            }
        }
    }
    Ok(())
}
