//! Random walks through state graphs that are too large: every claim is checked in every state. (stateright's own simulation
//! cannot tell the path to a discovery if a step that leads nowhere was tried.)

use fedswarm_protocol::hash::Stream;
use stateright::{Expectation, Model};

use crate::report;

/// Walks of at most so many steps each, until so many steps were taken.
pub(crate) fn through<M: Model>(name: &str, model: &M, longest: usize, steps: usize)
where
    M::Action: std::fmt::Debug,
{
    let begin = report::now();
    let mut random = Stream::new("walk", &[name.as_bytes()]);
    let mut choose = |count: usize| (random.next_u64() % count as u64) as usize;
    let claims: Vec<_> = model.properties().into_iter().filter(|p| p.expectation == Expectation::Always).collect();
    let (mut taken, mut walks) = (0, 0);
    while taken < steps {
        let mut all = model.init_states();
        let (mut state, mut path) = (all.swap_remove(choose(all.len())), Vec::new());
        walks += 1;
        while path.len() < longest {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            let next = loop {
                if actions.is_empty() {
                    break None;
                }
                let action = actions.swap_remove(choose(actions.len()));
                let described = model.format_action(&action);
                if let Some(next) = model.next_state(&state, action) {
                    path.push(described);
                    break Some(next);
                }
            };
            let Some(next) = next else { break };
            state = next;
            taken += 1;
            for claim in &claims {
                assert!((claim.condition)(model, &state), "{} does not hold after {path:#?}", claim.name);
            }
        }
    }
    println!("| {name}, random | {taken} steps | {walks} walks | {:.1} |", begin.elapsed().as_secs_f64());
}
