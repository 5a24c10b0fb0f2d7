//! Who may import whom: an arrow that points the wrong way fails here.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Workspace crates that each crate may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("fedswarm-protocol", &[]),
    ("fedswarm-network", &["fedswarm-protocol"]),
    ("fedswarm-metrics", &[]),
    ("fedswarm-learning", &["fedswarm-protocol"]),
    ("fedswarm-node", &["fedswarm-protocol", "fedswarm-network", "fedswarm-learning"]),
    ("fedswarm-bootstrap", &["fedswarm-protocol", "fedswarm-network"]),
    (
        "fedswarm-simulations",
        &["fedswarm-protocol", "fedswarm-network", "fedswarm-learning", "fedswarm-node", "fedswarm-bootstrap"],
    ),
];

/// Crates from outside that only one place may know.
const CONFINED: &[(&str, &[&str])] = &[
    ("libp2p", &["fedswarm-network"]),
    ("burn", &["fedswarm-learning"]),
    ("redb", &["fedswarm-node"]),
    ("bincode", &["fedswarm-protocol"]),
    ("ed25519-dalek", &["fedswarm-protocol"]),
];

/// What would let a clock, entropy or a thread into agreed state.
const IMPURE: &[&str] = &["tokio", "libp2p", "burn", "rayon", "rand", "getrandom", "futures", "tracing"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let normal = |p: &cargo_metadata::Package| {
        p.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name.clone()).collect()
    };
    metadata.packages.iter().map(|p| (p.name.to_string(), normal(p))).collect()
}

#[test]
fn no_crate_imports_one_above_it() {
    let all = dependencies();
    for (name, allowed) in ALLOWED {
        let ours: Vec<_> = all[*name].iter().filter(|d| d.starts_with("fedswarm")).collect();
        for dependency in ours {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not import {dependency}");
        }
    }
    assert_eq!(all.len(), ALLOWED.len() + 1, "a new crate needs a line in ALLOWED");
}

#[test]
fn heavy_crates_stay_where_they_belong() {
    for (name, dependencies) in dependencies() {
        for (confined, homes) in CONFINED {
            let at_home = homes.contains(&name.as_str());
            assert!(
                at_home || !dependencies.contains(*confined),
                "{name} must not import {confined}; only {homes:?} may"
            );
        }
    }
}

#[test]
fn the_protocol_is_pure() {
    let protocol = &dependencies()["fedswarm-protocol"];
    for impure in IMPURE {
        assert!(!protocol.contains(*impure), "protocol must not import {impure}");
    }
}
