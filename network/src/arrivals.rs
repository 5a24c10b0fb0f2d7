//! How often connections may come from one place.

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::Subnet;
use crate::bucket::quota;

/// Places that are remembered. Fewer, and whoever has more addresses than that starts anew as often as it likes.
const PLACES: usize = 4096;

/// A bucket of tokens for each place (`Subnet::place`). Half-open connections and guests are bounded elsewhere; what is bounded here
/// is the work of a handshake, which costs us as much as the other side even if nothing comes of it.
pub(crate) struct Arrivals {
    quota: Quota,
    places: RateLimiter<Subnet, HashMapStateStore<Subnet>, DefaultClock>,
}

impl std::fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrivals").field("quota", &self.quota).field("places", &self.places.len()).finish()
    }
}

impl Arrivals {
    /// So many in a second, and `burst` at once.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let quota = quota(per_second, burst);
        Self { quota, places: RateLimiter::hashmap(quota) }
    }

    /// Whether one more may come from there now.
    pub(crate) fn admit(&mut self, place: &Subnet) -> bool {
        if self.places.len() >= PLACES {
            self.places.retain_recent();
        }
        if self.places.len() >= PLACES {
            self.places = RateLimiter::hashmap(self.quota);
        }
        self.places.check_key(place).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn place(i: u32) -> Subnet {
        Subnet::around(IpAddr::from(Ipv4Addr::from_bits(i << 8)), 24)
    }

    #[test]
    fn one_place_that_comes_too_often_does_not_concern_another() {
        let mut arrivals = Arrivals::new(1, 3);
        assert!((0..3).all(|_| arrivals.admit(&place(1))));
        assert!(!arrivals.admit(&place(1)));
        assert!(arrivals.admit(&place(2)));
    }

    #[test]
    fn as_many_places_are_remembered_as_there_is_room_for() {
        let mut arrivals = Arrivals::new(1, 3);
        for i in 0..3 * PLACES as u32 {
            assert!(arrivals.admit(&place(i)));
            assert!(arrivals.places.len() <= PLACES);
        }
    }
}
