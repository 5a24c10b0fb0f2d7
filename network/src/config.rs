//! How a node is to be set up.

use std::path::PathBuf;
use std::time::Duration;

use fedswarm_protocol::hash::Digest;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::{AccessLists, Error, NodeId, Rates};

/// What carries the bytes. Peers of different kinds do not reach each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransportKind {
    /// Inside one process, without sockets; still encrypted, so that what is measured is what is shipped.
    Memory,
    /// TCP with Noise and yamux: the least CPU.
    Tcp,
    /// QUIC over UDP: better through NATs.
    Quic,
    /// Both of them, whichever reaches a peer first.
    TcpAndQuic,
}

impl TransportKind {
    /// A free port: on the loopback interface, or in memory. Where there are two kinds, one for TCP.
    #[must_use]
    pub fn any_port(self) -> Multiaddr {
        let ip = Multiaddr::empty().with(Protocol::Ip4(std::net::Ipv4Addr::LOCALHOST));
        match self {
            Self::Memory => Multiaddr::empty().with(Protocol::Memory(0)),
            Self::Tcp | Self::TcpAndQuic => ip.with(Protocol::Tcp(0)),
            Self::Quic => ip.with(Protocol::Udp(0)).with(Protocol::QuicV1),
        }
    }

    /// The kinds of which this is made.
    pub(crate) const fn single(&self) -> &'static [Self] {
        match self {
            Self::Memory => &[Self::Memory],
            Self::Tcp => &[Self::Tcp],
            Self::Quic => &[Self::Quic],
            Self::TcpAndQuic => &[Self::Tcp, Self::Quic],
        }
    }

    /// Whether an address is of this kind.
    pub(crate) fn carries(self, addr: &Multiaddr) -> bool {
        addr.iter().any(|part| match self {
            Self::Memory => matches!(part, Protocol::Memory(_)),
            Self::Tcp => matches!(part, Protocol::Tcp(_)),
            Self::Quic => matches!(part, Protocol::QuicV1),
            Self::TcpAndQuic => matches!(part, Protocol::Tcp(_) | Protocol::QuicV1),
        })
    }
}

/// What [`crate::start`] needs to know.
#[derive(Clone)]
pub struct Config {
    /// The seed of the node's ed25519 key, the one that also signs the protocol's messages.
    pub secret: [u8; 32],
    /// The network's id: it names the gossip topics and what is told to strangers. Discovery is shared by all networks.
    pub network: Digest,
    /// What carries the bytes.
    pub transport: TransportKind,
    /// Where to listen; empty takes a free port on the loopback interface.
    pub listen: Vec<Multiaddr>,
    /// Entry points, each ending in `/p2p/<peer id>`.
    pub bootstraps: Vec<Multiaddr>,
    /// Whether to look for peers by multicast in the local network. Needs a listener that is not on loopback.
    pub mdns: bool,
    /// Who may fetch blobs and send direct messages; they are looked up, dialed and kept connected.
    pub members: Vec<NodeId>,
    /// How much this node wants to be connected to some of them; to those that are not listed it is tied closely.
    pub ties: Vec<(NodeId, Tie)>,
    /// Use discovery without serving it: for nodes that nobody can reach.
    pub client_mode: bool,
    /// How others are to reach this node, if it is not simply where it listens.
    pub reach: Reach,
    /// Whom the operator lets in or keeps out.
    pub lists: AccessLists,
    /// How much of everything is allowed.
    pub limits: Limits,
    /// How fast things happen.
    pub tempo: Tempo,
}

/// How much a node wants to be connected to a member. Whoever calls is let in, whatever the tie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Tie {
    /// Looked for and called, and again whenever the connection is lost. Of two, one waits a moment for the other's call.
    #[default]
    Close,
    /// The same, at once: the other is not expected to call.
    Eager,
    /// Expected to call by itself; called if it has not done so for [`Tempo::redial_max`].
    Loose,
    /// Never called.
    None,
}

/// How others are to reach a node. By default it does nothing about it, which suits one machine and one process.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Whether to be reached through the relays of the entry points, to reach others so, and to punch holes.
    pub relay: Relaying,
    /// Ask the router to forward ports (`UPnP`). Only in a build with the feature `upnp`, see [`Reach::HAS_UPNP`].
    pub upnp: bool,
    /// Addresses under which others reach this node, for ports that somebody forwarded by hand.
    pub external: Vec<Multiaddr>,
    /// The file in which members' addresses, and the ports that this node was given, outlive a restart.
    pub book: Option<PathBuf>,
}

impl Reach {
    /// Whether this build can ask routers to forward ports.
    pub const HAS_UPNP: bool = cfg!(feature = "upnp");
}

/// Whether a node has itself reached through relays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Relaying {
    /// No, and it does not reach others through relays either.
    #[default]
    Never,
    /// If it is behind a NAT, or entry points cannot reach it otherwise.
    Auto,
    /// In any case.
    Always,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("network", &self.network)
            .field("transport", &self.transport)
            .field("listen", &self.listen)
            .field("bootstraps", &self.bootstraps)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

impl Config {
    /// A node on a free port that knows nobody; the rest at defaults.
    #[must_use]
    pub fn new(secret: [u8; 32], network: Digest, transport: TransportKind) -> Self {
        Self {
            secret,
            network,
            transport,
            listen: Vec::new(),
            bootstraps: Vec::new(),
            mdns: false,
            members: Vec::new(),
            ties: Vec::new(),
            client_mode: false,
            reach: Reach::default(),
            lists: AccessLists::default(),
            limits: Limits::default(),
            tempo: Tempo::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let setting = |text: String| Err(Error::Setting(text));
        if self.members.len() > crate::MAX_MEMBERS {
            return setting(format!("{} members, at most {} are allowed", self.members.len(), crate::MAX_MEMBERS));
        }
        for addr in &self.bootstraps {
            if !addr.iter().any(|p| matches!(p, Protocol::P2p(_))) {
                return setting(format!("entry point {addr} does not end in /p2p/<peer id>"));
            }
        }
        for addr in self.listen.iter().chain(&self.bootstraps).chain(&self.reach.external) {
            if !self.transport.carries(addr) {
                return setting(format!("{addr} is not an address of transport {:?}", self.transport));
            }
        }
        if self.reach.upnp && !Reach::HAS_UPNP {
            return setting("UPnP is not in this build; build with --features upnp, or switch it off".into());
        }
        self.limits.check()?;
        self.tempo.check()
    }
}

/// How much of everything is allowed. Each bound is what an outsider can make us hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections with peers that are not members. Too low, and discovery through us fails for others.
    pub strangers: usize,
    /// Those of them from one place: a /24 of IPv4 or a /48 of IPv6, unless it is a private network or this machine. Too low, and
    /// newcomers behind one router keep each other out.
    pub strangers_per_place: usize,
    /// Connections that one place is setting up with us; within a private network one address. Too low, and peers behind one router
    /// that start at once need several attempts.
    pub half_open_per_place: usize,
    /// Connections that one place may set up with us in a second, after [`Limits::arrivals_at_once`] of them. Too low, and a site behind
    /// one router takes long to come back.
    pub arrivals_per_place: u32,
    /// Connections that one place may set up with us at once.
    pub arrivals_at_once: u32,
    /// What one peer may send in a second.
    pub rates: Rates,
    /// Connections that are being set up, each way. Too low, and a large network takes seconds longer to form.
    pub pending: u32,
    /// All connections together; at least two for each member.
    pub connections: u32,
    /// New connections are denied while the process holds more than this, in bytes, the training included.
    pub memory_bytes: usize,
    /// Blob requests that one peer may have open with us, and we with it. Too low, and a fast link is not filled.
    pub blob_requests_per_peer: usize,
    /// Blob requests that all fetches together have open, those that are overdue not counted: times 1 MiB is what fetching can hold in
    /// memory while holders answer in time. Too low, and a fast link far away is not filled.
    pub blob_requests_asked: usize,
    /// Blob requests served at once, in all: times 1 MiB is what serving can hold in memory.
    pub blob_requests_served: usize,
    /// Direct messages that may be on their way to one peer; more wait in [`crate::Network::send`].
    pub direct_per_peer: usize,
    /// Chunks on their way in one fetch; times 1 MiB is what a fetch holds beside the blob itself.
    pub fetch_window: usize,
    /// Events waiting for the owner. Too low, and a busy owner loses gossip.
    pub events: usize,
    /// Gossip that waits for a first subscriber.
    pub unsent_gossip: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            strangers: 64,
            strangers_per_place: 16,
            half_open_per_place: 32,
            arrivals_per_place: 8,
            arrivals_at_once: 256,
            rates: Rates::default(),
            pending: 128,
            connections: 768,
            memory_bytes: 8 << 30,
            blob_requests_per_peer: 4,
            blob_requests_asked: 16,
            blob_requests_served: 16,
            direct_per_peer: 16,
            fetch_window: 8,
            events: 2048,
            unsent_gossip: 64,
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), Error> {
        let positive = [
            ("blob_requests_per_peer", self.blob_requests_per_peer),
            ("blob_requests_asked", self.blob_requests_asked),
            ("blob_requests_served", self.blob_requests_served),
            ("direct_per_peer", self.direct_per_peer),
            ("fetch_window", self.fetch_window),
            ("pending", self.pending as usize),
            ("connections", self.connections as usize),
            ("half_open_per_place", self.half_open_per_place),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Setting(format!("limit {name} is 0; at least 1 is needed")));
        }
        if self.events < 16 {
            return Err(Error::Setting(format!("limit events is {}; at least 16 are needed", self.events)));
        }
        Ok(())
    }
}

/// How fast things happen.
#[derive(Clone, Debug)]
pub struct Tempo {
    /// Gossipsub's heartbeat: how soon the mesh mends itself.
    pub heartbeat: Duration,
    /// The first heartbeat, after which gossip flows in a mesh.
    pub first_heartbeat: Duration,
    /// How often missing members are thought of.
    pub discovery: Duration,
    /// The first pause after a failed attempt to reach a member; it doubles from there.
    pub redial: Duration,
    /// The longest such pause.
    pub redial_max: Duration,
    /// Between two pings, and how long one may take before the connection is given up.
    pub ping: Duration,
    /// For one chunk of 1 MiB, from request to last byte: 60 s suit 150 kbit/s.
    pub blob_timeout: Duration,
    /// How long a fetch waits for a holder before it asks another one as well.
    pub hedge: Duration,
    /// For one direct message, from request to acknowledgement.
    pub direct_timeout: Duration,
    /// A connection that nobody uses is closed after this. Members' connections are used by pings only, so this is long.
    pub idle: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            first_heartbeat: Duration::from_millis(100),
            discovery: Duration::from_millis(100),
            redial: Duration::from_millis(200),
            redial_max: Duration::from_secs(10),
            ping: Duration::from_secs(15),
            blob_timeout: Duration::from_secs(60),
            hedge: Duration::from_secs(2),
            direct_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(24 * 3600),
        }
    }
}

impl Tempo {
    /// For many nodes in one process, or tests: the same, only quicker.
    #[must_use]
    pub fn local() -> Self {
        Self {
            first_heartbeat: Duration::from_millis(20),
            discovery: Duration::from_millis(50),
            redial: Duration::from_millis(100),
            redial_max: Duration::from_secs(2),
            hedge: Duration::from_millis(300),
            blob_timeout: Duration::from_secs(20),
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), Error> {
        let least = Duration::from_millis(1);
        let all = [
            self.heartbeat,
            self.discovery,
            self.redial,
            self.ping,
            self.blob_timeout,
            self.hedge,
            self.direct_timeout,
        ];
        if all.iter().any(|d| *d < least) {
            return Err(Error::Setting("every duration in the tempo must be at least 1 ms".into()));
        }
        Ok(())
    }
}
