//! Class means, in integers.

use crate::merge::div_half_even;
use crate::prototypes::PrototypeSpec;
use crate::tensor::{DEFAULT_SCALE_BITS, TensorSpec};

/// That a class has a mean: 1 in the fixed point of [`DEFAULT_SCALE_BITS`]. Classes that never had an author have 0.
pub(super) const KNOWN: i32 = 1 << DEFAULT_SCALE_BITS;

/// `[classes, len]` and, for each class, whether it has a mean. Both are zero at genesis.
pub(super) fn tensors(prototypes: &PrototypeSpec, classes: usize) -> Vec<TensorSpec> {
    let (len, classes) = (u32::from(prototypes.len), classes as u32);
    let mean = TensorSpec { scale_bits: prototypes.scale_bits, ..TensorSpec::new("means.mean", &[classes, len], 0) };
    vec![mean, TensorSpec::new("means.known", &[classes], 0)]
}

pub(super) fn derive(prototypes: &PrototypeSpec, classes: usize, before: &[i32], list: &[u8]) -> Vec<i32> {
    let len = usize::from(prototypes.len);
    let mut sums = vec![0i64; classes * len];
    let mut counts = vec![0i64; classes];
    for (_, prototype) in prototypes.read(list) {
        let class = usize::from(prototype.class);
        // A checked list names no other classes.
        let Some(count) = counts.get_mut(class) else { continue };
        *count += 1;
        // At most 2^16 authors of at most 2^30 each.
        let row = &mut sums[class * len..(class + 1) * len];
        row.iter_mut().zip(prototype.values).for_each(|(sum, value)| *sum += i64::from(value));
    }
    let mut after = before.to_vec();
    let (means, known) = after.split_at_mut(classes * len);
    for (class, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (row, sum) = (&mut means[class * len..(class + 1) * len], &sums[class * len..(class + 1) * len]);
        // A mean is within the range of what it is the mean of.
        row.iter_mut().zip(sum).for_each(|(mean, &sum)| *mean = div_half_even(sum, count) as i32);
        known[class] = KNOWN;
    }
    after
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::summary::Summary;

    const SPEC: PrototypeSpec = PrototypeSpec { len: 2, scale_bits: 24, summary: Some(Summary::Means) };

    fn list(entries: &[(u16, u16, [i32; 2])]) -> Vec<u8> {
        let mut list = Vec::new();
        for (author, class, values) in entries {
            list.extend([author.to_le_bytes(), class.to_le_bytes()].concat());
            list.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        list
    }

    #[test]
    fn every_author_counts_once_and_a_class_without_one_keeps_its_mean() {
        let zero = vec![0; 3 * 2 + 3];
        let first = derive(&SPEC, 3, &zero, &list(&[(0, 0, [3, -3]), (0, 2, [7, 7]), (4, 0, [4, -4])]));
        // Halves go to the even neighbour.
        assert_eq!(first, [4, -4, 0, 0, 7, 7, KNOWN, 0, KNOWN]);
        let second = derive(&SPEC, 3, &first, &list(&[(1, 1, [9, 8])]));
        assert_eq!(second, [4, -4, 9, 8, 7, 7, KNOWN, KNOWN, KNOWN]);
        assert_eq!(derive(&SPEC, 3, &second, &[]), second, "a round without prototypes changes nothing");
    }

    #[test]
    fn the_largest_values_do_not_overflow() {
        let most = crate::tensor::MAX_COORDINATE;
        let entries: Vec<_> = (0..255).map(|author| (author, 0, [most, -most])).collect();
        assert_eq!(derive(&SPEC, 1, &[0; 3], &list(&entries)), [most, -most, KNOWN]);
    }
}
