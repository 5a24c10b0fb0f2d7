//! Who owns which images.
//!
//! The schemes are those of `PFLlib`'s `dataset_utils` (arXiv:2312.04992), re-implemented down to `NumPy`'s random
//! stream: the same labels, seed
//! and parameters give the same lists in the same order as that tool with `numpy.random.seed(seed)`. All images
//! (train, then test) are dealt
//! to the peers, then each peer's share is split anew, three quarters to learn from and one quarter to be measured on.

mod dirichlet;
mod error;
mod file;
mod numpy_rng;
mod pathological;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::error::PartitionError;
pub use self::file::MAX_FILE_BYTES;
use self::numpy_rng::NumpyRng;
use crate::data::{Dataset, PeerData};

/// Share of a peer's images that it learns from; the rest measures it.
pub const TRAIN_RATIO: f64 = 0.75;

/// One to learn from and one to be tested on.
const LEAST_PER_PEER: usize = 2;

/// How to deal the images.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    /// Every class is cut into shares drawn from a symmetric Dirichlet distribution; peers that hold a fair share
    /// already get no more.
    Dirichlet {
        /// Concentration, above 0: 0.1 gives a peer two or three classes, 100 nearly equal shares of all.
        alpha: f64,
    },
    /// Every peer gets images of a few classes only, in random amounts. Consecutive peers share the same classes.
    ///
    /// Where peers and classes do not divide evenly, the last peers can get fewer classes, and with few peers the last
    /// classes go to
    /// nobody.
    Pathological {
        /// Classes per peer, from 1 to the number of classes.
        classes_per_peer: usize,
    },
    /// Every peer gets the same amount of every class, dealt in the data set's order; the seed only decides what is
    /// train and what is test.
    /// The last peer also gets what does not divide.
    Iid,
    /// The lists in a partition file.
    File(PathBuf),
}

/// One peer's images, as indices into a [`Dataset`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIndices {
    /// What it learns from, in this order.
    pub train: Vec<u32>,
    /// What it is measured on.
    pub test: Vec<u32>,
}

/// Who owns which images of one [`Dataset`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// One entry per peer.
    pub peers: Vec<PeerIndices>,
    /// The cap on (train, test) lists that the partition's file names as its usual one; not applied yet. See
    /// [`Partition::cap`].
    pub default_cap: Option<(usize, usize)>,
}

impl Partition {
    /// Deals the images of `dataset` to `peers` peers.
    ///
    /// `batch` is the training batch size: a Dirichlet share is at least four batches (less if there are not twice as
    /// many images per peer), so that a
    /// quarter of it is a full batch. For [`Scheme::File`], seed and batch mean nothing and the first `peers` clients
    /// of the file are taken.
    ///
    /// # Errors
    /// [`PartitionError`] when a parameter is out of range, the images do not suffice, or the file is not sound.
    pub fn make(
        dataset: &Dataset,
        scheme: &Scheme,
        peers: usize,
        seed: u64,
        batch: usize,
    ) -> Result<Self, PartitionError> {
        let images = dataset.len();
        if peers == 0 {
            return Err(parameter("the number of peers", peers, "at least 1 is needed".into()));
        }
        if let Scheme::File(path) = scheme {
            let mut loaded = Self::load(path, dataset)?;
            if loaded.peers.len() < peers {
                let expected =
                    format!("{} describes {} clients, so at most that many", path.display(), loaded.peers.len());
                return Err(parameter("the number of peers", peers, expected));
            }
            loaded.peers.truncate(peers);
            return Ok(loaded);
        }
        if images / LEAST_PER_PEER < peers {
            let possible = images / LEAST_PER_PEER;
            return Err(PartitionError::TooManyPeers { peers, images, least: LEAST_PER_PEER, possible });
        }
        let fair = images as f64 / peers as f64;
        let least = (batch as f64 / (1.0 - TRAIN_RATIO)).min(fair / 2.0).floor() as usize;
        let mut rng = NumpyRng::seed(seed);
        let by_class = by_class(dataset);
        let shares = match scheme {
            Scheme::Dirichlet { alpha } => {
                dirichlet::deal(&by_class, *alpha, peers, least.max(LEAST_PER_PEER), &mut rng)?
            }
            Scheme::Pathological { classes_per_peer } => {
                pathological::deal(&by_class, *classes_per_peer, peers, least, Some(&mut rng))?
            }
            Scheme::Iid => pathological::deal(&by_class, by_class.len(), peers, least, None)?,
            // Taken above; an empty deal would be refused below.
            Scheme::File(_) => Vec::new(),
        };
        let peers = shares
            .into_iter()
            .enumerate()
            .map(|(peer, share)| {
                if share.len() < LEAST_PER_PEER {
                    return Err(PartitionError::PeerTooSmall {
                        peer,
                        found: share.len(),
                        images,
                        least: LEAST_PER_PEER,
                    });
                }
                Ok(split(&share, &mut rng))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { peers, default_cap: None })
    }

    /// Reads a partition file and checks it against the data. Its `cap` is kept in [`Partition::default_cap`], not
    /// applied.
    ///
    /// # Errors
    /// [`PartitionError`] that names file, client and position: unreadable, made for other data, index out of range,
    /// image named twice by a client,
    /// client missing.
    pub fn load(path: &Path, dataset: &Dataset) -> Result<Self, PartitionError> {
        file::load(path, dataset)
    }

    /// Keeps the first `train` and `test` entries of each peer's lists.
    #[must_use]
    pub fn cap(mut self, train: usize, test: usize) -> Self {
        for peer in &mut self.peers {
            peer.train.truncate(train);
            peer.test.truncate(test);
        }
        self
    }

    /// Keeps at most `most` training images per class and peer, the first ones. Test lists stay.
    ///
    /// # Errors
    /// [`PartitionError::Foreign`] when the partition does not fit the data set.
    pub fn cap_per_class(mut self, dataset: &Dataset, most: usize) -> Result<Self, PartitionError> {
        self.check(dataset)?;
        for peer in &mut self.peers {
            let mut kept = vec![0; dataset.classes()];
            peer.train.retain(|&index| {
                let count = &mut kept[usize::from(dataset.labels[index as usize])];
                *count += 1;
                *count <= most
            });
        }
        Ok(self)
    }

    /// Training images per peer and class.
    ///
    /// Indices that are not in the data set count nowhere.
    #[must_use]
    pub fn label_counts(&self, dataset: &Dataset) -> Vec<Vec<u32>> {
        let count = |peer: &PeerIndices| {
            let mut counts = vec![0; dataset.classes()];
            for label in peer.train.iter().filter_map(|&i| dataset.labels.get(i as usize)) {
                if let Some(count) = counts.get_mut(usize::from(*label)) {
                    *count += 1;
                }
            }
            counts
        };
        self.peers.iter().map(count).collect()
    }

    /// Decodes every peer's images.
    ///
    /// # Errors
    /// [`PartitionError::Foreign`] when the partition does not fit the data set.
    pub fn peer_data(&self, dataset: &Dataset) -> Result<Vec<Arc<PeerData>>, PartitionError> {
        self.check(dataset)?;
        let decode =
            |p: &PeerIndices| Arc::new(PeerData { train: dataset.split(&p.train), test: dataset.split(&p.test) });
        Ok(self.peers.iter().map(decode).collect())
    }

    fn check(&self, dataset: &Dataset) -> Result<(), PartitionError> {
        for (peer, lists) in self.peers.iter().enumerate() {
            if let Some(&index) = lists.train.iter().chain(&lists.test).find(|&&i| i as usize >= dataset.len()) {
                let (dataset, images) = (dataset.name.clone(), dataset.len());
                return Err(PartitionError::Foreign { peer, index, dataset, images });
            }
        }
        Ok(())
    }
}

fn parameter(what: &'static str, found: impl ToString, expected: String) -> PartitionError {
    PartitionError::Parameter { what, found: found.to_string(), expected }
}

/// The indices of each class, in order.
fn by_class(dataset: &Dataset) -> Vec<Vec<u32>> {
    let mut lists = vec![Vec::new(); dataset.classes()];
    for (index, &label) in (0u32..).zip(&dataset.labels) {
        if let Some(list) = lists.get_mut(usize::from(label)) {
            list.push(index);
        }
    }
    lists
}

/// scikit-learn's `train_test_split(share, train_size=0.75, shuffle=True)`: of one permutation, the first quarter is
/// the test set.
fn split(share: &[u32], rng: &mut NumpyRng) -> PeerIndices {
    let train_len = (TRAIN_RATIO * share.len() as f64).floor() as usize;
    let order = rng.permutation(share.len() as u32);
    let (test, train) = order.split_at(share.len() - train_len);
    let pick = |positions: &[u32]| positions.iter().map(|&p| share[p as usize]).collect();
    PeerIndices { train: pick(train), test: pick(test) }
}

#[cfg(test)]
mod tests;
