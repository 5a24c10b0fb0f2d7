//! Membership around the boundaries of epochs: a newcomer joins four voters, a liar is evicted, and a round goes on with four.
//! Three rounds, four honest members among five keys; the liar is a founder or the newcomer itself. It votes under every place
//! of every epoch, before it has one, while it has one and after it lost it.

mod claims;
mod model;
mod peer;
mod world;

use model::Epochs;
use peer::Mutant;
use stateright::{Checker, HasDiscoveries, Model};
use world::Liar;

use crate::{report, walk};

fn explore(name: &str, liar: Liar, views: u32) {
    let begin = report::now();
    let checker = Epochs::new(liar, views, None).checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_dfs().join();
    report::counts(name, &checker, begin);
    checker.assert_properties();
}

/// `cargo test --release -p fedswarm-protocol --test model -- --ignored a_founder_that_lies --nocapture`
#[test]
#[ignore = "a minute, and the first aggregator can do all that another founder can"]
fn a_founder_that_lies_is_evicted_and_gone() {
    explore("epochs, a founder is evicted", Liar::Founder, 1);
}

#[test]
fn a_newcomer_that_lies_votes_neither_before_it_joined_nor_after_it_is_evicted() {
    explore("epochs, the newcomer is evicted", Liar::Newcomer, 1);
}

#[test]
fn an_aggregator_that_lies_about_who_joins_splits_nobody() {
    explore("epochs, the first aggregator is evicted", Liar::FirstAggregator, 1);
}

/// `cargo test --release -p fedswarm-protocol --test model -- --ignored boundaries_in_two_views --nocapture`
#[test]
#[ignore = "random: the states of two views in three rounds are too many"]
fn boundaries_in_two_views_are_safe() {
    for liar in [Liar::FirstAggregator, Liar::Newcomer] {
        let name = format!("epochs, 2 views, {liar:?}");
        walk::through(&name, &Epochs::new(liar, 2, None), 300, 200_000);
    }
}

/// Explores until a claim is broken.
fn broken(mutant: Mutant, claim: &'static str, liar: Liar) {
    let begin = report::now();
    let checker = Epochs::new(liar, 1, Some(mutant)).checker().finish_when(HasDiscoveries::AnyOf([claim].into()));
    let checker = checker.spawn_bfs().join();
    let steps = checker.discovery(claim).map_or(0, |path| path.into_actions().len());
    report::counts(&format!("{mutant:?}: {claim}, in {steps} steps"), &checker, begin);
    checker.assert_any_discovery(claim);
}

#[test]
fn each_rule_of_the_boundary_is_needed() {
    broken(Mutant::OldVotes, claims::MIXED, Liar::Founder);
    broken(Mutant::OldQuorum, claims::MIXED, Liar::Founder);
    broken(Mutant::EarlyBoundary, claims::FINAL, Liar::Founder);
    broken(Mutant::EarlyNewcomer, claims::EARLY, Liar::Founder);
    broken(Mutant::EvictedStays, claims::EVICTED, Liar::Founder);
    broken(Mutant::EvictedStays, claims::MEMBERS, Liar::Founder);
}
