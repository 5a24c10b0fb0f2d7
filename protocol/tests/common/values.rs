//! Seeded values of every type on the wire. The same seed gives the same value on every machine and in every build.

use fedswarm_protocol::artefact::{ArtefactRef, GeneratorSpec};
use fedswarm_protocol::certificate::Certificate;
use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::evidence::{EquivocationProof, SignedStatement};
use fedswarm_protocol::hash::{Digest, Stream};
use fedswarm_protocol::keys::{PublicKey, Signature};
use fedswarm_protocol::manifest::{Founder, Manifest, TaskSpec, Timers};
use fedswarm_protocol::membership::{Admission, Ballot, EvictVote, Invite, Join, Leave, Operation, Role, Rotate};
use fedswarm_protocol::message::{
    Artefact, Committed, Complaint, Message, Proposal, Receipt, RecordBody, Status, UpdateHeader, UpdateRef,
};
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::record::{Record, RecordKind, Rule};
use fedswarm_protocol::summary::{Apart, Attention, Descent, Generator, Head, Hypernetwork, Loss, Summary, Tasks};
use fedswarm_protocol::tensor::{FixedVector, MAX_COORDINATE, Schema, TensorSpec};
use fedswarm_protocol::update::UpdateCodec;

/// Every kind of message.
pub const KINDS: [Kind; 12] = [
    Kind::Update,
    Kind::Receipt,
    Kind::Proposal,
    Kind::Notarize,
    Kind::Nullify,
    Kind::Finalize,
    Kind::Status,
    Kind::Certificate,
    Kind::Committed,
    Kind::Operation,
    Kind::Complaint,
    Kind::Artefact,
];

/// Every payload encoding.
pub const CODECS: [UpdateCodec; 3] = [UpdateCodec::I32, UpdateCodec::F16, UpdateCodec::Int8];

/// Draws values; integers fall on the edges of their range more often than chance would have it.
pub struct Draw(Stream);

impl Draw {
    pub fn new(context: &str, seed: u64) -> Self {
        Self(Stream::new(&format!("test {context}"), &[&seed.to_le_bytes()]))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// An integer of up to `bits` bits: the smallest, the largest, a small one or any.
    pub fn int(&mut self, bits: u32) -> u64 {
        let most = u64::MAX >> (64 - bits);
        match self.below(8) {
            0 => 0,
            1 => most,
            2 => most - 1,
            3 | 4 => self.0.below(256) & most,
            _ => self.0.next_u64() & most,
        }
    }

    pub fn u8(&mut self) -> u8 {
        self.int(8) as u8
    }

    pub fn u16(&mut self) -> u16 {
        self.int(16) as u16
    }

    pub fn u32(&mut self) -> u32 {
        self.int(32) as u32
    }

    pub fn u64(&mut self) -> u64 {
        self.int(64)
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.0.next_u64().to_le_bytes());
        }
        out.truncate(len);
        out
    }

    pub fn digest(&mut self) -> Digest {
        if self.below(8) == 0 { Digest::ZERO } else { Digest(self.bytes(32).try_into().unwrap()) }
    }

    pub fn signature(&mut self) -> Signature {
        Signature(self.bytes(64).try_into().unwrap())
    }

    pub fn text(&mut self) -> String {
        const LETTERS: [char; 8] = ['a', 'z', '0', '.', ' ', 'é', '漢', '\u{10ffff}'];
        (0..self.below(12)).map(|_| self.one_of(&LETTERS)).collect()
    }

    pub fn kind(&mut self) -> Kind {
        self.one_of(&KINDS)
    }

    pub fn codec(&mut self) -> UpdateCodec {
        self.one_of(&CODECS)
    }

    pub fn slot(&mut self) -> Slot {
        Slot { kind: self.kind(), epoch: self.u32(), round: self.u64(), view: self.u32() }
    }

    pub fn list(&mut self, most: usize) -> Vec<UpdateRef> {
        (0..self.below(most + 1)).map(|_| (self.u16(), self.digest())).collect()
    }

    pub fn header(&mut self) -> UpdateHeader {
        UpdateHeader {
            base: self.digest(),
            schema: self.digest(),
            payload_root: self.digest(),
            wire_root: self.digest(),
            wire_len: self.u32(),
            codec: self.codec(),
            samples: self.u32(),
            norm2_q: self.u64(),
        }
    }

    pub fn body(&mut self) -> RecordBody {
        let operations = (0..self.below(3)).map(|_| self.operation()).collect();
        let artefact = self.coin().then(|| self.artefact_ref());
        RecordBody { receipts: self.list(6), inputs: self.list(6), artefact, operations }
    }

    pub fn record(&mut self) -> Record {
        Record {
            version: self.u16(),
            network: self.digest(),
            epoch: self.u32(),
            round: self.u64(),
            quorum: self.u16(),
            parent: self.digest(),
            origin_view: self.u32(),
            proposer: self.u16(),
            kind: self.one_of(&[RecordKind::Normal, RecordKind::Empty]),
            rule: Rule::Mean,
            members_root: self.digest(),
            receipts_root: self.digest(),
            inputs_root: self.digest(),
            inputs: self.u16(),
            prototypes: self.u32(),
            model_root: self.digest(),
            protos_root: self.digest(),
            state_root: self.digest(),
            artefact_root: self.digest(),
            ops_root: self.digest(),
            next_members_root: self.digest(),
            seed: self.digest(),
            seed_following: self.digest(),
            seed_fold: self.digest(),
            skipped_leaders: self.u64(),
            misses: (0..self.below(5)).map(|_| self.u8()).collect(),
            closes_epoch: self.coin(),
        }
    }

    pub fn key(&mut self) -> PublicKey {
        PublicKey(self.digest().0)
    }

    /// Votes, often none.
    pub fn ballots(&mut self) -> Vec<Ballot> {
        let ballot = |draw: &mut Self| Ballot { voter: draw.key(), until: draw.u64(), signature: draw.signature() };
        (0..self.below(5).saturating_sub(1)).map(|_| ballot(self)).collect()
    }

    pub fn operation(&mut self) -> Operation {
        match self.below(5) {
            0 => {
                let invite = Invite {
                    sponsor: self.key(),
                    ticket: self.key(),
                    role: self.one_of(&[Role::Voter, Role::Contributor]),
                    expires: self.u64(),
                    signature: self.signature(),
                };
                Operation::Join(Box::new(Join {
                    invite,
                    key: self.key(),
                    name: self.text(),
                    ticket_signature: self.signature(),
                    signature: self.signature(),
                    approvals: self.ballots(),
                }))
            }
            1 => Operation::Leave(Leave { key: self.key(), since: self.u64(), signature: self.signature() }),
            2 => Operation::Rotate(Box::new(Rotate {
                old: self.key(),
                new: self.key(),
                since: self.u64(),
                old_signature: self.signature(),
                new_signature: self.signature(),
            })),
            3 => Operation::EvictVote(EvictVote { key: self.key(), since: self.u64(), votes: self.ballots() }),
            _ => {
                let statement = |draw: &mut Self| SignedStatement {
                    kind: draw.kind(),
                    epoch: draw.u32(),
                    round: draw.u64(),
                    view: draw.u32(),
                    body: draw.digest(),
                    signature: draw.signature(),
                };
                let statements = [statement(self), statement(self)];
                Operation::Evict(Box::new(EquivocationProof { author: self.key(), statements }))
            }
        }
    }

    pub fn certificate(&mut self) -> Certificate {
        Certificate {
            kind: self.kind(),
            epoch: self.u32(),
            round: self.u64(),
            view: self.u32(),
            record: self.digest(),
            votes: (0..self.below(6)).map(|_| (self.u16(), self.signature())).collect(),
        }
    }

    pub fn status(&mut self) -> Status {
        Status {
            finalized: self.u64(),
            record: self.digest(),
            epoch: self.u32(),
            view: self.u32(),
            gap: self.u32(),
            updates: [0; 4].map(|_| self.u64()),
            receipts: self.u64(),
            votes: self.u64(),
            proposal: self.coin(),
            wanted: self.list(4),
        }
    }

    pub fn receipt(&mut self) -> Receipt {
        let items = self.list(8);
        Receipt { items, artefacts: (0..self.below(4)).map(|_| self.artefact_ref()).collect() }
    }

    pub fn artefact(&mut self) -> Artefact {
        Artefact {
            protos_root: self.digest(),
            generator: self.digest(),
            previous: self.digest(),
            blob_root: self.digest(),
            blob_len: self.u32(),
        }
    }

    pub fn artefact_ref(&mut self) -> ArtefactRef {
        ArtefactRef {
            job_round: self.u64(),
            host: self.key(),
            statement: self.digest(),
            blob_root: self.digest(),
            blob_len: self.u32(),
        }
    }

    pub fn proposal(&mut self) -> Proposal {
        let notarized_in = self.coin().then(|| self.u32());
        Proposal { record: self.record(), body: self.body(), notarized_in }
    }

    pub fn committed(&mut self) -> Committed {
        Committed { record: self.record(), body: self.body(), certificate: self.certificate() }
    }

    /// A body that goes with this kind.
    pub fn message(&mut self, kind: Kind) -> Message {
        match kind {
            Kind::Update => Message::Update(self.header()),
            Kind::Receipt => Message::Receipt(self.receipt()),
            Kind::Artefact => Message::Artefact(self.artefact()),
            Kind::Proposal => Message::Proposal(Box::new(self.proposal())),
            Kind::Nullify => Message::Vote(Digest::ZERO),
            Kind::Notarize | Kind::Finalize => Message::Vote(self.digest()),
            Kind::Complaint => Message::Complaint(self.one_of(&[Complaint::Unreachable, Complaint::Refused])),
            Kind::Status => Message::Status(self.status()),
            Kind::Certificate => Message::Certificate(self.certificate()),
            Kind::Committed => Message::Committed(Box::new(self.committed())),
            Kind::Operation => Message::Operation(self.operation()),
            Kind::Join | Kind::Leave | Kind::Rotate | Kind::Invite | Kind::Approve | Kind::EvictVote => {
                panic!("{kind:?} is no message")
            }
        }
    }

    pub fn tensor(&mut self) -> TensorSpec {
        TensorSpec {
            name: self.text(),
            shape: (0..self.below(4)).map(|_| self.u32()).collect(),
            scale_bits: self.u8(),
            fan_in: self.u32(),
        }
    }

    /// A schema that need not be acceptable.
    pub fn schema(&mut self) -> Schema {
        Schema { tensors: (0..self.below(4)).map(|_| self.tensor()).collect() }
    }

    /// An acceptable schema of at most a few hundred coordinates.
    pub fn small_schema(&mut self) -> Schema {
        let count = 1 + self.below(3);
        let tensor = |i: usize, draw: &mut Self| TensorSpec {
            name: format!("t{i}"),
            shape: vec![1 + draw.below(20) as u32, 1 + draw.below(20) as u32],
            scale_bits: 8 + draw.below(23) as u8,
            fan_in: draw.u8().into(),
        };
        Schema { tensors: (0..count).map(|i| tensor(i, self)).collect() }
    }

    /// Coordinates of any magnitude up to the largest.
    pub fn vector(&mut self, len: usize) -> FixedVector {
        let coordinate = |draw: &mut Self| {
            let magnitude = match draw.below(8) {
                0 => MAX_COORDINATE as u64,
                1 => 0,
                n => draw.0.next_u64() % (MAX_COORDINATE as u64 >> (4 * (n - 2))),
            };
            if draw.coin() { magnitude as i32 } else { -(magnitude as i32) }
        };
        FixedVector((0..len).map(|_| coordinate(self)).collect())
    }

    /// A manifest that need not be acceptable.
    pub fn manifest(&mut self) -> Manifest {
        let founder = |draw: &mut Self| Founder { key: PublicKey(draw.digest().0), name: draw.text() };
        Manifest {
            version: self.u16(),
            name: self.text(),
            method: self.text(),
            task: TaskSpec {
                channels: self.u16(),
                height: self.u16(),
                width: self.u16(),
                classes: (0..self.below(4)).map(|_| self.text()).collect(),
            },
            schema: self.schema(),
            codec: self.codec(),
            genesis_seed: self.digest(),
            genesis_root: self.digest(),
            founders: (0..self.below(4)).map(|_| founder(self)).collect(),
            epoch_length: self.u32(),
            max_weight: self.u32(),
            min_inputs: self.u16(),
            sponsor_cap: self.u16(),
            admission: self.one_of(&[Admission::Sponsor, Admission::Vote]),
            rounds: self.u64(),
            timers: Timers {
                collect_ms: self.u64(),
                round_ms: self.u64(),
                leader_ms: self.u64(),
                resend_ms: self.u64(),
            },
            prototypes: self.coin().then(|| PrototypeSpec {
                len: self.u16(),
                scale_bits: self.u8(),
                summary: self.summary(),
            }),
            generator: self.coin().then(|| GeneratorSpec {
                id: self.digest(),
                latent: self.u32(),
                transformer: self.u32(),
                per_class: self.u16(),
                hosts: (0..self.below(3)).map(|_| self.key()).collect(),
                wait_ms: self.u64(),
            }),
        }
    }

    fn loss(&mut self) -> Loss {
        if self.coin() { Loss::ArcFace } else { Loss::CrossEntropy }
    }

    fn summary(&mut self) -> Option<Summary> {
        let descent = Descent { rate_q: self.u32(), epochs: self.u16(), batch: self.u16() };
        match self.below(8) {
            0 => None,
            1 => Some(Summary::Means),
            2 => Some(Summary::Head(Head { descent, loss: self.loss() })),
            3 => Some(Summary::Targets(Apart { descent, most_margin: self.u16() })),
            4 => Some(Summary::Attention(Attention { alpha_q: self.u32(), sigma_q: self.u32() })),
            5 => Some(Summary::Generator(Generator {
                noise: self.u16(),
                hidden: self.u16(),
                features: self.u16(),
                steps: self.u16(),
                batch: self.u16(),
                rate_q: self.u32(),
                loss: self.loss(),
            })),
            6 => Some(Summary::Tasks(Tasks { lambda_q: self.u32(), mu_q: self.u32(), learnt: self.coin() })),
            _ => Some(Summary::Hypernetwork(Hypernetwork {
                embedding: self.u16(),
                hidden: self.u16(),
                layers: self.u8(),
                rate_q: self.u32(),
                hold_q: self.u32(),
                clip: self.u16(),
            })),
        }
    }
}
