//! A node: the production machine, and around it a driver in virtual time that does what the real one does.

mod chain;
mod effects;
mod hearing;
mod hosting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::membership::{Committee, Operation};
use fedswarm_protocol::message::UpdateRef;
use fedswarm_protocol::round::{ArtefactVerdict, Effect, Input, Rules, State, Timer, Timestamp};

use super::adversaries::Adversary;
use super::blobs::Blob;
use super::core::Core;
use super::disk::{Disk, Tail, Write};
use super::event::What;
use super::fetch::{Fetch, MergeJob, Purpose};
use super::packet::Packet;
use super::work::Work;
use hosting::Job;

/// A training under way, or waiting for its model.
#[derive(Clone, Copy, Debug)]
struct Training {
    number: u64,
    round: u64,
    base: Digest,
    model: Digest,
}

/// One node.
pub struct Node {
    /// Its place among the nodes.
    pub id: usize,
    /// The member that it is.
    pub me: u16,
    /// What survives its crashes.
    pub disk: Disk,
    /// Its learner.
    pub work: Box<dyn Work>,
    /// What it wants to become: a part of its configuration, which survives crashes.
    pub request: Option<Operation>,
    /// Its votes on other members, which survive crashes, too.
    pub ballots: Vec<Operation>,
    /// What makes it lie, if anything.
    pub adversary: Option<Box<dyn Adversary>>,
    /// Its training takes so many times longer.
    pub slowdown: u64,
    /// Its clock gains so many millionths.
    pub drift_ppm: i64,
    rules: Arc<Rules>,
    founders: Arc<Committee>,
    state: State,
    life: u32,
    inbox: VecDeque<Input>,
    todo: VecDeque<Effect>,
    timers: BTreeMap<u64, Timer>,
    fetches: BTreeMap<u64, Fetch>,
    payloads: BTreeMap<UpdateRef, u64>,
    artefacts: BTreeMap<ArtefactRef, u64>,
    merges: BTreeMap<u64, MergeJob>,
    training: Option<Training>,
    /// What it makes an artefact of, as a host.
    job: Option<Box<Job>>,
    /// The artefact in force that its learner has.
    taken: Option<ArtefactRef>,
    checkpoint: Option<Blob>,
    numbers: u64,
    clock_ms: i64,
    /// Messages of others that go to the disk with the next statement.
    keep: Vec<(u64, Packet)>,
    /// Packets of epochs that have not begun here, by sender.
    ahead: Vec<(usize, Packet)>,
    asked: Vec<(usize, u32, u64)>,
    answered: Vec<(usize, u32, u64)>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (round, view) = self.state.position();
        write!(f, "node {} (member {}, round {round}, view {view}, life {})", self.id, self.me, self.life)
    }
}

impl Node {
    /// A node that has not been started.
    #[must_use]
    pub fn new(id: usize, me: u16, rules: Arc<Rules>, founders: Arc<Committee>, work: Box<dyn Work>) -> Self {
        Self {
            id,
            me,
            disk: Disk::default(),
            work,
            request: None,
            ballots: Vec::new(),
            adversary: None,
            slowdown: 1,
            drift_ppm: 0,
            state: State::new(Arc::clone(&rules), None, Arc::clone(&founders)),
            rules,
            founders,
            life: 0,
            inbox: VecDeque::new(),
            todo: VecDeque::new(),
            timers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            payloads: BTreeMap::new(),
            artefacts: BTreeMap::new(),
            merges: BTreeMap::new(),
            training: None,
            job: None,
            taken: None,
            checkpoint: None,
            numbers: 0,
            clock_ms: 0,
            keep: Vec::new(),
            ahead: Vec::new(),
            asked: Vec::new(),
            answered: Vec::new(),
        }
    }

    /// Its machine.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Which of its lives it is in.
    #[must_use]
    pub const fn life(&self) -> u32 {
        self.life
    }

    /// Things that wait: inputs, fetches, merges, timers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ahead.len()
            + self.inbox.len()
            + self.todo.len()
            + self.fetches.len()
            + self.merges.len()
            + self.timers.len()
    }

    /// Starts, from what is on disk; false if the disk is damaged: such a node must not speak again.
    pub fn start(&mut self, core: &mut Core) -> bool {
        if core.up[self.id] || self.disk.corrupt {
            return false;
        }
        if !self.disk.is_whole() {
            // Some statement of its own is gone: it must not make another one.
            self.disk.corrupt = true;
            return false;
        }
        let committee = self.disk.committee().unwrap_or(&self.founders);
        self.state = State::new(Arc::clone(&self.rules), self.disk.head().cloned(), Arc::clone(committee));
        self.work.restart(self.disk.checkpoint());
        core.up[self.id] = true;
        let kept = self.disk.statements(self.state.position().0);
        let messages = kept.iter().filter_map(|packet| packet.open(&core.keys));
        let (own, others): (Vec<_>, Vec<_>) = messages.partition(|m| Some(m.author()) == self.state.me());
        for message in &own {
            // It may have reached the disk and nobody else; it will now.
            core.monitor.said(self.me, message, core.now);
        }
        self.inbox.extend(own.into_iter().chain(others).map(Input::Message));
        self.inbox.push_back(Input::Start);
        if let Some(head) = self.disk.head() {
            // A record, too, may have reached the disk in the moment of the crash.
            core.monitor.came_back_with(self.id, head, core.now);
        }
        self.take_in_force(core);
        core.monitor.restarted(self.id, self.state.head().round, core.now);
        core.monitor.follows(self.id, self.state.committee(), core.now);
        let members = core.members();
        for other in 0..core.up.len() {
            if other != self.id && core.up[other] && core.links.is_open(self.id, other) {
                core.connect(self.id, other, &members);
            }
        }
        self.pump(core);
        true
    }

    /// Stops at once, and loses all that is not on disk.
    pub fn crash(&mut self, tail: Tail, core: &mut Core) {
        core.up[self.id] = false;
        self.life += 1;
        self.inbox.clear();
        self.todo.clear();
        self.keep.clear();
        self.ahead.clear();
        self.timers.clear();
        self.forget_work();
        self.training = None;
        self.job = None;
        self.taken = None;
        self.checkpoint = None;
        core.hang_up(self.id);
        core.tally.crashes += 1;
        core.tally.cut_writes += u64::from(self.disk.crash(tail));
    }

    /// Its clock jumps: forward, and all that it waits for is over; backward, and everything takes longer.
    pub fn jump(&mut self, by_ms: i64, core: &mut Core) {
        self.clock_ms += by_ms;
        let life = self.life;
        if by_ms > 0 {
            for number in self.timers.keys() {
                core.after(0, self.id, life, What::Timer(*number));
            }
        }
    }

    /// Something happens at this node.
    pub fn on(&mut self, what: What, core: &mut Core) {
        match what {
            What::Packet(packet, from) => self.hear(&packet, from, core),
            What::Timer(number) => {
                if let Some(timer) = self.timers.remove(&number) {
                    self.inbox.push_back(Input::Timer(timer));
                }
            }
            What::Written => self.written(core),
            What::Trained(number) => self.trained(number, core),
            What::Fetch(number) => self.fetch_again(number, core),
            What::Fetched(number, holder) => self.fetched(number, holder, core),
            What::Merged(number) => self.merged(number, core),
            What::Generated(round) => self.generated(round, core),
            What::Connected(member) => {
                if let Some(key) = core.keys.public(member).copied() {
                    self.inbox.push_back(Input::Connected { key });
                }
                self.request_of(Some(member), core);
                self.say_ballots(Some(member), core);
            }
            What::Disconnected(member) => {
                if let (true, Some(key)) = (core.is_gone(self.id, member), core.keys.public(member).copied()) {
                    self.inbox.push_back(Input::Disconnected { key });
                }
            }
            What::Start | What::Tick => {}
        }
        self.pump(core);
    }

    /// Feeds the machine and carries out what it wants, in order; a durable write holds everything up.
    fn pump(&mut self, core: &mut Core) {
        while core.up[self.id] && !self.disk.is_busy() {
            if let Some(effect) = self.todo.pop_front() {
                self.carry_out(effect, core);
                continue;
            }
            let Some(input) = self.inbox.pop_front() else { return };
            let before = self.state.position().0;
            let now = Timestamp((core.now / 1_000).saturating_add_signed(self.clock_ms));
            let committee = Arc::clone(self.state.committee());
            let effects = self.state.handle(input, now);
            if !Arc::ptr_eq(&committee, self.state.committee()) {
                core.monitor.follows(self.id, self.state.committee(), core.now);
            }
            if self.state.position().0 != before {
                self.forget_work();
            }
            self.todo.extend(effects);
        }
    }

    fn forget_work(&mut self) {
        self.forget_job();
        self.fetches.clear();
        self.payloads.clear();
        self.artefacts.clear();
        self.merges.clear();
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Begins a durable write; chance may have it fail, or crash the node in its middle.
    fn write(&mut self, write: Write, core: &mut Core) {
        self.disk.begin(write);
        let disks = &core.options.disks;
        let (error, crash, lost) = (disks.error, disks.crash_in_write, disks.lost_tail);
        if core.rng.chance(error) {
            // A node that cannot keep its statements must not make any: it stops, until somebody repairs it.
            self.disk.fail();
            core.tally.disk_errors += 1;
            self.crash(Tail::Lost, core);
        } else if core.rng.chance(crash) {
            let tail = if core.rng.chance(lost) { Tail::Lost } else { Tail::Kept };
            self.crash(tail, core);
        } else {
            let range = core.options.disks.sync_us;
            let delay = core.draw(range);
            core.after(delay, self.id, self.life, What::Written);
        }
    }

    fn start_fetch(&mut self, fetch: Fetch, core: &mut Core) -> u64 {
        let number = self.number();
        let mut fetch = fetch;
        fetch.attempt(number, self.id, self.life, core);
        self.fetches.insert(number, fetch);
        number
    }

    fn fetch_again(&mut self, number: u64, core: &mut Core) {
        if let Some(fetch) = self.fetches.get_mut(&number) {
            fetch.attempt(number, self.id, self.life, core);
        }
    }

    fn fetched(&mut self, number: u64, holder: usize, core: &mut Core) {
        let Some(fetch) = self.fetches.get_mut(&number) else { return };
        // The holder may have gone, or a split come, while the bytes were under way.
        let served = core.up[holder] && core.links.is_open(self.id, holder);
        let Some(blob) = served.then(|| core.read(holder, &fetch.root)).flatten() else {
            return fetch.again(number, self.id, self.life, 0, core);
        };
        let Some(fetch) = self.fetches.remove(&number) else { return };
        let round = self.state.position().0;
        match fetch.purpose {
            Purpose::Payload((author, statement), header) => {
                self.payloads.remove(&(author, statement));
                let valid = self.work.check(&header, &blob);
                if valid {
                    core.blobs[self.id].insert(fetch.root, round, blob);
                }
                self.inbox.push_back(Input::Payload { author, statement, valid });
            }
            Purpose::Train(training) => {
                core.blobs[self.id].insert(fetch.root, round, blob);
                self.begin_training(training, core);
            }
            Purpose::Merge(job) => {
                core.blobs[self.id].insert(fetch.root, round, blob);
                self.begin_merge(*job, core);
            }
            Purpose::Prototypes(reference, holders) => {
                core.blobs[self.id].insert(fetch.root, round, blob);
                self.fetch_contents(*reference, holders, core);
            }
            Purpose::Job(made) => {
                core.blobs[self.id].insert(fetch.root, round, blob);
                self.begin_job(made, core);
            }
            Purpose::InForce => {
                core.blobs[self.id].insert(fetch.root, round, blob);
                self.take_in_force(core);
            }
            Purpose::Artefact(reference) => {
                let verdict = self.check_artefact(&reference, &blob, core);
                if verdict == ArtefactVerdict::Valid {
                    core.blobs[self.id].insert(fetch.root, round, blob);
                }
                self.inbox.push_back(Input::Artefact { reference: *reference, verdict });
            }
            Purpose::Finish(round) => {
                core.blobs[self.id].insert(fetch.root, round, blob);
                self.finish(core);
            }
        }
    }
}
