//! One host whose link loses packets both ways and is narrow on the way out: the others' rounds go on, and it stays one of them.

use std::time::{Duration, Instant};

use crate::journal::Seen;
use crate::network::{Founded, NODES, Run};
use crate::outcome::Outcome;
use crate::world::{Needs, World, within};

/// The host with the bad link.
const SLOW: usize = 1;

/// Packets lost, each way, and what it can send.
const LOSS: &str = "0.02";
const RATE: &str = "1mbit";

/// A quorum of updates waits so long for the others: as is usual, which is too short for seven copies of a payload over that link,
/// and as long as they need.
const USUAL_MS: u64 = 2_000;
const PATIENT_MS: u64 = 30_000;

/// What a round may take longer than the wait for stragglers: one view whose aggregator was too slow, which the timers allow twice
/// the usual, and what a busy machine adds.
const SLOWER_BY: Duration = Duration::from_millis(2 * 1_500 + 1_000);

/// Rounds between two moments, and the times that they took on a host with a good link, sorted.
struct Pace {
    rounds: Vec<u64>,
    times: Vec<Duration>,
}

impl Pace {
    fn median(&self) -> Duration {
        self.times[self.times.len() / 2]
    }

    fn print(&self, name: &str, authors: usize) {
        let last = self.times.last().unwrap().as_secs_f64();
        println!("| {name} | {} | {:.2} | {last:.2} | {authors} |", self.rounds.len(), self.median().as_secs_f64());
    }
}

/// Waits for so many more rounds on a host with a good link.
fn rounds(run: &Run<'_>, count: usize) -> Pace {
    let mut cursor = run.journal.len();
    let mut certified = || {
        run.journal.next("a round", &mut cursor, |seen: &Seen| {
            seen.certified().filter(|_| seen.node == 0).map(|round| (round, seen.at))
        })
    };
    let mut before: Instant = certified().1;
    let (mut rounds, mut times) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (round, at) = certified();
        times.push(at.saturating_duration_since(before));
        rounds.push(round);
        before = at;
    }
    times.sort();
    Pace { rounds, times }
}

/// Nobody comes or goes: everybody keeps its place in every epoch.
fn has_its_update(outcome: &Outcome, round: u64) -> bool {
    outcome.authors(round).contains(&(SLOW as u16))
}

/// The same number of rounds without the bad link, with it, and without it again. In how many of those with it its update counted.
fn with_and_without(world: &World, count: usize, collect_ms: u64) -> usize {
    let mut founded = Founded::new(0, collect_ms);
    let run = founded.start(world, |_| None);
    let all: Vec<usize> = (0..NODES).collect();
    run.journal.each("two rounds", &all, |seen| seen.certified() >= Some(2));
    let before = rounds(&run, count);
    let from = run.journal.len();
    for chain in ["INPUT", "OUTPUT"] {
        let lossy = [chain, "-m", "statistic", "--mode", "random", "--probability", LOSS, "-j", "DROP"];
        world.firewall(SLOW, &lossy).unwrap();
    }
    world.limit(SLOW, RATE).unwrap();
    let during = rounds(&run, count);
    let hindered = run.journal.all()[from..].to_vec();
    world.unhinder(SLOW);
    let after = rounds(&run, count);
    let key = run.key(SLOW);
    let outcome = run.interrupt_and_verify(&[0, SLOW]);

    println!("waiting {collect_ms} ms for stragglers:");
    println!("| link of one of {NODES} hosts | rounds | median, s | longest, s | of them with its update |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, pace) in [("as the others'", &before), ("2 % loss, 1 Mbit/s", &during), ("as the others' again", &after)]
    {
        let with = pace.rounds.iter().filter(|round| has_its_update(&outcome, **round)).count();
        pace.print(name, with);
    }
    let own = hindered.iter().filter(|seen| seen.node == SLOW && seen.certified().is_some());
    println!("it certified {} of the rounds itself before the others were through with the last of them", own.count());
    // On such a link a connection may get nothing through for half a minute; it is opened again, and the rounds below say what it
    // cost. Nobody voted the host out: an operation against a member would be a motion.
    let lost = |seen: &&Seen| {
        seen.is("peer") && seen.is_false("connected") && (seen.text("member") == key || seen.node == SLOW)
    };
    println!("connections with it that were given up: {}", hindered.iter().filter(lost).count());
    assert!(!outcome.seen.iter().any(|seen| seen.is("motion")));
    for seen in outcome.seen.iter().filter(|seen| seen.is("epoch_started")) {
        assert_eq!(seen.number("members"), Some(NODES as u64), "{seen:?}");
    }
    let bound = before.median() + Duration::from_millis(collect_ms) + SLOWER_BY;
    assert!(during.median() <= bound, "{:?} after {:?}", during.median(), before.median());
    let last = *after.rounds.last().unwrap();
    assert!(has_its_update(&outcome, last), "its updates count again");
    during.rounds.iter().filter(|round| has_its_update(&outcome, **round)).count()
}

#[test]
fn a_host_with_a_lossy_narrow_link_costs_a_wait_and_is_not_evicted() {
    let test = "slow_uplink::a_host_with_a_lossy_narrow_link_costs_a_wait_and_is_not_evicted";
    within(test, Needs::Hindrance, |world| _ = with_and_without(world, 2, USUAL_MS));
}

#[test]
#[ignore = "three minutes; makes docs/results/network.md: processes slow_uplink:: --ignored --nocapture"]
fn the_same_for_four_turns_of_every_aggregator() {
    let test = "slow_uplink::the_same_for_four_turns_of_every_aggregator";
    within(test, Needs::Hindrance, |world| _ = with_and_without(world, 4 * NODES, USUAL_MS));
}

#[test]
#[ignore = "three minutes; makes docs/results/network.md: processes slow_uplink:: --ignored --nocapture"]
fn its_updates_count_if_the_others_wait_for_them() {
    let test = "slow_uplink::its_updates_count_if_the_others_wait_for_them";
    within(test, Needs::Hindrance, |world| {
        let count = NODES;
        let counted = with_and_without(world, count, PATIENT_MS);
        assert!(2 * counted >= count, "its update is in {counted} of {count} rounds");
    });
}
