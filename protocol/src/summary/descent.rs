//! How something is trained on a list of prototypes.

use serde::{Deserialize, Serialize};

use crate::hash::{Stream, hash};
use crate::prototypes::PrototypeSpec;

use super::exact::{numbers, quantised};

/// Most passes over a list. Too low and papers' settings do not fit (FedTGP has 100); it bounds the work of a round's merge.
pub const MAX_EPOCHS: u16 = 1000;

/// Fraction bits of rates, and of momentum, decay and shares beside them.
pub const RATE_BITS: u8 = 24;

/// Stochastic gradient descent on a list, in an order that is drawn from the list itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Descent {
    /// The rate, times 2^24.
    pub rate_q: u32,
    /// Passes over the list, 1 to [`MAX_EPOCHS`].
    pub epochs: u16,
    /// Prototypes a step, at least 1; the last step of a pass has what is left.
    pub batch: u16,
}

/// A prototype to learn from.
pub(super) struct Sample {
    pub(super) class: usize,
    pub(super) values: Vec<f64>,
}

impl Descent {
    /// Descent at a rate from 0 to 128, rounded to a multiple of 2^-24.
    #[must_use]
    pub fn new(rate: f64, epochs: u16, batch: u16) -> Self {
        Self { rate_q: quantised(rate, RATE_BITS), epochs, batch }
    }

    pub(super) const fn fits(&self) -> bool {
        self.epochs > 0 && self.epochs <= MAX_EPOCHS && self.batch > 0
    }

    pub(super) fn rate(&self) -> f64 {
        f64::from(self.rate_q) / f64::from(1u32 << RATE_BITS)
    }

    /// The steps of all epochs.
    pub(super) fn batches<'a>(&self, samples: &'a Samples) -> impl Iterator<Item = Vec<&'a Sample>> {
        let mut stream = Stream::new("order of prototypes", &[samples.name.as_bytes()]);
        let (epochs, size) = (self.epochs, usize::from(self.batch));
        let mut order: Vec<&Sample> = samples.list.iter().collect();
        (0..epochs).flat_map(move |_| {
            stream.shuffle(&mut order);
            order.chunks(size.max(1)).map(<[_]>::to_vec).collect::<Vec<_>>()
        })
    }
}

/// A list of prototypes as numbers.
pub(super) struct Samples {
    pub(super) list: Vec<Sample>,
    name: crate::hash::Digest,
}

/// Reads a checked list.
pub(super) fn samples(prototypes: &PrototypeSpec, classes: usize, list: &[u8]) -> Samples {
    let read = prototypes.read(list).filter(|(_, p)| usize::from(p.class) < classes);
    let number = |(_, p): (u16, crate::prototypes::FixedPrototype)| Sample {
        class: usize::from(p.class),
        values: numbers(&p.values, prototypes.scale_bits),
    };
    Samples { list: read.map(number).collect(), name: hash("prototypes to learn from", list) }
}
