//! Proof that a member lied: two signed statements that no honest member makes together.
//!
//! A proof names nobody but the holder of a key: both signatures are the member's own, and an honest program signs at most
//! one statement per slot, and never to nullify and to finalize in one view. It convinces anyone who knows the key.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::envelope::{Kind, Slot, Verified, signed_bytes_of};
use crate::hash::Digest;
use crate::keys::{Ed25519, PublicKey, Scheme, SecretKey, Signature};

/// First bytes of an evidence file, so that another file is not taken for a damaged one.
const MAGIC: &[u8] = b"fedswarm evidence 1\n";

/// Largest evidence file; both statements are of fixed size, so anything longer is something else.
pub const MAX_EVIDENCE_BYTES: usize = 512;

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The statements are of different epochs, rounds or views.
    #[error("the two statements are about different places: {0} differs")]
    Place(&'static str),
    /// An honest member may say both.
    #[error("a {0} and a {1} statement do not contradict each other")]
    Compatible(&'static str, &'static str),
    /// The same thing said twice.
    #[error("both statements say the same")]
    Same,
    /// The statements are in the wrong order; there is one encoding of a proof.
    #[error("the statements are not in canonical order")]
    Order,
    /// A signature does not hold.
    #[error("the signature of the {} statement does not hold", if *.0 == 0 { "first" } else { "second" })]
    Signature(usize),
    /// Not an evidence file.
    #[error("not an evidence file: {0}")]
    File(String),
}

/// A statement reduced to what its signature covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignedStatement {
    /// What it is.
    pub kind: Kind,
    /// Epoch.
    pub epoch: u32,
    /// Round.
    pub round: u64,
    /// View; 0 for kinds that have none.
    pub view: u32,
    /// Hash of the body ([`crate::envelope::body_hash`]).
    pub body: Digest,
    /// The author's signature.
    pub signature: Signature,
}

impl SignedStatement {
    /// What a message says; nothing for kinds that prove themselves and are not signed.
    #[must_use]
    pub fn of(message: &Verified) -> Option<Self> {
        let Slot { kind, epoch, round, view } = *message.slot();
        let signed = !kind.proves_itself();
        signed.then(|| Self { kind, epoch, round, view, body: message.body_hash(), signature: *message.signature() })
    }

    /// Signs a statement of which only the body's hash is known; for tests and simulated liars.
    #[must_use]
    pub fn sign(key: &SecretKey, network: &Digest, slot: &Slot, body: Digest) -> Self {
        let signature = key.sign(&signed_bytes_of(network, slot, &body));
        let Slot { kind, epoch, round, view } = *slot;
        Self { kind, epoch, round, view, body, signature }
    }

    /// Where it stands.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        Slot { kind: self.kind, epoch: self.epoch, round: self.round, view: self.view }
    }

    fn holds(&self, network: &Digest, key: &PublicKey, scheme: &dyn Scheme) -> bool {
        scheme.verifies(key, &signed_bytes_of(network, &self.slot(), &self.body), &self.signature)
    }
}

/// Two statements of one member that contradict each other. Valid if both signatures hold under the member's key, both are
/// about the same epoch, round and view of the same network, and either they are of one kind that is said once per slot
/// with different bodies, or one nullifies and the other finalizes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EquivocationProof {
    /// The member's key: places change from epoch to epoch.
    pub author: PublicKey,
    /// The two statements, ascending by kind and body.
    pub statements: [SignedStatement; 2],
}

impl EquivocationProof {
    /// A proof from two messages of the member with this key, if they contradict each other.
    #[must_use]
    pub fn of(author: &PublicKey, a: &Verified, b: &Verified) -> Option<Self> {
        if a.author() != b.author() {
            return None;
        }
        let mut statements = [SignedStatement::of(a)?, SignedStatement::of(b)?];
        statements.sort_by_key(|s| (s.kind, s.body));
        let proof = Self { author: *author, statements };
        proof.contradiction().is_ok().then_some(proof)
    }

    /// Epoch of the statements.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.statements[0].epoch
    }

    /// Round of the statements.
    #[must_use]
    pub const fn round(&self) -> u64 {
        self.statements[0].round
    }

    /// Checks the proof. Whether its author is a member is another question.
    ///
    /// # Errors
    /// [`EvidenceError`], saying why it proves nothing.
    pub fn check(&self, network: &Digest) -> Result<(), EvidenceError> {
        self.check_with(network, &Ed25519)
    }

    /// [`EquivocationProof::check`] with another signature scheme, for simulations.
    ///
    /// # Errors
    /// As [`EquivocationProof::check`].
    pub fn check_with(&self, network: &Digest, scheme: &dyn Scheme) -> Result<(), EvidenceError> {
        self.contradiction()?;
        match self.statements.iter().position(|s| !s.holds(network, &self.author, scheme)) {
            None => Ok(()),
            Some(which) => Err(EvidenceError::Signature(which)),
        }
    }

    /// Whether the two, if signed, contradict each other. Cheap: no signature is checked.
    fn contradiction(&self) -> Result<(), EvidenceError> {
        let [a, b] = &self.statements;
        for (name, equal) in [("epoch", a.epoch == b.epoch), ("round", a.round == b.round), ("view", a.view == b.view)]
        {
            if !equal {
                return Err(EvidenceError::Place(name));
            }
        }
        match (a.kind, b.kind) {
            (a_kind, b_kind) if a_kind == b_kind => {
                let once =
                    matches!(a_kind, Kind::Update | Kind::Receipt | Kind::Proposal | Kind::Notarize | Kind::Finalize);
                match a.body.cmp(&b.body) {
                    _ if !once => Err(EvidenceError::Compatible(a_kind.name(), b_kind.name())),
                    std::cmp::Ordering::Less => Ok(()),
                    std::cmp::Ordering::Equal => Err(EvidenceError::Same),
                    std::cmp::Ordering::Greater => Err(EvidenceError::Order),
                }
            }
            // Rule (b): never both in one view.
            (Kind::Nullify, Kind::Finalize) => Ok(()),
            (Kind::Finalize, Kind::Nullify) => Err(EvidenceError::Order),
            (a_kind, b_kind) => Err(EvidenceError::Compatible(a_kind.name(), b_kind.name())),
        }
    }
}

/// A proof with all that is needed to check it: a file for anybody. Whether the key is a member's is another question, which
/// the network's manifest and records answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EvidenceFile {
    /// The network that the statements were made in.
    pub network: Digest,
    /// The author and its statements.
    pub proof: EquivocationProof,
}

impl EvidenceFile {
    /// The file's bytes.
    ///
    /// # Errors
    /// None in practice; see [`codec::encode`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        Ok([MAGIC, &codec::encode(self)?].concat())
    }

    /// Reads a file and checks what it says.
    ///
    /// # Errors
    /// [`EvidenceError`]: not an evidence file, or one that proves nothing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let Some(body) = bytes.strip_prefix(MAGIC) else {
            return Err(EvidenceError::File("it does not begin as one does".to_owned()));
        };
        let file: Self = codec::decode(body, MAX_EVIDENCE_BYTES).map_err(|e| EvidenceError::File(e.to_string()))?;
        file.proof.check(&file.network)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::envelope::{Verifier, seal};
    use crate::membership::Committee;
    use crate::message::{Message, Receipt};

    const NETWORK: Digest = Digest([5; 32]);

    fn key(i: u8) -> SecretKey {
        SecretKey::from_bytes(&[i + 1; 32])
    }

    fn slot(kind: Kind) -> Slot {
        Slot { kind, epoch: 1, round: 17, view: if kind.has_view() { 2 } else { 0 } }
    }

    /// Statements of member 2 in these slots, with these bodies.
    fn pair(a: (Slot, u8), b: (Slot, u8)) -> EquivocationProof {
        let statements = [a, b].map(|(slot, body)| SignedStatement::sign(&key(2), &NETWORK, &slot, Digest([body; 32])));
        EquivocationProof { author: key(2).public(), statements }
    }

    fn said(member: u8, slot: &Slot, message: &Message) -> Verified {
        let verifier =
            Verifier::new(NETWORK, Arc::new(Committee::of_keys(slot.epoch, (0..4).map(|i| key(i).public()))));
        verifier.open(&seal(&key(member), &NETWORK, slot, member.into(), message).unwrap()).unwrap()
    }

    #[test]
    fn two_statements_in_one_slot_are_a_proof_in_either_order_of_arrival() {
        for kind in [Kind::Notarize, Kind::Finalize] {
            let a = said(2, &slot(kind), &Message::Vote(Digest([1; 32])));
            let b = said(2, &slot(kind), &Message::Vote(Digest([2; 32])));
            let proof = EquivocationProof::of(&key(2).public(), &a, &b).unwrap();
            assert_eq!(EquivocationProof::of(&key(2).public(), &b, &a).unwrap(), proof);
            proof.check(&NETWORK).unwrap();
            assert_eq!((proof.epoch(), proof.round()), (1, 17));
            assert_eq!(EquivocationProof::of(&key(2).public(), &a, &a), None, "saying it twice is no lie");
        }
        let receipt =
            |items| said(1, &slot(Kind::Receipt), &Message::Receipt(Receipt { items, artefacts: Vec::new() }));
        let proof = EquivocationProof::of(&key(1).public(), &receipt(vec![]), &receipt(vec![(0, NETWORK)])).unwrap();
        proof.check(&NETWORK).unwrap();
    }

    #[test]
    fn to_nullify_and_to_finalize_in_one_view_is_a_proof() {
        let a = said(2, &slot(Kind::Finalize), &Message::Vote(Digest([1; 32])));
        let b = said(2, &slot(Kind::Nullify), &Message::Vote(Digest::ZERO));
        EquivocationProof::of(&key(2).public(), &a, &b).unwrap().check(&NETWORK).unwrap();
    }

    #[test]
    fn what_an_honest_member_says_is_never_a_proof() {
        let record = Message::Vote(Digest([1; 32]));
        let notarize = said(2, &slot(Kind::Notarize), &record);
        // Notarize, then finalize or nullify, is the normal course; another view or member is another slot.
        for other in [
            said(2, &slot(Kind::Finalize), &record),
            said(2, &slot(Kind::Nullify), &Message::Vote(Digest::ZERO)),
            said(2, &Slot { view: 3, ..slot(Kind::Notarize) }, &Message::Vote(Digest([2; 32]))),
            said(2, &Slot { round: 18, ..slot(Kind::Notarize) }, &Message::Vote(Digest([2; 32]))),
            said(2, &Slot { epoch: 2, ..slot(Kind::Notarize) }, &Message::Vote(Digest([2; 32]))),
            said(3, &slot(Kind::Notarize), &Message::Vote(Digest([2; 32]))),
        ] {
            assert_eq!(EquivocationProof::of(&key(2).public(), &notarize, &other), None, "{:?}", other.slot());
        }
        let status = |finalized| {
            let status = crate::message::Status { finalized, ..Default::default() };
            said(2, &slot(Kind::Status), &Message::Status(status))
        };
        assert_eq!(
            EquivocationProof::of(&key(2).public(), &status(1), &status(2)),
            None,
            "a status is said again and again"
        );
    }

    #[test]
    fn the_reason_why_a_proof_proves_nothing_is_named() {
        use EvidenceError as E;
        let (n, f, z) = (slot(Kind::Notarize), slot(Kind::Finalize), slot(Kind::Nullify));
        let cases = [
            (pair((n, 1), (Slot { epoch: 0, ..n }, 2)), E::Place("epoch")),
            (pair((n, 1), (Slot { round: 0, ..n }, 2)), E::Place("round")),
            (pair((n, 1), (Slot { view: 0, ..n }, 2)), E::Place("view")),
            (pair((n, 1), (n, 1)), E::Same),
            (pair((n, 2), (n, 1)), E::Order),
            (pair((f, 1), (z, 0)), E::Order),
            (pair((n, 1), (f, 2)), E::Compatible("notarize", "finalize")),
            (pair((z, 1), (z, 2)), E::Compatible("nullify", "nullify")),
            (EquivocationProof { author: key(1).public(), ..pair((n, 1), (n, 2)) }, E::Signature(0)),
        ];
        for (proof, error) in cases {
            assert_eq!(proof.check(&NETWORK), Err(error));
        }
        let mut forged = pair((n, 1), (n, 2));
        forged.statements[1].signature = forged.statements[0].signature;
        assert_eq!(forged.check(&NETWORK), Err(E::Signature(1)));
        let other = pair((n, 1), (n, 2)).check(&Digest([6; 32]));
        assert_eq!(other, Err(E::Signature(0)), "statements of another network");
    }

    #[test]
    fn a_file_proves_the_same_to_everybody_and_no_bit_of_it_can_change() {
        let proof = pair((slot(Kind::Proposal), 1), (slot(Kind::Proposal), 2));
        let file = EvidenceFile { network: NETWORK, proof };
        let bytes = file.to_bytes().unwrap();
        assert!(bytes.len() <= MAX_EVIDENCE_BYTES, "{}", bytes.len());
        assert_eq!(EvidenceFile::from_bytes(&bytes).unwrap(), file);
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(EvidenceFile::from_bytes(&altered).is_err(), "bit {bit}");
        }
        assert!(matches!(EvidenceFile::from_bytes(b"something else"), Err(EvidenceError::File(_))));
    }
}
