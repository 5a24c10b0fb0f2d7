//! Class means of features.

use super::Prototype;

/// For each class that occurs, by ascending class: the mean of its features, each of unit length, brought to unit length.
/// `features` is flat, one row of `width` per label; rows and means of length zero stay zero.
#[must_use]
pub fn class_directions(features: &[f32], labels: &[u16], width: usize) -> Vec<Prototype> {
    let mut sums = std::collections::BTreeMap::<u16, Vec<f64>>::new();
    for (row, label) in features.chunks_exact(width.max(1)).zip(labels) {
        let sum = sums.entry(*label).or_insert_with(|| vec![0.0; width]);
        let inverse = inverse_length(row.iter().map(|&x| f64::from(x)));
        sum.iter_mut().zip(row).for_each(|(s, &x)| *s += f64::from(x) * inverse);
    }
    // The mean's own length is divided out, so the number of rows need not be.
    let unit = |sum: Vec<f64>| {
        let inverse = inverse_length(sum.iter().copied());
        sum.into_iter().map(|s| (s * inverse) as f32).collect()
    };
    sums.into_iter().map(|(class, sum)| Prototype { class, values: unit(sum) }).collect()
}

/// For each class that occurs, by ascending class: the mean of its features. `features` is flat, one row of `width` per label.
#[must_use]
pub fn class_means(features: &[f32], labels: &[u16], width: usize) -> Vec<Prototype> {
    let mut sums = std::collections::BTreeMap::<u16, (f64, Vec<f64>)>::new();
    for (row, label) in features.chunks_exact(width.max(1)).zip(labels) {
        let (count, sum) = sums.entry(*label).or_insert_with(|| (0.0, vec![0.0; width]));
        *count += 1.0;
        sum.iter_mut().zip(row).for_each(|(s, &x)| *s += f64::from(x));
    }
    let mean = |(count, sum): (f64, Vec<f64>)| sum.into_iter().map(|s| (s / count) as f32).collect();
    sums.into_iter().map(|(class, sum)| Prototype { class, values: mean(sum) }).collect()
}

fn inverse_length(row: impl Iterator<Item = f64>) -> f64 {
    let length = row.map(|x| x * x).sum::<f64>().sqrt();
    if length > 0.0 { length.recip() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prototype_is_the_direction_of_the_mean_direction() {
        // Directions (0.6, 0.8) and (1, 0) have the mean (0.8, 0.4); lengths must not count.
        let found = class_directions(&[3.0, 4.0, 0.0, -2.0, 50.0, 0.0], &[7, 2, 7], 2);
        assert_eq!(found.iter().map(|p| p.class).collect::<Vec<_>>(), [2, 7]);
        assert_eq!(found[0].values, [0.0, -1.0]);
        let expected = [2.0 / 5f32.sqrt(), 1.0 / 5f32.sqrt()];
        assert!(found[1].values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn a_mean_is_the_mean() {
        let found = class_means(&[3.0, 4.0, 0.0, -2.0, 50.0, 0.0], &[7, 2, 7], 2);
        assert_eq!(found.iter().map(|p| p.class).collect::<Vec<_>>(), [2, 7]);
        assert_eq!((found[0].values.as_slice(), found[1].values.as_slice()), (&[0.0, -2.0][..], &[26.5, 2.0][..]));
    }

    #[test]
    fn zeros_stay_zeros() {
        assert_eq!(class_directions(&[0.0, 0.0], &[0], 2)[0].values, [0.0, 0.0]);
        assert!(class_directions(&[], &[], 2).is_empty());
    }
}
