//! Signs in the name of others with its own key: votes that nobody cast.

use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::message::Message;

use super::{Adversary, Voice};
use crate::world::packet::Packet;

pub(super) struct Impersonator;

impl Adversary for Impersonator {
    fn acts(&mut self, voice: &mut Voice<'_>) {
        let (Some(victim), Some(to)) = (voice.somebody(), voice.somebody()) else { return };
        let (round, view) = voice.state().position();
        let epoch = voice.state().committee().epoch;
        let Some(kind) = voice.core.rng.pick(&[Kind::Notarize, Kind::Nullify, Kind::Finalize]) else { return };
        let forged = hash("lie", &voice.core.rng.bits().to_le_bytes());
        let record = if kind == Kind::Nullify { Digest::ZERO } else { forged };
        let slot = Slot { kind, epoch, round, view };
        if let Some(bytes) = voice.core.keys.seal(voice.me(), victim, &slot, &Message::Vote(record)) {
            voice.relay(&[to], &Packet::of_bytes(bytes));
        }
    }
}
