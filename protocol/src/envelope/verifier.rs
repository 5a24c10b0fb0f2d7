//! Whose word is taken: bytes become [`Verified`] messages here and nowhere else.

use std::sync::Arc;

use super::{
    EnvelopeError, HEADER_BYTES, Kind, MAX_MESSAGE_BYTES, NOBODY, Slot, UNSIGNED, body_hash, frame, signed_bytes, split,
};
use crate::artefact::{ArtefactRef, MAX_ARTEFACTS, artefact_root};
use crate::blob::MAX_BLOB_BYTES;
use crate::certificate::Certificate;
use crate::codec::{self, CodecError};
use crate::hash::{Digest, hash};
use crate::keys::{Ed25519, PublicKey, Scheme, Signature};
use crate::manifest::MAX_VOTERS;
use crate::membership::{Committee, MAX_INPUTS, Operation};
use crate::message::{
    MAX_OPERATIONS, MAX_OPERATIONS_BYTES, MAX_VOTES_PER_MESSAGE, Message, Receipt, Status, UpdateHeader, UpdateRef,
};
use crate::record::{list_root, operations_root};

/// A message whose signature, or proof, has been checked. Only this module builds one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verified(Arc<Checked>);

#[derive(Debug)]
struct Checked {
    slot: Slot,
    author: u16,
    message: Message,
    signature: Signature,
    statement: Digest,
    bytes: Vec<u8>,
}

/// The statement is a hash of everything but the signature.
impl PartialEq for Verified {
    fn eq(&self, other: &Self) -> bool {
        self.0.statement == other.0.statement && self.0.signature == other.0.signature
    }
}

impl Eq for Verified {}

impl std::hash::Hash for Verified {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.statement.hash(state);
        self.0.signature.hash(state);
    }
}

impl Verified {
    /// A certificate that this member put together itself from votes that were verified one by one.
    pub(crate) fn assembled(network: &Digest, certificate: Certificate) -> Result<Self, EnvelopeError> {
        let Certificate { epoch, round, view, .. } = certificate;
        let slot = Slot { kind: Kind::Certificate, epoch, round, view };
        let body = codec::encode(&certificate).map_err(|e| EnvelopeError::Body(slot.kind.name(), e))?;
        let statement =
            hash("statement", &[signed_bytes(network, &slot, &body).as_slice(), &NOBODY.to_le_bytes()].concat());
        let bytes = frame(&slot, NOBODY, &UNSIGNED, &body)?;
        let message = Message::Certificate(certificate);
        Ok(Self(Arc::new(Checked { slot, author: NOBODY, message, signature: UNSIGNED, statement, bytes })))
    }

    /// What, and for which epoch, round and view.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.0.slot
    }

    /// Index of the member that signed it; of whoever forwarded it, unchecked, for messages that prove themselves.
    #[must_use]
    pub fn author(&self) -> u16 {
        self.0.author
    }

    /// The decoded body.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// The author's signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.0.signature
    }

    /// Hash of the signed statement and its author. It does not cover the signature: a signer can make several for one
    /// statement, and they must not look like several statements.
    #[must_use]
    pub fn statement(&self) -> Digest {
        self.0.statement
    }

    /// The bytes as received, for forwarding and storing.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The hash of the body that the signature covers.
    #[must_use]
    pub fn body_hash(&self) -> Digest {
        body_hash(self.0.slot.kind, &self.0.bytes[HEADER_BYTES..])
    }
}

/// Who may speak in a network: what bytes are checked against. It knows the committee of the epoch in progress and the one
/// before.
#[derive(Clone, Debug)]
pub struct Verifier {
    network: Digest,
    now: Arc<Committee>,
    keys: Vec<PublicKey>,
    before: Option<(Arc<Committee>, Vec<PublicKey>)>,
    scheme: Arc<dyn Scheme>,
}

impl Verifier {
    /// A verifier for a network at the epoch of this committee.
    #[must_use]
    pub fn new(network: Digest, committee: Arc<Committee>) -> Self {
        Self { network, keys: committee.voter_keys(), now: committee, before: None, scheme: Arc::new(Ed25519) }
    }

    /// The same with other signatures: for simulations that check each signature once for all their members.
    #[must_use]
    pub fn with_scheme(self, scheme: Arc<dyn Scheme>) -> Self {
        Self { scheme, ..self }
    }

    /// Moves on to the next epoch.
    pub fn advance(&mut self, committee: Arc<Committee>) {
        let keys = std::mem::replace(&mut self.keys, committee.voter_keys());
        self.before = Some((std::mem::replace(&mut self.now, committee), keys));
    }

    /// The network's id.
    #[must_use]
    pub const fn network(&self) -> &Digest {
        &self.network
    }

    /// The committee of the epoch in progress.
    #[must_use]
    pub const fn committee(&self) -> &Arc<Committee> {
        &self.now
    }

    /// Committee and voters' keys of an epoch, if it is known.
    fn of_epoch(&self, epoch: u32) -> Result<(&Committee, &[PublicKey]), EnvelopeError> {
        if epoch == self.now.epoch {
            return Ok((&self.now, &self.keys));
        }
        match &self.before {
            Some((committee, keys)) if committee.epoch == epoch => Ok((committee, keys)),
            _ => Err(EnvelopeError::Epoch(epoch)),
        }
    }

    /// Reads the slot and author of a message without checking anything else: enough to drop what is out of date or
    /// already known before the cost of a signature.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<(Slot, u16)> {
        let (slot, author, _, _) = split(bytes).ok()?;
        Some((slot, author))
    }

    /// Checks and decodes.
    ///
    /// # Errors
    /// [`EnvelopeError`]; nothing of the message may then be used. [`EnvelopeError::Epoch`] is nobody's fault.
    pub fn open(&self, bytes: &[u8]) -> Result<Verified, EnvelopeError> {
        let (slot, author, signature, body) = split(bytes)?;
        let name = slot.kind.name();
        // An operation is about a membership, not an epoch: it names keys, not places, and stands nowhere.
        let operation = slot.kind == Kind::Operation;
        if operation && (slot.epoch, slot.round) != (0, 0) {
            return Err(EnvelopeError::Body(name, CodecError::NotCanonical));
        }
        let (committee, _) = self.of_epoch(if operation { self.now.epoch } else { slot.epoch })?;
        let signed = signed_bytes(&self.network, &slot, body);
        // One spelling of each message: fields that mean nothing for a kind are zero.
        if !slot.kind.has_view() && slot.view != 0 {
            return Err(EnvelopeError::Body(name, CodecError::NotCanonical));
        }
        let holds = if slot.kind.proves_itself() {
            (author, signature) == (NOBODY, UNSIGNED)
        } else {
            let speaks = match slot.kind {
                Kind::Update | Kind::Artefact | Kind::Status => committee.key(author),
                _ => committee.voter(author),
            };
            let key = speaks.ok_or(EnvelopeError::Author(author))?;
            self.scheme.verifies(key, &signed, &signature)
        };
        if !holds {
            return Err(EnvelopeError::Signature(name));
        }
        let message = self.decode(&slot, body)?;
        let statement = hash("statement", &[signed.as_slice(), &author.to_le_bytes()].concat());
        Ok(Verified(Arc::new(Checked { slot, author, message, signature, statement, bytes: bytes.to_vec() })))
    }

    /// Reads a status without checking who sent it: the network layer knows the connection that it came by, and the answer
    /// is public. For members of other epochs and for those that are not members yet.
    #[must_use]
    pub fn anonymous_status(bytes: &[u8]) -> Option<Status> {
        let (slot, _, _, body) = split(bytes).ok()?;
        if slot.kind != Kind::Status {
            return None;
        }
        codec::decode(body, MAX_MESSAGE_BYTES).ok()
    }

    /// Reads an update's header without checking who signed it: for what a node has stored itself.
    #[must_use]
    pub fn stored_update(bytes: &[u8]) -> Option<UpdateHeader> {
        let (slot, _, _, body) = split(bytes).ok()?;
        if slot.kind != Kind::Update {
            return None;
        }
        codec::decode(body, MAX_MESSAGE_BYTES).ok()
    }

    fn decode(&self, slot: &Slot, body: &[u8]) -> Result<Message, EnvelopeError> {
        let name = slot.kind.name();
        let limit = slot.kind.max_bytes();
        let wrong = |e| EnvelopeError::Body(name, e);
        let message = match slot.kind {
            Kind::Update => Message::Update(codec::decode(body, limit).map_err(wrong)?),
            Kind::Receipt => {
                let receipt: Receipt = codec::decode(body, limit).map_err(wrong)?;
                self.check_inputs(slot, &receipt.items)?;
                self.check_artefacts(slot, &receipt.artefacts)?;
                Message::Receipt(receipt)
            }
            Kind::Artefact => Message::Artefact(codec::decode(body, limit).map_err(wrong)?),
            Kind::Proposal => {
                let proposal: Box<crate::message::Proposal> = codec::decode(body, limit).map_err(wrong)?;
                self.check_body(slot, &proposal.body)?;
                Message::Proposal(proposal)
            }
            Kind::Notarize | Kind::Nullify | Kind::Finalize => {
                let record: Digest = codec::decode(body, 32).map_err(wrong)?;
                if (slot.kind == Kind::Nullify) != (record == Digest::ZERO) {
                    return Err(EnvelopeError::Body(name, CodecError::NotCanonical));
                }
                Message::Vote(record)
            }
            Kind::Complaint => Message::Complaint(codec::decode(body, limit).map_err(wrong)?),
            Kind::Status => Message::Status(codec::decode(body, limit).map_err(wrong)?),
            Kind::Certificate => {
                let certificate: Certificate = codec::decode(body, limit).map_err(wrong)?;
                let here =
                    (certificate.epoch, certificate.round, certificate.view) == (slot.epoch, slot.round, slot.view);
                if !here || !self.certifies(&certificate)? {
                    return Err(EnvelopeError::Signature(name));
                }
                Message::Certificate(certificate)
            }
            Kind::Committed => {
                let committed: Box<crate::message::Committed> = codec::decode(body, limit).map_err(wrong)?;
                // The certificate first: it is known how many signatures that is.
                self.check_committed(slot, &committed)?;
                self.check_body(slot, &committed.body)?;
                Message::Committed(committed)
            }
            Kind::Operation => {
                let operation: Operation = codec::decode(body, limit).map_err(wrong)?;
                let few = operation.ballots().len() <= MAX_VOTES_PER_MESSAGE;
                if !few || !operation.holds(&self.network, self.scheme.as_ref()) {
                    return Err(EnvelopeError::Operation(name));
                }
                Message::Operation(operation)
            }
            // These are signed inside operations and are no messages.
            Kind::Join | Kind::Leave | Kind::Rotate | Kind::Invite | Kind::Approve | Kind::EvictVote => {
                return Err(EnvelopeError::Kind(slot.kind as u8));
            }
        };
        Ok(message)
    }

    fn certifies(&self, certificate: &Certificate) -> Result<bool, EnvelopeError> {
        let (_, keys) = self.of_epoch(certificate.epoch)?;
        Ok(certificate.is_valid_with(&self.network, keys, self.scheme.as_ref()))
    }

    fn check_committed(&self, slot: &Slot, committed: &crate::message::Committed) -> Result<(), EnvelopeError> {
        let name = slot.kind.name();
        let (record, certificate) = (&committed.record, &committed.certificate);
        let hash = record.hash().map_err(|e| EnvelopeError::Body(name, e))?;
        let body = &committed.body;
        let consistent = certificate.kind == Kind::Finalize
            && certificate.record == hash
            && record.network == self.network
            && (certificate.epoch, certificate.round) == (record.epoch, record.round)
            && (slot.epoch, slot.round) == (record.epoch, record.round)
            && record.receipts_root == list_root("receipts", &body.receipts)
            && record.inputs_root == list_root("inputs", &body.inputs)
            && record.artefact_root == artefact_root(body.artefact.as_ref())
            && record.ops_root == operations_root(&body.operations);
        if consistent && self.certifies(certificate)? { Ok(()) } else { Err(EnvelopeError::Signature(name)) }
    }

    /// Lists in canonical order, of voters and members that exist, and operations that prove themselves.
    fn check_body(&self, slot: &Slot, body: &crate::message::RecordBody) -> Result<(), EnvelopeError> {
        let name = slot.kind.name();
        let (committee, _) = self.of_epoch(slot.epoch)?;
        let voters = committee.voters();
        if !is_canonical(&body.receipts, MAX_VOTERS, voters) {
            return Err(EnvelopeError::List(name));
        }
        self.check_inputs(slot, &body.inputs)?;
        let sorted = body.operations.is_sorted_by(|a, b| a.subject() < b.subject());
        let few = body.operations.len() <= MAX_OPERATIONS
            && codec::encode(&body.operations).is_ok_and(|bytes| bytes.len() <= MAX_OPERATIONS_BYTES);
        let hold = || body.operations.iter().all(|op| op.holds(&self.network, self.scheme.as_ref()));
        if few && sorted && hold() { Ok(()) } else { Err(EnvelopeError::Operation(name)) }
    }

    /// Few, in order, by hosts that are members, and of jobs that can still be certified.
    fn check_artefacts(&self, slot: &Slot, list: &[ArtefactRef]) -> Result<(), EnvelopeError> {
        let (committee, _) = self.of_epoch(slot.epoch)?;
        let fits = |artefact: &ArtefactRef| {
            artefact.job_round < slot.round
                && artefact.in_time(slot.round)
                && u64::from(artefact.blob_len) <= MAX_BLOB_BYTES
                && committee.place(&artefact.host).is_some()
        };
        let ok = list.len() <= MAX_ARTEFACTS && list.is_sorted_by(|a, b| a < b) && list.iter().all(fits);
        if ok { Ok(()) } else { Err(EnvelopeError::List(slot.kind.name())) }
    }

    fn check_inputs(&self, slot: &Slot, list: &[UpdateRef]) -> Result<(), EnvelopeError> {
        let (committee, _) = self.of_epoch(slot.epoch)?;
        let ok = is_canonical(list, MAX_INPUTS, committee.members.len());
        if ok { Ok(()) } else { Err(EnvelopeError::List(slot.kind.name())) }
    }
}

fn is_canonical(list: &[UpdateRef], most: usize, places: usize) -> bool {
    list.len() <= most && list.is_sorted_by(|a, b| a.0 < b.0) && list.iter().all(|r| usize::from(r.0) < places)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::envelope::{MAX_ROUND, seal};
    use crate::keys::SecretKey;
    use crate::update::UpdateCodec;

    fn world() -> (Vec<SecretKey>, Verifier) {
        let secrets: Vec<_> = (0..4u8).map(|i| SecretKey::from_bytes(&[i + 1; 32])).collect();
        let committee = Committee::of_keys(1, secrets.iter().map(SecretKey::public));
        (secrets, Verifier::new(Digest([5; 32]), Arc::new(committee)))
    }

    fn update() -> Message {
        Message::Update(UpdateHeader {
            base: Digest([1; 32]),
            schema: Digest([2; 32]),
            payload_root: Digest([3; 32]),
            wire_root: Digest([4; 32]),
            wire_len: 16,
            codec: UpdateCodec::I32,
            samples: 100,
            norm2_q: 7,
        })
    }

    const SLOT: Slot = Slot { kind: Kind::Update, epoch: 1, round: 17, view: 0 };

    #[test]
    fn a_sealed_message_opens_to_what_was_said() {
        let (secrets, verifier) = world();
        let bytes = seal(&secrets[2], &verifier.network, &SLOT, 2, &update()).unwrap();
        let message = verifier.open(&bytes).unwrap();
        assert_eq!((message.slot(), message.author(), message.message()), (&SLOT, 2, &update()));
        assert_eq!(Verifier::peek(&bytes), Some((SLOT, 2)));
        assert_eq!(signed_bytes(&verifier.network, &SLOT, b"x").len(), 86);
    }

    #[test]
    fn no_single_bit_of_a_signed_message_can_change() {
        let (secrets, verifier) = world();
        let bytes = seal(&secrets[2], &verifier.network, &SLOT, 2, &update()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(verifier.open(&altered).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_message_of_another_network_or_author_does_not_open() {
        let (secrets, verifier) = world();
        let other = seal(&secrets[2], &Digest([6; 32]), &SLOT, 2, &update()).unwrap();
        assert_eq!(verifier.open(&other), Err(EnvelopeError::Signature("update")));
        let impersonated = seal(&secrets[1], &verifier.network, &SLOT, 2, &update()).unwrap();
        assert_eq!(verifier.open(&impersonated), Err(EnvelopeError::Signature("update")));
        let stranger = seal(&secrets[1], &verifier.network, &SLOT, 9, &update()).unwrap();
        assert_eq!(verifier.open(&stranger), Err(EnvelopeError::Author(9)));
    }

    #[test]
    fn a_round_that_nobody_reaches_is_refused() {
        let (secrets, verifier) = world();
        for (round, opens) in [(MAX_ROUND, true), (MAX_ROUND + 1, false), (u64::MAX, false)] {
            let slot = Slot { round, ..SLOT };
            let bytes = seal(&secrets[2], &verifier.network, &slot, 2, &update()).unwrap();
            assert_eq!(verifier.open(&bytes).is_ok(), opens, "round {round}");
        }
    }

    #[test]
    fn a_vote_cannot_be_passed_off_as_another_kind() {
        let (secrets, verifier) = world();
        let slot = Slot { kind: Kind::Notarize, ..SLOT };
        let mut bytes = seal(&secrets[0], &verifier.network, &slot, 0, &Message::Vote(Digest([1; 32]))).unwrap();
        assert!(verifier.open(&bytes).is_ok());
        bytes[0] = Kind::Finalize as u8;
        assert!(verifier.open(&bytes).is_err());
    }

    #[test]
    fn a_field_that_means_nothing_for_its_kind_is_zero() {
        let (secrets, verifier) = world();
        let slot = Slot { view: 1, ..SLOT };
        let bytes = seal(&secrets[2], &verifier.network, &slot, 2, &update()).unwrap();
        assert_eq!(verifier.open(&bytes), Err(EnvelopeError::Body("update", CodecError::NotCanonical)));
        let slot = Slot { kind: Kind::Nullify, ..SLOT };
        let said = signed_bytes(&verifier.network, &slot, Digest::ZERO.as_bytes());
        let certificate = crate::certificate::Certificate {
            kind: Kind::Nullify,
            epoch: slot.epoch,
            round: slot.round,
            view: slot.view,
            record: Digest::ZERO,
            votes: (0..3).map(|i| (i, secrets[usize::from(i)].sign(&said))).collect(),
        };
        let slot = Slot { kind: Kind::Certificate, ..slot };
        let message = Message::Certificate(certificate);
        let mut bytes = seal(&secrets[2], &verifier.network, &slot, 2, &message).unwrap();
        assert!(verifier.open(&bytes).is_ok());
        bytes[HEADER_BYTES - 1] = 1;
        assert_eq!(verifier.open(&bytes), Err(EnvelopeError::Signature("certificate")));
    }

    #[test]
    fn lists_out_of_order_and_vote_values_out_of_kind_are_refused() {
        let (secrets, verifier) = world();
        let slot = Slot { kind: Kind::Receipt, ..SLOT };
        let d = Digest([1; 32]);
        for items in [vec![(1, d), (0, d)], vec![(1, d), (1, d)], vec![(9, d)]] {
            let bytes = seal(
                &secrets[0],
                &verifier.network,
                &slot,
                0,
                &Message::Receipt(Receipt { items, artefacts: Vec::new() }),
            )
            .unwrap();
            assert_eq!(verifier.open(&bytes), Err(EnvelopeError::List("receipt")));
        }
        let slot = Slot { kind: Kind::Nullify, ..SLOT };
        let bytes = seal(&secrets[0], &verifier.network, &slot, 0, &Message::Vote(d)).unwrap();
        assert!(verifier.open(&bytes).is_err());
    }

    #[test]
    fn rubbish_of_every_length_is_refused() {
        let (_, verifier) = world();
        let mut stream = crate::hash::Stream::new("rubbish", &[]);
        for len in (0..300).chain([MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1]) {
            let mut bytes: Vec<u8> = (0..len).map(|_| stream.below(256) as u8).collect();
            assert!(verifier.open(&bytes).is_err());
            if let Some(first) = bytes.first_mut() {
                *first = Kind::Status as u8;
            }
            assert!(verifier.open(&bytes).is_err());
        }
        assert_eq!(Kind::from_byte(7), None);
        let _ = Message::Status(Status::default());
    }
}
