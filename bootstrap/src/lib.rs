//! The entry point to a network: discovery for those who know nobody yet.
//!
//! It speaks Kademlia, identify and ping, and nothing else: it holds peers' addresses, passes on no messages, stores no records and
//! needs no trust, since peers prove their keys to each other. One entry point serves every network (`docs/adr/002`).

use std::path::PathBuf;
use std::time::Duration;

use fedswarm_network::entry::{Entry, EntryConfig};
use fedswarm_network::key_file::{KeyError, load_or_create};
use fedswarm_network::{Limits, Multiaddr, NodeId, Tempo};

/// Guests that do nothing leave after this; members come back by themselves.
const IDLE: Duration = Duration::from_secs(600);

/// What an entry point needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its key is kept; made if it does not exist. Members know the entry point by this key: keep the file.
    pub key_file: PathBuf,
    /// Where to listen. TCP and QUIC addresses may be mixed; port 0 takes a free one.
    pub listen: Vec<Multiaddr>,
    /// Guests at once. Too low, and newcomers to a busy entry point are turned away.
    pub max_guests: u32,
    /// New guests are turned away while the process holds more than this, in bytes.
    pub max_memory: usize,
}

impl Config {
    /// An entry point that listens at `listen`; the rest at defaults: 1024 guests, 1 GiB.
    #[must_use]
    pub const fn new(key_file: PathBuf, listen: Vec<Multiaddr>) -> Self {
        Self { key_file, listen, max_guests: 1024, max_memory: 1 << 30 }
    }
}

/// Why an entry point could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key file is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The network refused.
    #[error(transparent)]
    Network(#[from] fedswarm_network::Error),
}

/// A running entry point; it stops when this is dropped.
#[derive(Debug)]
pub struct Bootstrap(Entry);

impl Bootstrap {
    /// Its key.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.0.id()
    }

    /// Where it listens, each address with its `/p2p/` part: what members are to be given.
    #[must_use]
    pub fn addrs(&self) -> &[Multiaddr] {
        self.0.addrs()
    }

    /// How many peers are connected.
    pub async fn guests(&self) -> usize {
        self.0.guests().await
    }
}

/// Starts an entry point on the caller's tokio runtime and waits until it listens.
///
/// # Errors
/// [`Error::Key`] for a key file that cannot be read, made or understood; [`Error::Network`] for an address that cannot be
/// listened on, with its name.
pub async fn start(config: Config) -> Result<Bootstrap, Error> {
    let secret = load_or_create(&config.key_file)?;
    let limits = Limits {
        connections: config.max_guests,
        pending: config.max_guests.clamp(16, 256),
        memory_bytes: config.max_memory,
        ..Limits::default()
    };
    let tempo = Tempo { idle: IDLE, ..Tempo::default() };
    let entry = Entry::start(EntryConfig { secret, listen: config.listen, limits, tempo }).await?;
    tracing::info!(id = %entry.id(), addrs = ?entry.addrs(), "entry point is up");
    Ok(Bootstrap(entry))
}
