//! The round machine under a model checker: every order in which messages can arrive and timers can fire.

#![allow(clippy::unwrap_used)]

mod invariants;
mod member;
mod model;
mod network;
mod reduction;
mod steps;
mod suffix;
mod vocabulary;

use std::time::Instant;

use model::{RoundModel, Setting};
use stateright::{Checker, Model};

#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn explore(name: &str, setting: Setting) {
    let begin = Instant::now();
    let model = RoundModel::new(setting);
    let checker = model.checker().spawn_bfs().join();
    println!(
        "| {name} | {} | {} | {} | {:?} | {:.1} |",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        checker.model().local_counts(),
        begin.elapsed().as_secs_f64()
    );
    for (name, path) in checker.discoveries() {
        println!("  {name}: {} steps {}", path.clone().into_actions().len(), checker.discovery_classification(name));
    }
    checker.assert_properties();
}

#[test]
fn two_views() {
    explore("Byzantine aggregator of view 0", Setting::default());
}
