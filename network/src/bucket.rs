//! Buckets of tokens: what may come in a second, and at once.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota};

/// A bucket for one thing.
pub(crate) type Bucket = DefaultDirectRateLimiter;

/// A full bucket: so many in a second, and as many at once. Zero is taken for one.
pub(crate) fn bucket(per_second: u32) -> Bucket {
    Bucket::direct(quota(per_second, per_second))
}

/// So many in a second, and `burst` at once. Zero is taken for one.
pub(crate) fn quota(per_second: u32, burst: u32) -> Quota {
    let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_it_holds_come_at_once_and_one_more_does_not() {
        for (per_second, at_once) in [(0, 1), (1, 1), (7, 7)] {
            let bucket = bucket(per_second);
            assert!((0..at_once).all(|_| bucket.check().is_ok()), "{per_second}");
            assert!(bucket.check().is_err(), "{per_second}");
        }
    }
}
