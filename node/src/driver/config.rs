//! What a node is told before it starts.

use std::path::PathBuf;
use std::sync::Arc;

use fedswarm_network::{AccessLists, Multiaddr, Reach, Tempo, TransportKind};
use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::Manifest;

use super::{Hosting, InStep, Request};
use crate::archive::Archive;
use crate::blobs::Interner;
use crate::store::Store;

/// Where a node keeps what it must not forget.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In a folder of its own.
    Folder(PathBuf),
    /// In memory, sharing equal blobs with other nodes of the process.
    Memory(Interner),
    /// In a folder of its own, and in memory as above.
    SharedFolder(PathBuf, Interner),
    /// In memory, as above, going on from what this store holds.
    Begun(Arc<Store>, Interner),
}

/// For how long a node keeps signed inputs and payloads of certified rounds, for others to fetch and for `verify`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// As long as members that are a little behind may need them.
    LastRounds,
    /// Two epochs: what a receipt promises.
    #[default]
    TwoEpochs,
    /// For ever.
    All,
}

/// What [`crate::start`] needs to know.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's key.
    pub secret: SecretKey,
    /// Where the key is kept; beside it the node remembers its vote log. None for a key that dies with the process.
    pub key_file: Option<PathBuf>,
    /// The network.
    pub manifest: Arc<Manifest>,
    /// What carries the bytes.
    pub transport: TransportKind,
    /// Where to listen; empty for a free loopback port.
    pub listen: Vec<Multiaddr>,
    /// Entry points.
    pub bootstraps: Vec<Multiaddr>,
    /// Whether to look for peers in the local network.
    pub mdns: bool,
    /// How others are to reach this node.
    pub reach: Reach,
    /// Whom the operator lets in or keeps out.
    pub lists: AccessLists,
    /// How fast the network layer does things.
    pub tempo: Tempo,
    /// Where to keep things.
    pub storage: Storage,
    /// Members, this one included, that must be connected before the first round begins; a node with a certified record
    /// behind it does not wait.
    pub min_peers: usize,
    /// What the node wants to become, if it is not to stay what it is.
    pub request: Option<Request>,
    /// The record that an invitation named: a chain without it is not followed.
    pub checkpoint: Option<(u64, Digest)>,
    /// For how long signed inputs and payloads are kept.
    pub keep: Keep,
    /// Where to offer the inputs of every round, too.
    pub archive: Option<Arc<Archive>>,
    /// Whether the machine's timers follow what this node measures of the network. Not where many nodes share a machine and
    /// results must repeat: how long a training phase lasts would then depend on what else runs there.
    pub adaptive_timers: bool,
    /// What nodes of one process share that are to wait for a generator's host among them, so that results repeat. None, and no
    /// training ever waits for a generator: right wherever a network is real.
    pub in_step: Option<Arc<InStep>>,
    /// The generator that this node hosts, if any.
    pub hosting: Option<Hosting>,
    /// Where to crash, if at all.
    pub crash_before: Option<CrashPoint>,
    /// Where to stand still, if at all.
    pub hold: Option<HoldPoint>,
}

/// A moment at which a node falls silent for good, as a crash would: before it signs this kind of statement of this round.
/// For tests and simulated faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// The round.
    pub round: u64,
    /// What it no longer says.
    pub kind: Kind,
}

/// A moment at which a node stands still, in the first round that it aggregates: it says no more and reads no more, while its
/// connections stay open. Whoever wants to kill or stop a process at a certain point of a round can wait for
/// [`crate::NodeEvent::Held`] and then take its time. For tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPoint {
    /// At this kind of statement.
    pub kind: Kind,
    /// Once the statement is on disk, but not yet sent; otherwise before it is signed.
    pub kept: bool,
}

impl std::str::FromStr for HoldPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, kept) = text.strip_suffix(":kept").map_or((text, false), |name| (name, true));
        let kinds = [Kind::Update, Kind::Receipt, Kind::Proposal, Kind::Notarize, Kind::Finalize];
        let names = kinds.map(Kind::name);
        let kind = kinds.into_iter().find(|kind| kind.name() == name);
        kind.map(|kind| Self { kind, kept })
            .ok_or_else(|| format!("expected one of {}, with or without \":kept\"", names.join(", ")))
    }
}
