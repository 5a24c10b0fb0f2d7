//! One cell of a grid: one method with one seed, and its folder.

use std::fs;
use std::path::{Path, PathBuf};

use fedswarm_protocol::hash::hash;
use serde::Serialize;

use crate::Error;
use crate::results::{Results, write_atomically};
use crate::scenario::{Partition, Scenario};

/// What was asked for, kept beside what came out: a cell is reused only for the very same question.
const QUESTION_FILE: &str = "cell.json";

/// Everything that a cell's results depend on.
#[derive(Serialize)]
struct Question<'a> {
    version: &'a str,
    scenario: &'a Scenario,
    /// The name of a partition file does not say what is in it.
    partition_digest: Option<String>,
}

/// One run of a comparison.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) scenario: Scenario,
    folder: PathBuf,
    question: Vec<u8>,
}

impl Cell {
    /// The cell of `method` and `seed`. Its folder's name carries a digest of the whole question, so that two
    /// different questions never share a folder and nothing is ever overwritten.
    pub(super) fn new(base: &Scenario, method: &str, seed: u64, out: &Path) -> Result<Self, Error> {
        let scenario = Scenario { method: method.to_owned(), seed, out: None, ..base.clone() };
        let partition_digest = match &scenario.partition {
            Partition::File(path) => {
                let bytes = fs::read(path).map_err(Error::io("read", path))?;
                Some(hash("simulations partition", &bytes).to_string())
            }
            _ => None,
        };
        // How many threads trained does not change what is learnt.
        let asked = Scenario { threads: None, ..scenario.clone() };
        let question = Question { version: env!("CARGO_PKG_VERSION"), scenario: &asked, partition_digest };
        let question = serde_json::to_vec_pretty(&question).map_err(|e| Error::io("write", out)(e.into()))?;
        let digest = hash("simulations cell", &question).short();
        let folder = out.join(format!("{}-seed{seed}-{digest}", file_name(method)));
        Ok(Self { scenario, folder, question })
    }

    /// The cell's name for people.
    pub(super) fn name(&self) -> String {
        format!("{} seed {}", self.scenario.method, self.scenario.seed)
    }

    /// The results of an earlier run, if it finished and was asked the same.
    pub(super) fn finished(&self) -> Option<Results> {
        let question = fs::read(self.folder.join(QUESTION_FILE)).ok()?;
        let results = (question == self.question).then(|| Results::read(&self.folder).ok()).flatten()?;
        // What an older version left has not all that is compared.
        let whole = results.summary.bytes.exchange.is_some();
        (whole && self.check(&results).is_ok()).then_some(results)
    }

    /// Runs the cell in a folder of its own, which gets its final name only when everything is in it.
    pub(super) fn run(&self, run: impl FnOnce(&Scenario) -> Result<Results, Error>) -> Result<Results, Error> {
        // No `with_extension`: a dot in a method's name must not cut it.
        let mut partial = self.folder.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        remove(&partial)?;
        fs::create_dir_all(&partial).map_err(Error::io("create", &partial))?;
        let results = run(&Scenario { out: Some(partial.clone()), ..self.scenario.clone() })?;
        results.write(&partial)?;
        self.check(&results)?;
        write_atomically(&partial.join(QUESTION_FILE), &self.question)?;
        // What is left of a cell that was there but did not count as finished.
        remove(&self.folder)?;
        fs::rename(&partial, &self.folder).map_err(Error::io("create", &self.folder))?;
        Ok(results)
    }

    /// Whether these are the whole results of this cell: a run cut short must not stand beside full ones.
    fn check(&self, results: &Results) -> Result<(), Error> {
        let (summary, rounds) = (&results.summary, self.scenario.rounds);
        if summary.method != self.scenario.method || summary.seed != self.scenario.seed {
            let problem = format!("{} seed {} came back for {}", summary.method, summary.seed, self.name());
            return Err(Error::Unfair(problem));
        }
        let measured = summary.accuracy.by_round.len().saturating_sub(1) as u64;
        if summary.rounds_certified != rounds || measured != rounds {
            let certified = summary.rounds_certified;
            let problem = format!("{certified} of {rounds} rounds were certified and {measured} measured");
            return Err(Error::Unfair(problem));
        }
        Ok(())
    }
}

fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// A method's name with nothing in it that could lead out of the folder.
fn file_name(method: &str) -> String {
    method.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect()
}
