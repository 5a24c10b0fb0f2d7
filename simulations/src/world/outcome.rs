//! What came of a run.

use fedswarm_protocol::hash::Digest;

use super::World;
use super::invariants::Break;
use super::options::Options;
use super::tally::Tally;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Members.
    pub members: u16,
    /// Final rounds.
    pub rounds: u64,
    /// Of them, those before the healing.
    pub under_faults: u64,
    /// Rounds that were not final in their first view.
    pub late_views: u64,
    /// Members that joined, left, changed their keys or were evicted.
    pub changes: u64,
    /// Events.
    pub events: u64,
    /// Milliseconds of virtual time.
    pub virtual_ms: u64,
    /// The longest round after the healing, in milliseconds.
    pub longest_ms: u64,
    /// Faults and lies.
    pub tally: Tally,
    /// Messages and their bytes.
    pub traffic: (u64, u64),
    /// Hash of all events.
    pub log: Digest,
    /// Hash of the last record.
    pub record: Digest,
    /// Hash of its state.
    pub state: Digest,
    /// The invariant that did not hold, if one did not.
    pub broken: Option<Break>,
}

impl World {
    pub(super) fn outcome(&mut self, options: &Options, under_faults: u64, longest_us: u64) -> Outcome {
        let monitor = &self.core.monitor;
        let (record, state) = monitor.last().map_or_else(Default::default, |(hash, r)| (*hash, r.state_hash()));
        Outcome {
            seed: options.seed,
            members: options.members,
            rounds: monitor.height() - self.began_after,
            under_faults,
            late_views: monitor.late_views,
            changes: monitor.changes,
            events: self.core.log.count(),
            virtual_ms: self.core.now / 1_000,
            longest_ms: longest_us / 1_000,
            tally: self.core.tally,
            traffic: self.core.traffic,
            record,
            state,
            broken: monitor.broken().cloned(),
            log: self.core.log.digest(),
        }
    }
}
