//! What must hold at every moment, whatever happens: the invariants I1 to I12 of the design, section 2.8, checked on every
//! statement, record and restart. The monitor sees the whole world; no node does.

mod ballots;
mod roll;
mod validity;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::envelope::{Kind, Slot, Verified};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::membership::{Committee, Invite};
use fedswarm_protocol::message::{Committed, Message, Receipt, UpdateHeader, UpdateRef};
use fedswarm_protocol::record::Record;
use fedswarm_protocol::round::{Event, Fault, Rules};
use serde::Serialize;

use super::grown::Grown;
use ballots::Ballots;
use roll::Roll;

/// Rounds behind the last final one for which statements are remembered. Too low and a late record cannot be checked.
const KEEP_ROUNDS: u64 = 4;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Which, such as `I1 agreement`.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
    /// Milliseconds of virtual time.
    pub at_ms: u64,
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.at_ms as f64 / 1e3;
        write!(f, "{} does not hold after {seconds:.1} s of virtual time: {}", self.rule, self.what)
    }
}

/// Watches a world.
#[derive(Debug)]
pub struct Monitor {
    rules: Rules,
    /// By epoch.
    committees: BTreeMap<u32, Arc<Committee>>,
    /// True for members that lie; nothing is expected of them.
    liars: Vec<bool>,
    /// Members behind nodes.
    members: Vec<u16>,
    roll: Roll,
    /// Committees that nodes go by already while the record that makes them is on its way to the first disk.
    unchecked: Vec<(usize, Arc<Committee>)>,
    /// By epoch.
    ballots: BTreeMap<u32, Ballots>,
    updates: BTreeMap<(u64, UpdateRef), UpdateHeader>,
    receipts: BTreeMap<(u64, UpdateRef), Receipt>,
    /// Blobs that no honest member may vouch for.
    no_artefacts: BTreeSet<Digest>,
    /// The artefacts that final records name.
    in_force: BTreeMap<u64, Option<ArtefactRef>>,
    said: BTreeMap<(u64, Slot, u16), Digest>,
    finals: BTreeMap<u64, (Digest, Record)>,
    heads: Vec<u64>,
    /// Views beyond the first in which rounds became final, and honest proposals that were refused.
    pub late_views: u64,
    /// Operations that final records took in.
    pub changes: u64,
    /// Whether a record's model can be recomputed here: only abstract ones.
    recomputes: bool,
    broken: Option<Break>,
}

impl Monitor {
    /// For a network and the members behind its nodes.
    #[must_use]
    pub fn new(rules: &Rules, grown: &Grown, members: Vec<u16>, liars: Vec<bool>, recomputes: bool) -> Self {
        let mut finals = BTreeMap::new();
        finals.insert(0, (rules.genesis_hash, rules.genesis.clone()));
        for committed in &grown.chain {
            finals.insert(committed.record.round, (committed.certificate.record, committed.record.clone()));
        }
        let committees = grown.committees.iter().map(|committee| (committee.epoch, Arc::clone(committee)));
        Self {
            rules: rules.clone(),
            committees: committees.collect(),
            liars,
            heads: vec![grown.round(); members.len()],
            members,
            unchecked: Vec::new(),
            roll: Roll::new(grown.committee(), &rules.constants),
            ballots: BTreeMap::new(),
            updates: BTreeMap::new(),
            receipts: BTreeMap::new(),
            no_artefacts: BTreeSet::new(),
            in_force: BTreeMap::new(),
            said: BTreeMap::new(),
            finals,
            late_views: 0,
            changes: 0,
            recomputes,
            broken: None,
        }
    }

    /// The first invariant that did not hold.
    #[must_use]
    pub const fn broken(&self) -> Option<&Break> {
        self.broken.as_ref()
    }

    /// The last final round, of all nodes.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.finals.last_key_value().map_or(0, |(round, _)| *round)
    }

    /// The last final record.
    #[must_use]
    pub fn last(&self) -> Option<&(Digest, Record)> {
        self.finals.last_key_value().map(|(_, last)| last)
    }

    /// A round's final record.
    #[must_use]
    pub fn record(&self, round: u64) -> Option<&(Digest, Record)> {
        self.finals.get(&round)
    }

    /// An invariant does not hold.
    pub fn report(&mut self, rule: &'static str, at_us: u64, what: String) {
        if self.broken.is_none() {
            self.broken = Some(Break { rule, what, at_ms: at_us / 1_000 });
        }
    }

    /// Whether nothing is expected of a member.
    #[must_use]
    pub fn is_liar(&self, member: u16) -> bool {
        self.liars.get(usize::from(member)).copied().unwrap_or(true)
    }

    /// A statement was made public by the holder of its author's key.
    pub fn said(&mut self, member: u16, message: &Verified, now: u64) {
        let (slot, author) = (*message.slot(), message.author());
        let key = (author, message.statement());
        let name = self.committees.get(&slot.epoch).and_then(|committee| committee.key(author));
        if !slot.kind.proves_itself() && name.is_some_and(|key| self.roll.is_evicted(key, slot.epoch)) {
            let what =
                format!("member {author} of epoch {} was evicted, and {slot:?} is taken as its word", slot.epoch);
            self.report("I12 nobody uninvited or evicted has a vote", now, what);
        }
        match message.message() {
            Message::Update(header) => drop(self.updates.insert((slot.round, key), header.clone())),
            Message::Receipt(receipt) => {
                if let Some(bad) = receipt.artefacts.iter().find(|a| self.no_artefacts.contains(&a.blob_root))
                    && !self.is_liar(member)
                {
                    self.report("I5 validity", now, format!("honest member {author} vouches for {bad:?}"));
                }
                drop(self.receipts.insert((slot.round, key), receipt.clone()));
            }
            Message::Vote(record) => {
                // A vote of an epoch that nobody has begun cannot be checked by anybody.
                let quorum = self.committees.get(&slot.epoch).map(|committee| committee.quorum().quorum);
                let ballots = self.ballots.entry(slot.epoch).or_default();
                if let Some(Err((rule, what))) = quorum.map(|quorum| ballots.cast(&slot, author, *record, quorum)) {
                    self.report(rule, now, what);
                }
            }
            _ => {}
        }
        if (slot.kind == Kind::Status || slot.kind.proves_itself()) || self.is_liar(member) {
            return;
        }
        let first = *self.said.entry((slot.round, slot, author)).or_insert_with(|| message.statement());
        if first != message.statement() {
            let what = format!("honest member {author} said two things in {slot:?}");
            self.report("I7 no honest equivocation", now, what);
        }
    }

    /// A node made a record final.
    pub fn committed(&mut self, node: usize, committed: &Committed, now: u64) {
        let member = self.members[node];
        if self.is_liar(member) {
            return;
        }
        let (round, hash) = (committed.record.round, committed.certificate.record);
        if round <= self.heads[node] {
            let what = format!("node {node} made round {round} final after round {}", self.heads[node]);
            self.report("I8 the final height only grows", now, what);
        }
        self.heads[node] = round;
        match self.finals.get(&round) {
            Some((first, _)) if *first == hash => {}
            Some((first, _)) => {
                let what = format!("round {round}: {first:?} and, at node {node}, {hash:?}");
                self.report("I1 agreement", now, what);
            }
            None => {
                if let Err((rule, what)) = self.check_record(committed) {
                    self.report(rule, now, format!("round {round}: {what}"));
                }
                if let Some(next) = self.next_committee(committed) {
                    if let Err((rule, what)) = self.roll.close(&committed.body.operations, &next) {
                        self.report(rule, now, format!("round {round}: {what}"));
                    }
                    let epoch = next.epoch;
                    self.committees.insert(epoch, Arc::new(next));
                    let (now_known, rest) =
                        std::mem::take(&mut self.unchecked).into_iter().partition(|(_, c)| c.epoch == epoch);
                    self.unchecked = rest;
                    let now_known: Vec<(usize, Arc<Committee>)> = now_known;
                    now_known.iter().for_each(|(node, committee)| self.follows(*node, committee, now));
                }
                self.changes += committed.body.operations.len() as u64;
                self.late_views += u64::from(committed.certificate.view > 0);
                self.finals.insert(round, (hash, committed.record.clone()));
                self.in_force.insert(round, committed.body.artefact);
                self.forget(round);
            }
        }
    }

    /// The committee that a record makes, if it closes its epoch; a record that certifies another one was noticed.
    fn next_committee(&self, committed: &Committed) -> Option<Committee> {
        let record = &committed.record;
        let committee = self.committees.get(&record.epoch).filter(|_| record.closes_epoch)?;
        let closing = self.rules.constants.closing(record.round, &record.misses);
        committee.next(&closing, &committed.body.operations).ok()
    }

    fn forget(&mut self, round: u64) {
        let Some(oldest) = round.checked_sub(KEEP_ROUNDS) else { return };
        self.updates = self.updates.split_off(&(oldest, (0, Digest::ZERO)));
        self.in_force = self.in_force.split_off(&oldest);
        self.receipts = self.receipts.split_off(&(oldest, (0, Digest::ZERO)));
        let first = Slot { kind: Kind::Update, epoch: 0, round: 0, view: 0 };
        self.said = self.said.split_off(&(oldest, first, 0));
        self.ballots.values_mut().for_each(|ballots| ballots.forget(oldest));
    }

    /// What a liar signs for is no artefact.
    pub fn no_artefact(&mut self, blob_root: Digest) {
        self.no_artefacts.insert(blob_root);
    }

    /// The artefact in force in a round, as final records say.
    #[must_use]
    pub fn artefact_of(&self, round: u64) -> Option<ArtefactRef> {
        self.in_force.get(&round).copied().flatten()
    }

    /// The holder of a sponsor's key has made out an invitation for the holder of this key.
    pub fn invited(&mut self, invite: &Invite, key: PublicKey) {
        self.roll.invited(invite, key);
    }

    /// The holder of a voter's key has voted for this key to come, or to go.
    pub fn voted(&mut self, subject: PublicKey, voter: PublicKey) {
        self.roll.voted(subject, voter);
    }

    /// A statement in a member's name that somebody else has signed was taken as the member's.
    pub fn impersonated(&mut self, signer: u16, slot: &Slot, now: u64) {
        let what = format!("{slot:?}, signed by the key of node {signer}, is taken as a member's word");
        self.report("I12 nobody uninvited or evicted has a vote", now, what);
    }

    /// A node goes by this committee from now on.
    pub fn follows(&mut self, node: usize, committee: &Arc<Committee>, now: u64) {
        if self.is_liar(self.members[node]) {
            return;
        }
        match self.committees.get(&committee.epoch) {
            Some(known) if Arc::ptr_eq(known, committee) => {}
            // Equal lists are one from now on: the next node that shares this one is not compared again.
            Some(known) if known == committee => drop(self.committees.insert(committee.epoch, Arc::clone(committee))),
            // The record that begins the epoch is on its way to this node's disk, the first one to get there.
            None => self.unchecked.push((node, Arc::clone(committee))),
            Some(_) => {
                let what = format!("node {node} has other members in epoch {}", committee.epoch);
                self.report("I9 one set of members", now, what);
            }
        }
    }

    /// A node came back and has this record on disk, perhaps one of which it had told nobody.
    pub fn came_back_with(&mut self, node: usize, head: &Committed, now: u64) {
        if head.record.round > self.heads[node] {
            self.committed(node, head, now);
        }
    }

    /// A node came back with this record at its head.
    pub fn restarted(&mut self, node: usize, head: u64, now: u64) {
        if !self.is_liar(self.members[node]) && head < self.heads[node] {
            let what = format!("node {node} had made round {} final and came back at {head}", self.heads[node]);
            self.report("I8 the final height only grows", now, what);
        }
    }

    /// A node counts a fault of a member.
    pub fn penalised(&mut self, by: usize, member: u16, fault: Fault, now: u64) {
        if fault == Fault::Stale || self.is_liar(self.members[by]) || self.is_liar(member) {
            return;
        }
        let what = format!("node {by} blames honest member {member}: {fault:?}");
        self.report("I7 nobody honest is blamed", now, what);
    }

    /// A node holds a proof that the holder of this key said two things.
    pub fn proved(&mut self, by: usize, member: Option<u16>, now: u64) {
        if member.is_some_and(|member| !self.is_liar(member)) && !self.is_liar(self.members[by]) {
            self.report("I7 no proof against an honest key", now, format!("node {by} has one against {member:?}"));
        }
    }

    /// A machine tells something.
    pub fn emitted(&mut self, node: usize, event: &Event, now: u64) {
        if let Event::Fork { round, records } = event
            && !self.is_liar(self.members[node])
        {
            self.report("I1 agreement", now, format!("node {node} saw a fork in round {round}: {records:?}"));
        }
    }

    /// A blob that a node was to merge is not there any more.
    pub fn lost_blob(&mut self, node: usize, now: u64) {
        if !self.is_liar(self.members[node]) {
            self.report("a held payload stays", now, format!("node {node} misses a blob that it had stored"));
        }
    }

    /// How much a node has waiting must stay bounded.
    pub fn waiting(&mut self, node: usize, waiting: usize, now: u64) {
        let most = MOST_WAITING_PER_MEMBER * self.liars.len() + MOST_WAITING;
        if waiting > most {
            let what = format!("node {node} has {waiting} things waiting, more than {most}");
            self.report("L3 queues are bounded", now, what);
        }
    }
}

/// Bounds for [`Monitor::waiting`]: two statements of each kind, fetches and merges for each member, and some timers.
const MOST_WAITING_PER_MEMBER: usize = 64;
const MOST_WAITING: usize = 512;
