//! What a node keeps in memory does not grow with the rounds behind it.
#![allow(clippy::unwrap_used)]

use allocation_counter::measure;
use fedswarm_node::store::Store;
use fedswarm_protocol::certificate::Certificate;
use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::Signature;
use fedswarm_protocol::message::{Committed, RecordBody};
use fedswarm_protocol::record::{Record, RecordKind, Rule};

/// A record as 16 voters make it: 11 of them sign it.
fn committed(round: u64) -> Committed {
    let record = Record {
        version: 1,
        network: Digest::ZERO,
        epoch: 0,
        round,
        quorum: 11,
        parent: Digest::ZERO,
        origin_view: 0,
        proposer: 0,
        kind: RecordKind::Normal,
        rule: Rule::Mean,
        members_root: Digest::ZERO,
        receipts_root: Digest::ZERO,
        inputs_root: Digest::ZERO,
        inputs: 16,
        prototypes: 0,
        model_root: Digest::ZERO,
        protos_root: Digest::ZERO,
        state_root: Digest::ZERO,
        artefact_root: Digest::ZERO,
        ops_root: Digest::ZERO,
        next_members_root: Digest::ZERO,
        seed: Digest::ZERO,
        seed_following: Digest::ZERO,
        seed_fold: Digest::ZERO,
        skipped_leaders: 0,
        misses: vec![0; 16],
        closes_epoch: false,
    };
    let votes = (0..11).map(|voter| (voter, Signature([7; 64]))).collect();
    let certificate = Certificate { kind: Kind::Finalize, epoch: 0, round, view: 0, record: Digest::ZERO, votes };
    Committed { record, body: RecordBody::default(), certificate }
}

#[test]
fn a_store_holds_no_more_memory_after_many_rounds_than_after_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.redb");
    let mut store = None;
    // Bytes in use are counted from here on, so that what is freed later was counted before.
    let opened = measure(|| store = Some(Store::open(&path, &[1; 32], &[2; 32]).unwrap())).bytes_current;
    let store = store.unwrap();
    let rounds = |from: u64, to: u64| {
        measure(|| {
            for round in from..to {
                store.keep_statement(round, &[1; 300]).unwrap();
                store.commit(&committed(round), &[], round + 1, None).unwrap();
            }
        })
        .bytes_current
    };
    // The cache fills: it is all that a store may hold.
    let filled = rounds(1, 500);
    assert!(opened + filled < 700 * 1024, "{opened} bytes when it was opened, {filled} more after 500 rounds");
    // Four pages, for a cache that is a little fuller at one moment than at another.
    let more = rounds(500, 1_500);
    assert!(more.abs() < 16 * 1024, "{more} bytes more after 1,000 rounds more");
    assert_eq!(store.head().unwrap().unwrap().record.round, 1_499);
}
