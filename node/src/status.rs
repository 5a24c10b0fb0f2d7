//! `status.json` in a node's folder: where it stands, for people and scripts, and for the invitations that it signs.

use std::path::Path;
use std::time::SystemTime;

use fedswarm_network::PeerInfo;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::round::Event;
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
    /// How many voters' signatures its certificate has.
    #[serde(default)]
    pub signatures: usize,
    /// The round in progress.
    #[serde(default)]
    pub turn: Option<Turn>,
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
    /// How others reach it, in a few words.
    #[serde(default)]
    pub reachability: String,
    /// Members that are connected.
    #[serde(default)]
    pub peers: Vec<PeerStatus>,
    /// Where its metrics and its health are served, if they are: `127.0.0.1:9464`.
    #[serde(default)]
    pub metrics: Option<String>,
    /// When this was said, in seconds since 1970.
    #[serde(default)]
    pub at: u64,
}

/// Whose turn it is to aggregate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The round in progress.
    pub round: u64,
    /// How many aggregators before this one did not manage.
    pub view: u32,
    /// Public key of the one whose turn it is.
    pub aggregator: String,
    /// Its name, if it has one.
    pub name: String,
}

impl Turn {
    /// Reads it off an event, with the members in the order of their places.
    #[must_use]
    pub fn of(event: &Event, committee: &Committee) -> Option<Self> {
        let (round, view, leader) = match *event {
            Event::RoundStarted { round, leader } => (round, 0, leader),
            Event::ViewEntered { round, view, leader } => (round, view, leader),
            _ => return None,
        };
        let member = committee.members.get(usize::from(leader))?;
        Some(Self { round, view, aggregator: member.key.to_string(), name: member.name.clone() })
    }
}

/// A member that is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its public key.
    pub member: String,
    /// `direct`, `punched` or `relayed`.
    pub path: String,
    /// The address at which it is.
    pub address: String,
    /// The last round trip, in microseconds, once there was one.
    pub round_trip_us: Option<u64>,
}

impl PeerStatus {
    /// What is known of a connected peer.
    #[must_use]
    pub fn of(peer: &PeerInfo) -> Self {
        Self {
            member: peer.id.to_string(),
            path: peer.path.name().to_owned(),
            address: peer.address.to_string(),
            round_trip_us: peer.round_trip_us,
        }
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
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
