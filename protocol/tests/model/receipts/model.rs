//! The state graph of phases 0 to 2: what three honest members receipt, whatever happens to them, and what becomes of every
//! record that rests on it.
//!
//! Reductions, each because the steps that it leaves out change nothing that is looked at:
//! 1. Members take their steps one after the other. Until a record is proposed nothing that one says changes what another one
//!    receipts, except that there must be an update for it to arrive: who will ever have trained is decided at the start.
//! 2. Receipts reach nobody but an honest aggregator before the record: a receipt makes a member fetch, and propose. They
//!    reach the aggregator after its own receipt, or before anything else but the liar's headers: with the third one it has
//!    chosen what it proposes, and only proofs that it has by then can change that.
//! 3. What is still missing of a record when it arrives or is chosen, receipts and updates, comes right then: until then there
//!    is no vote, and no proposal.
//! 4. A member that has signed is known by its receipt, an aggregator also by whether it has a proof
//!    (`what_is_merged_votes_the_same`). It may hold more than it lists.
//! 5. What one member votes depends on no other, so one record is looked at on a path, by all three.

use std::collections::BTreeMap;
use std::sync::Mutex;

use fedswarm_protocol::envelope::Verified;
use fedswarm_protocol::message::{Message, Proposal};
use stateright::{Model, Property};

use super::claims::{self, Claims};
use super::peer::{Mutant, Peer, Step, Vote};
use super::words::{Fate, LIES, Lie, Words, name};
use crate::network::fingerprint;

/// What is explored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setting {
    /// The liar aggregates view 0, and makes every record that it can; otherwise an honest member does.
    pub(super) liar_aggregates: bool,
    /// Some honest members may never have trained, or only after their receipt.
    pub(super) stragglers: bool,
    /// One member may restart, any number of times; up to the receipts.
    pub(super) restarts: bool,
    /// Up to the receipts, and no further.
    pub(super) updates_only: bool,
    pub(super) mutant: Option<Mutant>,
}

/// Where each honest member is, by place, and what became of the record that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Phases {
    pub(super) peers: [u32; 3],
    /// Who has trained or will.
    pub(super) train: u8,
    /// Its receipts, by number among [`Receipts::choices`], and the lie.
    pub(super) proposed: Option<(u8, u8)>,
    pub(super) claims: Claims,
}

/// A step of a member, or a record that everybody hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Peer(usize, Step),
    Record(u8, u8),
}

/// Something that a record rests on, on its way to a member.
#[derive(Clone, Debug)]
pub(super) enum Arrival {
    Message(Verified),
    Step(Step),
}

/// The states that one honest member has been in.
#[derive(Default)]
pub(super) struct Places {
    pub(super) peers: Vec<Peer>,
    numbers: BTreeMap<u64, u32>,
    next: BTreeMap<(u32, Step), u32>,
    /// States that were merged with others, and with which.
    pub(super) merged: Vec<(Peer, u32)>,
}

pub(super) struct Receipts {
    pub(super) setting: Setting,
    pub(super) words: Words,
    pub(super) places: [Mutex<Places>; 3],
    /// Every receipt that somebody has signed.
    said: Mutex<Vec<Verified>>,
}

impl Receipts {
    pub(super) fn new(setting: Setting) -> Self {
        let words = Words::new(setting.liar_aggregates);
        let said = Mutex::new(words.receipts.clone());
        Self { places: <_>::default(), said, words, setting }
    }

    /// The honest aggregator's place among the honest ones. It goes last.
    fn aggregator(&self) -> Option<usize> {
        let leader = self.words.network.leader(0);
        self.words.honest.iter().position(|h| *h == leader)
    }

    /// Honest members in the order in which they take their steps.
    fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let last = self.aggregator();
        (0..3).filter(move |place| Some(*place) != last).chain(last)
    }

    pub(super) fn peer(&self, state: &Phases, place: usize) -> Peer {
        self.places[place].lock().unwrap().peers[state.peers[place] as usize].clone()
    }

    fn number(&self, place: usize, peer: Peer) -> u32 {
        let mut places = self.places[place].lock().unwrap();
        let done = peer.receipt.is_some() && peer.heard.is_empty() && !self.setting.restarts;
        let key = match done {
            true => fingerprint(&(&peer.receipt, peer.wrongs, peer.caught && self.aggregator() == Some(place))),
            false => fingerprint(&peer),
        };
        if let Some(number) = places.numbers.get(&key).copied() {
            if done && places.peers[number as usize] != peer {
                places.merged.push((peer, number));
            }
            return number;
        }
        let number = places.peers.len() as u32;
        places.numbers.insert(key, number);
        places.peers.push(peer);
        number
    }

    /// Receipts that a record can rest on: three of four, and lies about their number.
    pub(super) fn choices(&self, honest: &[Verified]) -> Vec<Vec<Verified>> {
        let [a, b, c] = honest else { return Vec::new() };
        let mut all = vec![honest.to_vec(), vec![a.clone(), b.clone()]];
        for lie in &self.words.receipts {
            all.extend([[a, b], [b, c], [a, c]].map(|[x, y]| vec![x.clone(), y.clone(), lie.clone()]));
        }
        all.push([honest, &self.words.receipts[..1]].concat());
        all
    }

    /// The record of a lying aggregator.
    pub(super) fn record(&self, receipts: &[Verified], lie: Lie) -> Option<Verified> {
        let receipts: Vec<&Verified> = receipts.iter().collect();
        let inputs = self.words.altered(self.words.forced(&receipts, false), lie)?;
        Some(self.words.proposal(&receipts, inputs))
    }

    /// What a member votes on a record, when it and all that it rests on is there.
    pub(super) fn vote(&self, peer: &Peer, proposal: &Verified, receipts: &[Verified]) -> Vote {
        let (words, mutant) = (&self.words, self.setting.mutant);
        let Message::Proposal(body) = proposal.message() else { unreachable!() };
        if let Some(vote) = self.votes_otherwise(body, receipts) {
            return vote;
        }
        let mut peer = peer.clone();
        peer.hear(words, mutant, proposal);
        for arrival in self.named(body, receipts) {
            peer = self.arrives(peer, &arrival);
        }
        peer.vote
    }

    /// Everything that a record rests on.
    pub(super) fn named(&self, proposal: &Proposal, receipts: &[Verified]) -> Vec<Arrival> {
        let words = &self.words;
        let mut all: Vec<Arrival> = receipts.iter().cloned().map(Arrival::Message).collect();
        for input in &proposal.body.inputs {
            if words.honest.contains(&input.0) {
                all.push(Arrival::Step(Step::Update(input.0)));
            } else if let Some(number) = words.updates.iter().position(|(u, _)| name(u) == *input) {
                all.extend([Step::Header(number), Step::Payload(number)].map(Arrival::Step));
            }
        }
        all
    }

    pub(super) fn arrives(&self, mut peer: Peer, arrival: &Arrival) -> Peer {
        match arrival {
            Arrival::Message(message) => {
                peer.hear(&self.words, self.setting.mutant, message);
                peer
            }
            Arrival::Step(step) => peer.after(&self.words, self.setting.mutant, *step, &[]),
        }
    }

    /// What a mutant votes.
    fn votes_otherwise(&self, proposal: &Proposal, receipts: &[Verified]) -> Option<Vote> {
        let receipts: Vec<&Verified> = receipts.iter().collect();
        let (words, inputs) = (&self.words, &proposal.body.inputs);
        let quorum = receipts.len() == words.network.quorum().quorum;
        let evicts = !proposal.body.operations.is_empty();
        let good = match self.setting.mutant? {
            Mutant::AnyInputs => quorum,
            Mutant::OneReceiptForces => quorum && *inputs == words.listed_by(&receipts, 1, evicts),
            Mutant::AllReceiptsForce => quorum && *inputs == words.listed_by(&receipts, 3, evicts),
            Mutant::AnyReceipts => *inputs == words.forced(&receipts, evicts),
            _ => return None,
        };
        Some(if good { Vote::Notarize } else { Vote::Nullify })
    }

    /// What everybody thinks of a record.
    fn judged(&self, state: &Phases, receipts: &[Verified], proposal: &Verified) -> Claims {
        let peers: Vec<Peer> = (0..3).map(|place| self.peer(state, place)).collect();
        let votes: Vec<Vote> = peers
            .iter()
            // An aggregator has voted for its own.
            .map(|peer| if peer.proposal.is_some() { peer.vote } else { self.vote(peer, proposal, receipts) })
            .collect();
        claims::of_record(&self.words, &peers, receipts, proposal, &votes)
    }

    /// All receipts of the honest members; nothing as long as one is missing.
    pub(super) fn signed(&self, state: &Phases) -> Option<Vec<Verified>> {
        (0..3).map(|place| self.peer(state, place).receipt).collect()
    }

    /// An honest aggregator's record with the receipts that it rests on.
    fn honest_record(&self, state: &Phases) -> Option<(Vec<Verified>, Verified)> {
        let proposal = self.peer(state, self.aggregator()?).proposal?;
        let Message::Proposal(body) = proposal.message() else { unreachable!() };
        let said = self.said.lock().unwrap();
        let named = body.body.receipts.iter();
        let receipts = named.map(|key| said.iter().find(|m| name(m) == *key).expect("nobody signed it").clone());
        Some((receipts.collect(), proposal.clone()))
    }

    /// A member to which everything has come that somebody can hold.
    fn supplied(&self, mut peer: Peer) -> Peer {
        let honest = self.words.honest.iter().map(|author| Step::Update(*author));
        let liars = [0, 1].into_iter().flat_map(|number| [Step::Header(number), Step::Payload(number)]);
        for step in honest.chain(liars) {
            if peer.is_open(&self.words, step) {
                peer = peer.after(&self.words, self.setting.mutant, step, &[]);
            }
        }
        peer
    }

    /// What can happen to a member.
    pub(super) fn open(&self, state: &Phases, place: usize, actions: &mut Vec<Action>) {
        let peer = self.peer(state, place);
        let words = &self.words;
        let mut steps = vec![Step::Time];
        if state.train & 1 << place != 0 {
            steps.push(Step::Trained);
        }
        let trains = (0..3).filter(|other| *other != place && state.train & 1 << other != 0);
        steps.extend(trains.map(|other| Step::Update(words.honest[other])));
        let updates = 0..words.updates.len();
        let comes = |number: &usize| words.updates[*number].1 != Fate::Stale;
        steps.extend(updates.clone().map(Step::Header).chain(updates.filter(comes).map(Step::Payload)));
        if self.setting.restarts {
            steps.push(Step::Restart);
        }
        if self.aggregator() == Some(place) && !peer.heard.is_empty() {
            steps.clear();
        }
        if self.aggregator() == Some(place) && (!peer.heard.is_empty() || peer.receipt.is_some() || peer.is_fresh()) {
            if peer.receipt.is_some() {
                steps.clear();
            }
            let others: Vec<Verified> = (0..3).filter_map(|p| self.peer(state, p).receipt).collect();
            let said = self.said.lock().unwrap();
            let there = (0u32..).zip(said.iter());
            // The liar's receipts with everything, with the other one of its updates, and with nothing, stand for all.
            let there =
                there.filter(|(number, m)| if m.author() == words.liar { *number < 3 } else { others.contains(m) });
            steps.extend(there.map(|(number, _)| Step::Receipt(number)));
        }
        let open = steps.into_iter().filter(|step| peer.is_open(words, *step));
        actions.extend(open.map(|step| Action::Peer(place, step)));
    }

    fn step(&self, place: usize, number: u32, step: Step) -> u32 {
        if let Some(next) = self.places[place].lock().unwrap().next.get(&(number, step)) {
            return *next;
        }
        let before = self.places[place].lock().unwrap().peers[number as usize].clone();
        let mut after = before.after(&self.words, self.setting.mutant, step, &self.said.lock().unwrap());
        let signers = after.heard.len() + usize::from(after.receipt.is_some());
        if matches!(step, Step::Receipt(_)) && signers >= self.words.network.quorum().quorum {
            after = self.supplied(after);
        }
        if let Some(receipt) = &after.receipt {
            let mut said = self.said.lock().unwrap();
            if !said.contains(receipt) {
                said.push(receipt.clone());
            }
        }
        let next = if after == before { number } else { self.number(place, after) };
        self.places[place].lock().unwrap().next.insert((number, step), next);
        next
    }
}

impl Model for Receipts {
    type State = Phases;
    type Action = Action;

    fn init_states(&self) -> Vec<Phases> {
        let all: Vec<u8> = if self.setting.stragglers { (0..8).collect() } else { vec![7] };
        let begin = |train: u8| {
            let mut peers = [0; 3];
            for (place, number) in peers.iter_mut().enumerate() {
                let peer = Peer::new(&self.words, self.words.honest[place]);
                let early = !self.setting.stragglers && train & 1 << place != 0;
                let peer = if early { peer.after(&self.words, None, Step::Trained, &[]) } else { peer };
                *number = self.number(place, peer);
            }
            Phases { peers, train, proposed: None, claims: Claims::default() }
        };
        all.into_iter().map(begin).collect()
    }

    fn actions(&self, state: &Phases, actions: &mut Vec<Action>) {
        if state.proposed.is_some() {
            return;
        }
        if self.setting.restarts {
            // What one member receipts depends on no other (1), so one is enough; it goes on after its receipt.
            return self.open(state, 0, actions);
        }
        let proposed = |place: usize| self.peer(state, place).proposal.is_some();
        let goes = |place: usize| match self.aggregator() == Some(place) {
            true => !proposed(place),
            false => self.peer(state, place).receipt.is_none(),
        };
        if let Some(place) = self.turns().find(|place| goes(*place)) {
            self.open(state, place, actions);
            return;
        }
        if self.setting.updates_only {
            return;
        }
        if self.aggregator().is_some() {
            actions.push(Action::Record(0, 0));
        } else if let Some(honest) = self.signed(state) {
            let choices = self.choices(&honest).len() as u8;
            actions.extend((0..choices).flat_map(|c| (0..LIES.len() as u8).map(move |lie| Action::Record(c, lie))));
        }
    }

    fn next_state(&self, state: &Phases, action: Action) -> Option<Phases> {
        match action {
            Action::Peer(place, step) => {
                let mut next = *state;
                next.peers[place] = self.step(place, state.peers[place], step);
                next.claims.wrongs |= claims::of_peer(&self.peer(&next, place));
                (next != *state).then_some(next)
            }
            Action::Record(choice, lie) => {
                let (receipts, proposal) = match self.honest_record(state) {
                    Some(record) => record,
                    None => {
                        let receipts = self.choices(&self.signed(state)?).swap_remove(choice.into());
                        let proposal = self.record(&receipts, LIES[usize::from(lie)])?;
                        (receipts, proposal)
                    }
                };
                let claims = self.judged(state, &receipts, &proposal).with(state.claims);
                Some(Phases { proposed: Some((choice, lie)), claims, ..*state })
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        claims::properties(&self.setting)
    }
}
