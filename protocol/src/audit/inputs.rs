//! From signed messages and payloads to the model that they give.

use super::finding::Show as _;
use super::{Auditor, Finding, Place, find};
use crate::artefact::ArtefactRef;
use crate::blob;
use crate::bundle::{Packed, unpack};
use crate::derive::{Position, evicted_keys, evicted_places, forced_inputs};
use crate::envelope::{EnvelopeError, Kind, Verified};
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::merge::{Merge, Merged as Named};
use crate::message::{Message, Receipt, RecordBody, UpdateHeader, UpdateRef};
use crate::payload::{self, Payload, PayloadFault};
use crate::summary::{LoadError, State};

/// A model, and what a record says of it and of the prototypes; nothing if the round merged nothing.
pub(super) type Merged = Option<(State, Named)>;

const MISSING: &str = "nothing: it is missing";

/// Where findings are about.
struct At {
    round: u64,
}

impl At {
    fn wrong<T>(
        &self,
        place: Place,
        field: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Result<T, Finding> {
        Err(Finding {
            round: self.round,
            place,
            field: field.to_owned(),
            expected: expected.into(),
            found: found.into(),
        })
    }
}

/// Members and the beginnings of their statements' hashes.
pub(super) fn show_list(list: &[UpdateRef]) -> String {
    let items: Vec<String> = list.iter().map(|(author, hash)| format!("{author}:{}", hash.short())).collect();
    format!("[{}]", items.join(", "))
}

/// The artefact in force.
pub(super) fn show_artefact(artefact: Option<&ArtefactRef>) -> String {
    artefact.map_or_else(
        || "none".to_owned(),
        |a| format!("{} of host {} for round {}", a.statement.short(), a.host.short(), a.job_round),
    )
}

impl Auditor {
    /// Checks the signed inputs of a body and merges them. Nothing if all is well but the base is not here.
    pub(super) fn merge(
        &self,
        position: &Position<'_>,
        body: &RecordBody,
        bundle: &[u8],
        blob: &mut dyn FnMut(&Digest) -> Option<Vec<u8>>,
    ) -> Result<Option<Merged>, Finding> {
        let at = At { round: position.round() };
        let messages = match unpack(bundle) {
            Ok(messages) => messages,
            Err(error) => {
                return at.wrong(Place::Inputs, "encoding", "the signed inputs of a round", error.to_string());
            }
        };
        let mut receipts = Vec::with_capacity(body.receipts.len());
        for key in &body.receipts {
            let message = self.open(position, &messages, Kind::Receipt, key)?;
            if let Message::Receipt(receipt) = message.message() {
                receipts.push(receipt.clone());
            }
        }
        self.check_forced(&at, position, &receipts, body)?;
        let mut headers = Vec::with_capacity(body.inputs.len());
        for key in &body.inputs {
            let message = self.open(position, &messages, Kind::Update, key)?;
            if let Message::Update(header) = message.message() {
                self.check_header(&at, position, key.0, header)?;
                headers.push((key.0, header.clone()));
            }
        }
        let expected = body.receipts.len() + body.inputs.len();
        if messages.len() != expected {
            return at.wrong(Place::Inputs, "messages", expected.to_string(), messages.len().to_string());
        }
        self.merge_payloads(&at, position, &headers, blob)
    }

    fn open(
        &self,
        position: &Position<'_>,
        messages: &[Packed<'_>],
        kind: Kind,
        key: &UpdateRef,
    ) -> Result<Verified, Finding> {
        let (author, statement) = *key;
        let place = if kind == Kind::Receipt { Place::Receipt(author) } else { Place::Update(author) };
        let at = At { round: position.round() };
        let Some(packed) = find(messages, kind, author) else {
            return at.wrong(place, "message", format!("the statement {statement}"), MISSING);
        };
        let (epoch, round) = (position.committee.epoch, position.round());
        let slot = packed.slot;
        if slot.epoch != epoch {
            return at.wrong(place, "epoch", epoch.show(), slot.epoch.show());
        }
        if slot.round != round {
            return at.wrong(place, "round", round.show(), slot.round.show());
        }
        if slot.view != 0 {
            return at.wrong(place, "view", "0", slot.view.show());
        }
        let message = match self.verifier.open(packed.bytes) {
            Ok(message) => message,
            Err(EnvelopeError::Signature(_)) => {
                let text = "a signature that does not hold for these bytes";
                return at.wrong(place, "signature", format!("one by member {author}"), text);
            }
            Err(error) => return at.wrong(place, "body", "what its kind says", error.to_string()),
        };
        if message.statement() != statement {
            return at.wrong(place, "statement", statement.show(), message.statement().show());
        }
        Ok(message)
    }

    fn check_forced(
        &self,
        at: &At,
        position: &Position<'_>,
        receipts: &[Receipt],
        body: &RecordBody,
    ) -> Result<(), Finding> {
        let evicted = evicted_places(body, &self.committee);
        let forced = forced_inputs(receipts.iter(), &self.committee.quorum(), &evicted);
        if forced != body.inputs {
            let expected = format!("{}, which the receipts force", show_list(&forced));
            return at.wrong(Place::Record, "body.inputs", expected, show_list(&body.inputs));
        }
        let forced = position.forced_artefact(receipts.iter(), &evicted_keys(body));
        if forced != body.artefact {
            let expected = format!("{}, which the receipts force", show_artefact(forced.as_ref()));
            return at.wrong(Place::Record, "body.artefact", expected, show_artefact(body.artefact.as_ref()));
        }
        Ok(())
    }

    fn check_header(
        &self,
        at: &At,
        position: &Position<'_>,
        author: u16,
        header: &UpdateHeader,
    ) -> Result<(), Finding> {
        let place = Place::Update(author);
        for (field, expected, found) in
            [("base", position.head_hash, header.base), ("schema", self.expected.schema, header.schema)]
        {
            if expected != found {
                return at.wrong(place, field, expected.show(), found.show());
            }
        }
        if header.codec != self.expected.codec {
            return at.wrong(place, "codec", self.expected.codec.to_string(), header.codec.to_string());
        }
        let lengths = self.expected.wire_len;
        if !lengths.allows(header.wire_len) {
            let expected = match u64::from(lengths.least()) {
                only if only == lengths.most() => only.show(),
                least => format!("{least} to {}, in steps of a prototype", lengths.most()),
            };
            return at.wrong(place, "wire_len", expected, header.wire_len.show());
        }
        Ok(())
    }

    fn merge_payloads(
        &self,
        at: &At,
        position: &Position<'_>,
        headers: &[(u16, UpdateHeader)],
        blob: &mut dyn FnMut(&Digest) -> Option<Vec<u8>>,
    ) -> Result<Option<Merged>, Finding> {
        let enough = self.constants.is_enough(headers.len(), &self.committee);
        let mut merge = Merge::new(&self.manifest);
        let mut in_range = true;
        for (author, header) in headers {
            // A method that shares nothing has empty payloads; nobody keeps those.
            let place = Place::Payload { author: *author, root: header.wire_root };
            let wire = if header.wire_len == 0 { Some(Vec::new()) } else { blob(&header.wire_root) };
            let Some(wire) = wire else { return at.wrong(place, "file", header.wire_root.show(), MISSING) };
            let payload = self.payload(at, place, header, &wire)?;
            // As for a voter: weights that leave the range carry the state over.
            in_range &= enough && merge.add(*author, &payload, self.constants.weight(header.samples)).is_ok();
        }
        if !enough || !in_range {
            return Ok(Some(None));
        }
        let read;
        let base = match &self.model {
            Some(model) => model,
            None => {
                let Some(base) = self.base(at, &position.head.model_root, blob)? else { return Ok(None) };
                read = base;
                &read
            }
        };
        let members: Vec<PublicKey> = self.committee.members.iter().map(|member| member.key).collect();
        Ok(Some(merge.finish(base, &members).ok().map(|result| {
            let named = result.named(result.state.root());
            (result.state.settled(), named)
        })))
    }

    fn payload<'a>(
        &self,
        at: &At,
        place: Place,
        header: &UpdateHeader,
        wire: &'a [u8],
    ) -> Result<Payload<'a>, Finding> {
        match payload::check(header, &self.manifest, wire) {
            Ok(payload) => Ok(payload),
            Err(PayloadFault::Wire { found }) => at.wrong(place, "wire_root", header.wire_root.show(), found.show()),
            Err(PayloadFault::Codec(error)) => at.wrong(place, "encoding", header.codec.to_string(), error.to_string()),
            Err(PayloadFault::Prototypes(error)) => {
                at.wrong(place, "prototypes", "prototypes of the manifest's form", error.to_string())
            }
            Err(PayloadFault::Decoded { found }) => {
                at.wrong(place, "payload_root", header.payload_root.show(), found.show())
            }
            Err(PayloadFault::Norm { found }) => at.wrong(place, "norm2_q", header.norm2_q.show(), found.show()),
        }
    }

    /// A kept model, for the first round whose inputs are kept.
    fn base(
        &self,
        at: &At,
        root: &Digest,
        blob: &mut dyn FnMut(&Digest) -> Option<Vec<u8>>,
    ) -> Result<Option<State>, Finding> {
        let derivation = self.manifest.derivation();
        let bytes = if derivation.state_len() == 0 { Some(Vec::new()) } else { blob(root) };
        let Some(bytes) = bytes else { return Ok(None) };
        let found = blob::root(&bytes);
        if found != *root {
            return at.wrong(Place::Base(*root), "bytes", root.show(), found.show());
        }
        // A part that is there, and is what it is called.
        let mut part = |root: &Digest| blob(root).filter(|bytes| blob::root(bytes) == *root);
        match derivation.load(&bytes, &mut part) {
            Ok(state) => Ok(Some(state)),
            Err(LoadError::Missing { .. }) => Ok(None),
            Err(error) => {
                at.wrong(Place::Base(*root), "encoding", "a state of the manifest's schema", error.to_string())
            }
        }
    }
}
