//! What happens at some moment, and the queue of it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use fedswarm_protocol::hash::{Digest, hash};

use super::packet::Packet;

/// What happens.
#[derive(Clone, Debug)]
pub enum What {
    /// A packet arrives from a node.
    Packet(Packet, usize),
    /// A timer of the node fires.
    Timer(u64),
    /// The write under way is durable.
    Written,
    /// Training is done.
    Trained(u64),
    /// A fetch is tried.
    Fetch(u64),
    /// A fetch that found a holder (a node) ends.
    Fetched(u64, usize),
    /// A merge is done.
    Merged(u64),
    /// A host has made an artefact of this round.
    Generated(u64),
    /// A member can be reached.
    Connected(u16),
    /// The connection to a member may be gone.
    Disconnected(u16),
    /// The node comes back.
    Start,
    /// Faults and adversaries have their turn; belongs to no node.
    Tick,
}

impl What {
    const fn tag(&self) -> u8 {
        match self {
            Self::Packet(..) => 0,
            Self::Timer(_) => 1,
            Self::Written => 2,
            Self::Trained(_) => 3,
            Self::Fetch(_) => 4,
            Self::Fetched(..) => 5,
            Self::Merged(_) => 6,
            Self::Connected(_) => 7,
            Self::Start => 8,
            Self::Tick => 9,
            Self::Disconnected(_) => 10,
            Self::Generated(_) => 11,
        }
    }

    fn word(&self) -> u64 {
        match self {
            Self::Packet(packet, _) => packet.id(),
            Self::Timer(x)
            | Self::Trained(x)
            | Self::Fetch(x)
            | Self::Fetched(x, _)
            | Self::Merged(x)
            | Self::Generated(x) => *x,
            Self::Connected(member) | Self::Disconnected(member) => u64::from(*member),
            Self::Written | Self::Start | Self::Tick => 0,
        }
    }
}

/// Something that happens at a node.
#[derive(Clone, Debug)]
pub struct Event {
    /// Microseconds since the world began.
    pub at: u64,
    /// Which came first into the queue, among equals.
    pub order: u64,
    /// The node.
    pub node: u32,
    /// Which life of the node it was meant for; what belongs to an earlier one is dropped. Packets and starts have no such
    /// bound.
    pub life: u32,
    /// What.
    pub what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    /// The heap gives the greatest: the earliest must be that.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Microseconds in one stretch of the queue.
const STRETCH_US: u64 = 1_024;

/// Emptied stretches whose memory is used again.
const MOST_SPARE: usize = 64;

/// All that is to come, by time. Only the present stretch is kept in order: a heap of everything would be far larger than a
/// processor's cache in a large world, and every step would wait for memory.
#[derive(Debug, Default)]
pub struct Queue {
    now: BinaryHeap<Event>,
    /// The stretch that `now` is, counted from the beginning.
    stretch: u64,
    later: BTreeMap<u64, Vec<Event>>,
    spare: Vec<Vec<Event>>,
    count: u64,
}

impl Queue {
    /// Adds an event.
    pub fn push(&mut self, at: u64, node: usize, life: u32, what: What) {
        self.count += 1;
        let event = Event { at, order: self.count, node: node as u32, life, what };
        let stretch = at / STRETCH_US;
        if stretch <= self.stretch {
            self.now.push(event);
        } else {
            let spare = &mut self.spare;
            self.later.entry(stretch).or_insert_with(|| spare.pop().unwrap_or_default()).push(event);
        }
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<Event> {
        if self.now.is_empty() {
            let (stretch, events) = self.later.pop_first()?;
            self.stretch = stretch;
            let emptied = std::mem::replace(&mut self.now, BinaryHeap::from(events)).into_vec();
            if self.spare.len() < MOST_SPARE {
                self.spare.push(emptied);
            }
        }
        self.now.pop()
    }
}

/// Bytes that the log gathers before it hashes them.
const LOG_BUFFER: usize = 8 * 1024;

/// A hash over all that happened: two runs of one seed must have the same.
#[derive(Debug, Default)]
pub struct Log {
    chain: Digest,
    buffer: Vec<u8>,
    count: u64,
}

impl Log {
    /// Takes an event in.
    pub fn note(&mut self, event: &Event) {
        self.count += 1;
        self.buffer.extend_from_slice(&event.at.to_le_bytes());
        self.buffer.extend_from_slice(&event.node.to_le_bytes());
        self.buffer.push(event.what.tag());
        self.buffer.extend_from_slice(&event.what.word().to_le_bytes());
        if self.buffer.len() >= LOG_BUFFER {
            self.fold();
        }
    }

    /// Takes any word in, such as the hash of a record.
    pub fn note_digest(&mut self, digest: &Digest) {
        self.buffer.extend_from_slice(digest.as_bytes());
    }

    fn fold(&mut self) {
        self.buffer.extend_from_slice(self.chain.as_bytes());
        self.chain = hash("event log", &self.buffer);
        self.buffer.clear();
    }

    /// Events so far.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The hash so far.
    #[must_use]
    pub fn digest(&mut self) -> Digest {
        self.fold();
        self.chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_among_equals_in_the_order_in_which_they_were_added() {
        let mut rng = super::super::rng::Rng::new("queue", 1);
        let mut queue = Queue::default();
        let (mut expected, mut now, mut seen) = (Vec::new(), 0, Vec::new());
        for _ in 0..2_000 {
            // Some within the present stretch, some at the same moment, some far ahead.
            for _ in 0..rng.below(4) {
                let far = [1, 100, 5_000, 10_000_000][rng.index(4)];
                let at = now + rng.below(far);
                queue.push(at, 0, 0, What::Tick);
                expected.push((at, expected.len() as u64 + 1));
            }
            if let Some(event) = queue.pop() {
                assert!(event.at >= now);
                now = event.at;
                seen.push((event.at, event.order));
            }
        }
        seen.extend(std::iter::from_fn(|| queue.pop()).map(|event| (event.at, event.order)));
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }
}
