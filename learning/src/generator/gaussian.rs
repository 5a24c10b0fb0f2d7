//! Standard normal numbers from a [`Stream`].

use std::f64::consts::TAU;

use fedswarm_protocol::hash::Stream;

/// Draws `n` independent standard normal numbers by the method of Box and Muller (1958): of two uniform numbers `u`, `v` it
/// makes the pair `sqrt(-2 ln(1 - u)) (cos 2 pi v, sin 2 pi v)`, in `f64`, rounded to `f32` at the end. An odd `n` uses the
/// cosine of its last pair alone, so that the stream moves on by whole pairs.
#[must_use]
pub fn gaussian(stream: &mut Stream, n: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(n + 1);
    while out.len() < n {
        // `unit` is below 1, so the logarithm's argument is above 0.
        let radius = (-2.0 * (1.0 - stream.unit()).ln()).sqrt();
        let (sin, cos) = (TAU * stream.unit()).sin_cos();
        out.push((radius * cos) as f32);
        out.push((radius * sin) as f32);
    }
    out.truncate(n);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_and_tails_of_a_standard_normal() {
        let draws = gaussian(&mut Stream::new("t", &[]), 100_001);
        assert_eq!(draws.len(), 100_001);
        let moment = |p: i32| draws.iter().map(|&x| f64::from(x).powi(p)).sum::<f64>() / draws.len() as f64;
        // Standard errors with 1e5 draws: 0.003, 0.0045, 0.012, 0.03.
        assert!(moment(1).abs() < 0.015 && (moment(2) - 1.0).abs() < 0.02, "{} {}", moment(1), moment(2));
        assert!(moment(3).abs() < 0.06 && (moment(4) - 3.0).abs() < 0.15, "{} {}", moment(3), moment(4));
        let beyond_two = draws.iter().filter(|x| x.abs() > 2.0).count() as f64 / draws.len() as f64;
        assert!((beyond_two - 0.0455).abs() < 0.004, "{beyond_two}");
        let neighbours = draws.windows(2).map(|w| f64::from(w[0] * w[1])).sum::<f64>() / draws.len() as f64;
        assert!(neighbours.abs() < 0.015, "the two numbers of a pair are independent: {neighbours}");
    }
}
