//! The two phases of a run, and what comes of them.

use fedswarm_protocol::certificate::Quorum;

use std::sync::Arc;

use super::World;
use super::node::Node;
use super::options::{Disks, Links, Options};
use super::outcome::Outcome;

/// Events that one run may have. Too low and large networks do not get to their last round; it bounds a run that spins.
const MOST_EVENTS: u64 = 200_000_000;

/// How long [`World::settle`] takes, in microseconds.
const SETTLE_US: u64 = 10_000_000;

impl World {
    /// Runs both phases. Stops at the first broken invariant.
    pub fn run(&mut self) -> Outcome {
        self.run_watched(&mut |_| true)
    }

    /// As [`World::run`]; `watch` sees the world after every event, and ends the run with false.
    pub fn run_watched(&mut self, watch: &mut dyn FnMut(&mut Self) -> bool) -> Outcome {
        let options = self.core.options.clone();
        let faulty = self.began_after + options.rounds.saturating_sub(options.rounds_after);
        let until = 1_000 * options.faults_ms;
        while self.core.monitor.height() < faulty && self.core.now < until {
            if !self.go_on(watch) {
                return self.outcome(&options, 0, 0);
            }
        }
        let at_healing = self.core.monitor.height() - self.began_after;
        if options.rounds_after > 0 {
            self.heal();
        }
        let longest = self.live(&options, watch);
        self.outcome(&options, at_healing, longest)
    }

    fn go_on(&mut self, watch: &mut dyn FnMut(&mut Self) -> bool) -> bool {
        let more = self.step() && watch(self);
        self.core.monitor.broken().is_none() && more && self.core.log.count() < MOST_EVENTS
    }

    /// The network and the disks are well, and every honest node whose disk is whole comes back. Liars lie on, or fall
    /// silent.
    fn heal(&mut self) {
        self.healed = true;
        self.core.links.heal();
        self.core.options.links = Links::default();
        self.core.options.disks = Disks::default();
        let silence = !self.core.options.lie_on;
        let members = self.core.members();
        for node in &mut self.nodes {
            node.drift_ppm = 0;
            node.slowdown = 1;
            self.core.away[node.id] = false;
            let liar = self.core.options.vices.iter().any(|(member, _)| *member == node.me);
            if liar && silence {
                if self.core.up[node.id] {
                    node.crash(super::disk::Tail::Kept, &mut self.core);
                }
            } else {
                node.start(&mut self.core);
            }
        }
        for a in 0..members.len() {
            for b in 0..a {
                if self.core.up[a] && self.core.up[b] {
                    self.core.connect(a, b, &members);
                }
            }
        }
    }

    /// Rounds must go on: each of the rest within the bound. The longest that one took, in microseconds.
    fn live(&mut self, options: &Options, watch: &mut dyn FnMut(&mut Self) -> bool) -> u64 {
        let core: Vec<usize> = self
            .nodes
            .iter()
            .filter(|node| !options.vices.iter().any(|(member, _)| *member == node.me) && !node.disk.corrupt)
            .map(|node| node.id)
            .collect();
        let bound = 1_000 * bound_ms(options);
        let (mut since, mut longest) = (self.core.now, 0);
        for round in self.core.monitor.height() + 1..=self.began_after + options.rounds {
            let mut done = 0;
            while self.behind(&core, round, &mut done) {
                if !self.go_on(watch) {
                    return longest;
                }
                if self.core.now - since > bound && self.healed {
                    let stuck: Vec<String> = self.nodes.iter().map(|node| format!("{node:?}")).collect();
                    let what = format!(
                        "round {round} did not end within {} s of virtual time ({} honest nodes with whole disks, epoch of {} voters): {}",
                        bound / 1_000_000,
                        core.len(),
                        self.core.voting,
                        stuck.join("; ")
                    );
                    self.core.monitor.report("L2 rounds go on", self.core.now, what);
                    return longest;
                }
                if !self.healed && self.core.now > 1_000 * options.faults_ms {
                    return longest;
                }
            }
            longest = longest.max(self.core.now - since);
            since = self.core.now;
        }
        longest
    }

    /// Goes on until all nodes hold the last record; false if that takes longer than ten seconds of virtual time.
    pub fn catch_up(&mut self) -> bool {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        let (until, mut done) = (self.core.now + SETTLE_US, 0);
        while self.behind(&all, self.core.monitor.height(), &mut done) {
            if self.core.now > until || !self.step() {
                return false;
            }
        }
        true
    }

    /// Lets what is under way end: a few seconds of virtual time.
    pub fn settle(&mut self) {
        let until = self.core.now + SETTLE_US;
        while self.core.now < until && self.step() {}
    }

    /// Whether one of these nodes, if it is a member's, does not hold this round's record yet. The first `done` of them do.
    fn behind(&self, core: &[usize], round: u64, done: &mut usize) -> bool {
        let epoch = self.core.keys.newest().map(Arc::clone);
        let is_member = |node: &Node| epoch.as_ref().is_some_and(|e| self.core.keys.place(e, node.me).is_some());
        let holds = |node: &Node| node.disk.head().map_or(0, |head| head.record.round) >= round;
        while let Some(node) = core.get(*done) {
            let node = &self.nodes[*node];
            if !holds(node) && is_member(node) {
                return true;
            }
            *done += 1;
        }
        false
    }
}

/// How long a round may take after the healing, in milliseconds: the longest training, the wait for stragglers, the
/// longest pause between resends, and the longest time in each of the views that liars can spoil, plus one.
fn bound_ms(options: &Options) -> u64 {
    let waits = &options.timers;
    let most = usize::from(options.voters()) + usize::from(options.strangers);
    let spoilt = Quorum::of(most).faulty as u64 + 2;
    waits.round_ms + waits.collect_ms + 16 * waits.resend_ms + 2 * spoilt * 64 * waits.leader_ms + 60_000
}
