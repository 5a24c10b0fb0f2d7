//! Peers that come and go all the time: some are killed, some stop, some come back, and some are new and were invited.

use std::time::{Duration, Instant};

use fedswarm_protocol::hash::Stream;

use crate::journal::Seen;
use crate::network::{Founded, Run};
use crate::outcome::Outcome;
use crate::world::{Needs, World, within_of};

/// How a swarm is troubled.
struct Churn {
    peers: usize,
    /// One leaves, and then one joins, and so on.
    every: Duration,
    events: usize,
    /// Joins at which somebody new comes, by their number; at the others, whoever has been away longest comes back. For each of
    /// them one more of the founders stays away, and those that are left must be a quorum.
    invitations: &'static [usize],
    collect_ms: u64,
    /// Between two certificates, at most.
    gap: Duration,
}

/// One who came.
struct Joined {
    node: usize,
    life: usize,
    new: bool,
    /// Whether it left again.
    left: bool,
}

/// The epoch with which a newcomer became a member.
fn member_since(seen: &[Seen], node: usize) -> Option<u64> {
    let mine = seen.iter().filter(|s| s.node == node && s.is("epoch_started") && s.number("place").is_some());
    mine.filter_map(|s| s.number("epoch")).min()
}

impl Churn {
    /// Runs the network, and says who joined.
    fn run<'a>(&self, founded: &'a mut Founded, world: &'a World) -> (Run<'a>, Vec<Joined>, Instant) {
        let mut run = founded.start(world, |_| None);
        let all: Vec<usize> = (0..self.peers).collect();
        run.journal.each("two rounds", &all, |seen| seen.certified() >= Some(2));
        let mut schedule = Stream::new("churn", &[]);
        let (mut away, mut joined) = (Vec::new(), Vec::new());
        let began = Instant::now();
        for event in 0..self.events {
            // This is the fault itself, and waits for nothing.
            std::thread::sleep((began + self.every * event as u32).saturating_duration_since(Instant::now()));
            if event % 2 == 0 {
                let here: Vec<usize> = (0..self.peers).filter(|node| run.runs(*node)).collect();
                let node = here[(schedule.next_u64() % here.len() as u64) as usize];
                if event % 4 == 0 {
                    run.kill(node);
                } else {
                    run.interrupt_node(node);
                }
                away.push(node);
                joined.iter_mut().filter(|join: &&mut Joined| join.node == node).for_each(|join| join.left = true);
            } else if self.invitations.contains(&(event / 2)) {
                // Another one each time: nobody may have invited more than two.
                let here: Vec<usize> = (0..self.peers).filter(|node| run.runs(*node)).collect();
                let sponsor = here[event / 2 % here.len()];
                let node = run.invite(sponsor);
                joined.push(Joined { node, life: 0, new: true, left: false });
            } else {
                let node = away.remove(0);
                run.restart(node, None);
                joined.push(Joined { node, life: run.lives[node], new: false, left: false });
            }
        }
        (run, joined, began)
    }

    /// Each peer, the entry point and each newcomer has a host of its own.
    fn check_within(&self, test: &str) {
        within_of(self.peers + 1 + self.invitations.len(), test, Needs::Namespaces, |world| self.check(world));
    }

    fn check(&self, world: &World) {
        let mut founded = Founded::of(self.peers, 0, self.collect_ms);
        let (run, joined, began) = self.run(&mut founded, world);
        let newcomers: Vec<usize> = joined.iter().filter(|join| join.new).map(|join| join.node).collect();
        run.journal.each("membership", &newcomers, |seen| seen.is("epoch_started") && seen.number("place").is_some());
        let running: Vec<usize> = (0..run.size()).filter(|node| run.runs(*node)).collect();
        let end = run.frontier() + 2 * LAG;
        run.journal.each("the last rounds", &running, |seen| seen.certified() >= Some(end));
        let keys: Vec<String> = (0..run.size()).map(|node| run.key(node)).collect();
        let seen = run.journal.all();
        let outcome = run.interrupt_and_verify(&[running[0], running[running.len() - 1]]);
        assert!(outcome.rounds.keys().copied().eq(1..=outcome.rounds.len() as u64), "{:?}", outcome.rounds.keys());
        self.pace(&seen, began);
        let roll = Roll { keys, founders: self.peers, seen: &seen, outcome: &outcome };
        for join in &joined {
            roll.check(join);
        }
        let (new, back): (Vec<&Joined>, Vec<&Joined>) = joined.iter().partition(|join| join.new);
        println!("{} came back: {}", back.len(), roll.lags(&back));
        println!("{} were new: {}", new.len(), roll.lags(&new));
    }

    /// Prints how rounds went while peers came and went.
    fn pace(&self, seen: &[Seen], began: Instant) {
        let ended = began + self.every * self.events as u32;
        let mut certified: Vec<(u64, Instant, u64)> = Vec::new();
        for line in seen.iter().filter(|line| line.at >= began && line.at <= ended) {
            let Some(round) = line.certified() else { continue };
            if certified.last().is_none_or(|(last, ..)| *last < round) {
                certified.push((round, line.at, line.number("inputs").unwrap()));
            }
        }
        let mut gaps: Vec<Duration> = certified.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        gaps.sort();
        let inputs: u64 = certified.iter().map(|(_, _, inputs)| inputs).sum();
        println!(
            "{} peers, {} left or joined, one every {:.1} s: {} rounds certified, median {:.2} s, longest {:.2} s; {:.1} updates in \
             each",
            self.peers,
            self.events,
            self.every.as_secs_f64(),
            certified.len(),
            gaps[gaps.len() / 2].as_secs_f64(),
            gaps[gaps.len() - 1].as_secs_f64(),
            inputs as f64 / certified.len() as f64
        );
        assert!(gaps[gaps.len() - 1] <= self.gap, "{:?} without a certificate", gaps[gaps.len() - 1]);
    }
}

/// Who had which place when, and whose updates counted.
struct Roll<'a> {
    keys: Vec<String>,
    founders: usize,
    seen: &'a [Seen],
    outcome: &'a Outcome,
}

impl Roll<'_> {
    /// Members stand in the order of their keys.
    fn place(&self, node: usize, epoch: u64) -> Option<u16> {
        let belongs = |other: &usize| {
            *other < self.founders || member_since(self.seen, *other).is_some_and(|since| since <= epoch)
        };
        let mut members: Vec<&String> = (0..self.keys.len()).filter(belongs).map(|node| &self.keys[node]).collect();
        members.sort();
        members.iter().position(|key| **key == self.keys[node]).map(|place| place as u16)
    }

    /// The first round from this one on that has its update.
    fn first_update(&self, node: usize, from: u64) -> Option<u64> {
        self.outcome.rounds.keys().copied().filter(|round| *round >= from).find(|round| {
            let place = self.place(node, u64::from(self.outcome.epochs[round]));
            place.is_some_and(|place| self.outcome.authors(*round).contains(&place))
        })
    }

    /// The first round in which it can take part: for a newcomer, that with which it is a member; for one that comes back, that after
    /// the one in progress when it said that it listens.
    fn boundary(&self, join: &Joined) -> Option<u64> {
        if join.new {
            let since = member_since(self.seen, join.node)?;
            let opens = |epoch: u32| u64::from(epoch) >= since;
            return self.outcome.epochs.iter().find(|(_, epoch)| opens(**epoch)).map(|(round, _)| *round);
        }
        let is_start = |s: &Seen| s.node == join.node && s.life == join.life && s.is("started");
        let start = self.seen.iter().position(is_start)?;
        Some(self.seen[..start].iter().filter_map(Seen::started).max()? + 1)
    }

    /// Rounds from the one in which it could take part to the first with its update; nothing if it left before that.
    fn lag(&self, join: &Joined) -> Option<u64> {
        let boundary = self.boundary(join)?;
        Some(self.first_update(join.node, boundary)? - boundary)
    }

    fn check(&self, join: &Joined) {
        let (boundary, lag) = (self.boundary(join), self.lag(join));
        let late = || format!("node {}: from round {boundary:?} on, {lag:?} rounds", join.node);
        assert!(join.left || lag.is_some_and(|lag| lag <= LAG), "{}", late());
    }

    fn lags(&self, joins: &[&Joined]) -> String {
        // What one that left does when it is back once more belongs to its next line.
        let own = |join: &&Joined| self.lag(join).filter(|lag| !join.left || *lag <= LAG);
        let mut lags: Vec<u64> = joins.iter().copied().filter_map(|join| own(&join)).collect();
        lags.sort_unstable();
        let gone = joins.len() - lags.len();
        format!(
            "rounds missed after the first in which they could take part: {lags:?}; {gone} left again before they took part"
        )
    }
}

/// Rounds more than there have to be until the update of somebody who came counts.
const LAG: u64 = 3;

#[test]
fn peers_leave_and_join_and_a_newcomer_contributes_from_its_epoch_on() {
    let every = Duration::from_millis(1_000);
    Churn { peers: 8, every, events: 6, invitations: &[1], collect_ms: 500, gap: Duration::from_secs(10) }
        .check_within("churn::peers_leave_and_join_and_a_newcomer_contributes_from_its_epoch_on");
}

#[test]
#[ignore = "seven minutes and 10 GB of disk; makes docs/results/network.md: processes churn:: --ignored --nocapture"]
fn of_twenty_peers_one_leaves_or_joins_every_five_seconds() {
    let every = Duration::from_secs(5);
    let invitations = &[2, 5, 8, 11];
    Churn { peers: 20, every, events: 36, invitations, collect_ms: 1_000, gap: Duration::from_secs(15) }
        .check_within("churn::of_twenty_peers_one_leaves_or_joins_every_five_seconds");
}
