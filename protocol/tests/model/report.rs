//! Prints what an exploration took, as a line for `docs/results/model.md`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Instant;

use stateright::{Checker, Model};

use crate::model::RoundModel;

pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn line(name: &str, checker: &impl Checker<RoundModel>, begin: Instant) {
    println!(
        "| {name} | {} | {} | {} | {:?} | {:.1} |",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        checker.model().local_counts(),
        begin.elapsed().as_secs_f64()
    );
}

/// The same for a model that merges no states of members.
pub(crate) fn counts<M: Model>(name: &str, checker: &impl Checker<M>, begin: Instant) {
    let (unique, all, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("| {name} | {unique} | {all} | {depth} | {:.1} |", begin.elapsed().as_secs_f64());
}
