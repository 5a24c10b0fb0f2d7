//! How much one peer may send: a token bucket for each kind, filled anew every second.

use std::time::Duration;

use tokio::time::Instant;

use crate::KNOCKS_PER_SECOND;
use crate::bucket::{Bucket, bucket};

/// What one peer may send in a second; as much again may come at once after a quiet second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Direct messages of a member. More are answered "busy", and come again later. Too low, and a voter that catches up with a
    /// long history, or one of 64 that all resend, is slowed down.
    pub member_direct: u32,
    /// Direct messages of anybody else.
    pub stranger_direct: u32,
    /// Blob requests of a member, of 1 MiB each at most. Too low, and a fast link is not filled.
    pub member_blobs: u32,
    /// Gossiped messages that a member passes on and that are new to us. More are dropped; what a round needs is said again
    /// directly. Too low, and in a large network messages come late.
    pub member_gossip: u32,
    /// Gossiped messages that anybody else passes on.
    pub stranger_gossip: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            member_direct: 1024,
            stranger_direct: KNOCKS_PER_SECOND,
            member_blobs: 512,
            member_gossip: 1024,
            stranger_gossip: 16,
        }
    }
}

/// A flood is a fault once in this time.
const FLOOD_EVERY: Duration = Duration::from_secs(1);

/// One peer's buckets.
#[derive(Debug)]
pub(crate) struct Allowance {
    direct: [Bucket; 2],
    gossip: [Bucket; 2],
    blobs: Bucket,
    flooded: Option<Instant>,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    Direct,
    Gossip,
    Blob,
}

/// Whether something may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passage {
    Free,
    /// Too much.
    Over,
    /// Too much, and this is the first time in a while: a fault.
    Flood,
}

impl Allowance {
    pub(crate) fn new(rates: &Rates) -> Self {
        Self {
            direct: [bucket(rates.stranger_direct), bucket(rates.member_direct)],
            gossip: [bucket(rates.stranger_gossip), bucket(rates.member_gossip)],
            blobs: bucket(rates.member_blobs),
            flooded: None,
        }
    }

    pub(crate) fn take(&mut self, sort: Sort, member: bool) -> Passage {
        let bucket = match sort {
            Sort::Direct => &self.direct[usize::from(member)],
            Sort::Gossip => &self.gossip[usize::from(member)],
            Sort::Blob => &self.blobs,
        };
        if bucket.check().is_ok() {
            return Passage::Free;
        }
        let now = Instant::now();
        if self.flooded.is_some_and(|last| now < last + FLOOD_EVERY) {
            return Passage::Over;
        }
        self.flooded = Some(now);
        Passage::Flood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_is_noted_once_a_second() {
        let rates = Rates { member_direct: 8, ..Rates::default() };
        let mut allowance = Allowance::new(&rates);
        let passages: Vec<Passage> = (0..100).map(|_| allowance.take(Sort::Direct, true)).collect();
        assert_eq!(passages[..8], [Passage::Free; 8]);
        assert_eq!(passages.iter().filter(|p| **p == Passage::Flood).count(), 1, "within much less than a second");
        assert_eq!(allowance.take(Sort::Direct, false), Passage::Free, "a bucket of its own");
        assert_eq!(allowance.take(Sort::Gossip, true), Passage::Free, "another one");
    }
}
