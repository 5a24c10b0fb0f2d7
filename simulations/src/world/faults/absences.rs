//! Members that go away for minutes and come back far behind.

use super::Hardship;
use crate::world::core::Core;
use crate::world::disk::Tail;
use crate::world::node::Node;

/// How long, in microseconds.
const AWAY_US: (u64, u64) = (20_000_000, 300_000_000);

#[derive(Default)]
pub(super) struct Absences {
    until: Vec<(u64, usize)>,
}

impl Hardship for Absences {
    fn tick(&mut self, core: &mut Core, nodes: &mut [Node]) {
        let now = core.now;
        for (_, node) in self.until.extract_if(.., |(until, _)| *until <= now) {
            core.away[node] = false;
            nodes[node].start(core);
        }
        if core.rng.chance(core.options.faults.leave) {
            let place = core.rng.index(nodes.len());
            if core.up[place] {
                nodes[place].crash(Tail::Kept, core);
                core.tally.leaves += 1;
                core.away[place] = true;
                self.until.push((now + core.draw(AWAY_US), place));
            }
        }
    }
}
