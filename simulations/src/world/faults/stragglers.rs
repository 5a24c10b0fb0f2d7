//! Some members are slow, for good.

use crate::world::core::Core;
use crate::world::node::Node;

/// Chooses who.
pub(super) fn choose(core: &mut Core, nodes: &mut [Node]) {
    let (share, range) = (core.options.work.stragglers, core.options.work.slowdown);
    for node in nodes {
        if core.rng.chance(share) {
            node.slowdown = core.draw(range).max(1);
        }
    }
}
