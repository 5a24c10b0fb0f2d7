//! From the network to the machine: drop what is known or out of date, verify, and only then let it in.

use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::round::Input;

use super::{MAX_SEEN, Node, SeenSet};
use crate::world::adversaries::Voice;
use crate::world::core::Core;
use crate::world::packet::Packet;

/// What was seen in this round and the one before.
#[derive(Debug, Default)]
pub(super) struct Seen {
    round: u64,
    now: SeenSet,
    before: SeenSet,
}

impl Seen {
    fn is_new(&mut self, packet: &Packet, round: u64) -> bool {
        if round != self.round || self.now.len() >= MAX_SEEN {
            self.round = round;
            self.before = std::mem::take(&mut self.now);
        }
        !self.before.contains(&packet.id()) && self.now.insert(packet.id())
    }
}

impl Node {
    /// Its adversary's turn, if it has one.
    pub fn lie(&mut self, core: &mut Core) {
        if let Some(mut adversary) = self.adversary.take() {
            adversary.acts(&mut Voice::new(core, self));
            self.adversary = Some(adversary);
        }
    }

    pub(super) fn hear(&mut self, packet: &Packet, core: &mut Core) {
        if let Some(mut adversary) = self.adversary.take() {
            adversary.hears(&mut Voice::new(core, self), packet);
            self.adversary = Some(adversary);
        }
        let Some((slot, author)) = packet.heading() else { return };
        let (round, _) = self.state.position();
        let about_the_past = match slot.kind {
            Kind::Status => false,
            Kind::Committed => slot.round < self.state.head().round,
            _ => slot.round < round,
        };
        let own = author == self.me && slot.kind != Kind::Certificate && slot.kind != Kind::Committed;
        if about_the_past || own {
            return;
        }
        if slot.kind != Kind::Status && !self.seen.is_new(packet, round) {
            return;
        }
        if let Some(message) = packet.open(&core.keys) {
            self.inbox.push_back(Input::Message(message));
        }
    }
}
