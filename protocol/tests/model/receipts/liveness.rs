//! L1 of the first phases: wherever they stand, once the network is calm and the liar silent a record becomes final, and what
//! every honest member receipted is in it.

use std::collections::BTreeSet;

use fedswarm_protocol::hash::Stream;
use fedswarm_protocol::round::Input;
use stateright::Model;

use super::model::{Action, Phases, Receipts, Setting};
use super::words::items;
use crate::network::ROUND;
use crate::report;
use crate::suffix::Calm;

const WALKS: usize = 400;

/// Virtual milliseconds until everybody holds a final record.
fn decides(model: &Receipts, state: &Phases) -> Option<u64> {
    let network = &model.words.network;
    let peers: Vec<_> = (0..3).map(|place| model.peer(state, place)).collect();
    let holders = peers.iter().flat_map(|peer| peer.has.iter().map(|update| (peer.index, *update)));
    let payloads: BTreeSet<_> = holders.collect();
    let machines = peers.iter().map(|peer| (peer.index, peer.machine.clone())).collect();
    let mut calm = Calm::new(network, machines, payloads);
    for (place, peer) in peers.iter().enumerate() {
        calm.push(place, Input::Trained { round: ROUND, header: network.header(peer.index) });
    }
    let decided = calm.run()?;
    let receipts: Option<Vec<_>> = peers.iter().map(|peer| peer.receipt.clone()).collect();
    let by_all = receipts.iter().flat_map(|receipts| {
        let all = |item: &&(u16, _)| receipts.iter().all(|receipt| items(receipt).contains(item));
        items(&receipts[0]).iter().filter(all)
    });
    for item in by_all {
        for (_, machine) in &calm.machines {
            let body = &machine.proof().unwrap().body;
            let evicted = item.0 == model.words.liar && !body.operations.is_empty();
            assert!(evicted || body.inputs.contains(item), "left out: {item:?} in {state:?}");
        }
    }
    Some(decided)
}

fn walk(liar_aggregates: bool) {
    let begin = report::now();
    let model = Receipts::new(Setting { liar_aggregates, stragglers: true, restarts: true, ..Setting::default() });
    let mut random = Stream::new("receipts", &[&[liar_aggregates.into()]]);
    let (mut states, mut slowest) = (0, 0);
    let mut choose = |all: &[Action]| all[(random.next_u64() % all.len() as u64) as usize];
    for walk in 0..WALKS {
        let mut state = model.init_states()[walk % 8];
        // Not only in turn: any member may take any step that there is.
        for _ in 0..24 {
            let mut actions = Vec::new();
            (0..3).for_each(|place| model.open(&state, place, &mut actions));
            if actions.is_empty() {
                break;
            }
            let Some(next) = model.next_state(&state, choose(&actions)) else { continue };
            state = next;
            let decided = decides(&model, &state);
            assert!(decided.is_some(), "no decision within the time allowed from {state:?}");
            slowest = slowest.max(decided.unwrap_or_default());
            states += 1;
        }
    }
    println!(
        "| receipts, walks, Byzantine aggregator: {liar_aggregates} | {states} states | slowest decision after {slowest} ms | {:.1} |",
        begin.elapsed().as_secs_f64()
    );
}

#[test]
fn honest_members_decide_whatever_was_receipted() {
    walk(true);
    walk(false);
}
