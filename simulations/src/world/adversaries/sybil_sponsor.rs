//! Invites keys that it made up itself, again and again, far beyond what a sponsor may bring in, and keys that were evicted.

use fedswarm_protocol::envelope::{Kind, NOBODY, Slot};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::membership::Role;
use fedswarm_protocol::message::Message;

use super::{Adversary, Voice};
use crate::world::founding::draw_key;
use crate::world::membership;
use crate::world::packet::Packet;

/// How often it has another one, of its turns.
const OFTEN: f64 = 0.7;

/// Rounds for which its invitations hold.
const HOLDS_ROUNDS: u64 = 50;

/// Pairs of a ticket and a key that it makes up; then it goes through them again. Far more than it may bring in.
const MADE_UP: usize = 16;

#[derive(Default)]
pub(super) struct SybilSponsor(Vec<(SecretKey, SecretKey)>);

impl Adversary for SybilSponsor {
    fn acts(&mut self, voice: &mut Voice<'_>) {
        if voice.place().is_none() || !voice.core.rng.chance(OFTEN) {
            return;
        }
        let role = if voice.core.options.churn.sybil_voters { Role::Voter } else { Role::Contributor };
        if self.0.len() < MADE_UP {
            self.0.push((draw_key(&mut voice.core.rng), draw_key(&mut voice.core.rng)));
        }
        let (ticket, made_up) = self.0[voice.core.rng.index(self.0.len())].clone();
        let committee = std::sync::Arc::clone(voice.state().committee());
        let evicted = voice.core.rng.pick(&committee.evicted);
        let old = evicted.and_then(|key| voice.core.keys.secret(voice.core.keys.holder(&key)?).cloned());
        let key = old.filter(|_| voice.core.rng.chance(0.3)).unwrap_or(made_up);
        let expires = voice.state().head().round + HOLDS_ROUNDS;
        let (me, others) = (voice.me(), voice.others());
        let Some(join) = membership::join(voice.core, me, (&ticket, &key), role, expires) else { return };
        let slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };
        if let Some(bytes) = voice.core.keys.seal(me, NOBODY, &slot, &Message::Operation(join)) {
            let packet = Packet::of_bytes(bytes);
            let checked = packet.open(&voice.core.keys).map(|message| Packet::of(&message, &voice.core.keys));
            voice.relay(&others, &checked.unwrap_or(packet));
        }
    }
}
