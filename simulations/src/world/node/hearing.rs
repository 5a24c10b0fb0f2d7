//! From the network to the machine: drop what is out of date, verify, and only then let it in.
//!
//! What was seen before is let in again: the machine knows what it holds, and what it had no room for, or no use yet, it may
//! need when it comes again.

use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::round::Input;

use super::Node;
use crate::world::adversaries::Voice;
use crate::world::core::Core;
use crate::world::packet::Packet;

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
        if let Some(message) = packet.open(&core.keys) {
            self.inbox.push_back(Input::Message(message));
        }
    }
}
