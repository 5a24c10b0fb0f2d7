//! What can happen to a round machine.

use super::ArtefactVerdict;
use crate::artefact::ArtefactRef;
use crate::envelope::Verified;
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::merge::Merged;
use crate::message::{Artefact, UpdateHeader};

/// Milliseconds since any fixed moment; only stamped onto events, never kept in the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// A timer that the machine asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The wait for stragglers, after a quorum of updates, is over.
    Collect {
        /// Round.
        round: u64,
    },
    /// The longest training phase is over.
    Round {
        /// Round.
        round: u64,
    },
    /// The aggregator of this view has had its time.
    View {
        /// Round.
        round: u64,
        /// View.
        view: u32,
    },
    /// A notarized record has not become final; the aggregator of this view proposes it again.
    Repropose {
        /// Round.
        round: u64,
        /// View.
        view: u32,
    },
    /// Time to repeat what was said, in case it was lost.
    Resend {
        /// Round.
        round: u64,
    },
}

impl Timer {
    /// The round that the timer belongs to.
    #[must_use]
    pub const fn round(&self) -> u64 {
        match *self {
            Self::Collect { round }
            | Self::Round { round }
            | Self::View { round, .. }
            | Self::Repropose { round, .. }
            | Self::Resend { round } => round,
        }
    }
}

/// What a driver has measured; 0 where it has not. Durations decide when a member speaks, never what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tempo {
    /// How long an aggregator of view 0 should be given, in milliseconds.
    pub leader_ms: u64,
    /// How long a training phase should be given, in milliseconds.
    pub round_ms: u64,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Begin, once everything kept from before has been fed in as messages.
    Start,
    /// A message arrived (or was sent by this member, or read back from its vote log).
    Message(Verified),
    /// Local training is done and the payload is stored.
    Trained {
        /// The round that was trained for.
        round: u64,
        /// What to publish.
        header: UpdateHeader,
    },
    /// A payload was fetched and checked against its header.
    Payload {
        /// Author of the update.
        author: u16,
        /// The update's statement hash.
        statement: Digest,
        /// False if the bytes are what the author signed for but not a valid update.
        valid: bool,
    },
    /// A merge is done.
    Merged {
        /// Which inputs were merged.
        inputs_root: Digest,
        /// The result; nothing if it leaves its range.
        merged: Option<Merged>,
    },
    /// This member has made an artefact, and stored its blob.
    Generated {
        /// The round whose prototypes it was made of.
        job_round: u64,
        /// What to publish.
        artefact: Artefact,
    },
    /// An artefact's blob was fetched and checked.
    Artefact {
        /// Which.
        reference: ArtefactRef,
        /// With what result.
        verdict: ArtefactVerdict,
    },
    /// A timer fired.
    Timer(Timer),
    /// A member can be reached.
    Connected {
        /// Its key: its place may be another one by the time that this is handled.
        key: PublicKey,
    },
    /// A member can no longer be reached: its last connection is gone.
    Disconnected {
        /// Its key.
        key: PublicKey,
    },
    /// The driver has measured how fast things go.
    Tempo(Tempo),
}
