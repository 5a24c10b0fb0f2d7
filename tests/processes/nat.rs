//! Sites behind routers that translate addresses: holes are punched, and then the relay may go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::internet::{Internet, Nat};
use crate::journal::{PATIENCE, Seen};
use crate::network::{Founded, Run};
use crate::paths::{path_of, paths, since, started};
use crate::world::{Needs, alone};

const SITES: [(Nat, usize); 3] = [(Nat::FullCone, 2), (Nat::PortRestricted, 2), (Nat::PortRestricted, 2)];

const NODES: usize = 6;

/// How long all pairs together may take to punch; libp2p gives up after three attempts.
const PUNCHING: Duration = Duration::from_secs(60);

/// Rounds from this line of the journal on that had the updates of everybody.
pub(crate) fn whole_rounds(run: &Run<'_>, from: usize, rounds: usize) {
    let size = run.size() as u64;
    let count = |seen: &[Seen]| {
        let whole = seen[from..].iter().filter(|s| s.certified().is_some() && s.number("inputs") == Some(size));
        let mut numbers: Vec<_> = whole.filter_map(Seen::certified).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len()
    };
    let done = run.journal.until(PATIENCE, |seen| count(seen) >= rounds);
    let told =
        || format!("{} of {rounds} rounds had everybody's updates\n{}", count(&run.journal.all()), run.journal.tail());
    assert!(done, "{}", told());
}

/// How many of these pairs are reached how, and after how long since the later one's start, in seconds.
pub(crate) fn table(run: &Run<'_>, pairs: &[(usize, usize)]) -> BTreeMap<String, Vec<f64>> {
    let seen = run.journal.all();
    let (paths, starts) = (paths(run, &seen), started(run, &seen));
    let mut table: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for pair in pairs {
        let path = path_of(&paths, *pair).unwrap_or_else(|| "none".to_owned());
        let after = |at: Instant| at.saturating_duration_since(starts[pair.0].max(starts[pair.1])).as_secs_f64();
        table.entry(path).or_default().push(since(&paths, *pair).map_or(f64::NAN, after));
    }
    table.values_mut().for_each(|times| times.sort_by(f64::total_cmp));
    table
}

pub(crate) fn print(table: &BTreeMap<String, Vec<f64>>) {
    println!("| path | pairs | median, s after the later start | last, s |");
    println!("| --- | --- | --- | --- |");
    for (path, times) in table {
        println!("| {path} | {} | {:.1} | {:.1} |", times.len(), times[times.len() / 2], times[times.len() - 1]);
    }
}

/// How many of these pairs reach each other without the relay.
fn straight(run: &Run<'_>, pairs: &[(usize, usize)], seen: &[Seen]) -> usize {
    let paths = paths(run, seen);
    pairs.iter().filter(|pair| path_of(&paths, **pair).is_some_and(|path| path != "relayed")).count()
}

#[test]
#[ignore = "a hole may take a minute to punch; makes docs/results/network.md: processes nat::three --ignored --nocapture"]
fn three_sites_behind_nats_punch_holes_and_go_on_when_the_relay_is_gone() {
    alone("nat::three_sites_behind_nats_punch_holes_and_go_on_when_the_relay_is_gone", Needs::Translation, || {
        let internet = Internet::new(&SITES);
        let mut founded = Founded::of(NODES, 0, 2_000);
        let mut run = founded.start(&internet, |_| None);
        let all: Vec<usize> = (0..NODES).collect();
        run.journal.each("a round", &all, |seen| seen.certified().is_some());
        let pairs = internet.pairs();
        run.journal.until(PUNCHING, |seen| straight(&run, &pairs, seen) == pairs.len());
        let table = table(&run, &pairs);
        print(&table);
        whole_rounds(&run, 0, 3);
        assert_eq!(
            straight(&run, &pairs, &run.journal.all()),
            pairs.len(),
            "not all pairs of different sites were punched: {table:?}"
        );
        let from = run.journal.len();
        let counted = run.stop_entry_point();
        println!("entry point: {counted:?}");
        whole_rounds(&run, from, 5);
        let seen = run.journal.all();
        assert_eq!(straight(&run, &pairs, &seen), pairs.len(), "without the relay, pairs are apart");
        let outcome = run.interrupt();
        println!("{} rounds", outcome.rounds.len());
    });
}
