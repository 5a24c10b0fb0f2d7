//! Clocks that jump by up to an hour, and clocks that drift. They move timers and stamps; nothing else looks at a clock.

use super::Hardship;
use crate::world::core::Core;
use crate::world::node::Node;

/// The farthest jump in milliseconds.
const MOST_MS: u64 = 3_600_000;

pub(super) struct Clocks;

impl Hardship for Clocks {
    fn tick(&mut self, core: &mut Core, nodes: &mut [Node]) {
        if !core.rng.chance(core.options.faults.jump) {
            return;
        }
        let place = core.rng.index(nodes.len());
        let by = core.rng.between(1, MOST_MS) as i64;
        let by = if core.rng.chance(0.5) { by } else { -by };
        if core.up[place] {
            core.tally.jumps += 1;
            nodes[place].jump(by, core);
        }
    }
}

/// Gives every node's clock a rate of its own.
pub(super) fn set_drift(core: &mut Core, nodes: &mut [Node]) {
    let most = 1_000 * core.options.faults.drift_per_mille;
    for node in nodes {
        node.drift_ppm = core.rng.between(0, 2 * most) as i64 - most as i64;
    }
}
