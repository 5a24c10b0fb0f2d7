//! libp2p and nothing else: transport, discovery, gossip, direct messages, blobs, limits.
//!
//! This crate knows bytes, peers and topics. It knows no rounds and checks no signatures but libp2p's own: whoever speaks on a
//! connection holds the key of its [`NodeId`], and that is all that is promised about a message's author.
//!
//! ```text
//! Network (a handle, Clone) --commands--> driver (one task, owns the swarm) --events--> EventReceiver
//! ```
//!
//! [`start`] gives a handle and a queue of events. Gossip comes with a [`GossipToken`]: check the message, then
//! [`Network::report`] within five seconds, or it is not passed on.

#![forbid(unsafe_code)]

mod arrivals;
mod behaviour;
mod blobs;
mod bucket;
#[cfg(test)]
#[path = "../../protocol/tests/common/mod.rs"]
mod common;
mod config;
mod direct;
mod direct_only;
mod doorman;
mod driver;
pub mod entry;
mod error;
mod event;
mod frame;
#[cfg(test)]
mod fuzz;
mod gates;
mod gauges;
mod gossip;
mod handle;
mod id;
pub mod key_file;
mod listen;
mod lists;
mod missing;
mod peer_book;
mod probing;
mod quality;
mod reachability;
mod socket;
mod subnet;
mod topic;
mod traffic;
mod transport;
mod whereabouts;

pub use blobs::{BlobSource, MemoryBlobs, Partial};
pub use config::{Config, Limits, Reach, Relaying, Tempo, Tie, TransportKind};
pub use error::{Error, HolderFault};
pub use event::{Acceptance, Event, EventReceiver, GossipToken, Path, PeerInfo};
pub use fedswarm_protocol::blob::{BlobId, CHUNK_BYTES, MAX_BLOB_BYTES, chunk_hash, chunk_hashes};
pub use gauges::Gauges;
pub use handle::{Network, start};
pub use id::NodeId;
pub use libp2p::Multiaddr;
pub use lists::AccessLists;
pub use missing::{DialFailure, Missing};
pub use quality::{Fault, Rates, Severity};
pub use reachability::{Reachability, Router};
pub use subnet::Subnet;
pub use topic::Topic;
pub use traffic::{Payload, Traffic};

/// The largest gossip message. Gossipsub's own limit is four times this: its receiver counts bytes of the *next* frame towards
/// the limit too, and a frame over it silences the connection for good.
pub const MAX_GOSSIP_BYTES: usize = 16 << 10;

/// The largest direct message. Lower, and a record with 64 signatures no longer fits into one.
pub const MAX_DIRECT_BYTES: usize = 64 << 10;

/// Direct messages per second that one peer may send which is not a member; more are answered "busy". Too low, and a newcomer
/// follows the records of a long history slowly; it bounds what strangers make us look at.
pub const KNOCKS_PER_SECOND: u32 = 16;

/// The most members that are kept connected to each other.
pub const MAX_MEMBERS: usize = 64 + 192;
