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

/// A list of voters in the order in which they aggregate during an epoch.
#[must_use]
pub fn order(seed: &Digest, mut voters: Vec<u16>) -> Vec<u16> {
    Stream::new("election", &[seed.as_bytes()]).shuffle(&mut voters);
    voters
}

/// Turns in one round after which the same voters come again: more skipped views tell nothing new.
#[must_use]
pub fn most_turns(order: &[u16]) -> u32 {
    u32::try_from(order.len()).unwrap_or(u32::MAX)
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
        let order = order(&Digest([3; 32]), (0..7).collect());
        for start in 0..20 {
            let mut seen: Vec<_> = (0..7).filter_map(|v| leader(&order, start, v)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..7).collect::<Vec<_>>());
        }
    }

    #[test]
    fn seeds_change_the_order_and_views_change_the_leader() {
        let all = || (0..20).collect();
        assert_ne!(order(&Digest([1; 32]), all()), order(&Digest([2; 32]), all()));
        let order = order(&Digest([1; 32]), (0..4).collect());
        assert_ne!(leader(&order, 5, 0), leader(&order, 5, 1));
        assert_eq!(leader(&order, u64::MAX, u32::MAX), leader(&order, u64::MAX % 4, u32::MAX % 4));
        assert_eq!(leader(&[], 0, 0), None);
    }
}
