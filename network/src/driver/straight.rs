//! Getting off a relay.
//!
//! A member that is reached through a relay only is left to DCUtR first, which makes three attempts to punch a hole. It makes none
//! if one of the two did not know, when the relay connected them, as what others see it, and it never begins again. So afterwards
//! the member's own addresses are dialed, which is enough if it has a public one, and then it is called through the relay once
//! more, with which DCUtR begins anew; in turns, at growing pauses.
//!
//! Never at the same time: TCP holes are punched from the port that a node listens on, and while a packet to an address is
//! unanswered, nothing else can be sent there from that port.

use std::time::Duration;

use libp2p::PeerId;
use libp2p::swarm::dial_opts::PeerCondition;
use tokio::time::Instant;

use super::Driver;
use super::discovery::dial;
use crate::Path;

/// How long DCUtR is left alone, unless it says that it has failed: three attempts that each wait 8 s for an answer, and up to
/// 20 s until a connection is secured. Shorter, and what is dialed here is in its way.
const PUNCHING: Duration = Duration::from_secs(65);

/// From its failure to the first dial. Longer, and a member with a public address is reached straight later.
const FIRST: Duration = Duration::from_secs(1);

/// Pause after an attempt; doubles up to [`PAUSE_MAX`]. Shorter than the 20 s that a dial may take at most, and the next attempt gets
/// in its way. A shorter longest pause makes work for relays that hardly ever leads anywhere.
const PAUSE: Duration = Duration::from_secs(25);
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// Attempts to reach one peer straight.
#[derive(Debug)]
pub(super) struct Straight {
    due: Instant,
    pause: Duration,
    /// Whether the next attempt is a call through the relay.
    punch: bool,
}

impl Straight {
    pub(super) fn new() -> Self {
        Self { due: Instant::now(), pause: PAUSE, punch: false }
    }

    /// The relay has connected the two, and DCUtR begins.
    pub(super) fn punching(&mut self, now: Instant) {
        self.due = now + PUNCHING;
    }

    /// DCUtR has failed.
    pub(super) fn not_punched(&mut self, now: Instant) {
        self.due = now + if self.punch { self.pause } else { FIRST };
    }

    /// Which attempt is due, if any: dialing, or with `true`, calling through the relay.
    fn next(&mut self, now: Instant) -> Option<bool> {
        if self.due > now {
            return None;
        }
        let punch = self.punch;
        self.due = now + self.pause;
        self.punch = !punch;
        if punch {
            self.pause = (2 * self.pause).min(PAUSE_MAX);
        }
        Some(punch)
    }
}

impl Driver {
    /// Looks for a way around relays.
    pub(super) fn straighten(&mut self) {
        let now = Instant::now();
        let relayed = self.peers.iter_mut().filter(|(_, peer)| peer.path() == Some(Path::Relayed));
        let due: Vec<(PeerId, bool)> =
            relayed.filter_map(|(id, peer)| peer.straight.next(now).map(|punch| (*id, punch))).collect();
        for (id, punch) in due {
            let addrs = self.discovery.addrs(&id, punch);
            if addrs.is_empty() {
                continue;
            }
            if punch {
                // Or there would be one more each time, and at four the peer is asked no more.
                let older = self.peers.get(&id).map(super::connections::Peer::older_circuits).unwrap_or_default();
                older.into_iter().for_each(|connection| _ = self.swarm.close_connection(connection));
            }
            tracing::debug!(peer = %id, punch, "looking for a way around the relay");
            dial(&mut self.swarm, id, addrs, PeerCondition::NotDialing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialing_and_punching_never_meet() {
        let mut straight = Straight::new();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        straight.punching(at(0));
        assert_eq!(straight.next(at(10)), None, "DCUtR is at work");
        straight.not_punched(at(10));
        assert_eq!(straight.next(at(11)), Some(false));
        assert_eq!(straight.next(at(31)), None, "the dial may still be open");
        assert_eq!(straight.next(at(36)), Some(true));
        straight.punching(at(36));
        assert_eq!(straight.next(at(96)), None, "DCUtR is at work again");
        straight.not_punched(at(97));
        assert_eq!(straight.next(at(98)), Some(false));
    }

    #[test]
    fn a_dial_is_waited_for_when_punching_fails_meanwhile() {
        let mut straight = Straight::new();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(straight.next(at(1)), Some(false));
        straight.not_punched(at(2));
        assert_eq!(straight.next(at(26)), None);
        assert_eq!(straight.next(at(27)), Some(true));
    }
}
