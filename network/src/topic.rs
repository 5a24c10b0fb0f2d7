//! What is gossiped: four topics, each named for its network.

use fedswarm_protocol::hash::Digest;
use libp2p::gossipsub::IdentTopic;

/// A kind of gossip. Only these four can be subscribed to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Topic {
    /// Signed headers of updates.
    Update,
    /// Who holds which updates.
    Receipt,
    /// What an aggregator proposes.
    Proposal,
    /// Votes, and what follows from them.
    Vote,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Update, Self::Receipt, Self::Proposal, Self::Vote];

    const fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Receipt => "receipt",
            Self::Proposal => "proposal",
            Self::Vote => "vote",
        }
    }

    pub(crate) fn ident(self, network: &Digest) -> IdentTopic {
        IdentTopic::new(format!("/fedswarm/{network}/{}/1", self.name()))
    }
}
