//! What all nodes of a world share: time, chance, the network, and who holds what.

use super::blobs::Blobs;
use super::event::{Log, Queue, What};
use super::invariants::Monitor;
use super::keys::Keys;
use super::link::Links;
use super::options::Options;
use super::packet::Packet;
use super::rng::Rng;
use super::tally::Tally;

/// The shared side of a world.
#[derive(Debug)]
pub struct Core {
    /// Microseconds since the world began.
    pub now: u64,
    /// What is to come.
    pub queue: Queue,
    /// What has been.
    pub log: Log,
    /// Chance.
    pub rng: Rng,
    /// The network.
    pub links: Links,
    /// Signatures.
    pub keys: Keys,
    /// The invariants.
    pub monitor: Monitor,
    /// Counts of faults.
    pub tally: Tally,
    /// Which nodes run, by node.
    pub up: Vec<bool>,
    /// Which nodes are away for longer, by node.
    pub away: Vec<bool>,
    /// How many more members may be lost for good before there are more faults than the network is made for.
    pub spare: usize,
    /// Which nodes serve no payloads although they hold them, by node.
    pub withholding: Vec<bool>,
    /// Which blobs each node holds.
    pub blobs: Vec<Blobs>,
    /// The nodes behind each member: one, or two that share a key.
    pub places: Vec<Vec<usize>>,
    /// What the world is like. Healing makes it calm.
    pub options: Options,
    /// Messages that reached a link, and their bytes.
    pub traffic: (u64, u64),
    /// Whether anybody wants to know what machines tell.
    pub listening: bool,
    /// What machines told, if somebody does: node, milliseconds on its clock, event.
    pub told: Vec<(usize, u64, fedswarm_protocol::round::Event)>,
    /// The records that each node has on disk, if somebody wants to know.
    pub records: Vec<Vec<fedswarm_protocol::message::Committed>>,
}

impl Core {
    /// Something that happens at a node after a while.
    pub fn after(&mut self, delay_us: u64, node: usize, life: u32, what: What) {
        self.queue.push(self.now + delay_us, node, life, what);
    }

    /// Sends a packet from a node to a member.
    pub fn send(&mut self, from: usize, to: u16, packet: &Packet) {
        let Some(count) = self.places.get(usize::from(to)).map(Vec::len) else { return };
        for place in 0..count {
            let node = self.places[usize::from(to)][place];
            if node != from {
                self.send_to_node(from, node, packet);
            }
        }
    }

    /// Sends a packet to everybody else.
    pub fn send_all(&mut self, from: usize, packet: &Packet) {
        for to in 0..self.up.len() {
            if to != from {
                self.send_to_node(from, to, packet);
            }
        }
    }

    /// Sends a packet from a node to a node.
    pub fn send_to_node(&mut self, from: usize, to: usize, packet: &Packet) {
        let bytes = packet.bytes().len();
        self.traffic.0 += 1;
        self.traffic.1 += bytes as u64;
        // A node that is down has no connection to send on.
        if !self.up[to] {
            return;
        }
        let passage = self.links.pass(self.now, from, to, bytes, &mut self.rng);
        match passage.first {
            Some(delay) => self.after(delay, to, 0, What::Packet(packet.clone(), from)),
            None if passage.walled => self.tally.walled += 1,
            None => self.tally.lost += 1,
        }
        if let Some(delay) = passage.copy {
            self.tally.copied += 1;
            self.after(delay, to, 0, What::Packet(packet.clone(), from));
        }
    }

    /// Lets two nodes notice, soon, that they can reach each other.
    pub fn connect(&mut self, a: usize, b: usize, members: &[u16]) {
        for (node, other) in [(a, b), (b, a)] {
            let delay = self.rng.between(10_000, 300_000);
            // Any life: whoever runs then is connected.
            self.after(delay, node, 0, What::Connected(members[other]));
        }
    }

    /// The member behind each node.
    #[must_use]
    pub fn members(&self) -> Vec<u16> {
        let mut members = vec![0; self.up.len()];
        for (member, nodes) in self.places.iter().enumerate() {
            nodes.iter().for_each(|node| members[*node] = member as u16);
        }
        members
    }

    /// A number of microseconds from a range.
    pub fn draw(&mut self, range: (u64, u64)) -> u64 {
        self.rng.between(range.0, range.1)
    }
}
