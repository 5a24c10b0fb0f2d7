//! Each rule that carries safety is broken in turn, outside the machine: the checker must find two final records.

use stateright::{Checker, HasDiscoveries, Model};

use crate::invariants::{AGREEMENT, ONE_NOTARIZATION};
use crate::model::{RoundModel, Setting};
use crate::report;
use crate::steps::Mutant;

/// Explores until two records are final, and returns the steps that lead there.
fn fork(name: &str, setting: Setting) -> Vec<String> {
    broken(name, setting, AGREEMENT)
}

/// Explores until an invariant is broken, and returns the steps that lead there.
fn broken(name: &str, setting: Setting, invariant: &'static str) -> Vec<String> {
    let begin = report::now();
    let checker = RoundModel::new(setting).checker().finish_when(HasDiscoveries::AnyOf([invariant].into()));
    let checker = checker.spawn_bfs().join();
    let steps = checker.discovery(invariant).map_or_else(Vec::new, |path| {
        path.into_actions().iter().map(|action| checker.model().format_action(action)).collect()
    });
    report::line(&format!("{name}: {invariant} broken in {} steps", steps.len()), &checker, begin);
    steps
}

fn mutant(mutant: Mutant, byzantine: u32) -> Vec<String> {
    let setting = Setting { byzantine: vec![byzantine], mutant: Some(mutant), reduced: true, ..Setting::default() };
    // What it may have said is not bounded by what its machine knows: too much to compute first.
    let restarts = mutant == Mutant::Amnesia;
    let setting = Setting { restarts, quotient: !restarts, ..setting };
    fork(&format!("{mutant:?}"), setting)
}

/// Without restarts this makes two notarizations, but no fork in two views: a member keeps to the first that it sees.
#[test]
fn two_notarize_votes_in_one_view_make_two_notarizations() {
    let setting =
        Setting { mutant: Some(Mutant::DoubleNotarize), reduced: true, quotient: false, ..Setting::default() };
    assert!(!broken("DoubleNotarize", setting, ONE_NOTARIZATION).is_empty());
}

#[test]
fn nullifying_after_finalizing_forks() {
    assert!(!mutant(Mutant::NullifyAfterFinalize, 0).is_empty());
}

#[test]
fn finalizing_after_nullifying_forks() {
    assert!(!mutant(Mutant::FinalizeAfterNullify, 0).is_empty());
}

#[test]
fn proposals_without_justification_fork() {
    assert!(!mutant(Mutant::NoJustification, 1).is_empty());
}

#[test]
fn a_quorum_of_two_with_one_liar_forks() {
    // What three voters decide by: they survive crashes, not lies.
    assert!(!fork("quorum of 2", Setting { voters: 3, quotient: false, ..Setting::default() }).is_empty());
}

#[test]
fn two_liars_of_four_fork() {
    assert!(
        !fork("two Byzantine of four", Setting { byzantine: vec![0, 1], quotient: false, ..Setting::default() })
            .is_empty()
    );
}

#[test]
fn a_restart_without_the_vote_log_forks() {
    assert!(!mutant(Mutant::Amnesia, 0).is_empty());
}

#[test]
fn a_vote_without_recomputation_makes_a_wrong_record_final() {
    let begin = report::now();
    let setting = Setting { mutant: Some(Mutant::NoRecomputation), quotient: false, ..Setting::default() };
    let name = "I5 what is notarized is what honest members recompute";
    let checker = RoundModel::new(setting).checker().finish_when(HasDiscoveries::AnyOf([name].into()));
    let checker = checker.spawn_bfs().join();
    let path = checker.assert_any_discovery(name);
    report::line(&format!("NoRecomputation: wrong record in {} steps", path.into_actions().len()), &checker, begin);
}
