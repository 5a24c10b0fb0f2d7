//! Nodes crash at any moment and come back with what is on their disk; a damaged disk keeps them out for good.

use super::Hardship;
use crate::world::core::Core;
use crate::world::disk::Tail;
use crate::world::node::Node;

pub(super) struct Crashes;

impl Hardship for Crashes {
    fn tick(&mut self, core: &mut Core, nodes: &mut [Node]) {
        if core.rng.chance(core.options.faults.crash) {
            let place = core.rng.index(nodes.len());
            if core.up[place] {
                let lost = core.rng.chance(core.options.disks.lost_tail);
                nodes[place].crash(if lost { Tail::Lost } else { Tail::Kept }, core);
                if core.spare() > 0 && core.rng.chance(core.options.disks.corrupt) {
                    core.lost[place] = true;
                    core.tally.corrupt += 1;
                    nodes[place].disk.corrupt = true;
                }
            }
        }
        for node in nodes.iter_mut() {
            if !core.up[node.id] && !core.away[node.id] && core.rng.chance(core.options.faults.restart) {
                let sound = !node.disk.corrupt && core.spare() > 0;
                if sound && core.rng.chance(core.options.disks.flip_log) && node.disk.flip(core.rng.bits()) {
                    core.tally.log_flips += 1;
                    core.lost[node.id] = true;
                }
                // A node with a damaged disk is tried, too: it must refuse.
                node.start(core);
            }
        }
    }
}
