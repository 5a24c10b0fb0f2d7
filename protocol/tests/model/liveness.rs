//! L1: wherever the explored views end, the honest members decide once the network is calm and the liar is silent.

use fedswarm_protocol::hash::Stream;
use stateright::Model;

use crate::model::{HONEST, RoundModel, Setting};
use crate::{report, suffix};

/// Longest walk: about twice the depth at which exploration ends.
const STEPS: usize = 40;

/// Walks at random, without any reduction, and lets the network become calm after every step.
fn walk(byzantine: u32, restarts: bool, walks: usize) {
    let setting = Setting { byzantine: vec![byzantine], restarts, quotient: false, ..Setting::default() };
    let begin = report::now();
    let model = RoundModel::new(setting);
    let mut random = Stream::new("walk", &[&byzantine.to_le_bytes()]);
    let (mut states, mut slowest) = (0, 0);
    for _ in 0..walks {
        let (mut state, mut path) = ([0; HONEST], Vec::new());
        for _ in 0..STEPS {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            if actions.is_empty() {
                break;
            }
            let action = actions[(random.next_u64() % actions.len() as u64) as usize];
            let Some(next) = model.next_state(&state, action) else { continue };
            path.push(model.format_action(&action));
            state = next;
            let decided = suffix::decides(&model, &state);
            assert!(decided.is_some(), "no decision within the time allowed after {path:#?}");
            slowest = slowest.max(decided.unwrap_or_default());
            states += 1;
        }
    }
    println!(
        "| walks, Byzantine aggregator of view {byzantine}, restarts {restarts} | {states} states | slowest decision after {slowest} ms | {:.1} |",
        begin.elapsed().as_secs_f64()
    );
}

#[test]
fn honest_members_decide_after_any_beginning() {
    for byzantine in 0..3 {
        walk(byzantine, false, 1000);
    }
}

/// A restarted member has what its votes rest on, besides what it said itself.
#[test]
fn honest_members_decide_after_any_restart() {
    for byzantine in 0..3 {
        walk(byzantine, true, 1000);
    }
}
