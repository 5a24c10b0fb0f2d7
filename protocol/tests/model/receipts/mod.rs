//! Receipts and the inputs that they force: phases 0 to 2 of a round, four voters, one of them Byzantine. It says two or three
//! different things in its updates, sends some of them to some, withholds payloads, claims what it does not hold, and, as
//! aggregator, alters the inputs of its record. Up to the vote on the first record.

mod claims;
mod liveness;
mod model;
mod orders;
mod peer;
mod words;

use model::{Receipts, Setting};
use peer::Mutant;
use stateright::{Checker, HasDiscoveries, Model};

use crate::report;

fn explore(name: &str, setting: Setting) {
    let begin = report::now();
    let checker = Receipts::new(setting).checker().finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    report::counts(name, &checker, begin);
    checker.assert_properties();
}

#[test]
fn a_lying_aggregator_gets_no_other_inputs_than_its_receipts_force() {
    explore("receipts, Byzantine aggregator", Setting { liar_aggregates: true, ..Setting::default() });
}

#[test]
fn an_honest_aggregator_proposes_what_everybody_takes() {
    explore("receipts, honest aggregator", Setting::default());
}

#[test]
fn a_restarted_member_keeps_to_its_receipt() {
    let setting = Setting { liar_aggregates: true, restarts: true, stragglers: true, ..Setting::default() };
    explore("receipts only, restarts", setting);
}

/// `cargo test --release -p fedswarm-protocol --test model -- --ignored stragglers --nocapture`
#[test]
#[ignore = "minutes"]
fn stragglers_change_nothing() {
    for liar_aggregates in [true, false] {
        let setting = Setting { liar_aggregates, stragglers: true, ..Setting::default() };
        explore(&format!("receipts, stragglers, Byzantine aggregator: {liar_aggregates}"), setting);
    }
}

/// Explores until a claim is broken.
fn broken(mutant: Mutant, claim: &'static str, setting: Setting) {
    let begin = report::now();
    let setting = Setting { mutant: Some(mutant), ..setting };
    let checker = Receipts::new(setting).checker().finish_when(HasDiscoveries::AnyOf([claim].into()));
    let checker = checker.spawn_dfs().join();
    report::counts(&format!("{mutant:?}: {claim}"), &checker, begin);
    checker.assert_any_discovery(claim);
}

#[test]
fn each_rule_of_the_receipts_is_needed() {
    let lying = Setting { liar_aggregates: true, ..Setting::default() };
    broken(Mutant::ReceiptsHeaders, claims::UNHELD, lying);
    broken(Mutant::ReceiptsHeaders, claims::HELD, lying);
    broken(Mutant::KeepsTheFirst, claims::CONTRADICTORY, lying);
    broken(Mutant::TakesStale, claims::BASE, lying);
    broken(Mutant::AnyInputs, claims::FORCED, lying);
    broken(Mutant::AnyInputs, claims::CENSORED, lying);
    broken(Mutant::OneReceiptForces, claims::HELD, lying);
    broken(Mutant::AllReceiptsForce, claims::CENSORED, lying);
    broken(Mutant::AnyReceipts, claims::FORCED, lying);
    broken(Mutant::Amnesia, claims::SECOND, Setting { restarts: true, ..lying });
}
