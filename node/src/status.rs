//! `status.json` in a node's folder: where it stands, for people and scripts, and for the invitations that it signs.

use std::path::Path;

use fedswarm_protocol::hash::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::write_atomically;

/// Name of the file.
pub const STATUS_FILE: &str = "status.json";

/// What a running node last said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The network's id.
    pub network: String,
    /// The node's public key.
    pub member: String,
    /// The last certified round.
    pub round: u64,
    /// Hash of its record.
    pub record: String,
    /// Its state hash.
    pub state: String,
    /// The epoch in progress.
    pub epoch: u32,
    /// Voters in it.
    pub voters: usize,
    /// Members in it, contributors included.
    pub members: usize,
    /// Round and hash of the last record that closes an epoch.
    pub checkpoint: Option<(u64, String)>,
    /// Where the node can be reached.
    pub addresses: Vec<String>,
}

impl NodeStatus {
    /// Replaces the file in a node's folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(STATUS_FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::file(&path, e))?;
        write_atomically(&path, &text).map_err(|e| Error::file(&path, e))
    }

    /// Reads the file of a node's folder.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(STATUS_FILE);
        let bytes = std::fs::read(&path).map_err(|e| {
            Error::file(&path, format!("{e}; a node writes it while it runs (fedswarm run), is this its folder?"))
        })?;
        serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, e))
    }

    /// The checkpoint for an invitation.
    #[must_use]
    pub fn checkpoint(&self) -> Option<(u64, Digest)> {
        self.checkpoint.as_ref().and_then(|(round, hash)| Some((*round, Digest::from_hex(hash)?)))
    }
}
