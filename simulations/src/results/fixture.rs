//! A made-up run that looks like a real one, for tests.

use super::{
    Accuracy, Artefact, Bytes, Exchange, FORMAT, Generated, Peer, Phases, Picture, Projected, Refused, Results, Round,
    Score, Seconds, Summary, Verdict,
};
use crate::scenario::{Cap, Scenario};

const CLASSES: [&str; 10] =
    ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// A small generator of numbers in 0..1, so that the fixture is the same everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1 << 24) as f64
    }
}

/// Eight peers, ten rounds, FedMoE somewhat ahead of local training.
pub(crate) fn fedmoe() -> Results {
    run(8, 10, 1)
}

/// A run of any size.
pub(crate) fn run(nodes: usize, rounds: u64, seed: u64) -> Results {
    let mut noise = Noise(seed);
    let names = ["cnn-1", "cnn-2", "cnn-1-wide", "cnn-2-wide"];
    let parameters = [592_074, 184_586, 608_586, 201_098];
    let mut peers: Vec<Peer> = (0..nodes)
        .map(|i| {
            let mut label_counts = vec![0; CLASSES.len()];
            let mut left = if i == 0 { 61 } else { 200 };
            for step in 0..3 {
                let count = if step == 2 { left } else { (left as f64 * noise.next()) as u64 };
                label_counts[(noise.next() * 10.0) as usize] += count;
                left -= count;
            }
            Peer {
                name: format!("peer-{i}"),
                id: format!("12D3KooWFixture{i}"),
                architecture: names[i % 4].to_owned(),
                parameters: parameters[i % 4] + 233_666,
                train_samples: if i == 0 { 61 } else { 200 },
                test_samples: if i == 0 { 21 } else { 100 },
                label_counts,
                ..Peer::default()
            }
        })
        .collect();
    let skill: Vec<f64> = (0..nodes).map(|_| noise.next()).collect();
    let mut learn = |ceiling: f64, speed: f64| -> Vec<Vec<Score>> {
        let by_peer = |r: u64, i: usize, noise: &mut Noise| {
            let level = ceiling - 0.15 * skill[i];
            let gain = 1.0 - (-speed * r as f64 * (0.6 + skill[i])).exp();
            let total = peers[i].test_samples;
            let right = (0.08 + (level - 0.08) * gain + 0.03 * (noise.next() - 0.5)).clamp(0.0, 1.0);
            Score { correct: (right * total as f64).round() as u64, total }
        };
        (0..=rounds).map(|r| (0..nodes).map(|i| by_peer(r, i, &mut noise)).collect()).collect()
    };
    let (swarm, alone) = (learn(0.98, 0.55), learn(0.95, 0.45));
    let (accuracy, local) = (Accuracy::from_scores(&swarm), Accuracy::from_scores(&alone));
    let mut clock = 1_840.0;
    let rounds_list: Vec<Round> = (1..=rounds)
        .map(|r| {
            let view = u32::from(r == 4);
            let late = if view == 1 { 2_000.0 } else { 0.0 };
            let phases_ms = Phases {
                train: 1_900.0 + 500.0 * noise.next(),
                collect: 160.0 + 90.0 * noise.next(),
                agree: 140.0 + 60.0 * noise.next() + late,
            };
            clock += phases_ms.total();
            Round {
                round: r,
                view,
                aggregator: ((r as usize * 5 + 3) + view as usize) % nodes,
                inputs: nodes,
                record_hash: format!("{:064x}", r * 7919),
                phases_ms,
                certified_at_ms: clock,
                accuracy: accuracy.by_round[r as usize],
                accuracies: swarm[r as usize].iter().map(|s| s.accuracy()).collect(),
                local_accuracy: Some(local.by_round[r as usize]),
                loss: Some(2.2 * (-0.2 * r as f64).exp()),
                gates: (0..nodes).map(|i| 0.55 - 0.02 * r as f64 * skill[i]).collect(),
            }
        })
        .collect();
    for (i, peer) in peers.iter_mut().enumerate() {
        peer.accuracy = accuracy.per_node_last[i];
        peer.local_accuracy = Some(local.per_node_last[i]);
        peer.gate = rounds_list.last().map(|r| r.gates[i]);
    }
    let payload = 183_296 * 4 * (nodes * nodes.saturating_sub(1)) as u64 * rounds;
    let by_kind = [("blobs", payload), ("gossip", 91_000), ("direct", 124_200), ("overhead", 404_000)];
    let by_kind: std::collections::BTreeMap<_, _> = by_kind.map(|(k, v)| (k.to_owned(), v)).into();
    let sent = by_kind.values().sum();
    let up = 183_296 * nodes as u64 * rounds;
    let exchange =
        Exchange { up_numbers: up, up_bytes: 4 * up, down_numbers: up, down_bytes: 4 * up, ..Exchange::default() };
    let times: Vec<f64> = rounds_list.iter().map(|r| r.phases_ms.total() / 1e3).collect();
    let scenario = Scenario {
        nodes: Some(nodes),
        rounds,
        seed,
        cap: Some(Cap::At { train: 200, test: 100 }),
        ..Scenario::default()
    };
    Results {
        format: FORMAT,
        version: "0.1.0".to_owned(),
        command: scenario.command_line(),
        summary: Summary {
            method: scenario.method.clone(),
            nodes,
            rounds,
            seed,
            record_hash: format!("{:064x}", rounds * 7919),
            state_hash: format!("{:064x}", rounds * 104_729),
            distinct_record_hashes: 1,
            rounds_certified: rounds,
            bytes: Bytes { sent, received: sent, by_kind, exchange: Some(exchange) },
            seconds: Seconds {
                start: 1.84,
                total: clock / 1e3 + 1.0,
                per_round_median: crate::stats::median(&times).unwrap_or_default(),
            },
            peak_rss_bytes: Some(412 << 20),
            accuracy,
            local_accuracy: Some(local),
        },
        scenario,
        classes: CLASSES.map(str::to_owned).to_vec(),
        peers,
        rounds: rounds_list,
        generated: None,
    }
}

/// The same with a generator peer.
pub(crate) fn with_generator() -> Results {
    let mut results = fedmoe();
    // A single grey pixel.
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";
    let each = || (0..CLASSES.len() as u16).map(|class| Picture { class, png: png.to_owned() }).collect::<Vec<_>>();
    let artefact = |round| Artefact {
        round,
        job_round: round - 1,
        host: 3,
        received: 7,
        loss: Some([0.9, 0.4]),
        pictures: each(),
    };
    let mut noise = Noise(5);
    let mut point = || [2.0 * noise.next() - 1.0, 2.0 * noise.next() - 1.0];
    let place = |i: u16| Projected { class: i % 10, before: point(), after: point() };
    let verdict = |round: u64, peer: usize| Verdict {
        peer,
        round,
        job_round: round - 2,
        host: 3,
        refused: (round, peer) == (5, 2),
        with: Some(3.5),
        without: Some(1.5),
    };
    results.generated = Some(Generated {
        generator: "digits 0f3a".to_owned(),
        artefacts: (2..=9).map(artefact).collect(),
        refused: vec![Refused { round: 4, host: 2, by: 6, reason: "its pictures are not numbers".to_owned() }],
        verdicts: (3..=9).flat_map(|round| (0..7).map(move |peer| verdict(round, peer))).collect(),
        without: Some(results.summary.accuracy.clone()),
        samples: each(),
        prototypes: (0..40).map(place).collect(),
    });
    results
}
