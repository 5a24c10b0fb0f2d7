#![allow(clippy::unwrap_used)]

use std::io::Read;

use sha2::{Digest, Sha256};

use super::{Partition, PartitionError, PeerIndices, Scheme};
use crate::data::{Dataset, ImageShape};

mod files;
mod parity;

const PAT2: Scheme = Scheme::Pathological { classes_per_peer: 2 };
const DIR: fn(f64) -> Scheme = |alpha| Scheme::Dirichlet { alpha };

/// One-pixel images; partitions look at labels only.
pub(super) fn dataset(labels: Vec<u16>) -> Dataset {
    let classes = labels.iter().copied().max().map_or(0, |m| usize::from(m) + 1);
    Dataset {
        name: "tiny".into(),
        shape: ImageShape { channels: 1, height: 1, width: 1 },
        class_names: (0..classes).map(|c| c.to_string()).collect(),
        pixels: labels.iter().map(|&l| l as u8).collect(),
        labels,
        train_len: 0,
    }
}

/// `per_class` images of each of `classes`, interleaved.
pub(super) fn balanced(classes: u16, per_class: u16) -> Dataset {
    dataset((0..classes * per_class).map(|i| i % classes).collect())
}

/// The labels of all 70,000 Fashion-MNIST images; the test ones are bundled, the others lie in `testdata`.
pub(super) fn fashion_labels() -> Dataset {
    let packed = include_bytes!("../../testdata/fashion-mnist-train-labels-idx1-ubyte.gz");
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut raw).unwrap();
    let mut labels: Vec<u16> = raw[8..].iter().map(|&l| l.into()).collect();
    labels.extend(Dataset::bundled().unwrap().labels);
    dataset(labels)
}

pub(super) fn digest(partition: &Partition) -> String {
    let mut hash = Sha256::new();
    for (peer, lists) in partition.peers.iter().enumerate() {
        for (name, list) in [("train", &lists.train), ("test", &lists.test)] {
            let list: Vec<String> = list.iter().map(u32::to_string).collect();
            hash.update(format!("{peer} {name} {}\n", list.join(",")));
        }
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn everything(partition: &Partition) -> Vec<u32> {
    let mut all: Vec<u32> = partition.peers.iter().flat_map(|p| p.train.iter().chain(&p.test)).copied().collect();
    all.sort_unstable();
    all
}

#[test]
fn every_image_is_dealt_once_and_a_quarter_is_kept_for_testing() {
    let data = balanced(10, 100);
    for scheme in [DIR(0.5), PAT2, Scheme::Iid] {
        let partition = Partition::make(&data, &scheme, 10, 3, 10).unwrap();
        assert_eq!(everything(&partition), (0..1000).collect::<Vec<u32>>(), "{scheme:?}");
        for peer in &partition.peers {
            let all = peer.train.len() + peer.test.len();
            assert_eq!(peer.train.len(), all * 3 / 4);
        }
    }
}

#[test]
fn the_seed_decides_the_partition() {
    let data = balanced(10, 100);
    for scheme in [DIR(0.5), PAT2, Scheme::Iid] {
        let make = |seed| Partition::make(&data, &scheme, 5, seed, 10).unwrap();
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        assert_ne!(make(1), make(1 + (1 << 32)), "all 64 bits of the seed count");
    }
}

#[test]
fn each_dirichlet_share_is_four_batches_or_more() {
    let data = balanced(10, 200);
    let partition = Partition::make(&data, &DIR(0.1), 10, 1, 10).unwrap();
    for peer in &partition.peers {
        assert!(peer.train.len() + peer.test.len() >= 40);
        assert!(peer.test.len() >= 10, "a quarter is a full batch");
    }
}

#[test]
fn pathological_peers_hold_the_classes_asked_for() {
    let data = balanced(10, 100);
    let partition = Partition::make(&data, &PAT2, 20, 1, 10).unwrap();
    let classes = |peer: &PeerIndices| {
        let mut labels: Vec<u16> = peer.train.iter().chain(&peer.test).map(|&i| data.labels[i as usize]).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    };
    for (number, peer) in (0u16..).zip(&partition.peers) {
        let first = number / 4 * 2;
        assert_eq!(classes(peer), [first, first + 1], "peer {number}");
    }
}

#[test]
fn with_few_pathological_peers_the_last_classes_go_to_nobody() {
    let data = balanced(10, 100);
    let partition = Partition::make(&data, &PAT2, 4, 1, 10).unwrap();
    assert!(partition.peers.iter().all(|p| p.train.len() + p.test.len() == 200));
    assert!(everything(&partition).iter().all(|&i| data.labels[i as usize] < 8));
}

#[test]
fn iid_peers_hold_the_same_amount_of_every_class() {
    let data = balanced(10, 100);
    let partition = Partition::make(&data, &Scheme::Iid, 8, 1, 10).unwrap();
    for (number, peer) in partition.peers.iter().enumerate() {
        let mut counts = [0; 10];
        for &i in peer.train.iter().chain(&peer.test) {
            counts[usize::from(data.labels[i as usize])] += 1;
        }
        assert_eq!(counts, if number < 7 { [12; 10] } else { [16; 10] });
    }
}

#[test]
fn more_peers_than_images_allow_is_refused_with_what_would_be_possible() {
    let data = balanced(10, 2);
    for scheme in [DIR(0.5), PAT2, Scheme::Iid] {
        let error = Partition::make(&data, &scheme, 11, 1, 10).unwrap_err();
        assert!(matches!(error, PartitionError::TooManyPeers { images: 20, possible: 10, .. }));
        let text = error.to_string();
        assert!(text.contains("20 images") && text.contains("at most 10 peers"), "{text}");
    }
    let data = dataset(Vec::new());
    assert!(matches!(Partition::make(&data, &Scheme::Iid, 1, 1, 10), Err(PartitionError::TooManyPeers { .. })));
}

#[test]
fn a_hopeless_dirichlet_draw_ends_with_advice() {
    let data = balanced(2, 100);
    let error = Partition::make(&data, &DIR(1e-3), 50, 1, 10).unwrap_err();
    assert!(matches!(error, PartitionError::DirichletStuck { tries: 1000, peers: 50, images: 200, .. }));
    assert!(error.to_string().contains("use a larger alpha or fewer peers"));
}

#[test]
fn too_small_classes_are_named() {
    let data = dataset((0..500).map(|i| u16::from(i >= 10)).collect());
    let error = Partition::make(&data, &PAT2, 25, 1, 10).unwrap_err();
    assert!(matches!(error, PartitionError::ClassTooSmall { class: 0, images: 10, takers: 25, .. }), "{error}");
    let error = Partition::make(&balanced(2, 30), &PAT2, 25, 1, 10).unwrap_err();
    assert!(matches!(error, PartitionError::PeerTooSmall { images: 60, .. }), "{error}");
}

#[test]
fn parameters_out_of_range_are_refused() {
    let data = balanced(10, 100);
    let cases = [
        (DIR(0.0), 4, "alpha"),
        (DIR(f64::NAN), 4, "alpha"),
        (DIR(-1.0), 4, "alpha"),
        (Scheme::Pathological { classes_per_peer: 0 }, 4, "classes per peer"),
        (Scheme::Pathological { classes_per_peer: 11 }, 4, "classes per peer"),
        (Scheme::Iid, 0, "number of peers"),
    ];
    for (scheme, peers, what) in cases {
        let error = Partition::make(&data, &scheme, peers, 1, 10).unwrap_err();
        assert!(matches!(error, PartitionError::Parameter { .. }));
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn caps_keep_the_first_entries() {
    let data = balanced(2, 8);
    let peers = vec![PeerIndices { train: vec![1, 3, 0, 5, 2, 4], test: vec![7, 6, 9] }];
    let partition = Partition { peers, default_cap: None };
    let capped = partition.clone().cap(4, 100);
    assert_eq!(capped.peers[0], PeerIndices { train: vec![1, 3, 0, 5], test: vec![7, 6, 9] });
    // Odd indices are class 1.
    let capped = partition.clone().cap_per_class(&data, 2).unwrap();
    assert_eq!(capped.peers[0], PeerIndices { train: vec![1, 3, 0, 2], test: vec![7, 6, 9] });
    assert_eq!(partition.label_counts(&data), [[3, 3]]);
    assert_eq!(capped.label_counts(&data), [[2, 2]]);
}

#[test]
fn peers_get_their_images_decoded_in_list_order() {
    let mut data = balanced(2, 2);
    data.pixels = vec![0, 255, 51, 204];
    let peers = vec![PeerIndices { train: vec![3, 0], test: vec![1] }, PeerIndices { train: vec![2], test: vec![] }];
    let partition = Partition { peers, default_cap: None };
    let decoded = partition.peer_data(&data).unwrap();
    assert_eq!(decoded[0].train.labels, [1, 0]);
    assert_eq!(decoded[0].train.images, [(204.0f32 / 255.0 - 0.5) / 0.5, -1.0]);
    assert_eq!(decoded[0].test.images, [1.0]);
    assert!(decoded[1].test.is_empty());
}

#[test]
fn a_partition_of_other_data_is_not_decoded() {
    let peers = vec![PeerIndices { train: vec![4], test: vec![] }];
    let partition = Partition { peers, default_cap: None };
    let error = partition.peer_data(&balanced(2, 2)).unwrap_err();
    assert!(matches!(error, PartitionError::Foreign { peer: 0, index: 4, images: 4, .. }), "{error}");
    assert!(partition.cap_per_class(&balanced(2, 2), 1).is_err());
}
