//! The timers of a simulated swarm, in milliseconds.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Waiting times. The defaults are generous: on one machine, full participation makes runs comparable, and a slow
/// machine must not turn a peer into an absentee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timers {
    /// How long a peer waits for the others' updates after its own before it signs a receipt for those it has.
    /// Too low: slow peers' work is left out of the round.
    pub t_collect_ms: u64,
    /// How long a peer waits for the aggregator's proposal before it votes for the next one; doubles with each view.
    /// Too low: honest aggregators are passed over.
    pub t_propose_ms: u64,
    /// How often votes and certificates are sent again while a round is open.
    /// Too low: traffic; too high: a lost message costs that long.
    pub t_resend_ms: u64,
    /// How long the swarm may take to find all its peers before the run gives up.
    pub t_start_ms: u64,
    /// How long one round may take before the run gives up.
    pub t_round_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t_collect_ms: 30_000, t_propose_ms: 5_000, t_resend_ms: 500, t_start_ms: 60_000, t_round_ms: 600_000 }
    }
}

impl Timers {
    pub(super) fn validate(&self) -> Result<(), Error> {
        for (field, value) in [
            ("timers.t_collect_ms", self.t_collect_ms),
            ("timers.t_propose_ms", self.t_propose_ms),
            ("timers.t_resend_ms", self.t_resend_ms),
            ("timers.t_start_ms", self.t_start_ms),
            ("timers.t_round_ms", self.t_round_ms),
        ] {
            if value == 0 {
                let should = "at least 1 (milliseconds)".to_owned();
                return Err(Error::Setting { field, flag: "scenario file only", is: "0".to_owned(), should });
            }
        }
        Ok(())
    }
}
