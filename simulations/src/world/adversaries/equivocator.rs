//! Says one thing to some and another to the rest: updates, receipts, proposals and votes.

use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::message::{Complaint, Message};
use fedswarm_protocol::record::list_root;
use fedswarm_protocol::round::Recipient;

use super::{Adversary, Voice};
use crate::world::packet::Packet;

pub(super) struct Equivocator;

impl Adversary for Equivocator {
    fn says(&mut self, voice: &mut Voice<'_>, to: Recipient, packet: &Packet) -> bool {
        let Some(message) = packet.open(&voice.core.keys) else { return true };
        if voice.place() != Some(message.author()) {
            return true;
        }
        let mut slot = *message.slot();
        let Some(other) = contradiction(&mut slot, message.message(), voice) else { return true };
        let mut audience = voice.audience(to);
        voice.core.rng.shuffle(&mut audience);
        let (some, rest) = audience.split_at(audience.len() / 2);
        voice.relay(some, packet);
        voice.say(rest, &slot, &other);
        // Now and then somebody is told both.
        if let Some(both) = voice.core.rng.pick(some) {
            voice.say(&[both], &slot, &other);
        }
        false
    }
}

/// Another statement for the same slot, or for a vote perhaps the opposite one.
fn contradiction(slot: &mut Slot, message: &Message, voice: &mut Voice<'_>) -> Option<Message> {
    let noise = Digest(hash("lie", &voice.core.rng.bits().to_le_bytes()).0);
    Some(match message {
        Message::Update(header) => {
            let mut other = header.clone();
            other.samples ^= 1;
            Message::Update(other)
        }
        Message::Receipt(receipt) => {
            let mut other = receipt.clone();
            other.items.pop()?;
            Message::Receipt(other)
        }
        Message::Proposal(proposal) => {
            let mut other = proposal.clone();
            if other.body.inputs.pop().is_some() {
                other.record.inputs = other.body.inputs.len() as u16;
                other.record.inputs_root = list_root("inputs", &other.body.inputs);
            }
            other.record.model_root = noise;
            Message::Proposal(other)
        }
        Message::Vote(record) if *record == Digest::ZERO => {
            slot.kind = Kind::Finalize;
            Message::Vote(voice.state().head_hash())
        }
        Message::Vote(record) => {
            if voice.core.rng.chance(0.5) {
                slot.kind = Kind::Nullify;
                Message::Vote(Digest::ZERO)
            } else if slot.kind == Kind::Notarize {
                slot.kind = Kind::Finalize;
                Message::Vote(*record)
            } else {
                Message::Vote(noise)
            }
        }
        Message::Complaint(Complaint::Refused) => Message::Complaint(Complaint::Unreachable),
        Message::Complaint(Complaint::Unreachable) => Message::Complaint(Complaint::Refused),
        Message::Artefact(_)
        | Message::Status(_)
        | Message::Certificate(_)
        | Message::Committed(_)
        | Message::Operation(_) => return None,
    })
}
