//! Networks that fall apart: every packet between the sides is lost, and nobody is told.

use std::time::{Duration, Instant};

use crate::journal::Seen;
use crate::network::{Founded, NODES, Run, SPARE};
use crate::world::{Needs, World, address, within};

const COLLECT_MS: u64 = 500;

/// Twice what the first aggregator has, and what the second one has: a side that could change the view would have.
const SHORT: Duration = Duration::from_secs(6);

/// Long enough that connections do not recover by themselves: TCP repeats what was lost at ever longer pauses.
const LONG: Duration = Duration::from_secs(60);

/// Until everybody is up to date once the sides are together again. Dead links are long known then, and members are dialled all the
/// time; what was dialled into the void waits 8 s for an answer.
const BOUND: Duration = Duration::from_secs(10);

const ALL: [usize; NODES] = [0, 1, 2, 3, 4, 5, 6, 7];

fn past(seen: &Seen, round: u64) -> bool {
    seen.certified() >= Some(round) || seen.is("caught_up") && seen.number("to") >= Some(round)
}

/// Waits until everybody has certified some rounds.
fn under_way(run: &Run<'_>) {
    run.journal.each("two rounds", &ALL, |seen| past(seen, 2));
}

/// The rounds that these nodes certified, or took over, in a part of what was seen.
fn rounds_of(seen: &[Seen], nodes: &[usize]) -> Vec<u64> {
    seen.iter().filter(|seen| nodes.contains(&seen.node)).filter_map(Seen::certified).collect()
}

/// All agree, everybody is through, and with all of them back all updates count again.
fn agree(run: Run<'_>, healed: usize) {
    let outcome = run.finish();
    let after = &outcome.seen[healed..];
    let whole = after.iter().any(|seen| seen.certified().is_some() && seen.number("inputs") == Some(NODES as u64));
    assert!(whole, "after the split is healed, no round has all updates");
}

/// What a split did, and how it ended.
struct Split {
    /// Rounds that were certified while it lasted.
    certified: u64,
    /// From healing to the next certificate on any node.
    next: Duration,
    /// From healing until everybody had certified, or taken over, all that was certified before healing, and one round more.
    together: Duration,
    /// From healing to the first round with all updates.
    whole: Duration,
}

/// Splits a running network for so long: `left` on one side, the others on the other. No side without a quorum certifies
/// anything; after healing nobody is behind, and no round has two records.
fn split_for(world: &World, left: &[usize], lasting: Duration) -> Split {
    let mut founded = Founded::new(0, COLLECT_MS);
    let run = founded.start(world, |_| None);
    under_way(&run);
    let right: Vec<usize> = ALL.into_iter().filter(|node| !left.contains(node)).collect();
    world.split(left);
    let (begun, from) = (run.frontier(), run.journal.len());
    // There is no event to wait for when nothing happens.
    std::thread::sleep(lasting);
    let during = run.journal.all()[from..].to_vec();
    for side in [left, &right] {
        if side.len() + SPARE < NODES {
            // What was on its way may still have ended the round in progress.
            let rounds = rounds_of(&during, side);
            assert!(rounds.iter().all(|round| *round <= begun), "{side:?} certified {rounds:?} without a quorum");
        }
    }
    let healed_at = run.journal.len();
    world.heal();
    let healed = Instant::now();
    let certified = last_certified(&run.journal.all()[..healed_at]);
    let mut cursor = healed_at;
    let next = run.journal.next("a certificate after healing", &mut cursor, |seen| seen.certified().map(|_| seen.at));
    let (mut together, mut missing) = (healed, ALL.to_vec());
    let mut cursor = healed_at;
    while !missing.is_empty() {
        let text = format!("round {} on {missing:?}", certified + 1);
        let (node, at) = run.journal.next(&text, &mut cursor, |seen| {
            (missing.contains(&seen.node) && past(seen, certified + 1)).then_some((seen.node, seen.at))
        });
        missing.retain(|other| *other != node);
        together = at;
    }
    let mut cursor = healed_at;
    let whole = run.journal.next("a round with all updates after healing", &mut cursor, |seen| {
        (seen.certified().is_some() && seen.number("inputs") == Some(NODES as u64)).then_some(seen.at)
    });
    let after = |at: Instant| at.saturating_duration_since(healed);
    // Compares the records of all nodes, round by round.
    run.interrupt();
    let split = Split {
        certified: certified.saturating_sub(begun),
        next: after(next),
        together: after(together),
        whole: after(whole),
    };
    println!(
        "{} | {} for {} s: {} rounds certified meanwhile; after healing, the next certificate {:.2} s, everybody up to date \
         {:.2} s, a round with all updates {:.2} s",
        left.len(),
        right.len(),
        lasting.as_secs(),
        split.certified,
        split.next.as_secs_f64(),
        split.together.as_secs_f64(),
        split.whole.as_secs_f64()
    );
    split
}

/// The last round that anybody certified.
fn last_certified(seen: &[Seen]) -> u64 {
    seen.iter().filter_map(Seen::certified).max().unwrap_or_default()
}

#[test]
fn a_split_minority_certifies_nothing_and_the_majority_goes_on() {
    within("split::a_split_minority_certifies_nothing_and_the_majority_goes_on", Needs::Namespaces, |world| {
        let split = split_for(world, &ALL[..SPARE], SHORT);
        assert!(split.certified >= 2, "the majority certified {} rounds", split.certified);
    });
}

#[test]
fn two_halves_certify_nothing_until_they_are_one_again() {
    within("split::two_halves_certify_nothing_until_they_are_one_again", Needs::Namespaces, |world| {
        assert_eq!(split_for(world, &ALL[..NODES / 2], SHORT).certified, 0);
    });
}

#[test]
#[ignore = "two minutes; makes docs/results/network.md: processes split::a_minute --ignored --nocapture"]
fn a_minute_with_a_quorum_on_one_side() {
    within("split::a_minute_with_a_quorum_on_one_side", Needs::Namespaces, |world| {
        let split = split_for(world, &ALL[..SPARE], LONG);
        assert!(split.certified >= 20, "the majority certified {} rounds in {LONG:?}", split.certified);
        assert!(split.together <= BOUND);
    });
}

#[test]
#[ignore = "two minutes; makes docs/results/network.md: processes split::a_minute --ignored --nocapture"]
fn a_minute_without_a_quorum_on_either_side() {
    within("split::a_minute_without_a_quorum_on_either_side", Needs::Namespaces, |world| {
        let split = split_for(world, &ALL[..NODES / 2], LONG);
        assert_eq!(split.certified, 0);
        assert!(split.together <= BOUND);
    });
}

#[test]
#[ignore = "a minute, needs iptables; run it with --ignored"]
fn one_that_hears_nobody_and_a_lossy_slow_link_do_not_stop_the_others() {
    within("split::one_that_hears_nobody_and_a_lossy_slow_link_do_not_stop_the_others", Needs::Hindrance, |world| {
        let mut founded = Founded::new(36, COLLECT_MS);
        let run = founded.start(world, |_| None);
        under_way(&run);
        let lossy = ["OUTPUT", "-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP"];
        if let Err(reason) = world.firewall(1, &lossy).and_then(|()| world.limit(1, "8mbit")) {
            eprintln!("SKIPPED: {reason}");
            return;
        }
        let bootstrap = address(NODES);
        world.firewall(0, &["INPUT", "!", "-s", &bootstrap, "-j", "DROP"]).unwrap();
        let (begun, from) = (run.frontier(), run.journal.len());
        run.journal.each("rounds of the others", &ALL[SPARE..], |seen| past(seen, begun + 4));
        let during = run.journal.all()[from..].to_vec();
        assert!(rounds_of(&during, &ALL[..1]).iter().all(|round| *round <= begun), "{during:?}");
        let healed = run.journal.len();
        world.unhinder(0);
        world.unhinder(1);
        agree(run, healed);
    });
}
