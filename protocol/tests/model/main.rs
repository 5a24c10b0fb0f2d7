//! The round machine under a model checker: every order in which messages can arrive and timers can fire.

#![allow(clippy::unwrap_used)]

mod invariants;
mod member;
mod model;
mod network;
mod quotient;
mod reduction;
mod steps;
mod suffix;
mod vocabulary;

use std::time::Instant;

use model::{RoundModel, Setting};
use stateright::{Checker, HasDiscoveries, Model};
use steps::Mutant;

#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn explore(name: &str, setting: Setting) {
    let begin = Instant::now();
    let model = RoundModel::new(setting);
    let checker = model.checker().spawn_dfs().join();
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
    //checker.assert_properties();
}

#[test]
fn two_views0() {
    explore("Byzantine aggregator of view 0", Setting::default());
}
#[test]
fn two_views1() {
    explore("Byzantine aggregator of view 1", Setting { byzantine: vec![1], ..Setting::default() });
}
#[test]
fn two_views2() {
    explore("Byzantine no aggregator", Setting { byzantine: vec![2], ..Setting::default() });
}
#[test]
fn two_views0r() {
    explore("Byzantine aggregator of view 0, restarts", Setting {restarts: true, ..Setting::default() });
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn caught(name: &str, setting: Setting) {
    let begin = Instant::now();
    let model = RoundModel::new(setting);
    let checker = model.checker().finish_when(HasDiscoveries::AnyOf([invariants::AGREEMENT].into())).spawn_bfs().join();
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
    if let Some(path) = checker.discovery(invariants::AGREEMENT) {
        for action in path.into_actions() { println!("    {}", checker.model().format_action(&action)); }
    }
}
#[test]
fn mutants() {
    for (name, byzantine, mutant) in [
        ("double", 0, Mutant::DoubleNotarize),
        ("b1", 0, Mutant::NullifyAfterFinalize),
        ("b2", 0, Mutant::FinalizeAfterNullify),
        ("c", 1, Mutant::NoJustification),
        ("recompute", 0, Mutant::NoRecomputation),
        ("amnesia", 0, Mutant::Amnesia),
    ] {
        caught(name, Setting { byzantine: vec![byzantine], restarts: mutant == Mutant::Amnesia, mutant: Some(mutant), ..Setting::default() });
    }
    caught("quorum 2", Setting { quorum: Some(2), ..Setting::default() });
    caught("two", Setting { byzantine: vec![0, 1], ..Setting::default() });
}
