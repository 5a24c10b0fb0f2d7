//! Which images a generator may see.

use std::collections::HashSet;

use crate::data::Dataset;
use crate::partition::Partition;

/// Images that a generator must not see.
#[derive(Clone, Copy, Debug)]
pub enum Exclusion<'a> {
    /// Every image that any client of a partition of the same data set uses, to train or to test.
    Partition(&'a Partition),
    /// Every image of another data set.
    Dataset(&'a Dataset),
}

/// The images of `dataset` that no exclusion covers, in order. Images are compared by their pixels as well as by their
/// indices: a copy of an excluded image is excluded too.
#[must_use]
pub fn choose(dataset: &Dataset, exclusions: &[Exclusion<'_>]) -> Vec<u32> {
    let size = dataset.shape.len();
    let pixels = |index: u32| &dataset.pixels[index as usize * size..(index as usize + 1) * size];
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for exclusion in exclusions {
        match exclusion {
            Exclusion::Partition(partition) => {
                let used = partition.peers.iter().flat_map(|peer| peer.train.iter().chain(&peer.test));
                seen.extend(used.filter(|&&i| (i as usize) < dataset.len()).map(|&i| pixels(i)));
            }
            Exclusion::Dataset(other) if other.shape == dataset.shape => seen.extend(other.pixels.chunks_exact(size)),
            Exclusion::Dataset(_) => {}
        }
    }
    (0..u32::try_from(dataset.len()).unwrap_or(u32::MAX)).filter(|&i| !seen.contains(pixels(i))).collect()
}
