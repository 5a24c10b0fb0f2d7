//! What a simulation keeps for an audit: signed inputs, payloads and models as files, up to a size.
//!
//! The nodes of one process share one archive. Each offers what it holds when it commits a round; the first that holds
//! everything fills it, since a node that was a moment behind may lack a payload that the others merged.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use fedswarm_network::BlobId;
use fedswarm_protocol::bundle;
use fedswarm_protocol::envelope::Verified;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{Committed, Message};

use crate::Error;
use crate::audit::layout;
use crate::blobs::Blobs;

/// One archived round.
#[derive(Debug)]
struct Round {
    /// Bytes of its packed messages.
    bundle: u64,
    payloads: Vec<BlobId>,
    /// The state that it gave, in all the blobs that deriving the next one needs.
    state: Vec<BlobId>,
}

#[derive(Debug, Default)]
struct Held {
    rounds: BTreeMap<u64, Round>,
    /// Size of each file in the folder of blobs, and how many rounds use it.
    blobs: BTreeMap<BlobId, (u64, usize)>,
    /// The state of the last round that was dropped.
    base: Vec<BlobId>,
    total: u64,
}

/// Inputs of the newest rounds, in a folder.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    limit: u64,
    held: Mutex<Held>,
}

impl Archive {
    /// An empty archive of at most `limit` bytes, beyond which the oldest rounds are dropped.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn new(folder: PathBuf, limit: u64) -> Result<Self, Error> {
        for inner in [layout::INPUTS, layout::BLOBS] {
            let path = folder.join(inner);
            fs::create_dir_all(&path).map_err(|e| Error::file(path, e))?;
        }
        Ok(Self { folder, limit, held: Mutex::default() })
    }

    /// Takes in a round, unless it is here already or the caller does not hold all of it; `parts` are what deriving the next state
    /// needs beside this one's own blob.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn offer(
        &self,
        committed: &Committed,
        inputs: &[Verified],
        blobs: &Blobs,
        parts: &[Digest],
    ) -> Result<(), Error> {
        let round = committed.record.round;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if inputs.is_empty() || held.rounds.contains_key(&round) {
            return Ok(());
        }
        let payloads: Vec<BlobId> = inputs.iter().filter_map(|m| wire_root(m.message())).collect();
        let state: Vec<BlobId> =
            [&committed.record.model_root].into_iter().chain(parts).map(|root| BlobId(*root)).collect();
        let mut new = BTreeMap::new();
        for id in payloads.iter().chain(&state).filter(|id| !held.blobs.contains_key(id)) {
            let Some(blob) = blobs.get(id) else { return Ok(()) };
            new.insert(*id, blob);
        }
        let bundle = bundle::pack(inputs);
        self.write(layout::inputs_file(round), &bundle)?;
        for (id, blob) in new {
            self.write(layout::blob_file(&id.0), &blob.bytes)?;
            held.blobs.insert(id, (blob.bytes.len() as u64, 0));
            held.total += blob.bytes.len() as u64;
        }
        for id in payloads.iter().chain(&state) {
            if let Some((_, uses)) = held.blobs.get_mut(id) {
                *uses += 1;
            }
        }
        held.total += bundle.len() as u64;
        held.rounds.insert(round, Round { bundle: bundle.len() as u64, payloads, state });
        while held.total > self.limit && !held.rounds.is_empty() {
            self.drop_oldest(&mut held);
        }
        Ok(())
    }

    /// Says in the folder from which round on everything is kept, and returns that round: the one after `last` if nothing is.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(&self, last: u64) -> Result<u64, Error> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = last + 1;
        while from > 1 && held.rounds.contains_key(&(from - 1)) {
            from -= 1;
        }
        self.write(PathBuf::from(layout::INPUTS).join(layout::KEPT_FROM), format!("{from}\n").as_bytes())?;
        Ok(from)
    }

    fn drop_oldest(&self, held: &mut Held) {
        let Some((number, round)) = held.rounds.pop_first() else { return };
        held.total -= round.bundle;
        // A file that cannot be removed takes place and does no other harm.
        drop(fs::remove_file(self.folder.join(layout::inputs_file(number))));
        let base = std::mem::replace(&mut held.base, round.state);
        for id in round.payloads.into_iter().chain(base) {
            let Some((size, uses)) = held.blobs.get_mut(&id) else { continue };
            *uses -= 1;
            if *uses == 0 {
                held.total -= *size;
                held.blobs.remove(&id);
                drop(fs::remove_file(self.folder.join(layout::blob_file(&id.0))));
            }
        }
    }

    /// Not synced: what is archived here becomes a run's folder only once it is complete.
    fn write(&self, file: PathBuf, bytes: &[u8]) -> Result<(), Error> {
        let path = self.folder.join(file);
        fs::write(&path, bytes).map_err(|e| Error::file(path, e))
    }
}

/// The payload that an update header names; those of methods that share nothing are empty and not kept.
pub(crate) fn wire_root(message: &Message) -> Option<BlobId> {
    match message {
        Message::Update(header) if header.wire_len > 0 => Some(BlobId(header.wire_root)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::blobs::Interner;
    use fedswarm_protocol::certificate::Certificate;
    use fedswarm_protocol::envelope::{Kind, Slot, Verifier, seal};
    use fedswarm_protocol::keys::SecretKey;
    use fedswarm_protocol::membership::Committee;
    use fedswarm_protocol::message::{RecordBody, UpdateHeader};
    use fedswarm_protocol::record::{Record, RecordKind, Rule};
    use fedswarm_protocol::update::UpdateCodec;

    const PAYLOAD: usize = 1000;

    /// A round with one update and a model, both of which `blobs` holds.
    fn round(number: u64, blobs: &Blobs) -> (Committed, Vec<Verified>) {
        let bytes = |what: u8| [vec![what; PAYLOAD - 1], vec![number as u8]].concat();
        let (wire, model) = (blobs.insert(bytes(1), number).unwrap().0, blobs.insert(bytes(2), number).unwrap().0);
        let zero = Digest::ZERO;
        let record = Record {
            version: 1,
            network: zero,
            epoch: 0,
            round: number,
            quorum: 1,
            parent: zero,
            origin_view: 0,
            proposer: 0,
            kind: RecordKind::Normal,
            rule: Rule::Mean,
            members_root: zero,
            receipts_root: zero,
            inputs_root: zero,
            inputs: 1,
            prototypes: 0,
            model_root: model,
            protos_root: zero,
            state_root: zero,
            artefact_root: zero,
            ops_root: zero,
            next_members_root: zero,
            seed: zero,
            seed_following: zero,
            seed_fold: zero,
            skipped_leaders: 0,
            misses: vec![0],
            closes_epoch: false,
        };
        let certificate =
            Certificate { kind: Kind::Finalize, epoch: 0, round: number, view: 0, record: zero, votes: Vec::new() };
        let header = UpdateHeader {
            base: zero,
            schema: zero,
            payload_root: wire,
            wire_root: wire,
            wire_len: PAYLOAD as u32,
            codec: UpdateCodec::I32,
            samples: 1,
            norm2_q: 0,
        };
        let key = SecretKey::from_bytes(&[1; 32]);
        let slot = Slot { kind: Kind::Update, epoch: 0, round: number, view: 0 };
        let verifier = Verifier::new(zero, Arc::new(Committee::of_keys(0, [key.public()])));
        let sealed = seal(&key, &zero, &slot, 0, &Message::Update(header)).unwrap();
        (Committed { record, body: RecordBody::default(), certificate }, vec![verifier.open(&sealed).unwrap()])
    }

    fn files(archive: &Archive, inner: &str) -> usize {
        fs::read_dir(archive.folder.join(inner)).unwrap().count()
    }

    #[test]
    fn beyond_its_limit_the_oldest_rounds_go_and_the_model_before_the_first_stays() {
        let folder = tempfile::tempdir().unwrap();
        // Four rounds of two blobs and the model before them, but not five.
        let archive = Archive::new(folder.path().to_owned(), 10 * PAYLOAD as u64 + 500).unwrap();
        let blobs = Blobs::open(None, Interner::default()).unwrap();
        for number in 1..=9 {
            let (committed, inputs) = round(number, &blobs);
            archive.offer(&committed, &inputs, &blobs, &[]).unwrap();
            archive.offer(&committed, &inputs, &blobs, &[]).unwrap();
        }
        assert_eq!(archive.finish(9).unwrap(), 6);
        assert_eq!(fs::read_to_string(folder.path().join("inputs/kept-from")).unwrap(), "6\n");
        assert_eq!(files(&archive, layout::INPUTS), 4 + 1);
        assert_eq!(files(&archive, layout::BLOBS), 4 * 2 + 1);
    }

    #[test]
    fn a_round_is_taken_from_the_first_that_holds_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::new(folder.path().to_owned(), u64::MAX).unwrap();
        let behind = Blobs::open(None, Interner::default()).unwrap();
        let whole = Blobs::open(None, Interner::default()).unwrap();
        let (committed, inputs) = round(1, &whole);
        archive.offer(&committed, &inputs, &behind, &[]).unwrap();
        archive.offer(&committed, &[], &whole, &[]).unwrap();
        assert_eq!(archive.finish(1).unwrap(), 2, "one lacks the payload, the other a message");
        archive.offer(&committed, &inputs, &whole, &[]).unwrap();
        assert_eq!(archive.finish(1).unwrap(), 1);
    }
}
