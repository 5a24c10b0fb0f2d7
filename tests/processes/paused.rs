//! Processes that are stopped, as a laptop is whose lid is closed: connections stay open, and nothing comes.

use std::sync::Arc;
use std::time::Duration;

use crate::journal::Seen;
use crate::network::{Founded, Loopback, NODES, Run};

/// Until a connection with a program that hangs is given up: five pings of 15 s each, one every 30 s, and what a busy machine adds. A
/// host that is gone is known after half a minute.
const GIVEN_UP: Duration = Duration::from_secs(210);

/// Whether a node is, with this line, through with a round.
fn past(seen: &Seen, round: u64) -> bool {
    seen.certified() >= Some(round) || seen.is("caught_up") && seen.number("to") >= Some(round)
}

/// Stops an aggregator as soon as it knows that it is one, and another member; `until` says for how long. There are
/// more rounds than are over before the two are back.
fn stop_two(rounds: u64, collect_ms: u64, until: impl FnOnce(&Run<'_>, [usize; 2])) {
    let mut founded = Founded::new(rounds, collect_ms);
    let run = founded.start(&Loopback, |_| None);
    let journal = Arc::clone(&run.journal);
    let (aggregator, round) = journal.next("an aggregator", &mut 0, |seen| {
        let round = seen.started().filter(|round| *round > 1)?;
        (seen.number("aggregator") == Some(seen.node as u64)).then_some((seen.node, round))
    });
    run.signal(aggregator, "STOP");
    let member = (aggregator + 1) % NODES;
    run.signal(member, "STOP");
    let others: Vec<usize> = run.others(aggregator).into_iter().filter(|node| *node != member).collect();
    journal.each("rounds without the two", &others, |seen| past(seen, round + 2));
    let mut stopped = journal.all();
    until(&run, [aggregator, member]);
    run.signal(aggregator, "CONT");
    run.signal(member, "CONT");
    let outcome = run.finish();
    let rest = outcome.seen[stopped.len()..].to_vec();
    stopped.retain(|seen| seen.certified() > Some(round));
    assert!(stopped.iter().all(|seen| others.contains(&seen.node)));
    let whole = rest.iter().any(|seen| seen.certified().is_some() && seen.number("inputs") == Some(NODES as u64));
    assert!(whole, "with all of them back, all their updates count again");
    for node in [aggregator, member] {
        assert!(rest.iter().any(|seen| seen.node == node && past(seen, rounds)));
    }
}

#[test]
fn a_stopped_aggregator_and_a_stopped_member_cost_their_updates_and_are_taken_back() {
    stop_two(9, 500, |_, _| {});
}

#[test]
#[ignore = "four minutes: until the others give the connections up; run it with --ignored"]
fn two_that_were_given_up_as_lost_are_taken_back() {
    stop_two(48, 5_000, |run, stopped| {
        let keys = stopped.map(|node| run.key(node));
        let others = || (0..NODES).filter(|node| !stopped.contains(node));
        let gave_up = |seen: &[Seen], node: usize, key: &str| {
            seen.iter().any(|seen| {
                seen.node == node && seen.is("peer") && seen.text("member") == key && seen.is_false("connected")
            })
        };
        let given_up =
            run.journal.until(GIVEN_UP, |seen| keys.iter().all(|key| others().all(|node| gave_up(seen, node, key))));
        assert!(given_up, "somebody still holds a connection with a program that hangs");
    });
}
