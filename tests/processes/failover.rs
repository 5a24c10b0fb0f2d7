//! How long a round takes when its aggregator is killed: the figures in `docs/results/failover.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::network::{Founded, Loopback, NODES, SPARE};
use crate::phases::{Armed, Phase, Target};

/// How long the two first aggregators have, and three times the least round trip that is allowed for.
const BOUND: Duration = Duration::from_millis(1_500 + 3_000 + 3 * 50);

/// As a LAN is promised.
const P95: Duration = Duration::from_secs(5);

/// A kill, and what the others did.
struct Kill {
    /// From the kill to the certificate on the last of the others.
    certified: Duration,
    /// The same from the moment when the last of them had a quorum of receipts, if that came later: until then they train and
    /// wait for stragglers, whoever aggregates.
    failover: Duration,
    view: u64,
    inputs: u64,
}

/// Kills that many aggregators, phase by phase, and starts each again once the others have certified its round.
fn measure(kills: usize) -> BTreeMap<Phase, Vec<Kill>> {
    let mut founded = Founded::new(0, 2_000);
    let mut phases = Phase::ALL.into_iter().cycle();
    let mut armed = Armed::new(NODES, &mut phases);
    let mut run = founded.start(&Loopback, |node| armed.hold(node));
    let (mut over, mut table) = (0, BTreeMap::<Phase, Vec<Kill>>::new());
    while table.values().map(Vec::len).sum::<usize>() < kills {
        let Target { node, phase, round } = armed.next(&run);
        if round <= over {
            // It is back, and does not know yet that the others have certified the round in which it was killed.
            if phase.hold().is_some() {
                run.kill(node);
                armed.restart(&mut run, node, Some(phase));
            }
            continue;
        }
        over = round;
        let journal = Arc::clone(&run.journal);
        let killed = Instant::now();
        run.kill(node);
        let others = run.others(node);
        assert!(others.len() + SPARE > NODES);
        let (mut certified, mut quorum, mut view, mut inputs) = (killed, killed, 0, 0);
        journal.each("the round of a dead aggregator", &others, |seen| {
            let here = seen.certified() == Some(round);
            if here {
                certified = certified.max(seen.at);
                (view, inputs) = (seen.number("view").unwrap(), seen.number("inputs").unwrap());
            }
            here || seen.is("caught_up") && seen.number("to") >= Some(round)
        });
        for seen in journal.all().iter().filter(|seen| others.contains(&seen.node)) {
            if seen.is("receipt_quorum") && seen.number("round") == Some(round) && seen.at <= certified {
                quorum = quorum.max(seen.at);
            }
        }
        let kill = Kill { certified: certified - killed, failover: certified - quorum, view, inputs };
        eprintln!(
            "round {round}, node {node}, {}: {:.3} s, view {view}, {inputs} inputs",
            phase.name(),
            kill.certified.as_secs_f64()
        );
        table.entry(phase).or_default().push(kill);
        armed.restart(&mut run, node, phases.next());
    }
    table
}

/// The least of these that so many per cent do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)].as_secs_f64()
}

fn row(name: &str, kills: &[&Kill]) -> String {
    let sorted = |pick: fn(&Kill) -> Duration| {
        let mut all: Vec<Duration> = kills.iter().map(|kill| pick(kill)).collect();
        all.sort();
        all
    };
    let (certified, failover) = (sorted(|kill| kill.certified), sorted(|kill| kill.failover));
    let most_views = kills.iter().map(|kill| kill.view).max().unwrap_or_default();
    let fewest = kills.iter().map(|kill| kill.inputs).min().unwrap_or_default();
    let seconds = |sorted: &[Duration]| {
        let [p50, p95, max] = [50, 95, 100].map(|percent| percentile(sorted, percent));
        format!("{p50:.2} | {p95:.2} | {max:.2}")
    };
    format!("| {name} | {} | {} | {} | {most_views} | {fewest} |", kills.len(), seconds(&certified), seconds(&failover))
}

fn check(kills: usize) {
    let table = measure(kills);
    println!("| killed when | kills | p50 | p95 | max | p50, from receipts | p95 | max | last view | fewest inputs |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (phase, kills) in &table {
        println!("{}", row(phase.name(), &kills.iter().collect::<Vec<_>>()));
    }
    let all: Vec<&Kill> = table.values().flatten().collect();
    println!("{}", row("**all**", &all));
    let mut certified: Vec<Duration> = all.iter().map(|kill| kill.certified).collect();
    certified.sort();
    assert!(all.iter().all(|kill| kill.failover <= BOUND), "a round took longer than {BOUND:?}");
    assert!(percentile(&certified, 95) < P95.as_secs_f64());
}

#[test]
#[ignore = "three minutes; makes docs/results/failover.md: cargo test --release --workspace --test processes -- --ignored --nocapture fifty"]
fn fifty_aggregators_are_killed_and_every_round_is_certified_in_time() {
    check(50);
}
