//! The round machine under a model checker: every order in which messages can arrive and timers can fire.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod epochs;
mod equivalence;
mod invariants;
mod liveness;
mod member;
mod model;
mod mutants;
mod network;
mod quotient;
mod receipts;
mod reduction;
mod report;
mod steps;
mod suffix;
mod vocabulary;
mod walk;

use model::{RoundModel, Setting};
use stateright::{Checker, HasDiscoveries, Model};

fn explore(name: &str, setting: Setting) {
    let begin = report::now();
    let checker = RoundModel::new(setting).checker().finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    report::line(name, &checker, begin);
    checker.assert_properties();
}

#[test]
fn two_views_are_safe_whoever_aggregates() {
    for view in [1, 2] {
        let setting = Setting { byzantine: vec![view], ..Setting::default() };
        explore(&format!("2 views, Byzantine aggregator of view {view}"), setting);
    }
    explore("2 views, Byzantine aggregator of view 0, reduced", Setting { reduced: true, ..Setting::default() });
}

#[test]
fn two_views_are_safe_with_restarts() {
    for view in [1, 2] {
        let setting = Setting { byzantine: vec![view], restarts: true, reduced: true, ..Setting::default() };
        explore(&format!("2 views, Byzantine aggregator of view {view}, restarts, reduced"), setting);
    }
}

#[test]
fn two_views_are_safe_with_restarts_and_a_liar_first() {
    let setting = Setting { restarts: true, reduced: true, ..Setting::default() };
    explore("2 views, Byzantine aggregator of view 0, restarts, reduced", setting);
}

/// `cargo test --release -p fedswarm-protocol --test model -- --ignored three_views_are_safe --nocapture`
#[test]
#[ignore = "eight minutes"]
fn three_views_are_safe() {
    let setting =
        Setting { views: 3, reduced: true, frugal: true, evidence: false, wrong: false, ..Setting::default() };
    explore("3 views, Byzantine aggregator of view 0, reduced", setting);
}

/// `cargo test --release -p fedswarm-protocol --test model -- --ignored three_views_at_random --nocapture`
#[test]
#[ignore = "a minute for each place of the liar"]
fn three_views_at_random_are_safe() {
    for view in 0..3 {
        let setting = Setting { views: 3, byzantine: vec![view], quotient: false, ..Setting::default() };
        let name = format!("3 views, Byzantine aggregator of view {view}");
        walk::through(&name, &RoundModel::new(setting), 300, 1_000_000);
    }
}
