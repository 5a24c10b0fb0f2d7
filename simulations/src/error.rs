//! What can go wrong when a run is described, carried out or compared.

use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate. Each says what is wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A file's text is not what it should be.
    #[error("`{}`{}: {problem}", path.display(), line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Text {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where it is known.
        line: Option<usize>,
        /// What is wrong and what would be right.
        problem: String,
    },

    /// A setting has a value that cannot work.
    #[error("`{field}` ({flag}) is {is}; it must be {should}")]
    Setting {
        /// The key in a scenario file.
        field: &'static str,
        /// The flag on the command line.
        flag: &'static str,
        /// The value that was given.
        is: String,
        /// What would be right.
        should: String,
    },

    /// Something typed by hand (a list of seeds, a cap) cannot be read.
    #[error("cannot read `{text}` as {what}; {right}")]
    Parse {
        /// What was typed.
        text: String,
        /// What it was meant to be.
        what: &'static str,
        /// An example of what would be right.
        right: &'static str,
    },

    /// Data, partition, method or models that cannot be used.
    #[error("{0}")]
    Input(String),

    /// A node could not be started, or failed.
    #[error(transparent)]
    Node(#[from] fedswarm_node::Error),

    /// The swarm did not get through.
    #[error("{0}")]
    Run(String),

    /// Runs that were to be compared did not see the same data.
    #[error("the runs cannot be compared: {0}")]
    Unfair(String),

    /// The user stopped the run; what was finished before is kept.
    #[error("stopped; {finished} of {total} cells are finished and kept, run the same command again to go on")]
    Stopped {
        /// Finished cells.
        finished: usize,
        /// All cells.
        total: usize,
    },

    /// The user stopped a run.
    #[error(
        "stopped after round {done} of {rounds}; {}",
        if *kept { "run the same command again to go on" } else { "nothing is kept; --resume keeps a run from its first round on" }
    )]
    Interrupted {
        /// Rounds that all peers have measured.
        done: usize,
        /// All rounds.
        rounds: u64,
        /// Whether the nodes' state is kept.
        kept: bool,
    },

    /// One cell of a comparison failed.
    #[error("cell `{cell}` failed")]
    Cell {
        /// The cell's name: method and seed.
        cell: String,
        /// Why.
        #[source]
        source: Box<Self>,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// Learning refuses names, data and settings; it says which and what would be right.
    pub(crate) fn learning(error: impl std::fmt::Display) -> Self {
        Self::Input(error.to_string())
    }

    /// True when the input was bad, not the run: the command then exits with code 2.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Text { .. } | Self::Setting { .. } | Self::Parse { .. } | Self::Input(_) => true,
            // What is read was named by the user; what cannot be written is the machine's trouble.
            Self::Io { action, .. } => *action == "read",
            Self::Cell { source, .. } => source.is_bad_input(),
            Self::Node(_) | Self::Run(_) | Self::Unfair(_) | Self::Stopped { .. } | Self::Interrupted { .. } => false,
        }
    }
}
