//! Everybody starts again while every entry point is gone.

use std::time::Duration;

use crate::network::{Founded, NODES};
use crate::paths::all_connected;
use crate::world::{Needs, World, within};

/// As promised.
const BOUND: Duration = Duration::from_secs(15);

#[test]
fn a_network_that_starts_again_without_any_entry_point_finds_itself() {
    within(
        "all_at_once::a_network_that_starts_again_without_any_entry_point_finds_itself",
        Needs::Namespaces,
        finds_itself,
    );
}

fn finds_itself(world: &World) {
    let mut founded = Founded::new(8, 2_000);
    let mut run = founded.start(world, |_| None);
    let all: Vec<usize> = (0..NODES).collect();
    all_connected(&run);
    run.journal.each("a round", &all, |seen| seen.certified().is_some());
    run.all_are_written_down();
    run.kill_entry_point();
    all.iter().for_each(|node| run.kill(*node));
    all.iter().for_each(|node| run.restart(*node, None));
    let took = all_connected(&run);
    println!("{NODES} nodes, no entry point: all connected {:.2} s after the last start", took.as_secs_f64());
    assert!(took <= BOUND);
    run.finish();
}
