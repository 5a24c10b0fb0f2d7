//! From bytes to [`Verified`] messages: bound, check the signature over the received bytes, then decode.
//!
//! The signature covers a domain tag, the kind, the network, epoch, round and view, and a hash of the body, so bytes signed
//! for one slot of one network mean nothing in any other.
//!
//! ```text
//! wire:    kind 1 | epoch 4 | round 8 | view 4 | author 2 | signature 64 | body
//! signed:  "FSWM1" 5 | kind 1 | network 32 | epoch 4 | round 8 | view 4 | H(kind, body) 32   = 86 bytes
//! ```

mod verifier;

use serde::{Deserialize, Serialize};

use crate::codec::CodecError;
use crate::hash::{Digest, hash};
use crate::keys::{Ed25519, Scheme, SecretKey, Signature};
use crate::message::Message;

pub use verifier::{Verified, Verifier};

const TAG: &[u8; 5] = b"FSWM1";
const SIGNED_BYTES: usize = 86;
const HEADER_BYTES: usize = 83;

/// What stands in the signature's place where the body is its own proof.
const UNSIGNED: Signature = Signature([0; 64]);

/// Largest message on the wire; a quarter of gossipsub's own limit, below which it never loses one. Too low and proposals
/// of the largest networks do not fit.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Largest committed record on the wire. Too low and a record of the largest network cannot be caught up with.
pub const MAX_COMMITTED_BYTES: usize = 32 * 1024;

/// Last round that a message may be about; far beyond what any network reaches. Without it a lying quorum's record of the
/// last round that there is would make the next one round 0.
pub const MAX_ROUND: u64 = u64::MAX >> 1;

/// The author of a message whose sender has no place in the committee, or whose author does not matter.
pub const NOBODY: u16 = u16::MAX;

/// What a message is. The numbers are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// An update's header.
    Update = 1,
    /// A receipt.
    Receipt = 2,
    /// A proposal.
    Proposal = 3,
    /// A vote for a record.
    Notarize = 4,
    /// A vote to leave a view without a record.
    Nullify = 5,
    /// A vote that makes a notarized record final.
    Finalize = 6,
    /// A request to join; inside an operation, as are the next three.
    Join = 7,
    /// A request to leave.
    Leave = 8,
    /// A change of key.
    Rotate = 9,
    /// A sponsor's invitation.
    Invite = 10,
    /// A change of the membership; proves itself.
    Operation = 11,
    /// What a host says of the artefact that it made.
    Artefact = 12,
    /// Where a member stands.
    Status = 14,
    /// A quorum of votes.
    Certificate = 15,
    /// A finalised record with its proof.
    Committed = 16,
    /// A voter's wish to end a view before its time.
    Complaint = 17,
    /// A voter's approval of a join; inside an operation, as is the next one.
    Approve = 18,
    /// A voter's vote to send a member away.
    EvictVote = 19,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Update,
            2 => Self::Receipt,
            3 => Self::Proposal,
            4 => Self::Notarize,
            5 => Self::Nullify,
            6 => Self::Finalize,
            11 => Self::Operation,
            12 => Self::Artefact,
            14 => Self::Status,
            15 => Self::Certificate,
            16 => Self::Committed,
            17 => Self::Complaint,
            _ => return None,
        })
    }

    /// True for kinds that are about a view; the slot of any other kind has view 0.
    #[must_use]
    pub const fn has_view(self) -> bool {
        self.is_vote() || matches!(self, Self::Proposal | Self::Complaint | Self::Certificate)
    }

    /// True for messages that need no author: what is in them is proof enough, so anybody may pass them on. They are not
    /// signed: their author is [`NOBODY`], and their signature field is zero.
    #[must_use]
    pub const fn proves_itself(self) -> bool {
        matches!(self, Self::Certificate | Self::Committed | Self::Operation)
    }

    /// Largest message of this kind in bytes. A committed record is a proposal and a certificate in one, and is sent
    /// directly, never gossiped.
    #[must_use]
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Committed => MAX_COMMITTED_BYTES,
            _ => MAX_MESSAGE_BYTES,
        }
    }

    /// True for the three kinds of vote.
    #[must_use]
    pub const fn is_vote(self) -> bool {
        matches!(self, Self::Notarize | Self::Nullify | Self::Finalize)
    }

    /// A name for logs and counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Receipt => "receipt",
            Self::Artefact => "artefact",
            Self::Proposal => "proposal",
            Self::Notarize => "notarize",
            Self::Nullify => "nullify",
            Self::Finalize => "finalize",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Rotate => "rotate",
            Self::Invite => "invite",
            Self::Operation => "operation",
            Self::Complaint => "complaint",
            Self::Approve => "approve",
            Self::EvictVote => "evict_vote",
            Self::Status => "status",
            Self::Certificate => "certificate",
            Self::Committed => "committed",
        }
    }
}

/// The place of a statement: an honest member makes at most one in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// What it is.
    pub kind: Kind,
    /// Epoch.
    pub epoch: u32,
    /// Round.
    pub round: u64,
    /// View; 0 for kinds that have none.
    pub view: u32,
}

/// Why bytes are not a message of this network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than [`MAX_MESSAGE_BYTES`], or shorter than its own header.
    #[error("a message of {0} bytes")]
    Size(usize),
    /// No such kind.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// No network gets that far.
    #[error("round {0} is beyond the last one, {MAX_ROUND}")]
    Round(u64),
    /// The author is not a member, or not one that may say this.
    #[error("member {0} does not exist, or has no vote")]
    Author(u16),
    /// A message of an epoch whose committee is not known here: too old, or ahead of this member.
    #[error("epoch {0} is not known here")]
    Epoch(u32),
    /// The signature does not hold, or the certificate is not one.
    #[error("the signature of {0} does not hold")]
    Signature(&'static str),
    /// The body is not what its kind says.
    #[error("body of {0}: {1}")]
    Body(&'static str, CodecError),
    /// A list is out of order, has doubles, or names members that do not exist.
    #[error("{0}: a list is not in canonical order")]
    List(&'static str),
    /// An operation whose signatures do not hold, or operations out of order.
    #[error("{0}: an operation is not what its author signed")]
    Operation(&'static str),
}

/// What a signature covers of a body.
#[must_use]
pub fn body_hash(kind: Kind, body: &[u8]) -> Digest {
    hash(kind.name(), body)
}

/// The bytes that a signature is over.
#[must_use]
pub fn signed_bytes(network: &Digest, slot: &Slot, body: &[u8]) -> [u8; SIGNED_BYTES] {
    signed_bytes_of(network, slot, &body_hash(slot.kind, body))
}

/// The bytes that a signature is over, for a body of which only the hash is known.
#[must_use]
pub fn signed_bytes_of(network: &Digest, slot: &Slot, body: &Digest) -> [u8; SIGNED_BYTES] {
    let mut out = [0; SIGNED_BYTES];
    let parts: [&[u8]; 7] = [
        TAG,
        &[slot.kind as u8],
        network.as_bytes(),
        &slot.epoch.to_le_bytes(),
        &slot.round.to_le_bytes(),
        &slot.view.to_le_bytes(),
        body.as_bytes(),
    ];
    let mut at = 0;
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    out
}

/// Signs a message: the bytes for the wire. The kinds that prove themselves are not signed.
///
/// # Errors
/// A body that is too large for a message.
pub fn seal(
    key: &SecretKey,
    network: &Digest,
    slot: &Slot,
    author: u16,
    body: &Message,
) -> Result<Vec<u8>, EnvelopeError> {
    seal_with(&Ed25519, key, network, slot, author, body)
}

/// [`seal`] with another signature scheme, for simulations.
///
/// # Errors
/// As [`seal`].
pub fn seal_with(
    scheme: &dyn Scheme,
    key: &SecretKey,
    network: &Digest,
    slot: &Slot,
    author: u16,
    body: &Message,
) -> Result<Vec<u8>, EnvelopeError> {
    let body = body.encode().map_err(|e| EnvelopeError::Body(slot.kind.name(), e))?;
    let (author, signature) = if slot.kind.proves_itself() {
        // The same bytes from whoever sends them, so that gossip does not carry them twice.
        (NOBODY, UNSIGNED)
    } else {
        (author, scheme.sign(key, &signed_bytes(network, slot, &body)))
    };
    frame(slot, author, &signature, &body)
}

fn frame(slot: &Slot, author: u16, signature: &Signature, body: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.push(slot.kind as u8);
    out.extend_from_slice(&slot.epoch.to_le_bytes());
    out.extend_from_slice(&slot.round.to_le_bytes());
    out.extend_from_slice(&slot.view.to_le_bytes());
    out.extend_from_slice(&author.to_le_bytes());
    out.extend_from_slice(&signature.0);
    out.extend_from_slice(body);
    if out.len() > slot.kind.max_bytes() { Err(EnvelopeError::Size(out.len())) } else { Ok(out) }
}

fn split(bytes: &[u8]) -> Result<(Slot, u16, Signature, &[u8]), EnvelopeError> {
    if bytes.len() < HEADER_BYTES {
        return Err(EnvelopeError::Size(bytes.len()));
    }
    let kind = Kind::from_byte(bytes[0]).ok_or(EnvelopeError::Kind(bytes[0]))?;
    if bytes.len() > kind.max_bytes() {
        return Err(EnvelopeError::Size(bytes.len()));
    }
    let epoch = u32::from_le_bytes(array(&bytes[1..5]));
    let round = u64::from_le_bytes(array(&bytes[5..13]));
    if round > MAX_ROUND {
        return Err(EnvelopeError::Round(round));
    }
    let view = u32::from_le_bytes(array(&bytes[13..17]));
    let author = u16::from_le_bytes(array(&bytes[17..19]));
    let signature = Signature(array(&bytes[19..HEADER_BYTES]));
    Ok((Slot { kind, epoch, round, view }, author, signature, &bytes[HEADER_BYTES..]))
}

/// Copies a slice whose length the caller has fixed.
fn array<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(slice);
    out
}
