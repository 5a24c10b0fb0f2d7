//! What a node keeps is enough to verify it: the last two epochs from their signed inputs, the rest by chain and certificate.

use std::fs;

use fedswarm_node::audit::{Audit, audit};
use fedswarm_node::{CrashPoint, NodeEvent, Storage};
use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::manifest::Timers;

use crate::swarm::{Swarm, wait_for};

/// More than two epochs of 16 rounds.
const ROUNDS: u64 = 40;

fn checked(folder: &std::path::Path) -> Audit {
    audit(folder, &mut |_, _| {}).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_keeps_two_epochs_of_inputs_over_restarts_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    // A network of one decides alone, so that what it keeps depends on nobody else.
    let swarm = Swarm::new(1, ROUNDS, 100, Timers::default()).await;
    let crash = CrashPoint { round: 20, kind: Kind::Receipt };
    let (dead, mut its_events) = swarm.start_in(0, 1, Some(crash), storage.clone()).await;
    while its_events.recv().await.is_some() {}
    drop(dead);
    let half = checked(folder.path());
    assert_eq!(half.findings, []);
    assert_eq!(half.recomputed, (1..20).collect::<Vec<_>>());

    let (node, mut events) = swarm.start_in(0, 1, None, storage).await;
    wait_for(&mut events, |event| matches!(event, NodeEvent::Finished { .. }).then_some(())).await;
    let refused = audit(folder.path(), &mut |_, _| {}).unwrap_err().to_string();
    assert!(refused.contains("in use") && refused.contains("node.redb"), "{refused}");
    // What a kill would leave: a store that was never closed.
    let killed = tempfile::tempdir().unwrap();
    for file in ["node.redb", "network.manifest"] {
        fs::copy(folder.path().join(file), killed.path().join(file)).unwrap();
    }
    fs::create_dir(killed.path().join("blobs")).unwrap();
    for entry in fs::read_dir(folder.path().join("blobs")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), killed.path().join("blobs").join(entry.file_name())).unwrap();
    }
    node.shutdown().await;
    while events.recv().await.is_some() {}
    drop(node);
    for path in [killed.path(), folder.path()] {
        let whole = checked(path);
        assert_eq!(whole.findings, []);
        assert_eq!(whole.chained, (1..=8).collect::<Vec<_>>(), "older than two epochs");
        assert_eq!(whole.recomputed, (9..=ROUNDS).collect::<Vec<_>>());
    }
    // A payload and a model for each of these rounds and the one before, from which the first is recomputed.
    let blobs = fs::read_dir(folder.path().join("blobs")).unwrap().count();
    assert_eq!(blobs, 2 * 33, "nothing older is left, from before the restart neither");

    let payload = fs::read_dir(folder.path().join("blobs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&payload).unwrap();
    bytes[17] ^= 8;
    fs::write(&payload, bytes).unwrap();
    let found = checked(folder.path()).findings;
    assert_eq!(folder.path().join(&found[0].file), payload);
}
