//! The bodies of messages.

use serde::{Deserialize, Serialize};

use crate::artefact::ArtefactRef;
use crate::certificate::Certificate;
use crate::codec::{self, CodecError};
use crate::hash::Digest;
use crate::membership::Operation;
use crate::record::Record;
use crate::update::UpdateCodec;

/// Most changes of the membership in one record. Too low and a busy network takes several epochs for them; a proposal with all
/// of them and a full set of inputs must fit into a message.
pub const MAX_OPERATIONS: usize = 8;

/// Most bytes of the changes of the membership in one record, as they are listed. Too low and the largest network cannot vote on
/// any: 43 votes are 4.5 KB. Too high and a proposal with them and a full set of inputs does not fit into a message.
pub const MAX_OPERATIONS_BYTES: usize = 5 * 1024;

/// Most votes in an operation that travels by itself: one voter's. Gathering them is everybody's own business. Too high and
/// strangers can have others check many signatures for nothing.
pub const MAX_VOTES_PER_MESSAGE: usize = 1;

/// One accepted or received update: its author and its statement's hash ([`crate::envelope::Verified::statement`]).
pub type UpdateRef = (u16, Digest);

/// What an author says of its update; the payload is pulled by `wire_root`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UpdateHeader {
    /// Hash of the record that the update starts from.
    pub base: Digest,
    /// Hash of the schema.
    pub schema: Digest,
    /// Root of the decoded canonical payload.
    pub payload_root: Digest,
    /// Root of the payload as it travels.
    pub wire_root: Digest,
    /// Bytes of the payload as it travels: the encoded delta, and behind it the author's prototypes.
    pub wire_len: u32,
    /// How it is encoded.
    pub codec: UpdateCodec,
    /// Training samples behind it: its weight in the mean, before the manifest's cap.
    pub samples: u32,
    /// Squared norm of the decoded delta, in fixed point with 24 fraction bits (saturating).
    pub norm2_q: u64,
}

/// The updates whose payload the signer holds and has checked: a promise to serve them, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// By ascending author, at most one each.
    pub items: Vec<UpdateRef>,
    /// Artefacts that the signer holds and has checked, newer than the last certified one: ascending, at most
    /// [`crate::artefact::MAX_ARTEFACTS`].
    pub artefacts: Vec<ArtefactRef>,
}

/// What a host says of the artefact that it made; the blob is pulled by `blob_root`. Its slot's round is the job's: the round
/// whose prototypes it was made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Artefact {
    /// Root of the certified prototypes that it was made of.
    pub protos_root: Digest,
    /// Hash of the generator's weights.
    pub generator: Digest,
    /// The job's record's artefact, if the host carried on from its feature transformer; zero if it started afresh.
    pub previous: Digest,
    /// Root of the blob.
    pub blob_root: Digest,
    /// Bytes of the blob.
    pub blob_len: u32,
}

/// A record for the others to recompute and vote on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proposal {
    /// The record.
    pub record: Record,
    /// What it rests on.
    pub body: RecordBody,
    /// For a re-proposal: the view whose notarization obliges to it.
    pub notarized_in: Option<u32>,
}

/// The lists behind a record's roots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordBody {
    /// The receipts that force the inputs: signer and statement hash, by ascending signer.
    pub receipts: Vec<UpdateRef>,
    /// The accepted uploads, by ascending author.
    pub inputs: Vec<UpdateRef>,
    /// The artefact in force: the one that the receipts force, or that of the record before.
    pub artefact: Option<ArtefactRef>,
    /// Changes of the membership, by ascending subject; with any, the record closes its epoch.
    pub operations: Vec<Operation>,
}

/// A finalised record with its proof; it convinces anyone who knows the voters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Committed {
    /// The record.
    pub record: Record,
    /// What it rests on.
    pub body: RecordBody,
    /// A quorum of finalize votes for its hash.
    pub certificate: Certificate,
}

/// What a member says on meeting another, and whenever it is stuck: where it stands, and what it has of the round in
/// progress, so that the answer is what it lacks and nothing else. Sets of voters are one bit per index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Status {
    /// Its last finalised round.
    pub finalized: u64,
    /// Hash of that round's record.
    pub record: Digest,
    /// Its epoch: which committee it can check messages against.
    pub epoch: u32,
    /// Its view of the round in progress.
    pub view: u32,
    /// The first view that it cannot account for: it knows no nullification of it, and no notarization of it or a later one.
    /// Its own view if there is none. Without a certificate for each earlier view no proposal can be judged.
    pub gap: u32,
    /// Authors whose update it knows: the first 64 bits for voters, the rest for the round's contributors in their order.
    pub updates: [u64; 4],
    /// Signers whose receipt it knows.
    pub receipts: u64,
    /// Voters that it has heard vote in its view.
    pub votes: u64,
    /// Whether it knows its view's proposal.
    pub proposal: bool,
    /// The receipts and updates that this proposal rests on and that it does not have.
    pub wanted: Vec<UpdateRef>,
}

/// Why a voter wants a view to end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Complaint {
    /// The last connection to its aggregator is gone, and there is no proposal.
    Unreachable,
    /// Its aggregator's proposal is not what the rules say.
    Refused,
}

/// Any message, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// An update's header.
    Update(UpdateHeader),
    /// A receipt.
    Receipt(Receipt),
    /// What a host says of its artefact.
    Artefact(Artefact),
    /// A proposal.
    Proposal(Box<Proposal>),
    /// A vote for this record; zero in a nullify vote. The slot says which kind.
    Vote(Digest),
    /// A voter wants this view to end.
    Complaint(Complaint),
    /// Where a member stands.
    Status(Status),
    /// A notarization, nullification or finalization; proves itself.
    Certificate(Certificate),
    /// A finalised record; proves itself.
    Committed(Box<Committed>),
    /// A change of the membership; proves itself.
    Operation(Operation),
}

impl Message {
    /// The body's canonical bytes: what a signature is over, and what follows the envelope's header on the wire. They do not
    /// say which kind it is; the slot does.
    ///
    /// # Errors
    /// None in practice; see [`codec::encode`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::Update(m) => codec::encode(m),
            Self::Receipt(m) => codec::encode(m),
            Self::Artefact(m) => codec::encode(m),
            Self::Proposal(m) => codec::encode(m),
            Self::Vote(m) => codec::encode(m),
            Self::Complaint(m) => codec::encode(m),
            Self::Status(m) => codec::encode(m),
            Self::Certificate(m) => codec::encode(m),
            Self::Committed(m) => codec::encode(m),
            Self::Operation(m) => codec::encode(m),
        }
    }
}
