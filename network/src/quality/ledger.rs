//! Who did how much wrong, and who is banned until when.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;
use tokio::time::Instant;

use super::Fault;

/// A fault weighs this much, divided by how often it is borne.
const WEIGHT: f64 = 100.0;

/// Whoever has this much is banned. A little below [`WEIGHT`], so that what is forgotten between five faults in a row does not ask
/// for a sixth.
const BAN_AT: f64 = 95.0;

/// After this, half of what a peer did is forgotten. Shorter, and whoever spreads its faults is never banned; longer, and an honest
/// peer's mishaps add up.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// How long a stranger is banned. A key costs it nothing, so longer would be of no use.
const BAN: Duration = Duration::from_secs(30 * 60);

/// How long a member is banned: its votes count, and a network that lacks many of them stands still. Longer, and members with a
/// broken disk or old software take a quorum away from the others.
const MEMBER_BAN: Duration = Duration::from_secs(60);

/// Peers whose faults are remembered. Lower, and with many faulty peers the least faulty are forgotten too soon.
const MAX_STANDINGS: usize = 4096;

/// Bans at once. Lower, and with more banned keys those whose ban ends first come back sooner.
const MAX_BANS: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Standing {
    demerits: f64,
    at: Instant,
}

impl Standing {
    fn now(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        self.demerits * 0.5_f64.powf(age / HALF_LIFE.as_secs_f64())
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    standings: HashMap<PeerId, Standing>,
    bans: HashMap<PeerId, Instant>,
    counts: [u64; Fault::ALL.len()],
    banned_ever: u64,
}

impl Ledger {
    /// Notes a fault. True if the peer is banned from now on.
    pub(crate) fn fault(&mut self, peer: PeerId, fault: Fault, member: bool, now: Instant) -> bool {
        if let Some(count) = Fault::ALL.iter().position(|f| *f == fault).and_then(|i| self.counts.get_mut(i)) {
            *count += 1;
        }
        if self.is_banned(&peer, now) {
            return false;
        }
        let weight = WEIGHT / f64::from(fault.severity().tolerance());
        let demerits = self.demerits(&peer, now) + weight;
        if demerits < BAN_AT {
            make_room(&mut self.standings, MAX_STANDINGS, &peer, |s| s.now(now));
            self.standings.insert(peer, Standing { demerits, at: now });
            return false;
        }
        self.standings.remove(&peer);
        make_room(&mut self.bans, MAX_BANS, &peer, |until| until.saturating_duration_since(now).as_secs_f64());
        self.bans.insert(peer, now + if member { MEMBER_BAN } else { BAN });
        self.banned_ever += 1;
        true
    }

    /// What a peer has against it, of 100; with 95 it is banned.
    pub(crate) fn demerits(&self, peer: &PeerId, now: Instant) -> f64 {
        self.standings.get(peer).map_or(0.0, |standing| standing.now(now))
    }

    pub(crate) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.bans.get(peer).is_some_and(|until| *until > now)
    }

    /// Forgets what is against a peer, a ban as well.
    pub(crate) fn pardon(&mut self, peer: &PeerId) {
        self.standings.remove(peer);
        self.bans.remove(peer);
    }

    /// Ends bans that are over: whose.
    pub(crate) fn ended(&mut self, now: Instant) -> Vec<PeerId> {
        self.bans.extract_if(|_, until| *until <= now).map(|(peer, _)| peer).collect()
    }

    pub(crate) fn banned(&self) -> impl Iterator<Item = &PeerId> {
        self.bans.keys()
    }

    /// Faults since the start, by kind, and bans.
    pub(crate) fn counts(&self) -> (Vec<(Fault, u64)>, u64) {
        (Fault::ALL.into_iter().zip(self.counts).collect(), self.banned_ever)
    }
}

/// Takes out the least if another one is to come in.
fn make_room<T>(map: &mut HashMap<PeerId, T>, most: usize, new: &PeerId, of: impl Fn(&T) -> f64) {
    if map.len() < most || map.contains_key(new) {
        return;
    }
    let least = map.iter().min_by(|a, b| of(a.1).total_cmp(&of(b.1))).map(|(peer, _)| *peer);
    if let Some(peer) = least {
        map.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::quality::Severity;

    fn times(fault: Fault, pause: Duration) -> Option<u32> {
        let (mut ledger, peer, mut now) = (Ledger::default(), PeerId::random(), Instant::now());
        for count in 1..=200 {
            if ledger.fault(peer, fault, false, now) {
                return Some(count);
            }
            now += pause;
        }
        None
    }

    #[test]
    fn each_severity_bans_after_as_many_faults_as_it_says() {
        for fault in Fault::ALL {
            let most = fault.severity().tolerance();
            let count = times(fault, Duration::from_millis(100)).unwrap();
            assert!(count <= most && count + most / 10 >= most, "{fault:?}: banned after {count}, not about {most}");
        }
        let severities: std::collections::BTreeSet<Severity> = Fault::ALL.into_iter().map(Fault::severity).collect();
        assert_eq!(severities.len(), 4, "all four are in use");
    }

    #[test]
    fn faults_that_come_seldom_are_forgotten() {
        assert_eq!(times(Fault::BadMessage, HALF_LIFE), None);
        assert_eq!(times(Fault::Stalled, Duration::from_secs(20)), None);
        assert_eq!(times(Fault::BadFrame, HALF_LIFE), Some(1));
    }

    #[test]
    fn a_ban_ends_and_a_members_ends_sooner() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let (member, stranger) = (PeerId::random(), PeerId::random());
        assert!(ledger.fault(member, Fault::BadFrame, true, now));
        assert!(ledger.fault(stranger, Fault::BadFrame, false, now));
        assert!(!ledger.fault(stranger, Fault::BadFrame, false, now), "it is banned already");
        assert_eq!(ledger.ended(now + MEMBER_BAN), [member]);
        assert!(!ledger.is_banned(&member, now) && ledger.is_banned(&stranger, now + MEMBER_BAN));
        assert_eq!(ledger.ended(now + BAN), [stranger]);
        assert_eq!(ledger.demerits(&stranger, now + BAN), 0.0);
    }

    #[test]
    fn many_faulty_keys_do_not_fill_the_memory_nor_hide_the_worst() {
        let (mut ledger, now, worst) = (Ledger::default(), Instant::now(), PeerId::random());
        for _ in 0..4 {
            assert!(!ledger.fault(worst, Fault::BadMessage, false, now));
        }
        for _ in 0..2 * MAX_STANDINGS {
            ledger.fault(PeerId::random(), Fault::Stalled, false, now);
        }
        assert_eq!(ledger.standings.len(), MAX_STANDINGS);
        assert!(ledger.fault(worst, Fault::BadMessage, false, now));
        for _ in 0..2 * MAX_BANS {
            ledger.fault(PeerId::random(), Fault::BadFrame, false, now);
        }
        assert_eq!(ledger.bans.len(), MAX_BANS);
    }
}
