//! A run that can be stopped, or killed, and gone on with (`simulate --resume`): every node keeps its state in a folder of its
//! own, as a real one does, and what was seen of the finished rounds is kept beside them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::observe::Memory;
use crate::Error;
use crate::results::{Bytes, RESULTS_FILE, Results, write_atomically};
use crate::scenario::Scenario;

/// Where an unfinished run is kept, inside its folder.
const FOLDER: &str = "unfinished";
const SEEN_FILE: &str = "seen.json";

/// Changes whenever [`Saved`] does.
const FORMAT: u32 = 1;

/// What is kept beside the nodes.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    scenario: Scenario,
    seen: Memory,
    bytes: Bytes,
}

/// What is there of a run.
pub(super) enum Found {
    /// All of it.
    Finished(Box<Results>),
    /// Some of it, or nothing yet.
    Begun(Box<Unfinished>),
}

/// The folder of an unfinished run.
pub(super) struct Unfinished {
    folder: PathBuf,
    scenario: Scenario,
    /// What was seen before, and the bytes that travelled then.
    pub(super) before: Option<(Memory, Bytes)>,
}

impl Unfinished {
    /// Looks what there is of this scenario in its folder.
    ///
    /// # Errors
    /// A folder that holds another scenario's run, or a file in it that cannot be read.
    pub(super) fn find(scenario: &Scenario, out: &Path) -> Result<Found, Error> {
        let folder = out.join(FOLDER);
        let file = folder.join(SEEN_FILE);
        let scenario = essence(scenario);
        let another = || {
            let text = "holds a run of another scenario; choose another --out, or delete it";
            Error::Input(format!("{} {text}", out.display()))
        };
        let before = match fs::read(&file) {
            Ok(bytes) => {
                let saved: Saved = serde_json::from_slice(&bytes).map_err(|error| {
                    let problem = format!("not an unfinished run: {error}; delete the folder to begin anew");
                    Error::Text { path: file.clone(), line: Some(error.line()), problem }
                })?;
                if saved.format != FORMAT || saved.scenario != scenario {
                    return Err(another());
                }
                Some((saved.seen, saved.bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &file)(error)),
        };
        if before.is_none() && out.join(RESULTS_FILE).exists() {
            let results = Results::read(out)?;
            return if essence(&results.scenario) == scenario {
                Ok(Found::Finished(Box::new(results)))
            } else {
                Err(another())
            };
        }
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        super::inputs::clear_unfinished(out)?;
        let run = Self { folder, scenario, before };
        if run.before.is_none() {
            // Nodes that got nowhere before they were stopped begin anew.
            run.clear_nodes()?;
        }
        Ok(Found::Begun(Box::new(run)))
    }

    /// The folder of a node.
    pub(super) fn node(&self, name: &str) -> PathBuf {
        self.folder.join("nodes").join(name)
    }

    /// Keeps what was seen so far.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(super) fn save(&self, seen: Memory, bytes: Bytes) -> Result<(), Error> {
        let path = self.folder.join(SEEN_FILE);
        let saved = Saved { format: FORMAT, scenario: self.scenario.clone(), seen, bytes };
        let json = serde_json::to_vec(&saved).map_err(|error| Error::io("write", &path)(error.into()))?;
        write_atomically(&path, &json)
    }

    /// The run is finished and its results are written.
    ///
    /// # Errors
    /// A folder that cannot be removed.
    pub(super) fn remove(&self) -> Result<(), Error> {
        fs::remove_dir_all(&self.folder).map_err(Error::io("remove", &self.folder))
    }

    fn clear_nodes(&self) -> Result<(), Error> {
        let nodes = self.folder.join("nodes");
        match fs::remove_dir_all(&nodes) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &nodes)(error)),
            _ => Ok(()),
        }
    }
}

/// What of a scenario decides its results: not where they go, nor how many threads train.
fn essence(scenario: &Scenario) -> Scenario {
    Scenario { out: None, threads: None, ..scenario.clone() }
}
