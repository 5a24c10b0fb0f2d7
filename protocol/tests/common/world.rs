//! A small network with known keys, and one valid message of every kind in it.

use std::sync::Arc;

use fedswarm_protocol::artefact::{ArtefactRef, ArtefactShape, GeneratorSpec, artefact_root};
use fedswarm_protocol::certificate::{Certificate, Quorum};
use fedswarm_protocol::codec;
use fedswarm_protocol::envelope::{Kind, Slot, Verifier, seal, signed_bytes};
use fedswarm_protocol::evidence::{EquivocationProof, EvidenceFile};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::{Committee, EvictVote, Invite, Join, Operation, Role};
use fedswarm_protocol::message::{
    Artefact, Committed, Complaint, Message, Proposal, Receipt, RecordBody, Status, UpdateHeader, UpdateRef,
};
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::record::{Record, RecordKind, list_root};
use fedswarm_protocol::round::{Rules, State};
use fedswarm_protocol::tensor::TensorSpec;

use super::testing;

/// A network whose secret keys the test knows.
pub struct World {
    pub manifest: Manifest,
    pub secrets: Vec<SecretKey>,
    pub verifier: Verifier,
}

impl World {
    /// `voters` members; the same keys every time.
    pub fn new(voters: u8) -> Self {
        let tensors = vec![TensorSpec::new("w", &[4, 3], 4), TensorSpec::new("b", &[4], 4)];
        let (mut manifest, secrets) = testing::network(voters, tensors);
        manifest.prototypes = Some(PrototypeSpec { len: 2, scale_bits: 24, summary: None });
        let (id, hosts) = (Digest([6; 32]), Vec::new());
        manifest.generator = Some(GeneratorSpec { id, latent: 2, transformer: 3, per_class: 1, hosts, wait_ms: 1000 });
        manifest.check().unwrap();
        let network = manifest.network_id().unwrap();
        let verifier = Verifier::new(network, Arc::new(Committee::founding(&manifest)));
        Self { manifest, secrets, verifier }
    }

    pub fn network(&self) -> Digest {
        *self.verifier.network()
    }

    pub fn voters(&self) -> u16 {
        self.secrets.len() as u16
    }

    /// The machine of one member, at the genesis.
    pub fn state(&self, member: u16) -> State {
        let key = self.secrets[usize::from(member)].public();
        State::new(Arc::new(Rules::new(&self.manifest, &key).unwrap()), None, Arc::clone(self.verifier.committee()))
    }

    pub fn genesis(&self) -> Record {
        Record::genesis(&self.manifest, self.network())
    }

    /// Signed bytes of `author`'s message.
    pub fn seal(&self, slot: &Slot, author: u16, message: &Message) -> Vec<u8> {
        seal(&self.secrets[usize::from(author)], &self.network(), slot, author, message).unwrap()
    }

    /// A header that the round after the genesis takes.
    pub fn header(&self, author: u16) -> UpdateHeader {
        UpdateHeader {
            base: self.genesis().hash().unwrap(),
            schema: self.manifest.schema.digest(),
            payload_root: hash("payload", &author.to_le_bytes()),
            wire_root: hash("payload", &author.to_le_bytes()),
            wire_len: self.manifest.codec.encoded_len(&self.manifest.schema) as u32,
            codec: self.manifest.codec,
            samples: 10 + u32::from(author),
            norm2_q: 0,
        }
    }

    /// What a host says of an artefact that it made of this record's prototypes, with two pairs.
    pub fn artefact(&self, job: &Record) -> Artefact {
        let shape = ArtefactShape::of(&self.manifest).unwrap();
        Artefact {
            protos_root: job.protos_root,
            generator: self.manifest.generator.as_ref().unwrap().id,
            previous: job.artefact_root,
            blob_root: hash("artefact blob", &job.round.to_le_bytes()),
            blob_len: shape.len(2) as u32,
        }
    }

    /// An artefact of member 1, as receipts and records name it.
    pub fn artefact_ref(&self, job_round: u64) -> ArtefactRef {
        let host = self.secrets[1 % self.secrets.len()].public();
        let statement = hash("statement of an artefact", &job_round.to_le_bytes());
        ArtefactRef { job_round, host, statement, blob_root: hash("artefact blob", &[]), blob_len: 76 }
    }

    /// A quorum's certificate.
    pub fn certificate(&self, kind: Kind, epoch: u32, round: u64, view: u32, record: Digest) -> Certificate {
        let slot = Slot { kind, epoch, round, view };
        let said = signed_bytes(&self.network(), &slot, &codec::encode(&record).unwrap());
        let quorum = Quorum::of(self.secrets.len()).quorum;
        let votes = (0..quorum).map(|i| (i as u16, self.secrets[i].sign(&said))).collect();
        Certificate { kind, epoch, round, view, record, votes }
    }

    /// A list with an entry of every member.
    pub fn list(&self) -> Vec<UpdateRef> {
        (0..self.voters()).map(|i| (i, hash("update", &i.to_le_bytes()))).collect()
    }

    /// A record with a body that its roots name; not what an honest machine would derive.
    pub fn record(&self, round: u64) -> (Record, RecordBody) {
        let artefact = Some(self.artefact_ref(round.saturating_sub(1)));
        let body = RecordBody { receipts: self.list(), inputs: self.list(), artefact, operations: Vec::new() };
        let record = Record {
            round,
            kind: RecordKind::Normal,
            receipts_root: list_root("receipts", &body.receipts),
            inputs_root: list_root("inputs", &body.inputs),
            inputs: self.voters(),
            artefact_root: artefact_root(body.artefact.as_ref()),
            ..self.genesis()
        };
        (record, body)
    }

    /// A final record with its proof.
    pub fn committed(&self, round: u64) -> Committed {
        let (record, body) = self.record(round);
        let certificate = self.certificate(Kind::Finalize, record.epoch, round, 0, record.hash().unwrap());
        Committed { record, body, certificate }
    }

    /// A newcomer's request, by an invitation of member 0.
    pub fn join(&self) -> Operation {
        let (ticket, key) = (SecretKey::from_bytes(&[201; 32]), SecretKey::from_bytes(&[202; 32]));
        let invite = Invite::new(&self.network(), &self.secrets[0], ticket.public(), Role::Voter, 100);
        Operation::Join(Box::new(Join::new(&self.network(), invite, &ticket, &key, "newcomer".into())))
    }

    /// The same with the approvals of these members.
    pub fn approved_join(&self, voters: &[u16]) -> Operation {
        let Operation::Join(join) = self.join() else { panic!("a join") };
        let approve = |v: &u16| join.approve(&self.network(), &self.secrets[usize::from(*v)], 100);
        let ballots = voters.iter().map(approve).collect();
        Operation::Join(join).with_ballots(ballots)
    }

    /// These members vote to send the last one away.
    pub fn evict_vote(&self, voters: &[u16]) -> Operation {
        let key = self.secrets[self.secrets.len() - 1].public();
        let vote = |v: &u16| EvictVote::new(&self.network(), key, 0, &self.secrets[usize::from(*v)], 100);
        let votes: Vec<EvictVote> = voters.iter().map(vote).collect();
        let ballots = votes.iter().flat_map(|vote| vote.votes.clone()).collect();
        Operation::EvictVote(votes[0].clone()).with_ballots(ballots)
    }

    /// Member 1 voted for two records.
    pub fn evidence(&self) -> EvidenceFile {
        let slot = Slot { kind: Kind::Finalize, epoch: 0, round: 1, view: 0 };
        let vote = |k| self.verifier.open(&self.seal(&slot, 1, &Message::Vote(Digest([k; 32])))).unwrap();
        let proof = EquivocationProof::of(&self.secrets[1].public(), &vote(1), &vote(2)).unwrap();
        EvidenceFile { network: self.network(), proof }
    }

    /// A valid message of this kind by member 1, in round 1 and view 0.
    pub fn message(&self, kind: Kind) -> (Slot, Message) {
        let (record, body) = self.record(1);
        let hash = record.hash().unwrap();
        let message = match kind {
            Kind::Update => Message::Update(self.header(1)),
            Kind::Receipt => Message::Receipt(Receipt { items: self.list(), artefacts: vec![self.artefact_ref(0)] }),
            Kind::Artefact => Message::Artefact(self.artefact(&record)),
            Kind::Proposal => Message::Proposal(Box::new(Proposal { record, body, notarized_in: None })),
            Kind::Notarize | Kind::Finalize => Message::Vote(hash),
            Kind::Nullify => Message::Vote(Digest::ZERO),
            Kind::Complaint => Message::Complaint(Complaint::Unreachable),
            Kind::Status => Message::Status(Status { finalized: 1, record: hash, ..Status::default() }),
            Kind::Certificate => Message::Certificate(self.certificate(Kind::Notarize, 0, 1, 0, hash)),
            Kind::Committed => Message::Committed(Box::new(self.committed(1))),
            Kind::Operation => Message::Operation(self.join()),
            Kind::Join | Kind::Leave | Kind::Rotate | Kind::Invite | Kind::Approve | Kind::EvictVote => {
                panic!("{kind:?} is no message")
            }
        };
        let round = if kind == Kind::Operation { 0 } else { 1 };
        (Slot { kind, epoch: 0, round, view: 0 }, message)
    }

    /// The same, as it travels.
    pub fn sealed(&self, kind: Kind) -> Vec<u8> {
        let (slot, message) = self.message(kind);
        self.seal(&slot, 1, &message)
    }
}
