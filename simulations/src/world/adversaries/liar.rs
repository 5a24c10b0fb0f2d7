//! Lies in one field, each in turn by chance, of updates, receipts and proposals.

use fedswarm_protocol::artefact::{ArtefactRef, artefact_root};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::message::{Message, Proposal, Receipt, UpdateHeader};
use fedswarm_protocol::record::{RecordKind, list_root};
use fedswarm_protocol::round::Recipient;
use fedswarm_protocol::update::UpdateCodec;

use super::{Adversary, Voice};
use crate::world::packet::Packet;
use crate::world::rng::Rng;

/// How often it lies.
const LIES: f64 = 0.7;

pub(super) struct Liar;

impl Adversary for Liar {
    fn says(&mut self, voice: &mut Voice<'_>, to: Recipient, packet: &Packet) -> bool {
        let Some(message) = packet.open(&voice.core.keys) else { return true };
        if voice.place() != Some(message.author()) || !voice.core.rng.chance(LIES) {
            return true;
        }
        let rng = &mut voice.core.rng;
        let lie = match message.message() {
            Message::Update(header) => Message::Update(update(header.clone(), rng)),
            Message::Receipt(receipt) => Message::Receipt(items(receipt.clone(), rng)),
            Message::Proposal(proposal) => Message::Proposal(Box::new(record((**proposal).clone(), rng))),
            _ => return true,
        };
        let audience = voice.audience(to);
        voice.say(&audience, message.slot(), &lie);
        false
    }
}

fn noise(rng: &mut Rng) -> Digest {
    hash("lie", &rng.bits().to_le_bytes())
}

fn update(mut header: UpdateHeader, rng: &mut Rng) -> UpdateHeader {
    match rng.below(8) {
        0 => header.base = noise(rng),
        1 => header.schema = noise(rng),
        // The payload is not what the header says.
        2 => header.payload_root = noise(rng),
        // Nobody has this payload.
        3 => {
            header.wire_root = noise(rng);
            header.payload_root = header.wire_root;
        }
        4 => header.wire_len ^= 1,
        5 => header.codec = UpdateCodec::Int8,
        6 => header.samples = u32::MAX,
        _ => header.norm2_q = u64::MAX,
    }
    header
}

fn items(mut receipt: Receipt, rng: &mut Rng) -> Receipt {
    match rng.below(5) {
        3 => receipt.artefacts.clear(),
        4 => match receipt.artefacts.last_mut() {
            Some(artefact) => artefact.blob_root = noise(rng),
            None => receipt.items.clear(),
        },
        0 => receipt.items.clear(),
        1 => drop(receipt.items.pop()),
        _ => {
            if let Some(item) = receipt.items.first_mut() {
                item.1 = noise(rng);
            }
        }
    }
    receipt
}

fn record(mut proposal: Proposal, rng: &mut Rng) -> Proposal {
    let Proposal { record, body, notarized_in } = &mut proposal;
    match rng.below(32) {
        0 => record.version ^= 1,
        1 => record.network = noise(rng),
        2 => record.epoch += 1,
        3 => record.round += 1,
        4 => record.parent = noise(rng),
        5 => record.origin_view += 1,
        6 => record.proposer ^= 1,
        7 => {
            let normal = record.kind == RecordKind::Normal;
            record.kind = if normal { RecordKind::Empty } else { RecordKind::Normal };
        }
        8 => record.members_root = noise(rng),
        9 => record.receipts_root = noise(rng),
        10 => record.inputs_root = noise(rng),
        11 => record.inputs ^= 1,
        12 => record.model_root = noise(rng),
        13 => record.protos_root = noise(rng),
        14 => record.state_root = noise(rng),
        15 => record.artefact_root = noise(rng),
        16 => record.ops_root = noise(rng),
        17 => record.next_members_root = noise(rng),
        18 => record.seed = noise(rng),
        19 => record.seed_following = noise(rng),
        20 => record.seed_fold = noise(rng),
        21 => record.skipped_leaders ^= 1 << rng.below(64),
        22 => {
            body.inputs.pop();
            record.inputs = body.inputs.len() as u16;
            record.inputs_root = list_root("inputs", &body.inputs);
        }
        23 => {
            body.receipts.pop();
            record.receipts_root = list_root("receipts", &body.receipts);
        }
        24 => {
            if let Some(receipt) = body.receipts.first_mut() {
                receipt.1 = noise(rng);
            }
            record.receipts_root = list_root("receipts", &body.receipts);
        }
        25 => {
            if let Some(input) = body.inputs.first_mut() {
                input.1 = noise(rng);
            }
            record.inputs_root = list_root("inputs", &body.inputs);
        }
        26 => body.inputs.clear(),
        29 => record.prototypes ^= 1,
        30 => {
            body.artefact = None;
            record.artefact_root = artefact_root(None);
        }
        31 => {
            let (statement, blob_root) = (noise(rng), noise(rng));
            let host = PublicKey(record.network.0);
            let made_up = ArtefactRef { job_round: record.round - 1, host, statement, blob_root, blob_len: 24 };
            body.artefact = Some(made_up);
            record.artefact_root = artefact_root(Some(&made_up));
        }
        27 => *notarized_in = Some(rng.below(4) as u32),
        _ => *notarized_in = None,
    }
    proposal
}
