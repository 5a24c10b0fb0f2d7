//! Networks that fall apart: every packet between the sides is lost, and nobody is told.

use std::time::Duration;

use crate::journal::Seen;
use crate::network::{Founded, NODES, Run, SPARE};
use crate::world::{address, within};

/// More than are over before the sides are together again.
const ROUNDS: u64 = 24;

const COLLECT_MS: u64 = 500;

/// Twice what the first aggregator has, and what the second one has: a side that could change the view would have.
const TWO_VIEWS: Duration = Duration::from_secs(6);

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

#[test]
fn a_split_minority_certifies_nothing_and_the_majority_goes_on() {
    within("split::a_split_minority_certifies_nothing_and_the_majority_goes_on", |world| {
        let mut founded = Founded::new(ROUNDS, COLLECT_MS);
        let run = founded.start(world, |_| None);
        under_way(&run);
        let (minority, majority) = ALL.split_at(SPARE);
        world.split(minority);
        let (begun, from) = (run.frontier(), run.journal.len());
        run.journal.each("rounds of the majority", majority, |seen| past(seen, begun + 3));
        let during = run.journal.all()[from..].to_vec();
        // What was on its way may still have ended the round in progress.
        assert!(rounds_of(&during, minority).iter().all(|round| *round <= begun), "{begun}: {during:?}");
        let healed = run.journal.len();
        world.heal();
        agree(run, healed);
    });
}

#[test]
fn two_halves_certify_nothing_until_they_are_one_again() {
    within("split::two_halves_certify_nothing_until_they_are_one_again", |world| {
        let mut founded = Founded::new(ROUNDS, COLLECT_MS);
        let run = founded.start(world, |_| None);
        under_way(&run);
        world.split(&ALL[..NODES / 2]);
        let (begun, from) = (run.frontier(), run.journal.len());
        // There is no event to wait for when nothing happens.
        std::thread::sleep(TWO_VIEWS);
        let during = run.journal.all()[from..].to_vec();
        assert!(rounds_of(&during, &ALL).iter().all(|round| *round <= begun), "{begun}: {during:?}");
        assert!(!during.iter().any(|seen| seen.is("view_entered") && seen.number("round") > Some(begun)));
        let healed = run.journal.len();
        world.heal();
        agree(run, healed);
    });
}

#[test]
#[ignore = "two minutes: until the sides give their connections up; run it with --ignored"]
fn halves_that_have_given_each_other_up_find_each_other_again() {
    within("split::halves_that_have_given_each_other_up_find_each_other_again", |world| {
        let mut founded = Founded::new(ROUNDS, COLLECT_MS);
        let run = founded.start(world, |_| None);
        under_way(&run);
        let (left, right) = ALL.split_at(NODES / 2);
        world.split(left);
        for (here, there) in [(left, right), (right, left)] {
            for node in there {
                let key = run.key(*node);
                run.journal.each("a connection given up", here, |seen| {
                    seen.is("peer") && seen.text("member") == key && seen.is_false("connected")
                });
            }
        }
        let healed = run.journal.len();
        world.heal();
        agree(run, healed);
    });
}

#[test]
#[ignore = "a minute, needs iptables; run it with --ignored"]
fn one_that_hears_nobody_and_a_lossy_slow_link_do_not_stop_the_others() {
    within("split::one_that_hears_nobody_and_a_lossy_slow_link_do_not_stop_the_others", |world| {
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
