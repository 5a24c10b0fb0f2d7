//! Routers through which no hole can be punched: messages go through the relay, payloads through those whom both reach.

use std::time::Duration;

use serde_json::Value;

use crate::internet::{Internet, Nat};
use crate::journal::Seen;
use crate::nat::{print, table, whole_rounds};
use crate::network::{Founded, Run};
use crate::paths::{path_of, paths};
use crate::world::{Needs, alone};

const SITES: [(Nat, usize); 3] = [(Nat::Symmetric, 2), (Nat::Symmetric, 2), (Nat::Public, 1)];

const NODES: usize = 5;

/// Until everybody has met everybody.
const MEETING: Duration = Duration::from_secs(60);

/// Whoever runs a node that so many others reach through a relay only is told so, and what to do.
fn told_by_doctor(run: &mut Run<'_>, node: usize, relayed: usize) {
    run.kill(node);
    let (report, healthy) = run.fedswarm(node, &["doctor", "--seconds", "30"]);
    assert!(healthy, "what is relayed is no reason to give up: {report:#}");
    let findings = report["findings"].as_array().unwrap();
    for finding in findings {
        println!("{finding}");
    }
    let of =
        |what: &'static str| findings.iter().filter(move |finding| finding["what"].as_str().unwrap().starts_with(what));
    let only_relayed = |finding: &&Value| finding["found"].as_str().unwrap().starts_with("through a relay only");
    assert_eq!(of("member").filter(only_relayed).count(), relayed, "{report:#}");
    let punching = of("hole punching").next().expect("a finding about holes");
    assert!(punching["advice"].as_str().unwrap().contains("symmetric NAT"), "{punching}");
    assert!(of("reachability").next().unwrap()["found"].as_str().unwrap().contains("behind a NAT"), "{report:#}");
    assert!(of("relay").next().unwrap()["found"].as_str().unwrap().contains("a place at 1"), "{report:#}");
    let from = run.journal.len();
    run.restart(node, None);
    whole_rounds(run, from, 2);
}

#[test]
#[ignore = "half a minute; makes docs/results/network.md: processes symmetric_nat:: --ignored --nocapture"]
fn sites_behind_symmetric_nats_stay_relayed_and_take_part() {
    alone("symmetric_nat::sites_behind_symmetric_nats_stay_relayed_and_take_part", Needs::Translation, || {
        let internet = Internet::new(&SITES);
        let mut founded = Founded::of(NODES, 0, 2_000);
        let mut run = founded.start(&internet, |_| None);
        let all: Vec<usize> = (0..NODES).collect();
        run.journal.each("a round", &all, |seen| seen.certified().is_some());
        let pairs = internet.pairs();
        let met = |seen: &[Seen]| {
            let paths = paths(&run, seen);
            pairs.iter().all(|pair| path_of(&paths, *pair).is_some())
        };
        assert!(run.journal.until(MEETING, met), "they have not all met");
        whole_rounds(&run, run.journal.len(), 5);
        print(&table(&run, &pairs));
        let paths = paths(&run, &run.journal.all());
        for pair in &pairs {
            let both = [pair.0, pair.1].iter().all(|node| internet.nat_of(*node) == Nat::Symmetric);
            let path = path_of(&paths, *pair).unwrap();
            assert_eq!(path == "relayed", both, "{pair:?} is {path}");
        }
        told_by_doctor(&mut run, 1, 2);
        let rounds = run.frontier();
        println!("entry point after {rounds} rounds: {:?}", run.stop_entry_point());
        run.interrupt();
    });
}
