//! The state graph around two boundaries: four honest members, and everything that they and the liar can say.
//!
//! As in the model of one round: the network is a set that only grows, a member's next state depends on its state and the step
//! alone, votes arrive as quorums, merges and payloads are answered at once. Phases 0 to 2 of each round go undisturbed.
//!
//! Reductions:
//! 1. An operation comes to a member at the moment before it proposes: until then it changes nothing that the member says.
//! 2. Whoever has no vote hears final records only; a voter hears of a proposal in its view, as long as it has not voted there,
//!    and of an earlier one if it aggregates, because it may have to repeat it.
//! 3. Votes arrive where the liar's can make a difference: as many as decide, and, from an epoch on in which the liar has no
//!    vote, one less together with everything that the liar can say instead. If that makes a member say nothing and decide
//!    nothing then it is as if it had not come yet (`any_quorum_of_votes_is_as_good_as_its_certificate` for one round).
//! 4. The last round takes no operations in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fedswarm_protocol::envelope::{Kind, Slot, Verified};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::membership::{Committee, Operation};
use fedswarm_protocol::message::{Committed, Message, Proposal};
use fedswarm_protocol::round::{Input, Timer};
use stateright::{Model, Property};

use super::claims;
use super::peer::{Mutant, Peer, Said};
use super::world::{Liar, ROUNDS, World};
use crate::network::fingerprint;

/// Honest members.
const HONEST: usize = 4;

/// Where each honest member is.
pub(super) type Global = [u32; HONEST];

/// One thing that happens to a member. Numbers are of statements; `with` says which operations come first, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    Proposal(u32),
    /// So many equal votes that they decide. Whose they are makes no difference in one view; in two, in which a vote to nullify
    /// may contradict one to finalize, they are of those that signed them.
    Quorum {
        said: u32,
        signers: u8,
        with: u8,
    },
    /// One vote less, of honest members that have signed (one bit each: what they have not said might contradict what they
    /// have), and whatever the liar, who has no vote, can say.
    Impostor {
        said: u32,
        signers: u8,
    },
    /// Somebody that holds a record final sends it.
    Final {
        said: u32,
        with: u8,
    },
    /// The aggregator of a view has had its time.
    View(u32),
    /// It repeats a record that did not become final.
    Repropose(u32),
}

/// What others and the claims see of a member, worked out once.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) peer: Peer,
    /// Its votes by number, ascending.
    pub(super) votes: Vec<u32>,
    /// By number, what its final records rest on.
    pub(super) finals: Vec<u32>,
    /// Who aggregates the explored views of its round.
    leaders: Vec<Option<usize>>,
    /// Root of its committee.
    pub(super) members: Digest,
    /// Its committee is the one that the operations give.
    pub(super) fits: bool,
    /// Whoever was evicted has no place in it, and aggregates nothing.
    pub(super) clean: bool,
}

#[derive(Default)]
struct Places {
    peers: Vec<Arc<Seen>>,
    numbers: BTreeMap<u64, u32>,
    next: BTreeMap<(u32, Step), u32>,
}

/// Statements by number.
struct Table<T>(Mutex<Vec<T>>);

impl<T: Clone + PartialEq> Table<T> {
    fn number(&self, value: &T) -> u32 {
        let mut all = self.0.lock().unwrap();
        let known = all.iter().position(|other| other == value);
        known.unwrap_or_else(|| {
            all.push(value.clone());
            all.len() - 1
        }) as u32
    }

    fn get(&self, number: u32) -> T {
        self.0.lock().unwrap()[number as usize].clone()
    }
}

pub(super) struct Epochs {
    pub(super) world: World,
    places: [Mutex<Places>; HONEST],
    votes: Table<Said>,
    proposals: Table<Verified>,
    /// What the liar can propose, by parent and view.
    lies: Mutex<BTreeMap<(Digest, u32), Vec<u32>>>,
}

fn body(proposal: &Verified) -> &Proposal {
    let Message::Proposal(body) = proposal.message() else { unreachable!("not a proposal") };
    body
}

impl Epochs {
    pub(super) fn new(liar: Liar, views: u32, mutant: Option<Mutant>) -> Self {
        let table = || Mutex::new(Vec::new());
        Self {
            world: World::new(liar, views, mutant),
            places: <_>::default(),
            votes: Table(table()),
            proposals: Table(Mutex::new(Vec::new())),
            lies: Mutex::default(),
        }
    }

    /// What is visible of each honest member.
    pub(super) fn peers(&self, state: &Global) -> [Arc<Seen>; HONEST] {
        std::array::from_fn(|place| self.seen(place, state[place]))
    }

    fn seen(&self, place: usize, number: u32) -> Arc<Seen> {
        Arc::clone(&self.places[place].lock().unwrap().peers[number as usize])
    }

    fn see(&self, peer: Peer) -> Seen {
        let world = &self.world;
        let number = |said: &Said| self.votes.number(said);
        let mut votes: Vec<u32> = peer.votes.iter().map(number).collect();
        votes.sort_unstable();
        let finals = peer.committed.iter().map(|(_, said)| number(said)).collect();
        let who = |key| (0..5).find(|who| Some(world.key(*who)) == key);
        let leaders: Vec<Option<usize>> = (0..world.views.max(8)).map(|view| who(peer.leader(view))).collect();
        let evicted = peer.voters.iter().any(|v| v.contains(&world.liar)) && !peer.is_voter(world.liar);
        let committee = peer.machine.committee();
        let place = world.place(committee, world.liar);
        let mut voters: Vec<_> = committee.voter_keys();
        voters.sort_unstable();
        let mut derived: Vec<_> = (0..5).filter(|who| peer.is_voter(*who)).map(|who| world.key(who)).collect();
        derived.sort_unstable();
        Seen {
            members: committee.root(),
            fits: voters == derived,
            clean: !evicted || place.is_none() && !leaders.contains(&Some(world.liar)),
            votes,
            finals,
            leaders,
            peer,
        }
    }

    fn number(&self, place: usize, peer: Peer) -> u32 {
        let fingerprint = fingerprint(&peer);
        let mut places = self.places[place].lock().unwrap();
        if let Some(number) = places.numbers.get(&fingerprint) {
            assert!(places.peers[*number as usize].peer == peer, "two states with one fingerprint");
            return *number;
        }
        let number = places.peers.len() as u32;
        places.numbers.insert(fingerprint, number);
        places.peers.push(Arc::new(self.see(peer)));
        number
    }

    /// The operations of a set.
    fn operations(&self, with: u8) -> Vec<&Operation> {
        let all = self.world.operations.iter().enumerate();
        all.filter(|(bit, _)| with & 1 << bit != 0).map(|(_, operation)| operation).collect()
    }

    /// What the liar can propose to a member in a view: with the newcomer's request and without, and every record of the round
    /// again.
    fn lies(&self, peer: &Peer, view: u32) -> Vec<u32> {
        let key = (peer.machine.head_hash(), view);
        let world = &self.world;
        if let Some(known) = self.lies.lock().unwrap().get(&key).filter(|_| view == 0) {
            return known.clone();
        }
        let mut all = Vec::new();
        for with in [0, 1] {
            let mut liar = peer.as_another(world, world.liar, &self.operations(with));
            for before in 0..view {
                let slot = self.slot(peer, Kind::Nullify, before);
                let certificate = world.certificate(peer.committee(), &[0, 1, 2, 3, 4], &slot, Digest::ZERO);
                let slot = Slot { kind: Kind::Certificate, ..slot };
                liar.hear(world, &world.proof(&slot, &Message::Certificate(certificate)));
            }
            let here = liar.proposals.iter().filter(|p| p.slot().view == view);
            all.extend(here.map(|proposal| self.proposals.number(proposal)));
        }
        let said = self.proposals.0.lock().unwrap().clone();
        let slot = self.slot(peer, Kind::Proposal, view);
        let place = world.place(peer.machine.committee(), world.liar).expect("a voter");
        for first in said.iter().filter(|p| (p.slot().epoch, p.slot().round) == (slot.epoch, slot.round)) {
            if first.slot().view < view && body(first).notarized_in.is_none() {
                let again = Proposal { notarized_in: Some(first.slot().view), ..body(first).clone() };
                let bytes = world.seal(world.liar, place, &slot, &Message::Proposal(Box::new(again)));
                all.extend(world.open(&peer.committees, &bytes).map(|proposal| self.proposals.number(&proposal)));
            }
        }
        self.lies.lock().unwrap().insert(key, all.clone());
        all
    }

    /// A slot of a member's round.
    fn slot(&self, peer: &Peer, kind: Kind, view: u32) -> Slot {
        Slot { kind, epoch: peer.committee().epoch, round: peer.machine.position().0, view }
    }

    fn open(&self, peers: &[Arc<Seen>], place: usize, steps: &mut Vec<Step>) {
        let (seen, peer, world) = (&peers[place], &peers[place].peer, &self.world);
        let (round, view) = peer.machine.position();
        if peer.machine.head().round >= ROUNDS {
            return;
        }
        let epoch = peer.committee().epoch;
        let votes = peer.machine.me().is_some();
        let leads = seen.leaders[view as usize] == Some(peer.who);
        // What the last record changes is not explored.
        let withs = if round < ROUNDS { 0..4 } else { 0..1 };
        if votes && view < world.views {
            let spoke = |v: &Said| v.0.round == round && v.0.view == view && v.0.kind != Kind::Finalize;
            let voted = peer.votes.iter().any(spoke);
            for of in 0..=view {
                if peer.heard.contains(&of) || !(of == view && !voted || of < view && leads) {
                    continue;
                }
                let slot = self.slot(peer, Kind::Proposal, of);
                let others = peers.iter().flat_map(|p| &p.peer.proposals).filter(|p| *p.slot() == slot);
                steps.extend(others.map(|proposal| Step::Proposal(self.proposals.number(proposal))));
                if seen.leaders[of as usize] == Some(world.liar) {
                    steps.extend(self.lies(peer, of).into_iter().map(Step::Proposal));
                }
            }
            if world.views > 1 {
                steps.push(Step::View(view));
                if leads {
                    steps.push(Step::Repropose(view));
                }
            }
        }
        let (liar_votes, quorum) = (peer.is_voter(world.liar), peer.quorum().quorum);
        let mut said: Vec<u32> = peers.iter().flat_map(|p| p.votes.iter().copied()).collect();
        said.sort_unstable();
        for same in said.chunk_by(|a, b| a == b) {
            let (number, honest) = (same[0], same.len());
            let vote = self.votes.get(number);
            if vote.0.epoch != epoch {
                continue;
            }
            let decides = honest + usize::from(liar_votes) >= quorum;
            let finalize = vote.0.kind == Kind::Finalize;
            let signed = (0..HONEST).filter(|p| peers[*p].votes.contains(&number));
            let signers = signed.fold(0, |set, p| set | 1 << p);
            let knows = peer.heard.contains(&vote.0.view) || leads;
            // Only what comes before a proposal needs to come with operations.
            if decides && votes && vote.0.round == round && (!finalize || knows) {
                steps.extend(withs.clone().map(|with| Step::Quorum {
                    said: number,
                    signers: if world.views > 1 { signers } else { u8::MAX },
                    with,
                }));
            } else if decides && finalize && vote.0.round >= round {
                steps.extend(withs.clone().map(|with| Step::Final { said: number, with }));
            }
            let mutant = world.mutant == Some(Mutant::OldQuorum);
            if (!liar_votes || mutant) && votes && honest + 1 >= quorum && vote.0.round == round {
                steps.push(Step::Impostor { said: number, signers });
            }
        }
    }

    /// The record of a finalization with its proof.
    fn committed(&self, committee: &Arc<Committee>, signers: &[usize], said: &Said) -> Committed {
        let all = self.proposals.0.lock().unwrap();
        let proposal = all.iter().find(|p| body(p).record.hash().unwrap() == said.1).expect("nobody proposed it");
        let Proposal { record, body, .. } = body(proposal).clone();
        let certificate = self.world.certificate(committee, signers, &said.0, said.1);
        Committed { record, body, certificate }
    }

    /// Whether an honest member is in a set.
    fn signed(&self, signers: u8, who: usize) -> bool {
        self.world.honest.iter().position(|h| *h == who).is_some_and(|place| signers & 1 << place != 0)
    }

    /// Voters of a member's epoch, the liar first: whose votes they are makes no difference.
    fn voters(&self, peer: &Peer) -> impl Iterator<Item = usize> + use<> {
        let liar = Some(self.world.liar).filter(|liar| peer.is_voter(*liar));
        let others: Vec<usize> = self.world.honest.iter().copied().filter(|who| peer.is_voter(*who)).collect();
        liar.into_iter().chain(others)
    }

    fn after(&self, before: &Peer, step: Step) -> Peer {
        let (mut peer, world) = (before.clone(), &self.world);
        let quorum = peer.quorum().quorum;
        match step {
            Step::Proposal(number) => peer.hear(world, self.proposals.get(number).bytes()),
            Step::Quorum { said, signers, with } => {
                let said = self.votes.get(said);
                let missing = quorum - usize::from(peer.votes.contains(&said));
                let others: Vec<usize> = self
                    .voters(&peer)
                    .filter(|who| *who != peer.who && (*who == world.liar || self.signed(signers, *who)))
                    .take(missing)
                    .collect();
                peer.with_operations(world, &self.operations(with), |peer| {
                    for who in others {
                        let vote = world.vote(before.committee(), who, &said.0, said.1);
                        peer.hear(world, vote.bytes());
                    }
                });
                self.takes_effect_early(&mut peer, &said);
            }
            Step::Impostor { said, signers } => {
                let said = self.votes.get(said);
                let missing = quorum - 1 - usize::from(peer.votes.contains(&said));
                let signed = (0..HONEST).filter(|p| signers & 1 << p != 0).map(|p| world.honest[p]);
                let others: Vec<usize> = signed.filter(|who| *who != peer.who).take(missing).collect();
                for who in &others {
                    let vote = world.vote(before.committee(), *who, &said.0, said.1);
                    peer.hear(world, vote.bytes());
                }
                let signers: Vec<usize> =
                    others.iter().copied().chain([peer.who].into_iter().filter(|_| missing < quorum - 1)).collect();
                peer.hear_impostor(world, &said.0, said.1, &signers);
                self.takes_impostor(&mut peer, before, &said, &signers);
            }
            Step::Final { said, with } => {
                let said = self.votes.get(said);
                let signers: Vec<usize> = self.voters(&peer).take(quorum).collect();
                let committed = self.committed(before.committee(), &signers, &said);
                let operations = self.operations(with);
                peer.with_operations(world, &operations, |peer| peer.hear_committed(world, committed));
            }
            Step::View(view) => {
                peer.drive(world, Input::Timer(Timer::View { round: peer.machine.position().0, view }));
            }
            Step::Repropose(view) => {
                peer.drive(world, Input::Timer(Timer::Repropose { round: peer.machine.position().0, view }));
            }
        }
        peer
    }

    /// A mutant that takes the newcomers in as soon as a record is notarized.
    fn takes_effect_early(&self, peer: &mut Peer, said: &Said) {
        if self.world.mutant == Some(Mutant::EarlyBoundary) && said.0.kind == Kind::Notarize {
            let said = (Slot { kind: Kind::Finalize, ..said.0 }, said.1);
            let signers: Vec<usize> = self.voters(peer).collect();
            let committed = self.committed(&Arc::clone(peer.committee()), &signers, &said);
            if !committed.body.operations.is_empty() {
                peer.hear_committed(&self.world, committed);
            }
        }
    }

    /// Mutants that count the liar's vote, or fewer votes.
    fn takes_impostor(&self, peer: &mut Peer, before: &Peer, said: &Said, signers: &[usize]) {
        let world = &self.world;
        let mut keys = before.committee().voter_keys();
        match world.mutant {
            Some(Mutant::OldVotes) => {
                keys.push(world.key(world.liar));
                let both = Arc::new(Committee::of_keys(said.0.epoch, keys));
                peer.hear_opened(world, world.vote(&both, world.liar, &said.0, said.1));
            }
            Some(Mutant::OldQuorum) if before.voters.len() > 1 => {
                let old = before.voters[before.voters.len() - 2].len();
                keys.retain(|key| signers.iter().all(|who| world.key(*who) != *key));
                let first = signers.iter().map(|who| world.key(*who));
                let few = Arc::new(Committee::of_keys(said.0.epoch, first.chain(keys).take(old)));
                let certificate = world.certificate(&few, signers, &said.0, said.1);
                let slot = Slot { kind: Kind::Certificate, ..said.0 };
                let bytes = world.proof(&slot, &Message::Certificate(certificate));
                if let Some(certificate) = world.open(&[few], &bytes) {
                    peer.hear_opened(world, certificate);
                }
            }
            _ => {}
        }
    }

    fn next(&self, place: usize, number: u32, step: Step) -> u32 {
        if let Some(next) = self.places[place].lock().unwrap().next.get(&(number, step)) {
            return *next;
        }
        let seen = self.seen(place, number);
        let before = &seen.peer;
        // If nothing is proposed then operations make no difference yet.
        let without = match step {
            Step::Quorum { said, signers, with: 1.. } => Some(Step::Quorum { said, signers, with: 0 }),
            Step::Final { said, with: 1.. } => Some(Step::Final { said, with: 0 }),
            _ => None,
        };
        let without = without.map(|step| self.next(place, number, step));
        let proposes = |next: &u32| self.seen(place, *next).peer.proposals.len() > before.proposals.len();
        let next = match without.filter(|next| !proposes(next)) {
            Some(next) => next,
            None => {
                let after = self.after(before, step);
                for proposal in &after.proposals {
                    self.proposals.number(proposal);
                }
                match step {
                    // Votes that decide nothing may as well have come later.
                    Step::Impostor { .. } if after.says_the_same(before) => number,
                    _ => self.number(place, after),
                }
            }
        };
        self.places[place].lock().unwrap().next.insert((number, step), next);
        next
    }
}

impl Model for Epochs {
    type State = Global;
    type Action = (usize, Step);

    fn init_states(&self) -> Vec<Global> {
        let begin = |with: u8| {
            let mut state = [0; HONEST];
            for (place, who) in self.world.honest.iter().enumerate() {
                let first = Peer::new(&self.world, *who, &[]);
                let peer = match first.proposals.is_empty() {
                    true => first,
                    false => Peer::new(&self.world, *who, &self.operations(with)),
                };
                for proposal in &peer.proposals {
                    self.proposals.number(proposal);
                }
                state[place] = self.number(place, peer);
            }
            state
        };
        (0..4).map(begin).collect()
    }

    fn actions(&self, state: &Global, actions: &mut Vec<(usize, Step)>) {
        let peers = self.peers(state);
        let mut steps = Vec::new();
        for place in 0..HONEST {
            self.open(&peers, place, &mut steps);
            actions.extend(steps.drain(..).map(|step| (place, step)));
        }
    }

    fn next_state(&self, state: &Global, (place, step): (usize, Step)) -> Option<Global> {
        let mut next = *state;
        next[place] = self.next(place, state[place], step);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        claims::properties(self.world.views)
    }
}
