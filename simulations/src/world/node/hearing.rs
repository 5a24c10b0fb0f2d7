//! From the network to the machine: drop what is out of date, verify, and only then let it in.
//!
//! What was seen before is let in again: the machine knows what it holds, and what it had no room for, or no use yet, it may
//! need when it comes again.

use fedswarm_protocol::artefact::MAX_ARTEFACT_LAG;
use fedswarm_protocol::envelope::{Kind, NOBODY};
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

    pub(super) fn hear(&mut self, packet: &Packet, from: usize, core: &mut Core) {
        if let Some(mut adversary) = self.adversary.take() {
            adversary.hears(&mut Voice::new(core, self), packet);
            self.adversary = Some(adversary);
        }
        let Some((slot, author)) = packet.heading() else { return };
        let (round, _) = self.state.position();
        let epoch = self.state.committee().epoch;
        if slot.kind == Kind::Status && (slot.epoch != epoch || author == NOBODY) {
            return self.hear_foreign_status(packet, from, core);
        }
        if slot.epoch > epoch {
            return self.hear_ahead(packet, from, core);
        }
        let about_the_past = match slot.kind {
            Kind::Status | Kind::Operation => false,
            Kind::Committed => slot.round < self.state.head().round,
            // Its round is that of its job.
            Kind::Artefact => slot.round.saturating_add(MAX_ARTEFACT_LAG) < round,
            _ => slot.round < round,
        };
        let own = Some(author) == self.state.me() && slot.epoch == epoch && !slot.kind.proves_itself();
        // A verifier knows its epoch and the one before.
        let forgotten = slot.epoch + 1 < epoch && slot.kind != Kind::Operation;
        if about_the_past || own || forgotten {
            return;
        }
        if let Some(message) = packet.open(&core.keys) {
            self.inbox.push_back(Input::Message(message));
        }
    }
}
