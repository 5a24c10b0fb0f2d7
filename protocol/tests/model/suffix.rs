//! Liveness: from a state on, the Byzantine member is silent, nothing is lost, and timers fire when they are due.

use std::collections::{BTreeSet, VecDeque};

use fedswarm_protocol::envelope::{Kind, Slot, Verified};
use fedswarm_protocol::hash::hash;
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::{Message, UpdateRef};
use fedswarm_protocol::round::{Effect, Input, Recipient, State, Timer, Timestamp};

use crate::model::{Global, RoundModel};
use crate::network::{Network, ROUND};

/// Virtual milliseconds within which everybody must hold the record: a few views at their longest.
const PATIENCE_MS: u64 = 120_000;

/// Honest members in a calm network.
pub(crate) struct Calm<'a> {
    network: &'a Network,
    pub(crate) machines: Vec<(u16, State)>,
    queue: VecDeque<(usize, Input)>,
    /// Payloads of the liar, by who holds them: it gives out no more.
    payloads: BTreeSet<(u16, UpdateRef)>,
    timers: BTreeSet<(u64, usize, Timer)>,
    now: u64,
}

/// Virtual milliseconds until every honest member holds a final record of the round; nothing if that takes more than
/// [`PATIENCE_MS`].
pub(crate) fn decides(model: &RoundModel, state: &Global) -> Option<u64> {
    let members = model.honest.iter().enumerate();
    let machines = members.map(|(place, index)| (*index, model.local(place, state[place]).member.machine)).collect();
    Calm::new(&model.network, machines, BTreeSet::new()).run()
}

impl<'a> Calm<'a> {
    pub(crate) fn new(network: &'a Network, machines: Vec<(u16, State)>, payloads: BTreeSet<(u16, UpdateRef)>) -> Self {
        let (queue, timers) = (VecDeque::new(), BTreeSet::new());
        let mut calm = Calm { network, machines, queue, payloads, timers, now: 0 };
        calm.arm();
        calm
    }

    /// Something that is under way to a member.
    pub(crate) fn push(&mut self, place: usize, input: Input) {
        self.queue.push_back((place, input));
    }

    /// The timers that are armed: one that has fired already changes nothing when it fires again.
    fn arm(&mut self) {
        for (place, (_, machine)) in self.machines.iter().enumerate() {
            let (round, view) = machine.position();
            if round != ROUND {
                continue;
            }
            let timers = &self.network.rules(0).timers;
            let interval = timers.leader_ms << view.min(6);
            self.timers.insert((timers.resend_ms, place, Timer::Resend { round }));
            self.timers.insert((timers.collect_ms, place, Timer::Collect { round }));
            self.timers.insert((interval, place, Timer::Repropose { round, view }));
            self.timers.insert((2 * interval, place, Timer::View { round, view }));
        }
    }

    /// Virtual milliseconds until everybody holds a final record.
    pub(crate) fn run(&mut self) -> Option<u64> {
        loop {
            if self.machines.iter().all(|(_, machine)| machine.head().round >= ROUND) {
                return Some(self.now);
            }
            if let Some((place, input)) = self.queue.pop_front() {
                self.step(place, input);
            } else if let Some((at, place, timer)) = self.timers.pop_first() {
                self.now = at;
                self.step(place, Input::Timer(timer));
            }
            if self.now > PATIENCE_MS || self.timers.is_empty() && self.queue.is_empty() {
                return None;
            }
        }
    }

    fn step(&mut self, place: usize, input: Input) {
        if self.is_asked_by_the_past(place, &input) {
            return;
        }
        let (index, machine) = &mut self.machines[place];
        let index = *index;
        for effect in machine.handle(input, Timestamp(self.now)) {
            match effect {
                // The next round may be of another epoch, in which places mean something else.
                Effect::Sign { slot, .. } | Effect::Say { slot, .. } if slot.round > ROUND => {}
                Effect::Sign { slot, message } => {
                    let signed = self.network.sign(index, &slot, &message);
                    self.queue.push_back((place, Input::Message(signed.clone())));
                    self.send(place, Recipient::All, &signed);
                }
                Effect::Say { to, slot, message } => self.say(place, index, to, &slot, &message),
                Effect::Forward { to, message } => self.send(place, to, &message),
                Effect::Merge { inputs_root, .. } => {
                    let merged = Some(Merged::model(hash("merged", inputs_root.as_bytes())));
                    self.queue.push_back((place, Input::Merged { inputs_root, merged }));
                }
                Effect::Fetch { author, statement, holders, .. } => {
                    let update = (author, statement);
                    let holds = |holder: &u16| self.payloads.contains(&(*holder, update));
                    if !self.network.byzantine.contains(&author) || holders.iter().any(holds) {
                        self.payloads.insert((index, update));
                        self.queue.push_back((place, Input::Payload { author, statement, valid: true }));
                    }
                }
                Effect::SetTimer { timer, after_ms } => {
                    self.timers.insert((self.now + after_ms, place, timer));
                }
                _ => {}
            }
        }
    }

    /// The driver answers those who are in an earlier epoch than the machine, with the record that closed it.
    fn is_asked_by_the_past(&mut self, place: usize, input: &Input) -> bool {
        let Input::Message(message) = input else { return false };
        let (index, machine) = &self.machines[place];
        let past = message.slot().kind == Kind::Status && message.slot().epoch < machine.committee().epoch;
        if let Some(committed) = machine.proof().filter(|_| past) {
            let record = &committed.record;
            let slot = Slot { kind: Kind::Committed, epoch: record.epoch, round: record.round, view: 0 };
            let answer = self.network.sign(*index, &slot, &Message::Committed(Box::new(committed.as_ref().clone())));
            self.send(place, Recipient::One(message.author()), &answer);
        }
        past
    }

    fn say(&mut self, place: usize, index: u16, to: Recipient, slot: &Slot, message: &Message) {
        let said = self.network.sign(index, slot, message);
        self.send(place, to, &said);
    }

    fn send(&mut self, from: usize, to: Recipient, message: &Verified) {
        for (place, (index, _)) in self.machines.iter().enumerate() {
            if place != from && (to == Recipient::All || to == Recipient::One(*index)) {
                self.queue.push_back((place, Input::Message(message.clone())));
            }
        }
    }
}
