//! What a round machine wants done. The driver carries effects out in order and reports back as inputs.

use std::sync::Arc;

use super::input::{Timer, Timestamp};
use crate::artefact::ArtefactRef;
use crate::envelope::{Slot, Verified};
use crate::evidence::EquivocationProof;
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::membership::Committee;
use crate::message::{Artefact, Committed, Message, UpdateHeader};

/// Who a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// Every voter, and whoever follows what they say.
    All,
    /// Every contributor, who does not hear the votes.
    Contributors,
    /// One member.
    One(u16),
}

/// What a member did wrong, by how many honest mistakes could explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Two contradictory signed statements: only its key holder can have made them.
    Equivocation,
    /// A signed statement that no correct program makes.
    Invalid,
    /// Something that a stale or slow member may do now and then.
    Stale,
}

/// One input of a merge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MergeInput {
    /// Author of the update.
    pub author: u16,
    /// Root of the payload as it travels: under this the blob is held.
    pub wire_root: Digest,
    /// Root of the decoded payload.
    pub payload_root: Digest,
    /// Weight in the mean: samples, capped by the manifest.
    pub weight: u32,
}

/// Something worth telling people and measuring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A round began.
    RoundStarted {
        /// Round.
        round: u64,
        /// Aggregator of view 0.
        leader: u16,
    },
    /// This member's update was signed.
    UpdatePublished {
        /// Round.
        round: u64,
    },
    /// This member's receipt was signed.
    ReceiptPublished {
        /// Round.
        round: u64,
        /// Updates in it.
        updates: usize,
    },
    /// A quorum of receipts is here: the aggregator can propose.
    ReceiptQuorum {
        /// Round.
        round: u64,
    },
    /// This member proposed a record.
    Proposed {
        /// Round.
        round: u64,
        /// View.
        view: u32,
    },
    /// A view was entered.
    ViewEntered {
        /// Round.
        round: u64,
        /// View.
        view: u32,
        /// Its aggregator.
        leader: u16,
    },
    /// A proposal was refused.
    ProposalRefused {
        /// Round.
        round: u64,
        /// View.
        view: u32,
        /// Its aggregator.
        leader: u16,
        /// Why.
        reason: &'static str,
    },
    /// A round is final.
    RoundCommitted {
        /// Round.
        round: u64,
        /// View in which it became final.
        view: u32,
        /// Who first proposed its record.
        proposer: u16,
        /// Updates merged.
        inputs: u16,
        /// Hash of its record.
        record: Digest,
    },
    /// A record has taken in an artefact.
    ArtefactCertified {
        /// The record's round.
        round: u64,
        /// The round whose prototypes it was made of.
        job_round: u64,
        /// Who made it.
        host: PublicKey,
    },
    /// An artefact was refused.
    ArtefactRefused {
        /// The round that it claims to be made for.
        job_round: u64,
        /// Who made it.
        host: PublicKey,
        /// Why.
        reason: &'static str,
    },
    /// This member was behind and took over a certified record.
    CaughtUp {
        /// From this round.
        from: u64,
        /// To this one.
        to: u64,
    },
    /// The membership changed.
    EpochStarted {
        /// The epoch.
        epoch: u32,
        /// Its voters.
        voters: usize,
        /// All its members.
        members: usize,
        /// This member's place, if it has one.
        me: Option<u16>,
    },
    /// Something to be voted on: it came up, or votes came for it.
    Motion {
        /// Round.
        round: u64,
        /// Who would join or go.
        subject: PublicKey,
        /// Votes for it that are here.
        votes: usize,
        /// Votes that decide.
        needed: usize,
    },
    /// A member was caught saying two things.
    Equivocated {
        /// Round.
        round: u64,
        /// Its place.
        member: u16,
    },
    /// A certified record contradicts what this member can work out, or the checkpoint of its invitation: it was led to the
    /// wrong network, or its program or disk is broken. Nothing is signed any more.
    Halted {
        /// Round.
        round: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Two final records for one round: more than a third of the voters are lying. Nothing is certified any more.
    Fork {
        /// Round.
        round: u64,
        /// The two records.
        records: (Digest, Digest),
    },
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Train from a certified state, then report [`super::Input::Trained`]. Fetch the state first if it is not here.
    Train {
        /// Round to train for.
        round: u64,
        /// Hash of the record trained from.
        base: Digest,
        /// Root of its model.
        model_root: Digest,
        /// Members that hold it; by key, since it may have been certified by another committee.
        holders: Vec<PublicKey>,
    },
    /// The round was decided without this member's update: stop training for it.
    CancelTraining {
        /// Round.
        round: u64,
    },
    /// Get a payload from one of the holders, check it against its header, and report [`super::Input::Payload`]. Repeated
    /// with more holders as they become known.
    Fetch {
        /// Author of the update.
        author: u16,
        /// The update's statement hash.
        statement: Digest,
        /// The update.
        header: UpdateHeader,
        /// Members that say they hold it.
        holders: Vec<u16>,
    },
    /// Get an artefact's blob from one of the holders, check it ([`crate::artefact::Contents`]), and report
    /// [`super::Input::Artefact`]. Repeated with more holders as they become known, and in each round as long as the artefact can
    /// be certified. Nothing waits for it.
    FetchArtefact {
        /// Which.
        reference: ArtefactRef,
        /// What its host says of it.
        artefact: Artefact,
        /// Members that say they hold it.
        holders: Vec<u16>,
    },
    /// Merge stored payloads onto the base, store the results (model and list of prototypes), and report [`super::Input::Merged`].
    Merge {
        /// Round.
        round: u64,
        /// Which inputs these are.
        inputs_root: Digest,
        /// Root of the model that the deltas are added to.
        base: Digest,
        /// What to merge.
        inputs: Vec<MergeInput>,
    },
    /// Sign, write to the vote log, sync it to disk, only then send to all, and feed back as [`super::Input::Message`].
    Sign {
        /// Where the statement stands.
        slot: Slot,
        /// What is said.
        message: Message,
    },
    /// Write these messages to the vote log no later than the next statement, in the same transaction: it rests on them. After
    /// a restart the others may have forgotten them, and without them this member could neither go back on its vote nor
    /// bring the others along. They are fed in after own statements.
    Keep {
        /// The round that they belong to.
        round: u64,
        /// The messages.
        messages: Vec<Verified>,
    },
    /// Sign if the kind is signed, and send; nothing is kept.
    Say {
        /// To whom.
        to: Recipient,
        /// Where it stands.
        slot: Slot,
        /// What is said.
        message: Message,
    },
    /// Send a message again as it is.
    Forward {
        /// To whom.
        to: Recipient,
        /// The message.
        message: Verified,
    },
    /// Call back with [`super::Input::Timer`] after this many milliseconds.
    SetTimer {
        /// What to call back with.
        timer: Timer,
        /// Milliseconds.
        after_ms: u64,
    },
    /// Write record and certificate to disk: the round is final.
    Commit {
        /// The record with its proof.
        committed: Arc<Committed>,
        /// The signed updates and receipts that the record rests on, for those who want to derive it again; empty if this
        /// member does not hold every one of them with its payload.
        inputs: Vec<Verified>,
        /// The committee of the next round, if an epoch begins with it: kept in the same transaction.
        next: Option<Arc<Committee>>,
    },
    /// A member was caught saying two things: keep the proof for people.
    Evidence(EquivocationProof),
    /// This key has no place in the committee: ask any member for the records after the head.
    AskChain,
    /// Count a fault of a member.
    Penalise {
        /// Who.
        member: PublicKey,
        /// What.
        fault: Fault,
    },
    /// Tell people.
    Emit {
        /// When, as the driver said.
        at: Timestamp,
        /// What.
        event: Event,
    },
    /// The manifest's last round is final.
    Finished,
}
