//! What the machine and the protocol can do, measured on real nodes whose members train at no cost: the outer loops.
//!
//! Each bench is one module with a function that runs it and a struct of figures that prints itself. Progress goes to a
//! callback, so that whoever calls decides where it is shown.

pub mod bytes;
pub mod crowd;
pub mod free;
pub mod memory;
pub mod namespaces;
pub mod network;
pub mod peak;
pub mod peer;
pub mod peers;
pub mod process;
pub mod rounds;
pub mod scale;
pub mod soak;
pub mod start;

use std::time::Duration;

/// Anything that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where a bench says how far it is.
pub type Tell<'a> = &'a mut dyn FnMut(&str);

/// Of sorted values the one that this share of them, in percent, does not exceed; nothing of nothing.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let values: Vec<f64> = (1..=30).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(15.0));
        assert_eq!(percentile(&values, 99), Some(30.0));
        assert_eq!(percentile(&[7.0], 0), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
