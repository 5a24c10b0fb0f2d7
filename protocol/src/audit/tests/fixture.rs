//! A run made by hand: signed updates, receipts and certificates of four members, and lies where a test wants them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Auditor, RoundReport};
use crate::artefact::{ArtefactRef, GeneratorSpec};
use crate::blob;
use crate::bundle::pack;
use crate::certificate::{Certificate, Quorum};
use crate::derive::Position;
use crate::envelope::{Kind, Slot, Verified, Verifier, seal, signed_bytes};
use crate::hash::{Digest, Stream};
use crate::keys::{PublicKey, SecretKey};
use crate::manifest::{MAX_WEIGHT, Manifest};
use crate::membership::{Admission, Committee, Operation};
use crate::merge::{Merge, Merged};
use crate::message::{Committed, Message, Receipt, RecordBody, UpdateHeader, UpdateRef};
use crate::payload::{self, norm2_q};
use crate::prototypes::{ListName, PrototypeSpec};
use crate::record::Record;
use crate::round::Rules;
use crate::summary::{State, Summary};
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
    /// Another list of prototypes than the inputs give.
    pub(super) prototypes: Option<ListName>,
    /// What receipts list, and how many of them do.
    pub(super) listed: Option<(ArtefactRef, usize)>,
    /// Another artefact than the receipts force.
    pub(super) artefact: Option<Option<ArtefactRef>>,
}

pub(super) struct Run {
    pub(super) manifest: Manifest,
    pub(super) secrets: Vec<SecretKey>,
    pub(super) verifier: Verifier,
    rules: Rules,
    committee: Arc<Committee>,
    /// What the next record is to change.
    pub(super) operations: Vec<Operation>,
    model: State,
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

    /// A network with prototypes and a generator.
    pub(super) fn with_prototypes() -> Self {
        let (manifest, secrets) = testing::network(4, vec![TensorSpec::new("w", &[5], 4)]);
        let (id, hosts) = (Digest([6; 32]), Vec::new());
        let prototypes = Some(PrototypeSpec { len: 3, scale_bits: 24, summary: None });
        let generator = Some(GeneratorSpec { id, latent: 2, transformer: 3, per_class: 1, hosts, wait_ms: 1 });
        Self::of(Manifest { prototypes, generator, ..manifest }, secrets)
    }

    /// A network in which all make something of the prototypes.
    pub(super) fn with_summary(summary: Summary) -> Self {
        let (mut manifest, secrets) = testing::network(4, vec![TensorSpec::new("w", &[5], 4)]);
        let len = if summary.reads(3) { 3 } else { 0 };
        manifest.prototypes = Some(PrototypeSpec { len, scale_bits: 24, summary: Some(summary) });
        manifest.genesis_root = blob::root(&manifest.genesis());
        manifest.check().unwrap();
        Self::of(manifest, secrets)
    }

    /// The state after the last round.
    pub(super) fn state(&self) -> &[i32] {
        &self.model.common.0
    }

    /// Its root.
    pub(super) fn root(&self) -> Digest {
        self.model.root()
    }

    /// Of it, what is derived from prototypes.
    pub(super) fn derived(&self) -> &[i32] {
        &self.state()[self.manifest.schema.len()..]
    }

    fn of(manifest: Manifest, secrets: Vec<SecretKey>) -> Self {
        let rules = Rules::new(&manifest, &secrets[0].public()).unwrap();
        let committee = Arc::new(Committee::founding(&manifest));
        let verifier = Verifier::new(rules.constants.network, Arc::clone(&committee));
        let model = manifest.derivation().genesis();
        let (operations, rounds, blobs) = <_>::default();
        Self { manifest, secrets, verifier, rules, committee, operations, model, rounds, blobs }
    }

    /// An honest run of this many rounds.
    pub(super) fn honest(rounds: u64) -> Self {
        let mut run = Self::new("audit");
        (0..rounds).for_each(|_| run.push(Lies::default()));
        run
    }

    fn head(&self) -> (Record, Digest, Option<ArtefactRef>) {
        self.rounds.last().map_or((self.rules.genesis.clone(), self.rules.genesis_hash, None), |kept| {
            let Committed { record, body, certificate } = &kept.committed;
            (record.clone(), certificate.record, body.artefact)
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

    fn update(&mut self, author: u16, round: u64, base: Digest, lies: Lies) -> (Verified, Vec<u8>) {
        let mut stream = Stream::new("delta", &[&[author as u8], &round.to_le_bytes()]);
        let delta = FixedVector((0..5).map(|_| stream.below(1 << 20) as i32 - (1 << 19)).collect());
        let mut wire = delta.to_bytes();
        if let Some(spec) = self.manifest.prototypes.filter(|spec| spec.len > 0) {
            // The first author has both classes, the others the second.
            let values = [f32::from(author), round as f32, -0.5];
            let classes = u16::from(author > 0)..2;
            wire.extend(spec.encode(classes.map(|class| (class, values.as_slice())), 2).unwrap());
        }
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
        self.blobs.insert(root, wire.clone());
        (self.sign(Kind::Update, author, round, &Message::Update(header)), wire)
    }

    /// One more round.
    pub(super) fn push(&mut self, lies: Lies) {
        let (head, head_hash, in_force) = self.head();
        let round = head.round + 1;
        let updates: Vec<_> = (0..lies.updates.unwrap_or(4)).map(|i| self.update(i, round, head_hash, lies)).collect();
        let items: Vec<UpdateRef> = updates.iter().map(|(m, _)| (m.author(), m.statement())).collect();
        let quorum = Quorum::of(4).quorum;
        let receipt = |i: u16| {
            let listed = lies.listed.filter(|(_, by)| usize::from(i) < *by).map(|(artefact, _)| artefact);
            let receipt = Receipt { items: items.clone(), artefacts: listed.into_iter().collect() };
            self.sign(Kind::Receipt, i, round, &Message::Receipt(receipt))
        };
        let receipts: Vec<_> = (0..lies.receipts.unwrap_or(quorum) as u16).map(receipt).collect();
        let inputs: Vec<UpdateRef> = items.iter().skip(usize::from(lies.drop_input)).copied().collect();
        let operations = std::mem::take(&mut self.operations);
        let mut merge = Merge::new(&self.manifest);
        for (message, wire) in updates.iter().skip(usize::from(lies.drop_input)) {
            let Message::Update(header) = message.message() else { unreachable!() };
            merge.add(message.author(), &payload::decode(&self.manifest, wire).unwrap(), header.samples).unwrap();
        }
        let enough = self.rules.constants.is_enough(inputs.len(), &self.committee);
        let members: Vec<PublicKey> = self.committee.members.iter().map(|member| member.key).collect();
        let result = enough.then(|| merge.finish(&self.model, &members).unwrap());
        let committee = Arc::clone(&self.committee);
        let order = committee.order(&head.next_seeds().0);
        let constants = &self.rules.constants;
        let artefact = in_force.as_ref();
        let here = Position { constants, head: &head, head_hash, artefact, committee: &committee, order: &order };
        let forced = receipts.iter().filter_map(|m| match m.message() {
            Message::Receipt(receipt) => Some(receipt),
            _ => None,
        });
        let artefact = lies.artefact.unwrap_or_else(|| here.forced_artefact(forced, &[]));
        let named = receipts.iter().map(|m| (m.author(), m.statement())).collect();
        let body = RecordBody { receipts: named, inputs, artefact, operations };
        let mut merged = result.as_ref().map(|result| result.named(result.state.root()));
        if let Some(root) = lies.model {
            merged = Some(Merged { model_root: root, ..merged.unwrap_or(Merged::model(root)) });
        }
        if let (Some(merged), Some(prototypes)) = (&mut merged, lies.prototypes) {
            merged.prototypes = prototypes;
        }
        let proposer = lies.proposer.unwrap_or(here.leader(lies.view));
        let (record, next) = here.record(&body, merged.as_ref(), proposer, lies.view).unwrap();
        let certificate = self.certify(&record, lies.view);
        if let Some(result) = result {
            self.blobs.extend(result.state.to_blobs().into_iter().map(|bytes| (blob::root(&bytes), bytes)));
            self.model = result.state;
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
