//! Everything that can go wrong here, in one place.

use std::fmt;

use libp2p::Multiaddr;

use crate::{BlobId, NodeId};

/// Why the network could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The secret or a public key is not usable.
    #[error("unusable key: {0}")]
    Key(String),
    /// A setting contradicts another or is out of range.
    #[error("bad network setting: {0}")]
    Setting(String),
    /// A listen address is taken by someone else.
    #[error(
        "cannot listen on {addr}: port in use; stop the other process, or choose another port (0 takes a free one)"
    )]
    PortInUse {
        /// The address as it was asked for.
        addr: Multiaddr,
    },
    /// A listen address does not work.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// The address as it was asked for.
        addr: Multiaddr,
        /// What the transport said.
        reason: String,
    },
    /// An address cannot be dialed.
    #[error("cannot dial {addr}: {reason}")]
    Dial {
        /// The address as it was given.
        addr: Multiaddr,
        /// What is wrong with it.
        reason: String,
    },
    /// A message or a blob is over its limit; nothing was sent.
    #[error("{what} of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        len: u64,
        /// The largest size that is allowed.
        max: u64,
    },
    /// Gossip could not be handed to anyone.
    #[error("gossip was not published: {0}")]
    Publish(String),
    /// A direct message was not acknowledged. It may or may not have arrived.
    #[error("direct message to {} was not acknowledged: {reason}", to.short())]
    Send {
        /// The addressee.
        to: NodeId,
        /// What happened.
        reason: String,
    },
    /// A blob could not be had from any holder.
    #[error("{id:?} could not be fetched: {}", faults_text(faults))]
    Fetch {
        /// The blob.
        id: BlobId,
        /// What each holder did, in the order in which it happened.
        faults: Vec<(NodeId, HolderFault)>,
    },
    /// The network was shut down.
    #[error("the network is shut down")]
    Closed,
}

/// What a holder of a blob did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderFault {
    /// It does not have the blob, or not this chunk.
    Absent,
    /// It serves members only, and does not count us among them.
    Refused,
    /// It was busy every time.
    Busy,
    /// Its list of chunk hashes does not belong to the blob.
    BadList,
    /// A chunk does not have the hash that the list gives.
    BadChunk(u32),
    /// It answered one question with the answer to another.
    WrongAnswer,
    /// It can be reached through a relay only, which carries no blobs.
    Relayed,
    /// The connection failed or timed out.
    Transport(String),
}

impl fmt::Display for HolderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("does not have it"),
            Self::Refused => f.write_str("serves members only"),
            Self::Busy => f.write_str("is busy"),
            Self::BadList => f.write_str("sent a chunk list that is not this blob's"),
            Self::BadChunk(i) => write!(f, "sent a wrong chunk {i}"),
            Self::WrongAnswer => f.write_str("answered another question"),
            Self::Relayed => f.write_str("can be reached through a relay only, which carries no blobs"),
            Self::Transport(reason) => f.write_str(reason),
        }
    }
}

fn faults_text(faults: &[(NodeId, HolderFault)]) -> String {
    if faults.is_empty() {
        return "no holder is known".into();
    }
    faults.iter().map(|(who, what)| format!("{} {what}", who.short())).collect::<Vec<_>>().join("; ")
}
