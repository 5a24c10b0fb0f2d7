//! A store that was damaged on disk is noticed: a node stops rather than say something that its log no longer holds.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fedswarm_node::Error;
use fedswarm_node::store::Store;
use fedswarm_protocol::hash::Stream;

/// Damaged copies that are tried.
const COPIES: u64 = 150;

/// What a node must not lose.
type Content = (Vec<Vec<u8>>, Option<Vec<u8>>, Vec<(u64, Vec<u8>)>);

fn read(path: &Path) -> Result<Content, Error> {
    let store = Store::open(path, &[1; 32], &[2; 32])?;
    Ok((store.statements(7)?, store.checkpoint()?, store.inputs()?))
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.redb");
    {
        let store = Store::open(&path, &[1; 32], &[2; 32]).unwrap();
        store.keep_update(7, &[1; 300], Some(&[3; 20_000])).unwrap();
        for i in 0..20u8 {
            store.keep_with(7, &[i; 300], &[(7, vec![i; 900])]).unwrap();
        }
    }
    let whole = fs::read(&path).unwrap();
    let expected = read(&path).unwrap();
    // Most of the file is free space; damage there means nothing.
    let used: Vec<usize> = (0..whole.len()).filter(|i| whole[*i] != 0).collect();
    let mut draw = Stream::new("damaged store", &[]);
    let mut noticed = 0;
    for _ in 0..COPIES {
        let at = used[draw.below(used.len() as u64) as usize];
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << draw.below(8);
        let copy = folder.path().join("damaged.redb");
        fs::write(&copy, &damaged).unwrap();
        match catch_unwind(AssertUnwindSafe(|| read(&copy))) {
            Ok(Err(_)) => noticed += 1,
            Ok(Ok(found)) => assert_eq!(found, expected, "a flipped bit in byte {at} went unnoticed"),
            Err(_) => panic!("a flipped bit in byte {at} ends the process"),
        }
    }
    assert!(noticed > COPIES / 4, "{noticed} of {COPIES} were noticed");
}
