//! What methods send and bring, against the papers' formulas.
#![allow(clippy::unwrap_used)]

use fedswarm_learning::methods::NAMES;

use super::{HOST_WAIT, Options, run};
use crate::progress::Silent;
use crate::results::{Exchange, Results};
use crate::scenario::{Cap, Scenario, Transport, VirtualTime};

const PEERS: u16 = 4;
const ROUNDS: u64 = 3;

/// Classes, and the width of features that unlike models have in common.
const C: u64 = 10;
const K: u64 = 128;

// Counted by hand for images of 28 x 28: `(inputs + 1) outputs` per layer, 5 x 5 kernels.
/// `FedAvgCNN`'s extractor and head.
const LARGE: u64 = 26 * 32 + (25 * 32 + 1) * 64 + (1024 + 1) * 512;
const LARGE_HEAD: u64 = (512 + 1) * C;
/// The first of the four unlike models: one convolution. It is the small model of FML, FedKD and FedMRL.
const SMALL: u64 = 26 * 32 + (12 * 12 * 32 + 1) * K;
/// The second: two convolutions. It is FedMoE's shared extractor.
const EXPERT: u64 = 26 * 32 + (25 * 32 + 1) * 64 + (1024 + 1) * K;
const HEAD: u64 = K * C + C;
/// `pFedHN`'s network: two convolutions of 16 and 32, then 120 and 84.
const LENET: u64 = 26 * 16 + (25 * 16 + 1) * 32 + (4 * 4 * 32 + 1) * 120 + 121 * 84 + 85 * C;
/// A linear model of the pixels and a constant.
const PIXELS: u64 = C * (28 * 28 + 1);
/// `FedGen`'s generator: noise and class to hidden, normalised, to features.
const GENERATOR: u64 = (32 + C + 1) * 128 + 2 * 128 + (128 + 1) * K;
/// Bytes that name a member's row: root and number at the state's end, and an index with a key and a root for each.
const INDEX: u64 = 36 + 36 + 64 * PEERS as u64;
/// Values of a picture, and of its latent vector where the bundled digits are the generator.
const PICTURE: u64 = 28 * 28;
const LATENT: u64 = 32;

/// Numbers a round: up per peer and per class that a peer has, down per peer.
struct Formula {
    up: u64,
    up_by_class: u64,
    down: u64,
    /// Down beside the numbers, in bytes: flags, and what targets are made of.
    beside: u64,
    /// Whether pairs come down too.
    pairs: bool,
}

fn formula(name: &str) -> Formula {
    let shares = |up: u64| Formula { up, up_by_class: 0, down: up, beside: 0, pairs: false };
    let classes = |up_by_class, down, beside| Formula { up: 0, up_by_class, down, beside, pairs: false };
    match name {
        "local" | "moe-local" => shares(0),
        "fedavg" | "per-fedavg" | "ditto" => shares(LARGE + LARGE_HEAD),
        "fedamp" => Formula { beside: INDEX, ..shares(LARGE + LARGE_HEAD) },
        "pfedhn" => Formula { beside: INDEX, ..shares(LENET) },
        // A bound on the curvature, and how many of the member's updates were counted.
        "mocha" => Formula { beside: INDEX + 2 * 4, ..shares(PIXELS) },
        // How many images of each class all have.
        "fedgen" => Formula { down: HEAD + GENERATOR, beside: 4 * C, ..shares(HEAD) },
        "fedrep" => shares(LARGE),
        "lg-fedavg" => shares(HEAD),
        "fedproto" => classes(K, C * K, 4 * C),
        "fedtgp" => classes(K, C * K, 4 * (C + C * K + 2 * (K * K + K))),
        "fedgh" => classes(K, HEAD, 0),
        "feddistill" => classes(C, C * C, 4 * C),
        "fml" | "fedkd" => shares(SMALL + HEAD),
        // A quarter of the small extractor's features are left.
        "fedmrl" => shares(SMALL + (K / 4) * C + C),
        "fedmoe" => shares(EXPERT + HEAD),
        "fedktl" => Formula { pairs: true, ..classes(C, 0, 0) },
        "moe-ktl" => Formula { up_by_class: C, pairs: true, ..shares(EXPERT + HEAD) },
        name => panic!("write {name}'s formula here"),
    }
}

fn scenario(method: &str, transport: Transport) -> Scenario {
    let virtual_time = VirtualTime { min_inputs: PEERS, ..VirtualTime::default() };
    Scenario {
        nodes: Some(usize::from(PEERS)),
        rounds: ROUNDS,
        method: method.to_owned(),
        cap: Some(Cap::At { train: 20, test: 10 }),
        local_baseline: false,
        generator_baseline: false,
        transport,
        virtual_time: (transport == Transport::Virtual).then_some(virtual_time),
        ..Scenario::default()
    }
}

async fn of(scenario: Scenario) -> (Results, Exchange) {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario { out: Some(folder.path().join("run")), ..scenario };
    let results = run(&scenario, &Options::default(), &mut Silent).await.unwrap();
    assert!(results.rounds.iter().all(|round| round.inputs == usize::from(PEERS)), "full participation");
    let exchange = results.summary.bytes.exchange.unwrap();
    (results, exchange)
}

#[tokio::test]
async fn every_method_sends_and_brings_what_its_formula_says() {
    let mut made_pairs = false;
    for name in NAMES {
        let (results, found) = of(scenario(name, Transport::Virtual)).await;
        let Formula { up, up_by_class, down, beside, pairs } = formula(name);
        let held = |class: usize| results.peers.iter().filter(|peer| peer.label_counts[class] > 0).count() as u64;
        let classes: Vec<u64> = (0..C as usize).map(held).collect();
        // The classes of all peers, one after the other; and those that anybody has.
        let (of_peers, known) = (classes.iter().sum::<u64>(), classes.iter().filter(|n| **n > 0).count() as u64);
        // All pictures of a run as short as this are kept. A host leaves out classes that it cannot tell from others.
        let artefacts = results.generated.iter().flat_map(|generated| &generated.artefacts);
        let pictures: Vec<u64> = artefacts.map(|artefact| artefact.pictures.len() as u64).collect();
        assert!(pictures.iter().all(|n| (1..=known).contains(n)), "{name}: {pictures:?} of {known} classes");
        // So few images may not tell any class from any.
        assert!(pairs || pictures.is_empty(), "{name}");
        made_pairs |= !pictures.is_empty();
        let peers = u64::from(PEERS);
        let up_numbers = ROUNDS * (peers * up + of_peers * up_by_class);
        let made = peers * pictures.iter().sum::<u64>();
        let down_numbers = ROUNDS * peers * down + made * (PICTURE + LATENT);
        assert_eq!((found.up_numbers, found.down_numbers), (up_numbers, down_numbers), "{name}");
        // Four bytes a number, two a pixel.
        assert_eq!(found.up_bytes, 4 * up_numbers, "{name}");
        assert_eq!(found.down_bytes, 4 * down_numbers - 2 * made * PICTURE, "{name}");
        // Of each prototype its class; of FedGen's how many images there are of it.
        let label = if name == "fedgen" { 2 + 4 } else { 2 * u64::from(up_by_class > 0) };
        assert_eq!(found.up_labels, label * ROUNDS * of_peers, "{name}");
        let transformer = found.down_beside - ROUNDS * peers * beside - 2 * made;
        assert_eq!(transformer > 0, made > 0, "{name}: what the next host carries on from");
        assert_eq!(found.artefacts, transformer + made * (2 + 2 * PICTURE + 4 * LATENT), "{name}");
    }
    assert!(made_pairs, "some host made pairs");
}

#[tokio::test(flavor = "multi_thread")]
async fn prototypes_without_a_generator_are_waited_for_by_nobody() {
    let (results, _) = of(scenario("fedproto", Transport::Memory)).await;
    // Rounds of a few images take a fraction of a second; in step with a host that does not exist they took the whole wait.
    let median = results.summary.seconds.per_round_median;
    assert!(median < HOST_WAIT.as_secs_f64(), "{median} s a round");
}

/// Real bytes: every voter fetches every payload, and nobody the state.
#[tokio::test(flavor = "multi_thread")]
async fn what_recomputation_costs_is_told_from_what_the_method_sends() {
    let (results, found) = of(scenario("lg-fedavg", Transport::Memory)).await;
    let costs = results.summary.costs().unwrap();
    let payload = (4 * HEAD) as f64;
    assert_eq!((costs.up, costs.down, costs.beside, found.artefacts), (payload, payload, 0.0, 0));
    let again = payload * f64::from(PEERS - 2);
    let recomputation = costs.recomputation.unwrap();
    assert!(recomputation >= again && recomputation < 1.1 * again, "{recomputation} for {again}");
    let sent = results.summary.bytes_per_peer_and_round();
    assert!((costs.up + recomputation + costs.overhead - sent).abs() < 1e-6, "it all adds up to {sent}");
}
