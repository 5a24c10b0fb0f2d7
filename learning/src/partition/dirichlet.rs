//! The "practical" setting: each class cut by a Dirichlet draw (Hsu et al. 2019, arXiv:1909.06335; Lin et al. 2020,
//! arXiv:2006.07242).

use super::numpy_rng::{NumpyRng, pairwise_sum};
use super::{PartitionError, parameter};

/// Draws before giving up. Too low gives up on settings that a patient user could still get (small alpha, many peers);
/// each costs one shuffle of all
/// images, about a millisecond for 70,000.
const MAX_TRIES: usize = 1000;

/// Repeats whole draws until the poorest peer holds `least` images.
pub(super) fn deal(
    by_class: &[Vec<u32>],
    alpha: f64,
    peers: usize,
    least: usize,
    rng: &mut NumpyRng,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if !(alpha.is_finite() && alpha > 0.0) {
        return Err(parameter("Dirichlet's alpha", alpha, "a number above 0 is needed, such as 0.1".into()));
    }
    let images = by_class.iter().map(Vec::len).sum();
    let mut best = 0;
    for _ in 0..MAX_TRIES {
        let shares = attempt(by_class, alpha, peers, images, rng);
        let poorest = shares.iter().map(Vec::len).min().unwrap_or(0);
        if poorest >= least {
            return Ok(shares);
        }
        best = best.max(poorest);
    }
    Err(PartitionError::DirichletStuck { tries: MAX_TRIES, alpha, peers, least, images, best })
}

fn attempt(by_class: &[Vec<u32>], alpha: f64, peers: usize, images: usize, rng: &mut NumpyRng) -> Vec<Vec<u32>> {
    let fair = images as f64 / peers as f64;
    let mut shares = vec![Vec::new(); peers];
    for class in by_class {
        let mut members = class.clone();
        rng.shuffle(&mut members);
        let mut weights = rng.dirichlet(alpha, peers);
        for (weight, share) in weights.iter_mut().zip(&shares) {
            // Multiplied, not assigned: a draw that is no number must stay none, see below.
            *weight *= f64::from(u8::from((share.len() as f64) < fair));
        }
        let total = pairwise_sum(&weights);
        if total.is_nan() || total <= 0.0 {
            // Every weight underflowed or belongs to a full peer. The class is dealt to nobody and the attempt most
            // likely fails; the draws go on as if
            // it had been, so that the stream stays NumPy's.
            continue;
        }
        let mut start = 0;
        let mut cumulated = 0.0;
        for (peer, weight) in weights.iter().enumerate() {
            cumulated += weight / total;
            let cut = (cumulated * members.len() as f64) as usize;
            // The last peer takes the rest whatever the sum of the weights rounded to.
            let end = if peer + 1 == peers { members.len() } else { cut.clamp(start, members.len()) };
            shares[peer].extend_from_slice(&members[start..end]);
            start = end;
        }
    }
    shares
}
