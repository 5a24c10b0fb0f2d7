//! A run made by hand: signed updates, receipts and certificates of four members, and lies where a test wants them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Auditor, RoundReport};
use crate::blob;
use crate::bundle::pack;
use crate::certificate::{Certificate, Quorum};
use crate::derive::Position;
use crate::envelope::{Kind, Slot, Verified, Verifier, seal, signed_bytes};
use crate::hash::{Digest, Stream};
use crate::keys::SecretKey;
use crate::manifest::{MAX_WEIGHT, Manifest};
use crate::membership::{Admission, Committee, Operation};
use crate::merge::WeightedMean;
use crate::message::{Committed, Message, Receipt, RecordBody, UpdateHeader, UpdateRef};
use crate::payload::norm2_q;
use crate::record::Record;
use crate::round::Rules;
use crate::tensor::{FixedVector, TensorSpec};
use crate::testing;

/// A round as it is kept.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) committed: Committed,
    pub(super) messages: Vec<Verified>,
}

/// How a round is to differ from an honest one; what a quorum of liars could sign.
#[derive(Clone, Copy, Default)]
pub(super) struct Lies {
    pub(super) view: u32,
    pub(super) proposer: Option<u16>,
    pub(super) model: Option<Digest>,
    pub(super) base: Option<Digest>,
    pub(super) receipts: Option<usize>,
    pub(super) drop_input: bool,
    pub(super) norm: u64,
    /// Updates that are there.
    pub(super) updates: Option<u16>,
}

pub(super) struct Run {
    pub(super) manifest: Manifest,
    pub(super) secrets: Vec<SecretKey>,
    pub(super) verifier: Verifier,
    rules: Rules,
    committee: Arc<Committee>,
    /// What the next record is to change.
    pub(super) operations: Vec<Operation>,
    model: FixedVector,
    pub(super) rounds: Vec<Kept>,
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Run {
    pub(super) fn new(name: &str) -> Self {
        let (manifest, secrets) = testing::network(4, vec![TensorSpec::new("w", &[5], 4)]);
        Self::of(Manifest { name: name.into(), max_weight: MAX_WEIGHT, ..manifest }, secrets)
    }

    /// In a network where newcomers are voted on.
    pub(super) fn voting() -> Self {
        let Self { manifest, secrets, .. } = Self::new("audit");
        Self::of(Manifest { admission: Admission::Vote, ..manifest }, secrets)
    }

    fn of(manifest: Manifest, secrets: Vec<SecretKey>) -> Self {
        let rules = Rules::new(&manifest, &secrets[0].public()).unwrap();
        let committee = Arc::new(Committee::founding(&manifest));
        let verifier = Verifier::new(rules.constants.network, Arc::clone(&committee));
        let model = manifest.schema.genesis(&manifest.genesis_seed);
        let (operations, rounds, blobs) = <_>::default();
        Self { manifest, secrets, verifier, rules, committee, operations, model, rounds, blobs }
    }

    /// An honest run of this many rounds.
    pub(super) fn honest(rounds: u64) -> Self {
        let mut run = Self::new("audit");
        (0..rounds).for_each(|_| run.push(Lies::default()));
        run
    }

    fn head(&self) -> (Record, Digest) {
        self.rounds.last().map_or((self.rules.genesis.clone(), self.rules.genesis_hash), |kept| {
            (kept.committed.record.clone(), kept.committed.certificate.record)
        })
    }

    pub(super) fn sign(&self, kind: Kind, author: u16, round: u64, message: &Message) -> Verified {
        let slot = Slot { kind, epoch: self.committee.epoch, round, view: 0 };
        let bytes =
            seal(&self.secrets[usize::from(author)], &self.rules.constants.network, &slot, author, message).unwrap();
        self.verifier.open(&bytes).unwrap()
    }

    pub(super) fn certify(&self, record: &Record, view: u32) -> Certificate {
        let (kind, epoch, round) = (Kind::Finalize, record.epoch, record.round);
        let hash = record.hash().unwrap();
        let slot = Slot { kind, epoch, round, view };
        let signed = signed_bytes(&self.rules.constants.network, &slot, hash.as_bytes());
        let votes = (0..3u16).map(|v| (v, self.secrets[usize::from(v)].sign(&signed))).collect();
        Certificate { kind, epoch, round, view, record: hash, votes }
    }

    fn update(&mut self, author: u16, round: u64, base: Digest, lies: Lies) -> (Verified, FixedVector) {
        let mut stream = Stream::new("delta", &[&[author as u8], &round.to_le_bytes()]);
        let delta = FixedVector((0..5).map(|_| stream.below(1 << 20) as i32 - (1 << 19)).collect());
        let wire = delta.to_bytes();
        let root = blob::root(&wire);
        let header = UpdateHeader {
            base: lies.base.unwrap_or(base),
            schema: self.rules.schema,
            payload_root: root,
            wire_root: root,
            wire_len: wire.len() as u32,
            codec: self.rules.codec,
            samples: 10 + u32::from(author),
            norm2_q: norm2_q(&delta) + lies.norm,
        };
        self.blobs.insert(root, wire);
        (self.sign(Kind::Update, author, round, &Message::Update(header)), delta)
    }

    /// One more round.
    pub(super) fn push(&mut self, lies: Lies) {
        let (head, head_hash) = self.head();
        let round = head.round + 1;
        let updates: Vec<_> = (0..lies.updates.unwrap_or(4)).map(|i| self.update(i, round, head_hash, lies)).collect();
        let items: Vec<UpdateRef> = updates.iter().map(|(m, _)| (m.author(), m.statement())).collect();
        let quorum = Quorum::of(4).quorum;
        let receipts: Vec<_> = (0..lies.receipts.unwrap_or(quorum) as u16)
            .map(|i| self.sign(Kind::Receipt, i, round, &Message::Receipt(Receipt { items: items.clone() })))
            .collect();
        let inputs: Vec<UpdateRef> = items.iter().skip(usize::from(lies.drop_input)).copied().collect();
        let operations = std::mem::take(&mut self.operations);
        let body =
            RecordBody { receipts: receipts.iter().map(|m| (m.author(), m.statement())).collect(), inputs, operations };
        let mut sum = WeightedMean::new(5);
        for (message, delta) in updates.iter().skip(usize::from(lies.drop_input)) {
            let Message::Update(header) = message.message() else { unreachable!() };
            sum.add(delta, header.samples).unwrap();
        }
        let enough = self.rules.constants.is_enough(body.inputs.len(), &self.committee);
        let model = enough.then(|| sum.finish(&self.model).unwrap());
        let committee = Arc::clone(&self.committee);
        let order = committee.order(&head.next_seeds().0);
        let constants = &self.rules.constants;
        let here = Position { constants, head: &head, head_hash, committee: &committee, order: &order };
        let root = lies.model.or(model.as_ref().map(|model| blob::root(&model.to_bytes())));
        let proposer = lies.proposer.unwrap_or(here.leader(lies.view));
        let (record, next) = here.record(&body, root, proposer, lies.view).unwrap();
        let certificate = self.certify(&record, lies.view);
        if let Some(model) = model {
            self.blobs.insert(blob::root(&model.to_bytes()), model.to_bytes());
            self.model = model;
        }
        let used = updates.into_iter().map(|(m, _)| m).skip(usize::from(lies.drop_input));
        let messages = used.chain(receipts).collect();
        self.rounds.push(Kept { committed: Committed { record, body, certificate }, messages });
        if let Some(next) = next.map(Arc::new) {
            self.committee = Arc::clone(&next);
            self.verifier.advance(next);
        }
    }

    /// Audits with these bundles instead of the run's own.
    pub(super) fn audit_with(&self, bundle: impl Fn(u64, Vec<u8>) -> Option<Vec<u8>>) -> Vec<RoundReport> {
        let mut auditor = Auditor::new(&self.manifest).unwrap();
        let mut reports = Vec::new();
        for (round, kept) in (1u64..).zip(&self.rounds) {
            let bundle = bundle(round, pack(&kept.messages));
            let mut blob = |root: &Digest| self.blobs.get(root).cloned();
            reports.push(auditor.round(round, &kept.committed, bundle.as_deref(), &mut blob));
        }
        reports
    }

    pub(super) fn audit(&self) -> Vec<RoundReport> {
        self.audit_with(|_, bundle| Some(bundle))
    }

    /// The first finding, as `place: field`.
    pub(super) fn first(&self) -> String {
        let finding = self.audit().into_iter().find_map(|report| report.finding);
        finding.map_or_else(|| "nothing".to_owned(), |f| format!("{}: {}: {}", f.round, f.place, f.field))
    }
}
