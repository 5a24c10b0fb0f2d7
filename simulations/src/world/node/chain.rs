//! Members of other epochs: what is ahead waits, and the records in between are asked for and given, as in a real node.

use fedswarm_protocol::envelope::{Kind, NOBODY, Slot, Verifier};
use fedswarm_protocol::membership::Operation;
use fedswarm_protocol::message::{Committed, Message, Status};
use fedswarm_protocol::round::Input;

use super::Node;
use crate::world::core::Core;
use crate::world::packet::Packet;

/// Packets of later epochs that wait, as in a real node.
const MAX_AHEAD: usize = 1024;

/// Closing records in one answer, as in a real node.
const CHAIN_PER_ANSWER: usize = 8;

/// How long until the same question is asked, or answered, again, in microseconds.
const ASK_AGAIN_US: u64 = 250_000;

/// True once per node, epoch and [`ASK_AGAIN_US`].
fn once(list: &mut Vec<(usize, u32, u64)>, node: usize, epoch: u32, now: u64) -> bool {
    list.retain(|(_, _, at)| now.saturating_sub(*at) < ASK_AGAIN_US);
    let first = !list.iter().any(|(n, e, _)| (*n, *e) == (node, epoch));
    if first {
        list.push((node, epoch, now));
    }
    first
}

impl Node {
    pub(super) fn hear_ahead(&mut self, packet: &Packet, from: usize, core: &mut Core) {
        if self.ahead.len() < MAX_AHEAD {
            self.ahead.push((from, packet.clone()));
        }
        self.ask_chain(from, core);
    }

    /// A new epoch: what waited for it can be looked at.
    pub(super) fn look_again(&mut self, core: &mut Core) {
        for (from, packet) in std::mem::take(&mut self.ahead) {
            self.hear(&packet, from, core);
        }
    }

    pub(super) fn ask_chain(&mut self, of: usize, core: &mut Core) {
        let epoch = self.state.committee().epoch;
        if !once(&mut self.asked, of, epoch, core.now) {
            return;
        }
        let head = self.state.head();
        let status = Status { finalized: head.round, record: self.state.head_hash(), epoch, ..Status::default() };
        let slot = Slot { kind: Kind::Status, epoch, round: head.round + 1, view: 0 };
        if let Some(bytes) = core.keys.seal(self.me, NOBODY, &slot, &Message::Status(status)) {
            core.send_to_node(self.id, of, &Packet::of_bytes(bytes));
        }
    }

    /// This key has no place: whoever comes to mind is asked.
    pub(super) fn ask_someone(&mut self, core: &mut Core) {
        let others: Vec<usize> = (0..core.up.len()).filter(|node| *node != self.id).collect();
        if let Some(of) = core.rng.pick(&others) {
            self.ask_chain(of, core);
            self.send_request(of, core);
        }
    }

    /// Says what this node wants, if it wants anything and runs.
    pub fn submit(&mut self, core: &mut Core) {
        if core.up[self.id] {
            self.request_of(None, core);
            self.pump(core);
        }
    }

    /// Tells its own machine what it wants if it is a member, otherwise a member that it has just met.
    pub(super) fn request_of(&mut self, met: Option<u16>, core: &mut Core) {
        match met.and_then(|member| core.places.get(usize::from(member))?.first().copied()) {
            Some(node) if self.state.me().is_none() => self.send_request(node, core),
            _ => self.inbox.extend(self.sealed_request(core).and_then(|p| p.open(&core.keys)).map(Input::Message)),
        }
    }

    /// Casts a vote, and says it if this node runs.
    pub fn cast(&mut self, ballot: Operation, core: &mut Core) {
        self.ballots.push(ballot);
        if core.up[self.id] {
            self.say_ballots(None, core);
            self.pump(core);
        }
    }

    /// Says its votes to a member that it has just met; or to all, its own machine included.
    pub(super) fn say_ballots(&mut self, met: Option<u16>, core: &mut Core) {
        for ballot in self.ballots.clone() {
            let Some(packet) = self.sealed_operation(ballot, core) else { continue };
            let to = match met {
                Some(member) => core.places.get(usize::from(member)).cloned().unwrap_or_default(),
                None => (0..core.up.len()).filter(|node| *node != self.id).collect(),
            };
            for node in to {
                core.send_to_node(self.id, node, &packet);
            }
            self.inbox.extend(packet.open(&core.keys).filter(|_| met.is_none()).map(Input::Message));
        }
    }

    fn send_request(&self, to: usize, core: &mut Core) {
        if let Some(packet) = self.sealed_request(core) {
            core.send_to_node(self.id, to, &packet);
        }
    }

    fn sealed_request(&self, core: &Core) -> Option<Packet> {
        self.sealed_operation(self.request.clone()?, core)
    }

    fn sealed_operation(&self, operation: Operation, core: &Core) -> Option<Packet> {
        let message = Message::Operation(operation);
        let slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };
        core.keys.seal(self.me, NOBODY, &slot, &message).map(Packet::of_bytes)
    }

    pub(super) fn hear_foreign_status(&mut self, packet: &Packet, from: usize, core: &mut Core) {
        let Some(status) = Verifier::anonymous_status(packet.bytes()) else { return };
        if status.epoch > self.state.committee().epoch {
            return self.ask_chain(from, core);
        }
        if !once(&mut self.answered, from, status.epoch, core.now) {
            return;
        }
        let mut records: Vec<Committed> = self.disk.closing(status.epoch, CHAIN_PER_ANSWER);
        records.extend(self.state.proof().map(|proof| proof.as_ref().clone()));
        for committed in records.into_iter().filter(|c| c.record.round > status.finalized) {
            let record = &committed.record;
            let slot = Slot { kind: Kind::Committed, epoch: record.epoch, round: record.round, view: 0 };
            if let Some(bytes) = core.keys.seal(self.me, NOBODY, &slot, &Message::Committed(Box::new(committed))) {
                core.send_to_node(self.id, from, &Packet::of_bytes(bytes));
            }
        }
    }
}
