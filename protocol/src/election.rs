//! Who aggregates: a shuffle of the voters drawn once per epoch, then round robin over rounds and views.
//!
//! Any `n` slots in a row hold every voter once, so `f` bad ones cost at most `f` views in a row. All members compute the
//! same order from the certified chain; nothing here is local policy.

use crate::hash::{Digest, Stream, hash};

/// The election seed of epochs 0 and 1, before the chain has given one.
#[must_use]
pub fn first_seed(network: &Digest, epoch: u32) -> Digest {
    hash("first seed", &[network.as_bytes().as_slice(), &epoch.to_le_bytes()].concat())
}

/// Folds a round's certified inputs into the seed that the epoch after next will use.
#[must_use]
pub fn fold_seed(seed: &Digest, inputs_root: &Digest, round: u64) -> Digest {
    hash("seed", &[seed.as_bytes().as_slice(), inputs_root.as_bytes(), &round.to_le_bytes()].concat())
}

/// The voters of an epoch in the order in which they aggregate.
#[must_use]
pub fn order(seed: &Digest, voters: u16) -> Vec<u16> {
    let mut order: Vec<u16> = (0..voters).collect();
    Stream::new("election", &[seed.as_bytes()]).shuffle(&mut order);
    order
}

/// The aggregator of a round and view.
#[must_use]
pub fn leader(order: &[u16], round: u64, view: u32) -> Option<u16> {
    let slots = order.len() as u64;
    if slots == 0 {
        return None;
    }
    // Reduced before the sum, so that no round or view overflows it.
    order.get(((round % slots + u64::from(view) % slots) % slots) as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_of_n_slots_holds_every_voter_once() {
        let order = order(&Digest([3; 32]), 7);
        for start in 0..20 {
            let mut seen: Vec<_> = (0..7).filter_map(|v| leader(&order, start, v)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..7).collect::<Vec<_>>());
        }
    }

    #[test]
    fn seeds_change_the_order_and_views_change_the_leader() {
        assert_ne!(order(&Digest([1; 32]), 20), order(&Digest([2; 32]), 20));
        let order = order(&Digest([1; 32]), 4);
        assert_ne!(leader(&order, 5, 0), leader(&order, 5, 1));
        assert_eq!(leader(&order, u64::MAX, u32::MAX), leader(&order, u64::MAX % 4, u32::MAX % 4));
        assert_eq!(leader(&[], 0, 0), None);
    }
}
