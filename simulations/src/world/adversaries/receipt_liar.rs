//! Signs at once for every update that it hears of, held or not, and serves nothing.

use std::collections::BTreeMap;

use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{Message, Receipt};
use fedswarm_protocol::round::Recipient;

use super::{Adversary, Voice};
use crate::world::packet::Packet;

#[derive(Default)]
pub(super) struct ReceiptLiar {
    round: u64,
    heard: BTreeMap<u16, Digest>,
}

impl Adversary for ReceiptLiar {
    fn says(&mut self, voice: &mut Voice<'_>, to: Recipient, packet: &Packet) -> bool {
        let Some((slot, author)) = packet.heading() else { return true };
        if slot.kind != Kind::Receipt || voice.place() != Some(author) || slot.round != self.round {
            return true;
        }
        let artefacts = match packet.open(&voice.core.keys).as_ref().map(|message| message.message().clone()) {
            Some(Message::Receipt(honest)) => honest.artefacts,
            _ => Vec::new(),
        };
        let items = self.heard.iter().map(|(author, statement)| (*author, *statement)).collect();
        let audience = voice.audience(to);
        voice.say(&audience, &slot, &Message::Receipt(Receipt { items, artefacts }));
        false
    }

    fn hears(&mut self, voice: &mut Voice<'_>, packet: &Packet) {
        let Some((slot, author)) = packet.heading() else { return };
        if slot.kind != Kind::Update || slot.round < self.round {
            return;
        }
        if slot.round > self.round {
            self.round = slot.round;
            self.heard.clear();
        }
        if let Some(update) = packet.open(&voice.core.keys) {
            self.heard.entry(author).or_insert_with(|| update.statement());
        }
    }

    fn acts(&mut self, voice: &mut Voice<'_>) {
        voice.withhold();
    }
}
