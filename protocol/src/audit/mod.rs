//! Deriving every record again: what anyone can check who has a network's manifest and what a run has left behind.
//!
//! An [`Auditor`] starts from the manifest, which fixes the genesis, and takes the records in order. A record holds if
//!
//! - a quorum of the members signed its hash, each signature checked;
//! - everything in it follows from the record before it: epoch, seeds, the order of aggregators, who had the turn;
//! - its inputs are those that a quorum of signed receipts forces, each update is signed by its author and starts from the
//!   record before, each payload is what its author signed for, and their merge is the model that the record names.
//!
//! The last point needs the inputs, which are not kept for ever; [`Depth`] says how far a check went. The functions that
//! derive are those that voters use ([`crate::derive`], [`crate::payload`], [`crate::merge`]).

mod certificate;
mod damage;
mod finding;
mod inputs;

#[cfg(test)]
mod tests;

pub use finding::{Finding, Place};

use std::sync::Arc;

use crate::artefact::{ArtefactRef, artefact_root};
use crate::bundle::Packed;
use crate::derive::{Constants, Position};
use crate::envelope::Verifier;
use crate::hash::Digest;
use crate::keys::{Ed25519, PublicKey};
use crate::manifest::{Manifest, ManifestError};
use crate::membership::{Committee, OperationError};
use crate::merge::Merged;
use crate::message::{Committed, UpdateRef};
use crate::payload::WireLen;
use crate::prototypes::ListName;
use crate::record::{Record, RecordKind, list_root, operations_root};
use crate::summary::State;
use crate::update::UpdateCodec;
use finding::{Show as _, first_difference};

/// How far a round was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// Everything, from the signed inputs on.
    Recomputed,
    /// The certificate and what follows from the record before; the signed inputs, or the model that they are merged onto,
    /// are no longer kept.
    Chained,
    /// The certificate alone: the record before is not here, or does not hold.
    Certificate,
}

/// What came out of one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundReport {
    /// The round.
    pub round: u64,
    /// How far it was checked.
    pub depth: Depth,
    /// Updates that it merged.
    pub inputs: u16,
    /// The first thing that is not as it should be.
    pub finding: Option<Finding>,
}

/// The record before the one that is looked at.
#[derive(Debug)]
struct Head {
    record: Record,
    hash: Digest,
    artefact: Option<ArtefactRef>,
    order: Vec<u16>,
}

/// What every update's header says in this network.
#[derive(Clone, Copy, Debug)]
struct Expected {
    schema: Digest,
    codec: UpdateCodec,
    wire_len: WireLen,
}

/// Checks the records of one network, in order.
#[derive(Debug)]
pub struct Auditor {
    constants: Constants,
    expected: Expected,
    manifest: Manifest,
    committee: Arc<Committee>,
    voters: Vec<PublicKey>,
    verifier: Verifier,
    /// Nothing after a gap, or after a record that does not hold.
    head: Option<Head>,
    /// The head's model, if it was derived.
    model: Option<State>,
}

impl Auditor {
    /// Starts at the genesis of a checked manifest.
    ///
    /// # Errors
    /// [`ManifestError`] if the manifest cannot be encoded.
    pub fn new(manifest: &Manifest) -> Result<Self, ManifestError> {
        let constants = Constants::new(manifest)?;
        let committee = Arc::new(Committee::founding(manifest));
        let record = Record::genesis(manifest, constants.network);
        let order = order_after(&record, &committee);
        let head = Head { order, hash: record.hash()?, artefact: None, record };
        let expected =
            Expected { schema: manifest.schema.digest(), codec: manifest.codec, wire_len: WireLen::of(manifest) };
        Ok(Self {
            expected,
            manifest: manifest.clone(),
            voters: committee.voter_keys(),
            verifier: Verifier::new(constants.network, Arc::clone(&committee)),
            committee,
            head: Some(head),
            model: Some(manifest.derivation().genesis()),
            constants,
        })
    }

    /// The last record, if it holds.
    #[must_use]
    pub fn head(&self) -> Option<&Record> {
        self.head.as_ref().map(|head| &head.record)
    }

    /// The network's id.
    #[must_use]
    pub const fn network(&self) -> Digest {
        self.constants.network
    }

    /// Checks the record that is kept as `round`. `bundle` are its signed inputs ([`crate::bundle`]) if they are kept, and
    /// `blob` finds payloads and models by their root. Rounds may be left out; the one after such a gap is then checked by
    /// its certificate alone.
    pub fn round(
        &mut self,
        round: u64,
        committed: &Committed,
        bundle: Option<&[u8]>,
        blob: &mut dyn FnMut(&Digest) -> Option<Vec<u8>>,
    ) -> RoundReport {
        if self.head.as_ref().is_some_and(|head| head.record.round + 1 != round) {
            self.skip();
        }
        let linked = self.head.is_some();
        let (checked, model) = match self.examine(round, committed, bundle, blob) {
            Ok((depth, model)) => (Ok(depth), model),
            Err(finding) => (Err(finding), None),
        };
        let record = &committed.record;
        // A record that a quorum signed is the next one's parent even if it should not have been signed.
        let certified = record.hash().is_ok_and(|hash| {
            record.round == round
                && hash == committed.certificate.record
                && self.certificate_fault(committed, round).is_none()
        });
        let carried = self.head.take().is_some_and(|head| head.record.model_root == record.model_root);
        if certified && self.follow(committed) {
            let order = order_after(record, &self.committee);
            let (hash, artefact) = (committed.certificate.record, committed.body.artefact);
            self.head = Some(Head { order, hash, artefact, record: record.clone() });
        }
        self.model = model.or(self.model.take().filter(|_| carried));
        let depth = match &checked {
            Ok(depth) => *depth,
            Err(_) if linked => Depth::Chained,
            Err(_) => Depth::Certificate,
        };
        RoundReport { round, depth, inputs: record.inputs, finding: checked.err() }
    }

    /// Leaves out rounds that are not here.
    pub fn skip(&mut self) {
        self.head = None;
        self.model = None;
    }

    /// Moves on to the next epoch's committee behind a certified record that closes one; false if that cannot be derived.
    fn follow(&mut self, committed: &Committed) -> bool {
        let record = &committed.record;
        if !record.closes_epoch {
            return true;
        }
        let closing = self.constants.closing(record.round, &record.misses);
        let next = self.committee.next(&closing, &committed.body.operations);
        let Some(next) = next.ok().filter(|next| next.root() == record.next_members_root) else { return false };
        self.voters = next.voter_keys();
        self.committee = Arc::new(next);
        self.verifier.advance(Arc::clone(&self.committee));
        true
    }

    /// What is wrong with a certificate, that of another epoch than the one whose members are known included.
    fn certificate_fault(&self, committed: &Committed, round: u64) -> Option<Finding> {
        certificate::fault(committed, round, &self.constants.network, &self.voters)
    }

    fn examine(
        &self,
        round: u64,
        committed: &Committed,
        bundle: Option<&[u8]>,
        blob: &mut dyn FnMut(&Digest) -> Option<Vec<u8>>,
    ) -> Result<(Depth, Option<State>), Finding> {
        let Committed { record, body, certificate } = committed;
        let at = |place, field: &str, expected: String, found: String| Finding {
            round,
            place,
            field: field.to_owned(),
            expected,
            found,
        };
        if record.network != self.constants.network {
            return Err(at(Place::Record, "network", self.constants.network.show(), record.network.show()));
        }
        let hash = record.hash().map_err(|e| at(Place::Record, "encoding", "a record".to_owned(), e.to_string()))?;
        if let Some(finding) = self.certificate_fault(committed, round) {
            return Err(finding);
        }
        let position = self.position();
        if certificate.record != hash {
            return Err(self.name_damage(round, committed, bundle, blob));
        }
        if certificate.epoch != record.epoch {
            return Err(at(Place::Certificate, "epoch", record.epoch.show(), certificate.epoch.show()));
        }
        // From here on a quorum has signed exactly this record: what differs from it is damage of what stands beside it, and
        // what is wrong with it was signed all the same.
        for (field, list, root) in [
            ("body.receipts", &body.receipts, ("receipts", record.receipts_root)),
            ("body.inputs", &body.inputs, ("inputs", record.inputs_root)),
        ] {
            let found = list_root(root.0, list);
            if found != root.1 {
                let expected = format!("a list with the root {}", root.1);
                return Err(at(Place::Record, field, expected, found.show()));
            }
            self.check_list(round, field, list)?;
        }
        let found = artefact_root(body.artefact.as_ref());
        if found != record.artefact_root {
            let expected = format!("an artefact with the hash {}", record.artefact_root);
            return Err(at(Place::Record, "body.artefact", expected, found.show()));
        }
        let found = operations_root(&body.operations);
        if found != record.ops_root {
            let expected = format!("operations with the root {}", record.ops_root);
            return Err(at(Place::Record, "body.operations", expected, found.show()));
        }
        if let Some(i) = body.operations.iter().position(|op| !op.holds(&self.constants.network, &Ed25519)) {
            let expected = "signatures that hold".to_owned();
            return Err(at(Place::Record, &format!("body.operations[{i}]"), expected, "one that does not".to_owned()));
        }
        if record.origin_view > certificate.view {
            let expected = format!("at most {}, the view of its certificate", certificate.view);
            return Err(at(Place::Record, "origin_view", expected, record.origin_view.show()));
        }
        let Some(position) = position else {
            return match record.round == round {
                true => Ok((Depth::Certificate, None)),
                false => Err(at(Place::Record, "round", round.show(), record.round.show())),
            };
        };
        let own = (record.kind == RecordKind::Normal).then(|| named(record));
        let unfit = |e: OperationError| {
            at(Place::Record, "body.operations", "operations that fit the membership".to_owned(), e.to_string())
        };
        let leader = position.leader(record.origin_view);
        let (expected, _) = position.record(body, own.as_ref(), leader, record.origin_view).map_err(unfit)?;
        if let Some(difference) = first_difference(&expected, record) {
            return Err(difference.at(round));
        }
        if !position.may_follow(body.artefact.as_ref()) {
            let expected = "that of the record before, or one of a later job that is not too old".to_owned();
            return Err(at(Place::Record, "body.artefact", expected, inputs::show_artefact(body.artefact.as_ref())));
        }
        let quorum = self.committee.quorum().quorum;
        if body.receipts.len() != quorum {
            let expected = format!("{quorum} receipts, a quorum");
            return Err(at(Place::Record, "body.receipts", expected, body.receipts.len().to_string()));
        }
        let Some(bundle) = bundle else { return Ok((Depth::Chained, None)) };
        let Some(merged) = self.merge(&position, body, bundle, blob)? else { return Ok((Depth::Chained, None)) };
        let state = merged.as_ref().map(|(_, named)| named);
        let (expected, _) = position.record(body, state, record.proposer, record.origin_view).map_err(unfit)?;
        match first_difference(&expected, record) {
            Some(difference) => Err(difference.at(round)),
            None => Ok((Depth::Recomputed, merged.map(|(model, _)| model))),
        }
    }

    fn position(&self) -> Option<Position<'_>> {
        let head = self.head.as_ref()?;
        Some(Position {
            constants: &self.constants,
            head: &head.record,
            head_hash: head.hash,
            artefact: head.artefact.as_ref(),
            committee: &self.committee,
            order: &head.order,
        })
    }

    fn check_list(&self, round: u64, field: &str, list: &[UpdateRef]) -> Result<(), Finding> {
        let canonical =
            list.is_sorted_by(|a, b| a.0 < b.0) && list.iter().all(|r| usize::from(r.0) < self.committee.members.len());
        if canonical {
            return Ok(());
        }
        let (expected, found) = ("members by ascending place, each once".to_owned(), inputs::show_list(list));
        Err(Finding { round, place: Place::Record, field: field.to_owned(), expected, found })
    }
}

/// The state that a record names.
const fn named(record: &Record) -> Merged {
    let prototypes = ListName { root: record.protos_root, count: record.prototypes };
    Merged { model_root: record.model_root, prototypes }
}

/// The order in which voters aggregate in the round after a record.
fn order_after(record: &Record, committee: &Committee) -> Vec<u16> {
    let (seed, _, _) = record.next_seeds();
    committee.order(&seed)
}

/// The message of this kind and author.
fn find<'a, 'b>(messages: &'b [Packed<'a>], kind: crate::envelope::Kind, author: u16) -> Option<&'b Packed<'a>> {
    messages.iter().find(|m| m.slot.kind == kind && m.author == author)
}
