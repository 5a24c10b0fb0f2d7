//! One honest member in phases 0 to 2: the shipped machine, what its driver keeps, and the rules that a mutant breaks.

use std::collections::{BTreeSet, VecDeque};

use fedswarm_protocol::envelope::{Kind, Verified};
use fedswarm_protocol::hash::hash;
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::{Message, Receipt, UpdateRef};
use fedswarm_protocol::round::{Effect, Input, State, Timer, Timestamp};

use super::words::{Fate, Words, items, name};
use crate::network::ROUND;

/// A rule that the wrapper breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Phase 2: a receipt lists every update whose header is known.
    ReceiptsHeaders,
    /// Phase 2: a receipt lists an update of an author that said two things: the one that came first.
    KeepsTheFirst,
    /// Phase 1: an update that starts from another record is as good as any.
    TakesStale,
    /// Phase 4: whatever inputs a proposal has, they are taken as forced.
    AnyInputs,
    /// Phase 3 with `f` instead of `f + 1`: one receipt forces an update.
    OneReceiptForces,
    /// Phase 3 with `f + 2` instead of `f + 1`.
    AllReceiptsForce,
    /// Phase 4: receipts are not counted.
    AnyReceipts,
    /// A restarted member has forgotten its receipt.
    Amnesia,
}

/// One thing that happens to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    /// Its training ends.
    Trained,
    /// The update of an honest member arrives, with its payload.
    Update(u16),
    /// The header of one of the liar's updates arrives.
    Header(usize),
    /// Its payload arrives.
    Payload(usize),
    /// A timer of phase 0 or 1 fires, armed or not. Both do the same.
    Time,
    /// The member ends, and begins again from its disk.
    Restart,
    /// A receipt arrives, by its number among all that were signed.
    Receipt(u32),
}

/// What a member thinks of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Vote {
    /// Nothing yet.
    None,
    Notarize,
    Nullify,
}

/// What an honest member must never do; found out when it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wrongs {
    /// It receipted an update that it does not hold, or one of a wrong base, or one author twice.
    pub(super) unheld: bool,
    /// It receipted an update of an author of whom it knew two.
    pub(super) contradictory: bool,
    /// It signed two different receipts, or two updates.
    pub(super) second: bool,
    /// It has found fault with an honest member.
    pub(super) blames_honest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub(super) index: u16,
    pub(super) machine: State,
    /// Own statements and what they rest on, as on disk.
    log: Vec<Verified>,
    /// Headers that it has heard since it started; not stale ones, of which nobody takes notice.
    seen: BTreeSet<UpdateRef>,
    /// Payloads of the liar that its machine has asked for.
    asked: BTreeSet<UpdateRef>,
    /// Payloads that it has.
    pub(super) has: BTreeSet<UpdateRef>,
    /// Others whose receipt it has heard.
    pub(super) heard: BTreeSet<u16>,
    /// It has a proof that the liar said two things.
    pub(super) caught: bool,
    /// What it signed.
    pub(super) receipt: Option<Verified>,
    pub(super) proposal: Option<Verified>,
    pub(super) vote: Vote,
    pub(super) wrongs: Wrongs,
}

impl Peer {
    pub(super) fn new(words: &Words, index: u16) -> Self {
        let mut peer = Self {
            index,
            machine: words.network.machine(index),
            log: Vec::new(),
            seen: BTreeSet::new(),
            asked: BTreeSet::new(),
            heard: BTreeSet::new(),
            caught: false,
            has: BTreeSet::new(),
            receipt: None,
            proposal: None,
            vote: Vote::None,
            wrongs: Wrongs::default(),
        };
        peer.drive(words, None, Input::Start);
        peer
    }

    /// Whether a step can change something for it.
    pub(super) fn is_open(&self, words: &Words, step: Step) -> bool {
        let update = |number: usize| name(&words.updates[number].0);
        match step {
            Step::Trained => !self.has.contains(&name(&words.network.update(self.index))),
            Step::Update(author) => !self.seen.contains(&name(&words.network.update(author))),
            Step::Header(number) => !self.seen.contains(&update(number)),
            Step::Payload(number) => self.asked.contains(&update(number)),
            Step::Time => self.receipt.is_none(),
            Step::Restart => !self.log.is_empty(),
            Step::Receipt(_) => true,
        }
    }

    /// The member after a step; `said` are the receipts that were signed.
    pub(super) fn after(&self, words: &Words, mutant: Option<Mutant>, step: Step, said: &[Verified]) -> Self {
        let mut peer = self.clone();
        match step {
            Step::Trained => {
                let header = words.network.header(self.index);
                peer.drive(words, mutant, Input::Trained { round: ROUND, header });
            }
            Step::Update(author) => peer.hear(words, mutant, &words.network.update(author)),
            Step::Header(number) => peer.hear(words, mutant, &words.updates[number].0),
            Step::Payload(number) => {
                let (update, fate) = &words.updates[number];
                peer.payload(words, mutant, name(update), *fate == Fate::Good);
            }
            Step::Time => peer.drive(words, mutant, Input::Timer(Timer::Round { round: ROUND })),
            Step::Restart => peer.restart(words, mutant),
            Step::Receipt(number) => {
                let receipt = &said[number as usize];
                peer.hear(words, mutant, receipt);
                peer.heard.insert(receipt.author());
            }
        }
        peer
    }

    /// Nothing has come to it but headers of the liar.
    pub(super) fn is_fresh(&self) -> bool {
        self.receipt.is_none() && self.has.iter().chain(&self.seen).all(|u| u.0 == self.index || self.asked.contains(u))
    }

    fn restart(&mut self, words: &Words, mutant: Option<Mutant>) {
        let forgets = |m: &Verified| mutant == Some(Mutant::Amnesia) && m.slot().kind == Kind::Receipt;
        let log: Vec<Verified> = std::mem::take(&mut self.log).into_iter().filter(|m| !forgets(m)).collect();
        self.machine = words.network.machine(self.index);
        self.seen.clear();
        self.asked.clear();
        let index = self.index;
        let (own, kept): (Vec<_>, Vec<_>) = log.into_iter().partition(|m| m.author() == index);
        for message in own.iter().chain(&kept) {
            // What is on disk is there without being fetched again.
            let had = message.slot().kind == Kind::Update && self.has.contains(&name(message));
            self.hear(words, mutant, message);
            if had {
                self.payload(words, mutant, name(message), true);
            }
            self.log.push(message.clone());
        }
        self.drive(words, mutant, Input::Start);
    }

    fn payload(&mut self, words: &Words, mutant: Option<Mutant>, update: UpdateRef, valid: bool) {
        self.asked.remove(&update);
        if valid {
            self.has.insert(update);
        }
        self.drive(words, mutant, Input::Payload { author: update.0, statement: update.1, valid });
    }

    /// Hands a message to the machine.
    pub(super) fn hear(&mut self, words: &Words, mutant: Option<Mutant>, message: &Verified) {
        if message.slot().kind == Kind::Update && !words.is_stale(&name(message)) {
            self.seen.insert(name(message));
        }
        self.drive(words, mutant, Input::Message(message.clone()));
    }

    fn drive(&mut self, words: &Words, mutant: Option<Mutant>, input: Input) {
        let network = &words.network;
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.machine.handle(input, Timestamp(0)) {
                match effect {
                    Effect::Sign { slot, message } if slot.view == 0 && slot.round == ROUND => {
                        let message = self.altered(words, mutant, message);
                        let signed = network.sign(self.index, &slot, &message);
                        self.note(words, &signed);
                        inputs.push_back(Input::Message(signed));
                    }
                    Effect::Keep { messages, .. } => {
                        self.log.extend(messages.into_iter().filter(|m| m.slot().kind == Kind::Update));
                    }
                    Effect::Fetch { author, statement, .. } if author != words.liar => {
                        self.has.insert((author, statement));
                        inputs.push_back(Input::Payload { author, statement, valid: true });
                    }
                    // The liar's payloads arrive in steps of their own.
                    Effect::Fetch { author, statement, .. } => drop(self.asked.insert((author, statement))),
                    Effect::Merge { inputs_root, .. } => {
                        let merged = Some(Merged::model(hash("merged", inputs_root.as_bytes())));
                        inputs.push_back(Input::Merged { inputs_root, merged });
                    }
                    Effect::Evidence(_) => self.caught = true,
                    Effect::Penalise { member, .. } => {
                        self.wrongs.blames_honest |= !network.is_byzantine(&member);
                    }
                    // Timers fire at any time.
                    _ => {}
                }
            }
        }
    }

    /// What it says, and whether it may.
    fn note(&mut self, words: &Words, signed: &Verified) {
        match signed.slot().kind {
            Kind::Update => {
                self.seen.insert(name(signed));
                self.has.insert(name(signed));
                self.log.push(signed.clone());
            }
            Kind::Receipt => {
                let list = items(signed);
                let good = |item: &UpdateRef| self.has.contains(item) && !words.is_stale(item);
                self.wrongs.unheld |= !list.iter().all(good) || !list.is_sorted_by(|a, b| a.0 < b.0);
                let known = |author: u16| self.seen.iter().filter(|seen| seen.0 == author).count();
                self.wrongs.contradictory |= list.iter().any(|item| known(item.0) > 1);
                self.wrongs.second |= self.receipt.as_ref().is_some_and(|first| first != signed);
                self.receipt = Some(signed.clone());
                self.log.push(signed.clone());
            }
            Kind::Proposal => self.proposal = Some(signed.clone()),
            Kind::Notarize => self.vote = Vote::Notarize,
            Kind::Nullify => self.vote = Vote::Nullify,
            _ => {}
        }
    }

    /// What a mutant says instead.
    fn altered(&self, words: &Words, mutant: Option<Mutant>, message: Message) -> Message {
        let Message::Receipt(Receipt { mut items, artefacts }) = message else { return message };
        let of_liar = |number: usize| Some(name(&words.updates[number].0));
        let added = match mutant {
            Some(Mutant::ReceiptsHeaders | Mutant::KeepsTheFirst) => of_liar(0).filter(|u| self.seen.contains(u)),
            Some(Mutant::TakesStale) => of_liar(2),
            _ => None,
        };
        let has = |u: &UpdateRef| mutant != Some(Mutant::KeepsTheFirst) || self.has.contains(u);
        let absent = |u: &UpdateRef| items.iter().all(|item| item.0 != u.0);
        if let Some(added) = added.filter(has).filter(absent) {
            items.push(added);
            items.sort_unstable();
        }
        Message::Receipt(Receipt { items, artefacts })
    }
}
