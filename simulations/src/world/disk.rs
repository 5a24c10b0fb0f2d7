//! What survives a crash.

use std::sync::Arc;

use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::message::Committed;

use super::blobs::Blob;
use super::grown::Grown;
use super::packet::Packet;

/// Something on its way to the disk.
#[derive(Clone, Debug)]
pub enum Write {
    /// A statement of this member.
    Statement {
        /// Its round.
        round: u64,
        /// The statement.
        packet: Packet,
        /// The private state behind it, if it is an update.
        checkpoint: Option<Blob>,
        /// What it rests on.
        kept: Vec<(u64, Packet)>,
    },
    /// A certified record, and the committee that it makes, if it closes its epoch.
    Record(Arc<Committed>, Option<Arc<Committee>>),
}

/// What became of the write that a crash cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// It never reached the disk, or reached it torn, which its checksum tells: there is nothing of it.
    Lost,
    /// It reached the disk; only nobody was told.
    Kept,
}

/// A statement with its checksum.
#[derive(Clone, Debug)]
struct Entry {
    round: u64,
    packet: Packet,
    sum: Digest,
}

impl Entry {
    fn new(round: u64, packet: &Packet) -> Self {
        Self { round, packet: packet.clone(), sum: sum(packet) }
    }
}

fn sum(packet: &Packet) -> Digest {
    hash("virtual log", packet.bytes())
}

/// A node's disk: whole writes in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    head: Option<Arc<Committed>>,
    /// Of the round after the head; nothing in the first epoch.
    committee: Option<Arc<Committee>>,
    /// Records that close an epoch.
    closing: Vec<Arc<Committed>>,
    log: Vec<Entry>,
    checkpoint: Option<Blob>,
    pending: Option<Write>,
    /// True once its contents are damaged beyond what a checksum repairs: the node must not use it again.
    pub corrupt: bool,
}

impl Disk {
    /// The disk of a node that has followed a network until now.
    #[must_use]
    pub fn after(grown: &Grown) -> Self {
        let Some(head) = grown.chain.last().cloned() else { return Self::default() };
        Self {
            head: Some(head),
            committee: Some(Arc::clone(grown.committee())),
            closing: grown.chain.clone(),
            ..Self::default()
        }
    }

    /// Starts a write; only one is under way at a time.
    pub fn begin(&mut self, write: Write) {
        self.pending = Some(write);
    }

    /// True while a write is under way.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.pending.is_some()
    }

    /// The write is durable.
    pub fn finish(&mut self) -> Option<Write> {
        let write = self.pending.take()?;
        match &write {
            Write::Statement { round, packet, checkpoint, kept } => {
                self.log.extend(kept.iter().map(|(round, packet)| Entry::new(*round, packet)));
                self.log.push(Entry::new(*round, packet));
                if checkpoint.is_some() {
                    self.checkpoint.clone_from(checkpoint);
                }
            }
            Write::Record(committed, next) => {
                self.log.retain(|entry| entry.round >= committed.record.round);
                self.head = Some(Arc::clone(committed));
                if let Some(next) = next {
                    self.committee = Some(Arc::clone(next));
                    self.closing.push(Arc::clone(committed));
                }
            }
        }
        Some(write)
    }

    /// The write failed; nothing of it is there.
    pub fn fail(&mut self) {
        self.pending = None;
    }

    /// The node crashed; true if a write was cut off.
    pub fn crash(&mut self, tail: Tail) -> bool {
        let cut_off = self.pending.is_some();
        match tail {
            Tail::Lost => self.pending = None,
            Tail::Kept => drop(self.finish()),
        }
        cut_off
    }

    /// The last certified record.
    #[must_use]
    pub const fn head(&self) -> Option<&Arc<Committed>> {
        self.head.as_ref()
    }

    /// The committee of the round after it; nothing in the first epoch.
    #[must_use]
    pub const fn committee(&self) -> Option<&Arc<Committee>> {
        self.committee.as_ref()
    }

    /// The first few records that close an epoch, from this one on.
    #[must_use]
    pub fn closing(&self, epoch: u32, most: usize) -> Vec<Committed> {
        let records = self.closing.iter().filter(|c| c.record.epoch >= epoch);
        records.take(most).map(|c| c.as_ref().clone()).collect()
    }

    /// Own statements of a round, in the order in which they were made.
    #[must_use]
    pub fn statements(&self, round: u64) -> Vec<Packet> {
        self.log.iter().filter(|entry| entry.round == round).map(|entry| entry.packet.clone()).collect()
    }

    /// The member's private state as of its last update.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&Blob> {
        self.checkpoint.as_ref()
    }

    /// Forgets synced statements: what no disk may do. For a test that the invariants notice it.
    pub fn forget_statements(&mut self) {
        self.log.clear();
    }

    /// Flips a bit of a statement, the one that `lot` falls on; false if there is none.
    pub fn flip(&mut self, lot: u64) -> bool {
        let Some(most) = (self.log.len() as u64).checked_sub(1) else { return false };
        let entry = &mut self.log[(lot % (most + 1)) as usize];
        let mut bytes = entry.packet.bytes().to_vec();
        let place = (lot >> 16) as usize % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << (lot >> 8 & 7);
        }
        entry.packet = Packet::of_bytes(bytes);
        true
    }

    /// Whether the log is what was written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.log.iter().all(|entry| entry.sum == sum(&entry.packet))
    }
}
