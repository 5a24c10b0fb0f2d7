//! A link holds everything back for a while, and then lets it all go at once.

use super::Hardship;
use crate::world::core::Core;
use crate::world::node::Node;

pub(super) struct Clogs;

impl Hardship for Clogs {
    fn tick(&mut self, core: &mut Core, nodes: &mut [Node]) {
        if !core.rng.chance(core.options.faults.clog) {
            return;
        }
        let (from, to) = (core.rng.index(nodes.len()), core.rng.index(nodes.len()));
        let until = core.now + core.rng.between(0, 1_000 * core.options.faults.clog_ms);
        core.links.clog(from, to, until);
        core.tally.clogs += 1;
    }
}
