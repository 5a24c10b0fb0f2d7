//! What the operator of one node sees of it, while it runs and afterwards.

use crate::journal::Seen;
use crate::network::{Founded, Loopback};

const NODES: usize = 3;

#[test]
fn status_tells_where_a_running_node_stands_and_doctor_what_a_stopped_one_meets() {
    let mut founded = Founded::of(NODES, 0, 2_000);
    let mut run = founded.start(&Loopback, |_| None);
    let all: Vec<usize> = (0..NODES).collect();
    run.journal.each("two rounds", &all, |seen| seen.certified() == Some(2));
    let (status, runs) = run.fedswarm(0, &["status"]);
    assert!(runs, "{status}");
    assert_eq!(status["running"], true);
    assert_eq!(status["member"], run.key(0).as_str());
    let round = status["round"].as_u64().unwrap();
    let certified = |seen: &Seen| (seen.certified() == Some(round)).then(|| seen.text("record_hash").to_owned());
    let known = run.journal.next("the round's certificate", &mut 0, certified);
    assert!(round >= 1);
    assert_eq!(status["record"], known.as_str());
    assert!(status["signatures"].as_u64().unwrap() >= 2, "{status}");
    let aggregator = status["turn"]["aggregator"].as_str().unwrap();
    assert!(all.iter().any(|node| run.key(*node) == aggregator), "{status}");
    assert!(status["turn"]["round"].as_u64().unwrap() >= round, "{status}");
    let mut peers: Vec<&str> =
        status["peers"].as_array().unwrap().iter().map(|p| p["member"].as_str().unwrap()).collect();
    peers.sort_unstable();
    let mut others: Vec<String> = run.others(0).into_iter().map(|node| run.key(node)).collect();
    others.sort_unstable();
    assert_eq!(peers, others);
    assert!(status["peers"][0]["path"] == "direct", "{status}");

    let (findings, healthy) = run.fedswarm(0, &["doctor", "--seconds", "5"]);
    assert!(!healthy);
    assert!(findings.to_string().contains("the node is running"), "{findings}");

    run.kill(0);
    let (findings, healthy) = run.fedswarm(0, &["doctor", "--seconds", "20"]);
    assert!(healthy, "{findings:#}");
    for what in ["member peer1", "member peer2"] {
        let of = findings["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == what).unwrap();
        assert!(of["verdict"] == "good" && of["found"].as_str().unwrap().starts_with("direct at /ip4/127"), "{of}");
    }
    run.restart(0, None);
    let back = |seen: &Seen| seen.life == run.lives[0] && seen.certified().is_some_and(|r| r > round);
    run.journal.each("a round after the restart", &[0], back);
    run.interrupt();
}
