//! One cell of a grid: one method with one seed, and its folder.

use std::fs;
use std::path::{Path, PathBuf};

use fedswarm_protocol::hash::hash;

use crate::Error;
use crate::results::{Results, write_atomically};
use crate::scenario::Scenario;

/// What was asked for, kept beside what came out: a cell is reused only for the very same question.
const QUESTION_FILE: &str = "cell.json";

/// One run of a comparison.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) scenario: Scenario,
    folder: PathBuf,
    question: Vec<u8>,
}

impl Cell {
    /// The cell of `method` and `seed`. Its folder's name carries a digest of the whole scenario, so that two
    /// different questions never share a folder and nothing is ever overwritten.
    pub(super) fn new(base: &Scenario, method: &str, seed: u64, out: &Path) -> Result<Self, Error> {
        let mut scenario = Scenario { method: method.to_owned(), seed, out: None, ..base.clone() };
        // How many threads trained does not change what is learnt.
        let threads = scenario.threads.take();
        let question = serde_json::to_vec_pretty(&scenario).map_err(|e| Error::io("write", out)(e.into()))?;
        scenario.threads = threads;
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
        let same = results.summary.method == self.scenario.method && results.summary.seed == self.scenario.seed;
        // A run that stopped early wrote what it had; that is no finished cell.
        (same && results.summary.rounds_certified == self.scenario.rounds).then_some(results)
    }

    /// Runs the cell in a folder of its own, which gets its final name only when everything is in it.
    pub(super) fn run(&self, run: impl FnOnce(&Scenario) -> Result<Results, Error>) -> Result<Results, Error> {
        let partial = self.folder.with_extension("partial");
        remove(&partial)?;
        fs::create_dir_all(&partial).map_err(Error::io("create", &partial))?;
        let results = run(&Scenario { out: Some(partial.clone()), ..self.scenario.clone() })?;
        results.write(&partial)?;
        write_atomically(&partial.join(QUESTION_FILE), &self.question)?;
        // What is left of a cell that was there but did not count as finished.
        remove(&self.folder)?;
        fs::rename(&partial, &self.folder).map_err(Error::io("create", &self.folder))?;
        Ok(results)
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
