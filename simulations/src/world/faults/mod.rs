//! What goes wrong by itself: one hardship per file. Each has its turn ten times a second of virtual time, until the
//! healing.

mod absences;
mod churn;
mod clocks;
mod clogs;
mod crashes;
mod deaths;
mod splits;
mod stragglers;

use super::core::Core;
use super::node::Node;

pub use splits::Split;

/// Microseconds between two turns.
pub const TICK_US: u64 = 100_000;

/// A kind of trouble.
pub trait Hardship {
    /// Its turn.
    fn tick(&mut self, core: &mut Core, nodes: &mut [Node]);
}

/// All of them, in a fixed order.
#[must_use]
pub fn all(core: &mut Core, nodes: &mut [Node]) -> Vec<Box<dyn Hardship>> {
    clocks::set_drift(core, nodes);
    stragglers::choose(core, nodes);
    vec![
        Box::new(splits::Splits::default()),
        Box::new(clogs::Clogs),
        Box::new(crashes::Crashes),
        Box::new(absences::Absences::default()),
        Box::new(deaths::Deaths::default()),
        Box::new(clocks::Clocks),
        Box::new(churn::Churn::default()),
    ]
}
