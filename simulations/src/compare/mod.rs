//! Many methods, many seeds, the same data: a [`Grid`] of runs and the [`Comparison`] that comes out.
//!
//! Cells with the same seed share partition and initial weights, so methods are compared in pairs. A cell is either
//! finished or not there: the grid can be stopped at any moment, and the same command goes on where it stopped.

mod cell;
mod files;
mod outcome;
pub(crate) mod print;
mod seeds;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::HumanDuration;

pub use outcome::{Comparison, MethodRow, OfSeed, Pair, Point, Reached};
pub use seeds::parse_seeds;

use crate::Error;
use crate::progress::Progress;
use crate::results::Results;
use crate::scenario::Scenario;
use crate::stats;
use cell::Cell;

/// Which runs to compare.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The methods; the first is the one that the others are compared with.
    pub methods: Vec<String>,
    /// The seeds, at least one; two or more give intervals.
    pub seeds: Vec<u64>,
    /// Everything else, the same for all cells. Its `method`, `seed` and `out` are not used.
    pub scenario: Scenario,
    /// The folder of all cells and of the comparison's own files.
    pub out: PathBuf,
    /// Rounds at which accuracy is compared too, beside the last: speed of learning and final accuracy are two claims.
    pub at: Vec<u64>,
    /// An accuracy from 0 to 1: after how many rounds is it reached?
    pub reach: Option<f64>,
}

impl Grid {
    /// Runs the cells that are not finished, through `run`, and compares all.
    ///
    /// `run` gets the cell's scenario, whose `out` is a folder for the cell's own files, and returns its results; they
    /// are written here. Seeds are the outer loop, so that pairs are complete early.
    ///
    /// # Errors
    /// [`Error::Setting`] for a grid that cannot be run, [`Error::Stopped`] when `run` was interrupted, [`Error::Cell`] when a
    /// cell fails, [`Error::Unfair`] when runs of one seed did not hold the same images. Finished cells are kept.
    pub fn run(
        &self,
        progress: &mut dyn Progress,
        mut run: impl FnMut(&Scenario, &mut dyn Progress) -> Result<Results, Error>,
    ) -> Result<Comparison, Error> {
        self.validate()?;
        let mut cells = Vec::new();
        for seed in &self.seeds {
            for method in &self.methods {
                cells.push(Cell::new(&self.scenario, method, *seed, &self.out)?);
            }
        }
        let mut finished: Vec<Option<Results>> = cells.iter().map(Cell::finished).collect();
        let total = cells.len();
        let reused = finished.iter().flatten().count();
        if reused > 0 {
            progress.note(&format!("{reused} of {total} cells are finished already and are reused"));
        }
        let mut estimate = Estimate::default();
        for results in finished.iter().flatten() {
            estimate.add(&results.summary.method, results.summary.seconds.total);
        }
        for (i, cell) in cells.iter().enumerate() {
            if finished[i].is_some() {
                continue;
            }
            let left =
                cells.iter().zip(&finished).filter(|(_, f)| f.is_none()).map(|(c, _)| c.scenario.method.as_str());
            let about = estimate.left(left).map(|left| format!(", about {} left", HumanDuration(left)));
            progress.note(&format!("cell {} of {total}: {}{}", i + 1, cell.name(), about.unwrap_or_default()));
            let start = Instant::now();
            let results = cell.run(|scenario| run(scenario, &mut *progress)).map_err(|error| match error {
                Error::Interrupted { .. } => Error::Stopped { finished: finished.iter().flatten().count(), total },
                error => Error::Cell { cell: cell.name(), source: Box::new(error) },
            })?;
            estimate.add(&cell.scenario.method, start.elapsed().as_secs_f64());
            finished[i] = Some(results);
        }
        let results: Vec<Results> = finished.into_iter().flatten().collect();
        Comparison::of(self, &results)
    }

    fn validate(&self) -> Result<(), Error> {
        let bad =
            |field, flag, is: String, should: &str| Err(Error::Setting { field, flag, is, should: should.to_owned() });
        let twice = |i: usize, method: &String| self.methods[..i].contains(method);
        if self.methods.is_empty() {
            return bad("methods", "--methods", "empty".to_owned(), "one method or more, such as local,fedmoe");
        }
        if let Some((_, method)) = self.methods.iter().enumerate().find(|(i, method)| twice(*i, method)) {
            return bad("methods", "--methods", format!("naming {method} twice"), "each method once");
        }
        if self.seeds.is_empty() {
            return bad("seeds", "--seeds", "empty".to_owned(), "one seed or more, such as 1..5");
        }
        let rounds = self.scenario.rounds;
        if let Some(round) = self.at.iter().find(|round| **round == 0 || **round > rounds) {
            return bad("at", "--at", round.to_string(), &format!("1 to {rounds}, the scenario's rounds"));
        }
        if let Some(reach) = self.reach.filter(|reach| !(*reach > 0.0 && *reach <= 1.0)) {
            return bad("reach", "--reach", format!("{:.2} %", 100.0 * reach), "above 0 and at most 100 %");
        }
        self.scenario.validate()
    }
}

/// How long cells take, by method: methods differ, seeds hardly.
#[derive(Debug, Default)]
struct Estimate {
    seconds: BTreeMap<String, Vec<f64>>,
}

impl Estimate {
    fn add(&mut self, method: &str, seconds: f64) {
        self.seconds.entry(method.to_owned()).or_default().push(seconds);
    }

    /// The time for cells of these methods; a method not yet seen is taken for the mean of the others. `None` before
    /// any cell is finished.
    fn left<'a>(&self, methods: impl Iterator<Item = &'a str>) -> Option<Duration> {
        let all: Vec<f64> = self.seconds.values().flatten().copied().collect();
        let any = stats::mean(&all)?;
        let of = |method: &str| self.seconds.get(method).and_then(|seconds| stats::mean(seconds)).unwrap_or(any);
        Duration::try_from_secs_f64(methods.map(of).sum()).ok()
    }
}

#[cfg(test)]
mod tests;
