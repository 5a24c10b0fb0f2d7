//! What a comparison says: one row per method, and differences in pairs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Grid;
use crate::Error;
use crate::results::{Results, write_atomically};
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
    /// Seconds of the median round, the mean over seeds.
    pub seconds_per_round: f64,
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
            grid.methods.iter().map(|method| MethodRow::of(method, &of_method(method), &rounds)).collect();
        let pairs = pairs(&methods);
        let scenario = Scenario { out: None, ..grid.scenario.clone() };
        Ok(Self { command: String::new(), scenario, seeds: grid.seeds.clone(), methods, pairs })
    }

    /// Writes `compare.json`, `compare.csv` (one line per method, seed and round) and `compare.md` into a folder.
    ///
    /// # Errors
    /// [`Error::Io`] with the file that could not be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join("compare.json");
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::io("write", &path)(error.into()))?;
        write_atomically(&path, &json)?;
        let path = folder.join("compare.csv");
        let csv = self.csv().map_err(|error| Error::io("write", &path)(std::io::Error::other(error)))?;
        write_atomically(&path, &csv)?;
        write_atomically(&folder.join("compare.md"), self.markdown().as_bytes())
    }

    fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(["method", "seed", "round", "accuracy"])?;
        for row in &self.methods {
            for point in &row.points {
                for (seed, accuracy) in self.seeds.iter().zip(&point.by_seed) {
                    let (seed, round, accuracy) = (seed.to_string(), point.round.to_string(), format!("{accuracy:.6}"));
                    out.write_record([row.method.as_str(), &seed, &round, &accuracy])?;
                }
            }
        }
        out.into_inner().map_err(|error| error.into_error().into())
    }
}

impl MethodRow {
    fn of(method: &str, results: &[&Results], rounds: &[u64]) -> Self {
        let over_seeds = |f: fn(&Results) -> f64| -> f64 {
            stats::mean(&results.iter().map(|results| f(results)).collect::<Vec<_>>()).unwrap_or_default()
        };
        let at = |results: &Results, round: u64| {
            // A cell's results are only taken when every round was measured.
            results.summary.accuracy.by_round.get(round as usize).copied().unwrap_or_default()
        };
        let point = |round: &u64| {
            let by_seed: Vec<f64> = results.iter().map(|results| at(results, *round)).collect();
            let mean = stats::mean(&by_seed).unwrap_or_default();
            Point { round: *round, mean, deviation: stats::sample_deviation(&by_seed), by_seed }
        };
        let spreads: Vec<f64> = results
            .iter()
            .filter_map(|results| stats::sample_deviation(&results.summary.accuracy.per_node_last))
            .collect();
        Self {
            method: method.to_owned(),
            points: rounds.iter().map(point).collect(),
            mean_best: over_seeds(|r| r.summary.accuracy.best),
            peer_spread: stats::mean(&spreads),
            worst_peer: over_seeds(|r| r.summary.accuracy.per_node_last.iter().copied().fold(1.0, f64::min)),
            bytes_per_peer_and_round: over_seeds(|r| r.summary.bytes_per_peer_and_round()),
            seconds_per_round: over_seeds(|r| r.summary.seconds.per_round_median),
        }
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
