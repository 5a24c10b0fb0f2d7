//! What a node tells its owner.

use std::sync::Arc;

use fedswarm_learning::methods::{Evaluation, Trial};
use fedswarm_learning::transfer::Pairs;
use fedswarm_network::{NodeId, Path};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::round;

/// A measurement of the node's model with a round's certified state taken in, before further training.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The round; 0 is untrained.
    pub round: u64,
    /// The measurement on the node's own test images.
    pub evaluation: Evaluation,
}

/// Something happened at a node.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// The round machine says so.
    Round {
        /// Milliseconds since the node's clock began.
        at_ms: u64,
        /// What.
        event: round::Event,
    },
    /// A model was measured.
    Measured(Measured),
    /// Local training ended.
    Trained {
        /// The round.
        round: u64,
        /// Mean training loss.
        loss: f32,
        /// Milliseconds on a training thread, waiting for one not included.
        millis: u64,
    },
    /// This node has made an artefact of a round's prototypes, as host of a generator.
    Generated {
        /// The round.
        job_round: u64,
        /// Milliseconds on a training thread, waiting for one not included.
        millis: u64,
        /// Alignment loss by epoch.
        loss: Vec<f32>,
        /// Size of the artefact.
        bytes: u32,
    },
    /// The artefact in force is here: it is taken in before the next training.
    ArtefactReceived {
        /// The round whose prototypes it was made of.
        job_round: u64,
        /// Who made it.
        host: NodeId,
        /// Its image-latent pairs.
        pairs: Arc<Pairs>,
    },
    /// An artefact's contents were refused.
    ArtefactRefused {
        /// The round whose prototypes it claims to be made of.
        job_round: u64,
        /// Who made it.
        host: NodeId,
        /// What is wrong with it.
        reason: String,
    },
    /// The member trained with a generator's pairs at hand, and had tried whether they do it good.
    Tried {
        /// The round that it trained for.
        round: u64,
        /// The round whose prototypes the pairs were made of.
        job_round: u64,
        /// Who made them.
        host: NodeId,
        /// What it found.
        trial: Trial,
    },
    /// A member is connected, or no longer.
    Peer {
        /// Who.
        id: NodeId,
        /// Whether there is a connection.
        connected: bool,
    },
    /// A member is reached in another way than before.
    Path {
        /// Who.
        id: NodeId,
        /// How.
        path: Path,
    },
    /// The manifest's last round is final, taken in, and measured. The node goes on serving others.
    Finished {
        /// Hash of the last record.
        record: Digest,
        /// Its state hash.
        state: Digest,
    },
    /// What this node asked for - to join, to leave, to change its key - is certified, from this epoch on.
    RequestDone {
        /// The epoch.
        epoch: u32,
        /// True if this node, under its present key, has nothing more to do.
        ends: bool,
    },
    /// This node asks to join, and with the members of this epoch it cannot be admitted. It goes on asking: members change.
    RequestHindered {
        /// The epoch.
        epoch: u32,
        /// What is in its way.
        reason: String,
    },
    /// A member was caught saying two things; the proof is in this file, if the node has a folder.
    Evidence {
        /// Where.
        file: Option<std::path::PathBuf>,
        /// The proof.
        proof: Box<fedswarm_protocol::evidence::EquivocationProof>,
    },
    /// The node stands still, as [`crate::HoldPoint`] asked.
    Held {
        /// The round.
        round: u64,
    },
    /// The node stopped because it cannot go on honestly.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
}
