//! The state graph: three honest members and everything that can happen to them.
//!
//! A member's next state depends on its state and the step alone, so each is computed once and remembered by number. A
//! global state is then a number per honest member: what the network holds is what they have said, and all that the
//! Byzantine member can say.

use std::collections::BTreeMap;
use std::sync::Mutex;

use stateright::{Model, Property};

use crate::invariants;
use crate::member::Member;
use crate::network::{Network, fingerprint};
use crate::quotient::Quotient;
use crate::reduction;
use crate::steps::{Local, Mutant, Step, step, timers};
use crate::vocabulary::{Vocabulary, Vote};
use fedswarm_protocol::envelope::Kind;

/// Most honest members.
pub(crate) const HONEST: usize = 3;

/// Where each honest member is; 0 in places that nobody has.
pub(crate) type Global = [u32; HONEST];

/// A step of one of the honest members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    /// Its place among the honest ones.
    pub(crate) place: usize,
    /// Number of the step.
    pub(crate) step: u16,
}

/// What is explored.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Views.
    pub(crate) views: u32,
    /// The aggregators of these views are Byzantine; view 3 is led in none of the explored views.
    pub(crate) byzantine: Vec<u32>,
    /// Valid records that a Byzantine aggregator proposes.
    pub(crate) values: usize,
    /// It proposes a wrong one, too.
    pub(crate) wrong: bool,
    /// Honest members may restart, any number of times.
    pub(crate) restarts: bool,
    /// Every state of each member is computed first, whatever happens to it, and those that nobody can tell apart are one
    /// ([`Quotient`]). Without it, members' states are computed when they are reached.
    pub(crate) quotient: bool,
    /// Steps that cannot change what a member will say are left out ([`reduction::open`]).
    pub(crate) reduced: bool,
    /// For explorations that would not end otherwise ([`reduction::is_left_out`]); a member's state is forgotten once its steps
    /// are known. Needs `quotient`.
    pub(crate) frugal: bool,
    /// An honest aggregator may have a proof that the liar lies, and then proposes another record than without. Either is one
    /// record, so that this adds another name for what happens already.
    pub(crate) evidence: bool,
    /// Number of voters.
    pub(crate) voters: u8,
    /// The rule that is broken.
    pub(crate) mutant: Option<Mutant>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            views: 2,
            byzantine: vec![0],
            values: 2,
            wrong: true,
            restarts: false,
            quotient: true,
            reduced: false,
            frugal: false,
            evidence: true,
            voters: 4,
            mutant: None,
        }
    }
}

/// What others and the invariants see of a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    /// Votes that it ever signed.
    pub(crate) votes: u128,
    /// Proposals that it ever signed.
    pub(crate) proposals: u128,
    /// Votes and proposals that can change something for it.
    pub(crate) open: (u128, u128),
    /// A proof against a Byzantine member can change something for it.
    pub(crate) open_to_evidence: bool,
    /// The record that it holds final.
    pub(crate) committed: Option<usize>,
    /// It has found fault with an honest member.
    pub(crate) blames_honest: bool,
}

/// All states that an honest member has been in.
#[derive(Default)]
pub(crate) struct Places {
    /// Nothing if the state is forgotten.
    locals: Vec<Option<Box<Local>>>,
    pub(crate) summaries: Vec<Summary>,
    numbers: BTreeMap<u128, u32>,
    /// Next states by state and step, as far as they have been computed, and where they are others.
    pub(crate) next: Vec<Vec<(u16, u32)>>,
}

/// A setting with its network, and all that has been found out about single members.
pub(crate) struct RoundModel {
    pub(crate) setting: Setting,
    pub(crate) network: Network,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) honest: Vec<u16>,
    pub(crate) masks: invariants::Masks,
    steps: Vec<Step>,
    places: Vec<Mutex<Places>>,
    /// Members' states by class, if they have all been computed.
    quotients: Vec<Quotient>,
}

impl RoundModel {
    pub(crate) fn new(setting: Setting) -> Self {
        let network = Network::new(setting.views, &setting.byzantine, setting.voters);
        let vocabulary = Vocabulary::new(&network, &setting);
        let honest = network.honest();
        assert!(honest.len() <= HONEST && network.byzantine.len() < network.quorum().quorum);
        let mut steps: Vec<Step> = (0..vocabulary.votes.len()).map(Step::Votes).collect();
        steps.extend((0..vocabulary.proposals.len()).map(Step::Proposal));
        let finals = ones(vocabulary.votes_where(|v| v.kind == Kind::Finalize));
        steps.extend(finals.map(Step::Final));
        steps.extend(timers(setting.views).into_iter().map(Step::Timer));
        steps.extend([Step::Evidence, Step::Restart]);
        let mut model = Self {
            masks: invariants::Masks::new(&vocabulary, setting.views),
            places: honest.iter().map(|_| Mutex::default()).collect(),
            quotients: Vec::new(),
            setting,
            network,
            vocabulary,
            honest,
            steps,
        };
        for place in 0..model.honest.len() {
            let member = Member::ready(&model.network, model.honest[place]);
            let local = Local::new(&model.vocabulary, member);
            model.number(&mut model.places[place].lock().unwrap(), local);
        }
        if model.setting.quotient {
            (0..model.honest.len()).for_each(|place| model.close(place));
            model.quotients = model.places.iter().map(|places| Quotient::of(&places.lock().unwrap())).collect();
        }
        model
    }

    /// Computes every state that a member can be in, whatever happens to it.
    fn close(&self, place: usize) {
        let mut places = self.places[place].lock().unwrap();
        let mut fresh: Vec<u32> = vec![0];
        while let Some(number) = fresh.pop() {
            let summary = places.summaries[number as usize];
            let view = places.locals[number as usize].as_deref().map_or(0, |local| local.member.machine.position().1);
            for step in self.open_steps(&summary, (u128::MAX, u128::MAX)) {
                if self.setting.frugal && reduction::is_left_out(self.steps[usize::from(step)], view) {
                    continue;
                }
                let known = places.summaries.len() as u32;
                self.compute(&mut places, number, step);
                fresh.extend(known..places.summaries.len() as u32);
            }
            if self.setting.frugal {
                places.locals[number as usize] = None;
            }
        }
    }

    /// Steps that can make a difference to a member, given the votes and proposals that there are.
    fn open_steps(&self, member: &Summary, there: (u128, u128)) -> impl Iterator<Item = u16> + use<> {
        let (votes, proposals) = (self.vocabulary.votes.len(), self.vocabulary.proposals.len());
        let finals = self.masks.finalize.count_ones() as usize;
        let arrive = ones(there.0 & member.open.0).chain(ones(there.1 & member.open.1).map(move |i| votes + i));
        // Finalizations with their records, then the timers, the evidence, and at the end the restart.
        let is_there = move |i: &usize| there.0 & 1 << i != 0;
        let all = ones(self.masks.finalize).enumerate();
        let arrive_final = all.filter(move |(_, i)| is_there(i)).map(move |(nth, _)| votes + proposals + nth);
        let last = self.steps.len() - usize::from(!self.setting.restarts);
        let own = arrive_final.chain(votes + proposals + finals..last);
        let (takes_part, evidence) = (member.committed.is_none(), self.steps.len() - 2);
        let left_out = (!member.open_to_evidence).then_some(evidence);
        arrive.chain(own).filter(move |step| takes_part && Some(*step) != left_out).map(|step| step as u16)
    }

    /// The number of a member's state.
    fn number(&self, places: &mut Places, local: Local) -> u32 {
        // Twice as long, because nothing else tells states apart that are forgotten.
        let fingerprint = u128::from(fingerprint(&local)) << 64 | u128::from(fingerprint(&("again", &local)));
        if let Some(number) = places.numbers.get(&fingerprint) {
            let known = places.locals[*number as usize].as_deref();
            assert!(known.is_none_or(|known| *known == local), "two states with one fingerprint");
            return *number;
        }
        let number = u32::try_from(places.locals.len()).unwrap();
        places.numbers.insert(fingerprint, number);
        places.summaries.push(self.summary(&local));
        places.next.push(Vec::new());
        places.locals.push(Some(Box::new(local)));
        number
    }

    fn summary(&self, local: &Local) -> Summary {
        let open = match local.member.committed {
            None => reduction::open(&self.network, &self.vocabulary, &self.setting, local),
            Some(_) => (0, 0),
        };
        Summary {
            votes: local.votes,
            proposals: local.proposals,
            open,
            open_to_evidence: self.setting.evidence && reduction::open_to_evidence(&self.network, &self.setting, local),
            committed: local.member.committed.map(|record| self.vocabulary.record(&record)),
            blames_honest: local.member.blames_honest,
        }
    }

    /// What is visible of each honest member.
    pub(crate) fn summaries(&self, state: &Global) -> [Option<Summary>; HONEST] {
        let mut all = [None; HONEST];
        for place in 0..self.honest.len() {
            let number = state[place] as usize;
            all[place] = Some(match self.quotients.get(place) {
                Some(quotient) => quotient.summaries[number],
                None => self.places[place].lock().unwrap().summaries[number],
            });
        }
        all
    }

    /// A member's state by number.
    pub(crate) fn local(&self, place: usize, number: u32) -> Local {
        let number = self.quotients.get(place).map_or(number, |quotient| quotient.example[number as usize]);
        self.places[place].lock().unwrap().locals[number as usize]
            .as_deref()
            .expect("a state that is forgotten")
            .clone()
    }

    /// One state of each class of a member.
    pub(crate) fn examples(&self, place: usize) -> Vec<Local> {
        (0..self.quotients[place].example.len()).map(|class| self.local(place, class as u32)).collect()
    }

    /// How many states each honest member has been in, and how many classes they make.
    pub(crate) fn local_counts(&self) -> Vec<(usize, usize)> {
        let all = self.places.iter().map(|places| places.lock().unwrap().locals.len());
        let classes = self.quotients.iter().map(|quotient| quotient.summaries.len()).chain(std::iter::repeat(0));
        all.zip(classes).collect()
    }

    /// Votes for which the network holds as many signatures as decide.
    pub(crate) fn decidable(&self, members: &[Option<Summary>; HONEST]) -> u128 {
        let [a, b, c] = members.map(|m| m.map_or(0, |m| m.votes));
        match self.network.quorum().quorum - self.network.byzantine.len() {
            1 => a | b | c,
            2 => a & b | a & c | b & c,
            3 => a & b & c,
            other => unreachable!("{other} honest votes needed"),
        }
    }

    fn next(&self, place: usize, number: u32, step: u16) -> u32 {
        match self.quotients.get(place) {
            Some(quotient) => {
                let leads = quotient.next[number as usize].iter().find(|(known, _)| *known == step);
                leads.map_or(number, |(_, to)| *to)
            }
            None => self.compute(&mut self.places[place].lock().unwrap(), number, step),
        }
    }

    fn compute(&self, places: &mut Places, number: u32, index: u16) -> u32 {
        if let Some((_, known)) = places.next[number as usize].iter().find(|(known, _)| *known == index) {
            return *known;
        }
        let before = places.locals[number as usize].as_deref().expect("a state that is forgotten");
        let after = step(&self.network, &self.vocabulary, &self.setting, before, self.steps[usize::from(index)]);
        let after = self.number(places, after);
        if after != number || !self.setting.quotient {
            places.next[number as usize].push((index, after));
        }
        after
    }
}

/// The places of the ones in a set.
pub(crate) fn ones(mut set: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        lowest
    })
}

impl Model for RoundModel {
    type State = Global;
    type Action = Action;

    fn init_states(&self) -> Vec<Global> {
        vec![[0; HONEST]]
    }

    fn actions(&self, state: &Global, actions: &mut Vec<Action>) {
        let members = self.summaries(state);
        let decidable = self.decidable(&members);
        let proposed = members.iter().flatten().fold(self.vocabulary.byzantine, |set, m| set | m.proposals);
        for (place, member) in members.iter().enumerate() {
            let steps = member.iter().flat_map(|m| self.open_steps(m, (decidable, proposed)));
            actions.extend(steps.map(|step| Action { place, step }));
        }
    }

    fn next_state(&self, state: &Global, action: Action) -> Option<Global> {
        let after = self.next(action.place, state[action.place], action.step);
        let mut next = *state;
        next[action.place] = after;
        (next != *state).then_some(next)
    }

    fn format_action(&self, action: &Action) -> String {
        let what = match self.steps[usize::from(action.step)] {
            Step::Votes(index) => {
                let Vote { kind, view, record } = self.vocabulary.votes[index];
                format!("a quorum to {} in view {view}, record {record}", kind.name())
            }
            Step::Proposal(index) => {
                let (record, proposal) = self.vocabulary.proposal(index);
                let slot = self.vocabulary.proposals[index].slot();
                format!("a proposal in view {}, record {record}, notarized in {:?}", slot.view, proposal.notarized_in)
            }
            other => format!("{other:?}"),
        };
        format!("member {}: {what}", self.honest[action.place])
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties(&self.setting, &self.vocabulary)
    }
}
