//! Finding members and keeping them connected.
//!
//! Everyone knows an entry point and the members' keys. Whoever starts asks the entry point, and another connected peer each time,
//! where the missing members are ([`crate::whereabouts`]); whom nobody knows is looked up in Kademlia now and then, which connects
//! this node with everybody on the way. Attempts are repeated with growing pauses; since a newcomer's first attempts come quickly,
//! the others' long pauses do not keep it waiting. Of two who start together, the one with the smaller id calls and the other waits a moment,
//! or most pairs would end up with two connections.
//!
//! Addresses of a member's own are dialed first. A relay always answers at once, so it is asked a moment later, or most pairs
//! that could talk straight would talk through it.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, Swarm, kad};
use tokio::time::Instant;

use crate::behaviour::{MAX_ADDRS, Member};
use crate::direct_only::is_relayed;
use crate::missing::{DialFailure, failures};
use crate::{Missing, NodeId, Tempo, Tie};

/// Questions about a member before it is looked up in Kademlia for the first time; then each time that their number has doubled.
/// Fewer, and members that are only switched off connect the others with strangers; more, and one whom only strangers know is met
/// later.
const ASKED_FIRST: u64 = 8;
/// Lookups under way at once. Lower, and a large network forms slowly; higher, and its entry point is flooded.
const MAX_LOOKUPS: usize = 4;
/// How many peers near a member answer before a lookup ends.
const LOOKUP_WIDTH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// How many first pauses the one with the larger id waits for the other's call.
const COURTESY: u32 = 10;

/// How many of the longest pauses a member that is expected to call has for it. Fewer, and of many that start at once on a small
/// machine most are called while they call.
const LOOSE: u32 = 3;

/// Members that are being called at once. Fewer, and a large network forms slowly; more, and of many that start at once most wait
/// half-way at the same doors, until these let nobody in any more.
const MAX_CALLS: usize = 6;

/// How long a call counts as being made. Shorter, and the bound above means nothing; longer, and members that do not answer keep
/// others from being called.
const CALL: Duration = Duration::from_secs(1);

/// Between two looks when nobody is missing. Longer, and bans end and relays are left later; shorter, and a peer that does nothing
/// takes more of a processor.
const QUIET: Duration = Duration::from_secs(1);

/// How long own addresses are tried before a relay is. Shorter, and members far away are reached through relays first; longer,
/// and those behind a NAT, whose own addresses lead nowhere, are met later.
const RELAY_AFTER: Duration = Duration::from_millis(1000);

/// When to try again.
#[derive(Debug)]
struct Attempt {
    addrs: Vec<Multiaddr>,
    due: Instant,
    pause: Duration,
    /// When a relay is to be tried, if the attempt in progress has not come to anything.
    relay_due: Option<Instant>,
    /// What came of the last attempt at each address, at most [`MAX_ADDRS`].
    failures: Vec<(Multiaddr, DialFailure)>,
    lookups: u64,
    /// Whether what is known was dialed since something new was heard.
    tried: bool,
    /// Until when the other is expected to call.
    courtesy: Instant,
    /// Since when it is being called.
    called: Option<Instant>,
}

impl Attempt {
    fn new(pause: Duration) -> Self {
        let (addrs, failures, now) = (Vec::new(), Vec::new(), Instant::now());
        Self {
            addrs,
            due: now,
            pause,
            relay_due: None,
            failures,
            lookups: 0,
            tried: false,
            courtesy: now,
            called: None,
        }
    }

    fn learn(&mut self, addr: Multiaddr) {
        if !self.addrs.contains(&addr) {
            if self.addrs.len() >= MAX_ADDRS {
                self.addrs.remove(0);
            }
            self.addrs.push(addr);
            self.tried = false;
        }
    }

    fn failed(&mut self, failures: Vec<(Multiaddr, DialFailure)>) {
        for (addr, failure) in failures {
            self.failures.retain(|(known, _)| *known != addr);
            if self.failures.len() >= MAX_ADDRS {
                self.failures.remove(0);
            }
            self.failures.push((addr, failure));
        }
    }

    /// Addresses of the peer's own, or those that lead through relays.
    fn some(&self, relayed: bool) -> Vec<Multiaddr> {
        self.addrs.iter().filter(|addr| is_relayed(addr) == relayed).cloned().collect()
    }
}

/// Who is wanted, and what is known about where they are.
#[derive(Debug)]
pub(super) struct Discovery {
    me: PeerId,
    pause: Duration,
    pause_max: Duration,
    /// Whether this node can dial through relays.
    relays: bool,
    entries: HashMap<PeerId, Attempt>,
    members: HashMap<PeerId, Attempt>,
    /// Members that this node is not tied to closely.
    ties: HashMap<PeerId, Tie>,
    connected: HashSet<PeerId>,
    lookups: HashMap<kad::QueryId, PeerId>,
    /// Whose turn it is to be asked where others are.
    turn: usize,
    /// Until when nothing is due, unless something happens.
    calm: Option<Instant>,
}

impl Discovery {
    pub(super) fn new(me: PeerId, entries: &[Multiaddr], tempo: &Tempo, relays: bool) -> Self {
        let mut found: HashMap<PeerId, Attempt> = HashMap::new();
        for addr in entries {
            let peer = addr.iter().find_map(|p| if let Protocol::P2p(peer) = p { Some(peer) } else { None });
            if let Some(peer) = peer.filter(|p| *p != me) {
                found.entry(peer).or_insert_with(|| Attempt::new(tempo.redial)).learn(addr.clone());
            }
        }
        Self {
            me,
            pause: tempo.redial,
            pause_max: tempo.redial_max,
            relays,
            entries: found,
            members: HashMap::new(),
            ties: HashMap::new(),
            connected: HashSet::new(),
            lookups: HashMap::new(),
            turn: 0,
            calm: None,
        }
    }

    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer)
    }

    pub(super) fn is_entry(&self, peer: &PeerId) -> bool {
        self.entries.contains_key(peer)
    }

    /// A member or an entry point: no stranger.
    pub(super) fn is_known(&self, peer: &PeerId) -> bool {
        self.is_member(peer) || self.is_entry(peer)
    }

    /// All of them.
    pub(super) fn known(&self) -> impl Iterator<Item = PeerId> {
        self.entries.keys().chain(self.members.keys()).copied()
    }

    /// Says which members are not to be looked for at once; call it before [`Discovery::set_members`].
    pub(super) fn set_ties(&mut self, ties: HashMap<PeerId, Tie>) {
        self.calm = None;
        let now = Instant::now();
        for (peer, attempt) in &mut self.members {
            // Whoever is close now and was not before is called at once.
            let (before, after) = (self.ties.get(peer), ties.get(peer));
            if is_far(before) && !is_far(after) {
                attempt.due = now;
            }
        }
        self.ties = ties;
    }

    fn tie(&self, peer: &PeerId) -> Tie {
        self.ties.get(peer).copied().unwrap_or_default()
    }

    pub(super) fn set_members(&mut self, members: Vec<PeerId>) {
        self.calm = None;
        let mut before = std::mem::take(&mut self.members);
        for peer in members.into_iter().filter(|p| *p != self.me) {
            let attempt = before.remove(&peer).unwrap_or_else(|| {
                let mut attempt = Attempt::new(self.pause);
                match self.tie(&peer) {
                    Tie::Loose => attempt.courtesy += self.pause_max * LOOSE,
                    Tie::Close if peer < self.me => attempt.courtesy += self.pause * COURTESY,
                    _ => {}
                }
                attempt.due = attempt.courtesy;
                attempt
            });
            self.members.insert(peer, attempt);
        }
    }

    pub(super) fn connected(&mut self, peer: PeerId, swarm: &mut Swarm<Member>) {
        self.calm = None;
        self.connected.insert(peer);
        if let Some(attempt) = self.members.get_mut(&peer) {
            (attempt.relay_due, attempt.called) = (None, None);
        }
        // What was looked for is here; no need to ask on.
        let ended: Vec<_> = self.lookups.iter().filter(|(_, goal)| **goal == peer).map(|(id, _)| *id).collect();
        for id in ended {
            if let Some(mut query) = swarm.behaviour_mut().common.kad.query_mut(&id) {
                query.finish();
            }
        }
    }

    /// The peer may only have restarted: the first attempt comes soon.
    pub(super) fn disconnected(&mut self, peer: PeerId) {
        self.calm = None;
        self.connected.remove(&peer);
        let wait = if self.tie(&peer) == Tie::Loose { self.pause_max * LOOSE } else { self.pause };
        for attempt in [self.members.get_mut(&peer), self.entries.get_mut(&peer)].into_iter().flatten() {
            attempt.pause = self.pause;
            attempt.due = Instant::now() + wait;
            (attempt.relay_due, attempt.called) = (None, None);
        }
    }

    /// A dial came to nothing: if a relay was to be next, it is.
    pub(super) fn failed(&mut self, peer: PeerId, error: &DialError) {
        self.calm = None;
        for attempt in [self.members.get_mut(&peer), self.entries.get_mut(&peer)].into_iter().flatten() {
            attempt.failed(failures(error));
            attempt.called = None;
            if let Some(relay_due) = attempt.relay_due.as_mut() {
                *relay_due = Instant::now();
            }
        }
    }

    /// Who is wanted and not connected: entry points, then members.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let of = |entry: bool, attempts: &HashMap<PeerId, Attempt>| {
            let wanted = |peer: &PeerId| !self.connected.contains(peer) && self.tie(peer) != Tie::None;
            let absent = attempts.iter().filter(|(peer, _)| wanted(peer));
            let mut missing: Vec<Missing> = absent
                .filter_map(|(peer, attempt)| {
                    Some(Missing {
                        id: NodeId::from_peer_id(peer)?,
                        entry,
                        addresses: attempt.addrs.clone(),
                        failures: attempt.failures.clone(),
                        lookups: attempt.lookups,
                    })
                })
                .collect();
            missing.sort_by_key(|missing| missing.id);
            missing
        };
        [of(true, &self.entries), of(false, &self.members)].concat()
    }

    /// A member was at these addresses once.
    pub(super) fn remembered(&mut self, peer: PeerId, addrs: &[Multiaddr]) {
        self.calm = None;
        if let Some(attempt) = self.members.get_mut(&peer) {
            for addr in addrs.iter().filter(|addr| self.relays || !is_relayed(addr)) {
                attempt.learn(addr.clone());
            }
        }
    }

    /// Where a member is said to be: at addresses of its own, or through relays.
    pub(super) fn addrs(&self, peer: &PeerId, relayed: bool) -> Vec<Multiaddr> {
        self.members.get(peer).map(|attempt| attempt.some(relayed)).unwrap_or_default()
    }

    /// A connected peer said where it listens.
    pub(super) fn learned(&mut self, peer: PeerId, addrs: impl Iterator<Item = Multiaddr>, swarm: &mut Swarm<Member>) {
        self.calm = None;
        if let Some(attempt) = self.members.get_mut(&peer) {
            for addr in addrs.take(MAX_ADDRS) {
                attempt.learn(addr);
            }
        }
        self.tick(swarm);
    }

    /// Someone, who may be anyone, says that a peer is at an address: worth a try.
    pub(super) fn heard(&mut self, peer: PeerId, addr: Multiaddr) {
        self.calm = None;
        if is_relayed(&addr) && !self.relays {
            return;
        }
        let close = !is_far(self.ties.get(&peer));
        if let Some(attempt) = self.members.get_mut(&peer) {
            attempt.learn(addr);
            if close {
                attempt.due = attempt.courtesy.max(Instant::now());
            }
        }
    }

    /// Somebody knows where others are.
    pub(super) fn told(&mut self, found: Vec<(PeerId, Vec<Multiaddr>)>, swarm: &mut Swarm<Member>) {
        for (peer, addrs) in found {
            if !self.connected.contains(&peer) {
                addrs.into_iter().take(MAX_ADDRS).for_each(|addr| self.heard(peer, addr));
            }
        }
        self.tick(swarm);
    }

    pub(super) fn on_kad(&mut self, event: kad::Event, swarm: &mut Swarm<Member>) {
        if let kad::Event::OutboundQueryProgressed { id, result, step, .. } = event {
            let ended = step.last && self.lookups.remove(&id).is_some();
            if let kad::QueryResult::GetClosestPeers(result) = result {
                let peers = match result {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                for info in peers {
                    for addr in info.addrs.into_iter().take(MAX_ADDRS) {
                        if !self.connected.contains(&info.peer_id) {
                            self.heard(info.peer_id, addr);
                        }
                    }
                }
            }
            if ended {
                self.tick(swarm);
            }
        }
    }

    /// Dials and looks up whoever is missing and due.
    pub(super) fn tick(&mut self, swarm: &mut Swarm<Member>) {
        let now = Instant::now();
        if self.calm.is_some_and(|until| now < until) {
            return;
        }
        let (pause_max, connected, ties) = (self.pause_max, &self.connected, &self.ties);
        let due = |(peer, attempt): &(&PeerId, &mut Attempt)| {
            attempt.due <= now && !connected.contains(*peer) && ties.get(*peer) != Some(&Tie::None)
        };
        for (peer, attempt) in self.entries.iter_mut().filter(due) {
            dial(swarm, *peer, attempt.addrs.clone(), PeerCondition::DisconnectedAndNotDialing);
            attempt.due = now + attempt.pause;
            attempt.pause = (attempt.pause * 2).min(pause_max);
        }
        let can_ask = swarm.behaviour().common.whereabouts.known().len() > 0;
        let (mut unknown, mut lost) = (Vec::new(), Vec::new());
        let being_called = |attempt: &Attempt| attempt.called.is_some_and(|since| now < since + CALL);
        let mut calls = self.members.values().filter(|attempt| being_called(attempt)).count();
        for (peer, attempt) in self.members.iter_mut().filter(due) {
            // What was just heard is tried before others are asked again.
            let fresh = !attempt.addrs.is_empty() && !attempt.tried;
            if !attempt.addrs.is_empty() {
                if calls >= MAX_CALLS && !being_called(attempt) {
                    continue;
                }
                calls += usize::from(!being_called(attempt));
                (attempt.tried, attempt.called) = (true, Some(now));
                call(swarm, *peer, attempt);
            } else if !can_ask {
                continue;
            }
            if can_ask && !fresh {
                unknown.push(*peer);
                attempt.lookups += 1;
                if attempt.lookups >= ASKED_FIRST && attempt.lookups.is_power_of_two() {
                    lost.push(*peer);
                }
            }
            attempt.due = now + attempt.pause;
            attempt.pause = (attempt.pause * 2).min(pause_max);
        }
        self.ask(&unknown, swarm);
        self.look_up(lost, swarm);
        for (peer, attempt) in &mut self.members {
            if attempt.relay_due.is_some_and(|at| at <= now) {
                attempt.relay_due = None;
                // What the own addresses come to may still be open: whichever is first, wins.
                dial(swarm, *peer, attempt.some(true), PeerCondition::Disconnected);
            }
        }
        self.calm = self.next_due();
    }

    /// When to look next, after a look at this moment; no later than this, if something else is due then.
    pub(super) fn next_look(&self, looked: Instant, tempo: Duration, due: Option<Instant>) -> Instant {
        match self.calm {
            None => looked + tempo,
            Some(until) => until.min(looked + QUIET).min(due.unwrap_or(until)).max(looked + tempo),
        }
    }

    /// When somebody is due next; far away if nobody is wanted.
    fn next_due(&self) -> Option<Instant> {
        let wanted = |(peer, _): &(&PeerId, &Attempt)| {
            !self.connected.contains(*peer) && self.ties.get(*peer) != Some(&Tie::None)
        };
        let all = self.entries.iter().chain(&self.members);
        let due =
            all.filter(wanted).map(|(_, attempt)| attempt.relay_due.map_or(attempt.due, |at| at.min(attempt.due)));
        Some(due.min().unwrap_or_else(|| Instant::now() + self.pause_max))
    }
}

impl Discovery {
    /// Asks an entry point and one other connected peer where these are, others each time.
    fn ask(&mut self, unknown: &[PeerId], swarm: &mut Swarm<Member>) {
        if unknown.is_empty() {
            return;
        }
        let whereabouts = &mut swarm.behaviour_mut().common.whereabouts;
        let known = whereabouts.known().filter(|peer| !unknown.contains(peer) && !whereabouts.awaits(peer));
        let (mut entries, mut others): (Vec<_>, Vec<_>) = known.partition(|peer| self.entries.contains_key(peer));
        self.turn = self.turn.wrapping_add(1);
        for peers in [&mut entries, &mut others] {
            peers.sort_unstable();
            if let Some(peer) = peers.get(self.turn % peers.len().max(1)) {
                whereabouts.ask(*peer, unknown.iter().copied());
            }
        }
    }

    /// Looks members up in Kademlia.
    fn look_up(&mut self, lost: Vec<PeerId>, swarm: &mut Swarm<Member>) {
        let common = &mut swarm.behaviour_mut().common;
        if !lost.is_empty() {
            let known: Vec<PeerId> = common.whereabouts.known().collect();
            known.iter().for_each(|peer| common.route_through(peer));
        }
        for peer in lost {
            if self.lookups.len() < MAX_LOOKUPS && self.lookups.values().all(|goal| *goal != peer) {
                self.lookups.insert(common.kad.get_n_closest_peers(peer, LOOKUP_WIDTH), peer);
            }
        }
    }
}

/// Whether a member is not to be called at once.
fn is_far(tie: Option<&Tie>) -> bool {
    matches!(tie, Some(Tie::Loose | Tie::None))
}

/// Dials a member's own addresses, and sees to it that a relay is tried if they lead nowhere.
fn call(swarm: &mut Swarm<Member>, peer: PeerId, attempt: &mut Attempt) {
    let own = attempt.some(false);
    let wait = if own.is_empty() { Duration::ZERO } else { RELAY_AFTER };
    if attempt.relay_due.is_none() && attempt.addrs.iter().any(is_relayed) {
        attempt.relay_due = Some(Instant::now() + wait);
    }
    if !own.is_empty() {
        dial(swarm, peer, own, PeerCondition::DisconnectedAndNotDialing);
    }
}

/// Failures come as events; one to be expected is that the peer is being dialed already.
pub(super) fn dial(swarm: &mut Swarm<Member>, peer: PeerId, addrs: Vec<Multiaddr>, condition: PeerCondition) {
    let options = DialOpts::peer_id(peer).condition(condition).addresses(addrs).build();
    if let Err(error) = swarm.dial(options) {
        tracing::trace!(%peer, %error, "not dialed");
    }
}
