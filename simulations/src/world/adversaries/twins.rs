//! Two honest copies with one key. Each is a correct node; together they equivocate in everything. Some members hear only
//! one of them, some only the other, some both.

use crate::world::core::Core;

/// Puts walls around the two nodes of a member, by chance.
pub fn separate(core: &mut Core, twins: (usize, usize)) {
    for other in 0..core.up.len() {
        if other == twins.0 || other == twins.1 {
            continue;
        }
        let unheard = match core.rng.below(3) {
            0 => twins.0,
            1 => twins.1,
            _ => continue,
        };
        core.links.wall(unheard, other);
        core.links.wall(other, unheard);
    }
}
