//! Keeps certificates and its own votes to itself, and lets some hear of them much later, when the others have moved on.

use std::collections::BTreeMap;

use fedswarm_protocol::certificate::{Certificate, Quorum};
use fedswarm_protocol::envelope::{Kind, NOBODY, Slot};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::Signature;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::round::Recipient;

use super::{Adversary, Voice};
use crate::world::packet::Packet;

/// How long it keeps them, in microseconds: from before a view is over to after many.
const KEEP_US: (u64, u64) = (50_000, 20_000_000);

/// Packets that it keeps.
const MEMORY: usize = 128;

/// Slots of which it gathers votes; the oldest are forgotten first.
const SLOTS: usize = 64;

#[derive(Default)]
pub(super) struct LateReleaser {
    kept: Vec<(u64, Packet)>,
    votes: BTreeMap<(u64, u32, Slot, Digest), BTreeMap<u16, Signature>>,
}

impl Adversary for LateReleaser {
    fn says(&mut self, voice: &mut Voice<'_>, _to: Recipient, packet: &Packet) -> bool {
        match packet.kind() {
            Some(kind) if kind.is_vote() || matches!(kind, Kind::Certificate | Kind::Committed) => {
                self.gather(voice, packet);
                self.keep(voice, packet.clone());
                false
            }
            _ => true,
        }
    }

    fn hears(&mut self, voice: &mut Voice<'_>, packet: &Packet) {
        if packet.kind().is_some_and(Kind::is_vote) {
            self.gather(voice, packet);
        }
    }

    fn acts(&mut self, voice: &mut Voice<'_>) {
        let now = voice.core.now;
        let due: Vec<Packet> = self.kept.extract_if(.., |(at, _)| *at <= now).map(|(_, packet)| packet).collect();
        for packet in due {
            let mut some = voice.others();
            voice.core.rng.shuffle(&mut some);
            some.truncate(some.len().div_ceil(2));
            voice.relay(&some, &packet);
        }
    }
}

impl LateReleaser {
    fn keep(&mut self, voice: &mut Voice<'_>, packet: Packet) {
        let at = voice.core.now + voice.core.draw(KEEP_US);
        if self.kept.len() < MEMORY {
            self.kept.push((at, packet));
        }
    }

    /// Makes certificates of the votes that it hears, also those that the others never saw as many of.
    fn gather(&mut self, voice: &mut Voice<'_>, packet: &Packet) {
        let Some(vote) = packet.open(&voice.core.keys) else { return };
        let Message::Vote(record) = *vote.message() else { return };
        let slot = *vote.slot();
        let votes = self.votes.entry((slot.round, slot.view, slot, record)).or_default();
        votes.insert(vote.author(), *vote.signature());
        let Some(voters) = voice.core.keys.committee(slot.epoch).map(|committee| committee.voters()) else { return };
        if votes.len() == Quorum::of(voters).quorum {
            let Slot { kind, epoch, round, view } = slot;
            let votes = votes.iter().map(|(voter, signature)| (*voter, *signature)).collect();
            let certificate = Certificate { kind, epoch, round, view, record, votes };
            let slot = Slot { kind: Kind::Certificate, ..slot };
            let bytes = voice.core.keys.seal(voice.me(), NOBODY, &slot, &Message::Certificate(certificate));
            if let Some(bytes) = bytes {
                self.keep(voice, Packet::of_bytes(bytes));
            }
        }
        while self.votes.len() > SLOTS {
            self.votes.pop_first();
        }
    }
}
