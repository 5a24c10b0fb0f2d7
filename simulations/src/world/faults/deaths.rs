//! Hosts that are killed in the middle of their work, as their plan says.

use super::Hardship;
use crate::world::core::Core;
use crate::world::deeds::{Deed, Plan};
use crate::world::disk::Tail;
use crate::world::node::Node;

/// Nodes that are down.
#[derive(Default)]
pub(super) struct Deaths(Vec<usize>);

impl Hardship for Deaths {
    fn tick(&mut self, core: &mut Core, nodes: &mut [Node]) {
        if core.options.plans.is_empty() {
            return;
        }
        let round = core.monitor.height() + 1;
        let dies = |core: &Core, node: &Node| Plan::deed(&core.options.plans, node.me, round) == Some(Deed::Dies);
        for place in std::mem::take(&mut self.0) {
            if dies(core, &nodes[place]) {
                self.0.push(place);
            } else {
                core.away[place] = false;
                nodes[place].start(core);
            }
        }
        for node in nodes.iter_mut() {
            // At work, or else in the next round; at once where there is nothing to be at work on.
            let late = Plan::deed(&core.options.plans, node.me, round.saturating_sub(1)) == Some(Deed::Dies);
            if dies(core, node) && core.up[node.id] && (node.is_making() || late || core.options.hosts.is_empty()) {
                node.crash(Tail::Lost, core);
                // Nobody else brings it back.
                core.away[node.id] = true;
                self.0.push(node.id);
            }
        }
    }
}
