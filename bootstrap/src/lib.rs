//! The entry point to a network: discovery for those who know nobody yet, and help for those behind a NAT.
//!
//! It speaks Kademlia, identify and ping; it relays between guests that cannot reach each other, and dials guests that want to
//! know whether they can be reached (`docs/adr/014`). It stores no records and needs no trust: peers prove their keys to each
//! other, through a relay as well, and what it relays is encrypted between them. One entry point serves every network
//! (`docs/adr/002`).

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

pub use fedswarm_network::AccessLists;
use fedswarm_network::entry::{Entry, EntryConfig};
pub use fedswarm_network::entry::{EntryStats, RelayLimits};
use fedswarm_network::key_file::{KeyError, load_or_create};
use fedswarm_network::{Limits, Multiaddr, NodeId, Tempo, Traffic};

/// Guests that do nothing leave after this; members come back by themselves.
const IDLE: Duration = Duration::from_secs(600);

/// What an entry point needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its key is kept; made if it does not exist. Members know the entry point by this key: keep the file.
    pub key_file: PathBuf,
    /// Where to listen. TCP and QUIC addresses may be mixed; port 0 takes a free one.
    pub listen: Vec<Multiaddr>,
    /// Under which addresses others reach it, if not those where it listens: a host name, or an address that a router forwards.
    pub external: Vec<Multiaddr>,
    /// How much it relays; `None` if it does not.
    pub relay: Option<RelayLimits>,
    /// Whether it dials guests that want to know whether they can be reached.
    pub probe: bool,
    /// Guests at once. Too low, and newcomers to a busy entry point are turned away.
    pub max_guests: u32,
    /// Guests from one place: a /24 of IPv4 or a /48 of IPv6; private networks and this machine have no such limit. Too low, and a
    /// campus behind one router is turned away.
    pub max_per_place: usize,
    /// Whom the operator lets in or keeps out.
    pub lists: AccessLists,
    /// New guests are turned away while the process holds more than this, in bytes.
    pub max_memory: usize,
}

impl Config {
    /// An entry point that listens at `listen`; the rest at defaults: 1024 guests, 1 GiB.
    #[must_use]
    pub fn new(key_file: PathBuf, listen: Vec<Multiaddr>) -> Self {
        let relay = Some(RelayLimits::default());
        Self {
            key_file,
            listen,
            external: Vec::new(),
            relay,
            probe: true,
            max_guests: 1024,
            max_per_place: 128,
            lists: AccessLists::default(),
            max_memory: 1 << 30,
        }
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
pub struct Bootstrap {
    entry: Entry,
    max_guests: usize,
}

impl Bootstrap {
    /// Its key.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.entry.id()
    }

    /// Where it listens, each address with its `/p2p/` part: what members are to be given.
    #[must_use]
    pub fn addrs(&self) -> &[Multiaddr] {
        self.entry.addrs()
    }

    /// How many peers there may be at once.
    #[must_use]
    pub const fn max_guests(&self) -> usize {
        self.max_guests
    }

    /// How many peers are connected.
    pub async fn guests(&self) -> usize {
        self.entry.guests().await
    }

    /// What it does at the moment, and has done since its start.
    pub async fn stats(&self) -> EntryStats {
        self.entry.stats().await
    }

    /// Puts other lists in force; guests that they block are disconnected.
    ///
    /// # Errors
    /// [`Error::Network`] if it has stopped.
    pub async fn set_lists(&self, lists: AccessLists) -> Result<(), Error> {
        Ok(self.entry.set_lists(lists).await?)
    }

    /// Bytes since the start, those that were relayed among them.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.entry.traffic()
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
        strangers_per_place: config.max_per_place,
        pending: config.max_guests.clamp(16, 256),
        memory_bytes: config.max_memory,
        ..Limits::default()
    };
    let tempo = Tempo { idle: IDLE, ..Tempo::default() };
    let Config { listen, external, relay, probe, lists, .. } = config.clone();
    let entry = Entry::start(EntryConfig { secret, listen, external, relay, probe, lists, limits, tempo }).await?;
    tracing::info!(id = %entry.id(), addrs = ?entry.addrs(), "entry point is up");
    Ok(Bootstrap { entry, max_guests: config.max_guests as usize })
}
