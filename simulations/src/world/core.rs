//! What all nodes of a world share: time, chance, the network, and who holds what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fedswarm_protocol::blob;
use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::membership::Committee;

use super::blobs::{Blob, Blobs};
use super::event::{Log, Queue, What};
use super::invariants::Monitor;
use super::keys::Keys;
use super::link::Links;
use super::options::Options;
use super::packet::Packet;
use super::rng::Rng;
use super::tally::Tally;

/// Voters that everybody else stays connected to.
const VOTERS_KEPT: usize = 4;

/// After how long behind a wall a connection is given up, in microseconds: two lost pings.
const GIVE_UP_US: (u64, u64) = (15_000_000, 45_000_000);

/// How long it stays connected to the same ones, in microseconds.
const KEPT_US: u64 = 2_000_000;

/// Who hears what in an epoch, by node.
#[derive(Clone, Debug, Default)]
pub struct Audience {
    /// Voters: what is said to all.
    pub voters: Vec<usize>,
    /// Contributors: only what is for them.
    pub contributors: Vec<usize>,
    /// Everybody else: requests to change the membership, which are for the whole network to see.
    pub strangers: Vec<usize>,
}

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
    /// Which nodes are lost for good, by node: their disks are damaged.
    pub lost: Vec<bool>,
    /// Voters that have asked to leave and are still there.
    pub leaving: usize,
    /// Voters of invented keys that liars may bring in.
    pub inventions: usize,
    /// Which nodes serve no payloads although they hold them, by node.
    pub withholding: Vec<bool>,
    /// Which nodes vote in the newest epoch, by node.
    pub votes: Vec<bool>,
    /// How many they are.
    pub voting: usize,
    /// Who hears what, by epoch.
    pub audiences: BTreeMap<u32, Arc<Audience>>,
    /// Which blobs each node holds.
    pub blobs: Vec<Blobs>,
    /// Who will soon give up its connection to whom.
    pub giving_up: BTreeSet<(usize, usize)>,
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

    /// An epoch has begun for somebody.
    pub fn learn(&mut self, committee: &Arc<Committee>) {
        self.keys.learn(committee);
        if self.audiences.contains_key(&committee.epoch) {
            return;
        }
        let mut audience = Audience::default();
        for (place, member) in self.keys.members(committee.epoch).iter().enumerate() {
            let nodes = member.map_or(&[] as &[usize], |member| &self.places[usize::from(member)]);
            let side = if place < committee.voters() { &mut audience.voters } else { &mut audience.contributors };
            side.extend(nodes);
        }
        let mut member = vec![false; self.up.len()];
        audience.voters.iter().chain(&audience.contributors).for_each(|node| member[*node] = true);
        audience.strangers = (0..member.len()).filter(|node| !member[*node]).collect();
        if self.keys.newest().is_some_and(|newest| newest.epoch == committee.epoch) {
            self.votes.fill(false);
            audience.voters.iter().for_each(|node| self.votes[*node] = true);
            self.voting = audience.voters.len();
        }
        self.audiences.insert(committee.epoch, Arc::new(audience));
    }

    /// Sends a packet to all other voters of an epoch; an operation also to those who are no members.
    pub fn send_to_voters(&mut self, from: usize, epoch: u32, packet: &Packet) {
        let Some(audience) = self.audiences.get(&epoch).map(Arc::clone) else { return };
        let operation = packet.kind() == Some(Kind::Operation);
        let strangers = audience.strangers.iter().filter(|_| operation);
        let all = audience.voters.iter().chain(strangers);
        all.filter(|to| **to != from).for_each(|to| self.send_to_node(from, *to, packet));
    }

    /// Sends a packet to the voters that a node which is none is connected to: a few, others after a while, and none that is
    /// down or out of reach.
    pub fn send_to_kept(&mut self, from: usize, epoch: u32, packet: &Packet) {
        let Some(audience) = self.audiences.get(&epoch).map(Arc::clone) else { return };
        let count = audience.voters.len();
        let first = from * 31 + (self.now / KEPT_US) as usize;
        let turn = (0..count).map(|i| audience.voters[(first + i) % count]);
        let reached = turn.filter(|to| *to != from && self.up[*to] && self.links.is_open(from, *to));
        let kept: Vec<usize> = reached.take(VOTERS_KEPT).collect();
        kept.into_iter().for_each(|to| self.send_to_node(from, to, packet));
    }

    /// Sends a packet to all contributors of an epoch.
    pub fn send_to_contributors(&mut self, from: usize, epoch: u32, packet: &Packet) {
        let Some(audience) = self.audiences.get(&epoch).map(Arc::clone) else { return };
        audience.contributors.iter().for_each(|to| self.send_to_node(from, *to, packet));
    }

    /// Whether two nodes keep a connection: voters with all voters, everybody else with a few of them.
    fn meet(&self, a: usize, b: usize) -> bool {
        match (self.votes[a], self.votes[b]) {
            (true, true) => true,
            (false, false) => false,
            (true, false) => self.keeps(b, a),
            (false, true) => self.keeps(a, b),
        }
    }

    fn keeps(&self, other: usize, voter: usize) -> bool {
        (voter + other * 31) % self.voting.max(1) < VOTERS_KEPT
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
            None if passage.walled => {
                self.tally.walled += 1;
                self.give_up(from, to);
            }
            None => self.tally.lost += 1,
        }
        if let Some(delay) = passage.copy {
            self.tally.copied += 1;
            self.after(delay, to, 0, What::Packet(packet.clone(), from));
        }
    }

    /// Reads a blob of a node; nothing if it is not there, or, as its hash tells, not what was read.
    pub fn read(&mut self, node: usize, root: &Digest) -> Option<Blob> {
        let mut blob = self.blobs[node].get(root)?.clone();
        if self.rng.chance(self.options.disks.flip_blob) {
            let mut bytes = blob.to_vec();
            let place = self.rng.index(bytes.len());
            let bit = 1 << self.rng.below(8);
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= bit;
            }
            self.tally.blob_flips += 1;
            blob = bytes.into();
        }
        (blob::root(&blob) == *root).then_some(blob)
    }

    /// Lets two nodes notice, soon, that they can reach each other.
    pub fn connect(&mut self, a: usize, b: usize, members: &[u16]) {
        if !self.meet(a, b) {
            return;
        }
        for (node, other) in [(a, b), (b, a)] {
            let delay = self.rng.between(10_000, 300_000);
            // Any life: whoever runs then is connected.
            self.after(delay, node, 0, What::Connected(members[other]));
        }
    }

    /// Lets the others notice, soon, that a node is down: the system closes the connections of a process that ends.
    pub fn hang_up(&mut self, node: usize) {
        let members = self.members();
        for other in (0..self.up.len()).filter(|other| *other != node) {
            if self.up[other] && self.meet(node, other) {
                let delay = self.rng.between(1_000, 300_000);
                self.after(delay, other, 0, What::Disconnected(members[node]));
            }
        }
    }

    /// A packet met a wall: its sender gives the connection up, unless the wall goes before.
    fn give_up(&mut self, from: usize, to: usize) {
        if self.meet(from, to) && self.giving_up.insert((from, to)) {
            let delay = self.rng.between(GIVE_UP_US.0, GIVE_UP_US.1);
            let members = self.members();
            self.after(delay, from, 0, What::Disconnected(members[to]));
        }
    }

    /// Whether the connection to a member is gone, now that a node looks.
    pub fn is_gone(&mut self, node: usize, member: u16) -> bool {
        let places = self.places[usize::from(member)].clone();
        self.giving_up.retain(|(from, to)| *from != node || !places.contains(to));
        !places.iter().any(|other| self.up[*other] && self.links.is_open(node, *other))
    }

    /// How many more voters may be lost before there are more faults than the newest committee is made for.
    #[must_use]
    pub fn spare(&self) -> usize {
        let Some(committee) = self.keys.newest() else { return 0 };
        let voters = committee.voters();
        let bad = |member: &Option<u16>| {
            member.is_none_or(|member| {
                self.monitor.is_liar(member) || self.places[usize::from(member)].iter().any(|node| self.lost[*node])
            })
        };
        let members = &self.keys.members(committee.epoch)[..voters];
        let invented = members.iter().filter(|member| member.is_none()).count();
        // Whoever lost its disk while it waits to be let in, or let in again, is a voter that is silent from the first.
        let outside = (0..self.places.len() as u16).filter(|member| !members.contains(&Some(*member)));
        let waiting = outside.filter(|member| !self.monitor.is_liar(*member) && bad(&Some(*member))).count();
        let invented = self.inventions.saturating_sub(invented);
        let bad = members.iter().filter(|member| bad(member)).count() + waiting + invented;
        Quorum::of(voters.saturating_sub(self.leaving)).faulty.saturating_sub(bad)
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
