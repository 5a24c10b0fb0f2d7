//! Class prototypes: what a peer says of each of its classes beside its update, and the list of them that a round certifies.
//!
//! Nothing is averaged in the list: it is that of all accepted updates, so every voter derives it as it derives the merge. A payload
//! carries its author's after the delta. What a method makes of the list for all members is a [`Summary`].
//!
//! ```text
//! in a payload:    (class 2 | value 4 x len)*                 by ascending class, each at most once
//! certified list:  (author 2 | class 2 | value 4 x len)*      by ascending author and class
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::blob::{self, MAX_BLOB_BYTES};
use crate::hash::Digest;
use crate::membership::MAX_INPUTS;
use crate::summary::Summary;
use crate::tensor::{MAX_COORDINATE, TensorError, fixed};

/// What the prototypes of a network look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PrototypeSpec {
    /// Values of one prototype; 0 if authors publish none, and what is derived follows from their updates alone.
    pub len: u16,
    /// Fraction bits of a value: `q` stands for `q * 2^-scale_bits`, and is at most [`MAX_COORDINATE`].
    pub scale_bits: u8,
    /// What all derive from the list; nothing if it is of use to hosts of generators alone.
    pub summary: Option<Summary>,
}

/// Why prototypes are not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrototypeError {
    /// Bytes that are no whole number of prototypes.
    #[error("prototypes: {found} bytes, not a multiple of {entry}")]
    Length {
        /// Bytes of one.
        entry: usize,
        /// What came.
        found: usize,
    },
    /// A class that the task does not have.
    #[error("prototypes: class {class}, but there are {classes}")]
    Class {
        /// What came.
        class: u16,
        /// Classes of the task.
        classes: u16,
    },
    /// Classes out of order, or one twice.
    #[error("prototypes: class {0} is out of order, or occurs twice")]
    Order(u16),
    /// A prototype of another length.
    #[error("prototypes: class {class} has {found} values, expected {expected}")]
    Values {
        /// The class.
        class: u16,
        /// What the manifest says.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// A value that is not finite or does not fit.
    #[error("prototypes: {0}")]
    Value(#[from] TensorError),
}

/// One class's prototype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedPrototype {
    /// The class, an index.
    pub class: u16,
    /// Its values in fixed point.
    pub values: Vec<i32>,
}

/// The name of a certified list; zero and 0 if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListName {
    /// Root of its bytes.
    pub root: Digest,
    /// Prototypes in it: with the manifest this gives its length.
    pub count: u32,
}

impl PrototypeSpec {
    /// Whether a network of this many classes can have such prototypes: a list of all authors' must fit into a blob.
    #[must_use]
    pub fn fits(&self, classes: usize) -> bool {
        let most = (MAX_INPUTS * (2 + self.entry_len())).saturating_mul(classes);
        let derivable = match self.summary {
            None => self.len > 0,
            Some(summary) => summary.fits() && summary.reads(self.len),
        };
        derivable && (8..=30).contains(&self.scale_bits) && most as u64 <= MAX_BLOB_BYTES
    }

    /// Bytes of one prototype in a payload.
    #[must_use]
    pub const fn entry_len(&self) -> usize {
        2 + 4 * self.len as usize
    }

    /// Bytes of a certified list of so many prototypes.
    #[must_use]
    pub const fn list_len(&self, count: u32) -> u64 {
        count as u64 * (2 + self.entry_len()) as u64
    }

    /// Prototypes of ascending classes as a payload carries them, rounded half to even.
    ///
    /// # Errors
    /// [`PrototypeError`]: another length, a class out of order, or a value that is not finite or does not fit.
    pub fn encode<'a>(
        &self,
        prototypes: impl IntoIterator<Item = (u16, &'a [f32])>,
        classes: u16,
    ) -> Result<Vec<u8>, PrototypeError> {
        let mut out = Vec::new();
        let mut least = 0;
        for (class, values) in prototypes {
            let (expected, found) = (usize::from(self.len), values.len());
            if expected != found {
                return Err(PrototypeError::Values { class, expected, found });
            }
            least = in_order(class, least, classes)?;
            out.extend_from_slice(&class.to_le_bytes());
            for (index, x) in values.iter().enumerate() {
                out.extend_from_slice(&fixed(*x, self.scale_bits, MAX_COORDINATE, index)?.to_le_bytes());
            }
        }
        Ok(out)
    }

    /// Checks the part of a payload that holds prototypes.
    ///
    /// # Errors
    /// [`PrototypeError`]: not a whole number of them, a class out of order or unknown, a value out of range.
    pub fn check(&self, section: &[u8], classes: u16) -> Result<(), PrototypeError> {
        let (entries, rest) = self.entries(section, self.entry_len());
        if rest != 0 || self.len == 0 && !section.is_empty() {
            return Err(PrototypeError::Length { entry: self.entry_len(), found: section.len() });
        }
        let mut least = 0;
        for entry in entries {
            let (class, values) = entry.split_at(2);
            least = in_order(u16_at(class), least, classes)?;
            for (index, q) in i32s(values).enumerate() {
                if q.unsigned_abs() > MAX_COORDINATE as u32 {
                    let limit = MAX_COORDINATE as u32 >> self.scale_bits;
                    return Err(TensorError::OutOfRange { index, limit }.into());
                }
            }
        }
        Ok(())
    }

    /// Adds an author's checked prototypes to a list. Authors must come in ascending order.
    pub fn append(&self, list: &mut Vec<u8>, author: u16, section: &[u8]) {
        for entry in self.entries(section, self.entry_len()).0 {
            list.extend_from_slice(&author.to_le_bytes());
            list.extend_from_slice(entry);
        }
    }

    /// The name of a certified list.
    #[must_use]
    pub fn name(&self, list: &[u8]) -> ListName {
        // At most MAX_INPUTS authors with at most 2^16 classes.
        let count = (list.len() / (2 + self.entry_len())) as u32;
        if count == 0 { ListName::default() } else { ListName { root: blob::root(list), count } }
    }

    /// Authors and prototypes of a certified list, in its order. Bytes behind the last whole one are left out: a list is known
    /// by its root, and whoever made that has checked it.
    pub fn read<'a>(&self, list: &'a [u8]) -> impl Iterator<Item = (u16, FixedPrototype)> + 'a {
        self.entries(list, 2 + self.entry_len()).0.map(|entry| {
            let (author, rest) = entry.split_at(2);
            let (class, values) = rest.split_at(2);
            (u16_at(author), FixedPrototype { class: u16_at(class), values: i32s(values).collect() })
        })
    }

    /// Classes that a certified list has prototypes of.
    #[must_use]
    pub fn classes(&self, list: &[u8]) -> BTreeSet<u16> {
        self.entries(list, 2 + self.entry_len()).0.map(|entry| u16_at(&entry[2..])).collect()
    }

    /// The floats that training sees.
    #[must_use]
    pub fn dequantise(&self, values: &[i32]) -> Vec<f32> {
        let step = 1.0 / (1u32 << self.scale_bits) as f32;
        values.iter().map(|&q| q as f32 * step).collect()
    }

    fn entries<'a>(&self, bytes: &'a [u8], entry: usize) -> (std::slice::ChunksExact<'a, u8>, usize) {
        let entries = bytes.chunks_exact(entry);
        let rest = entries.remainder().len();
        (entries, rest)
    }
}

/// The least class that may come next.
fn in_order(class: u16, least: u16, classes: u16) -> Result<u16, PrototypeError> {
    if class >= classes {
        return Err(PrototypeError::Class { class, classes });
    }
    if class < least {
        return Err(PrototypeError::Order(class));
    }
    Ok(class + 1)
}

fn u16_at(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes[1]])
}

fn i32s(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
    bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::summary::{Descent, Head, Loss};

    const SPEC: PrototypeSpec = PrototypeSpec { len: 2, scale_bits: 24, summary: None };

    fn section(classes: &[u16]) -> Vec<u8> {
        let values = [0.5, -1.25];
        SPEC.encode(classes.iter().map(|c| (*c, values.as_slice())), 10).unwrap()
    }

    #[test]
    fn a_section_is_checked_and_a_list_gives_back_what_went_in() {
        let (a, b) = (section(&[0, 3, 9]), section(&[3]));
        assert_eq!(SPEC.check(&a, 10), Ok(()));
        assert_eq!(SPEC.check(&[], 10), Ok(()), "a peer need not have any");
        let mut list = Vec::new();
        SPEC.append(&mut list, 1, &a);
        SPEC.append(&mut list, 4, &b);
        let read: Vec<_> = SPEC.read(&list).map(|(author, p)| (author, p.class, SPEC.dequantise(&p.values))).collect();
        let v = || vec![0.5, -1.25];
        assert_eq!(read, [(1, 0, v()), (1, 3, v()), (1, 9, v()), (4, 3, v())]);
        assert_eq!(SPEC.classes(&list), BTreeSet::from([0, 3, 9]));
        let name = SPEC.name(&list);
        assert_eq!((name.count, SPEC.list_len(4)), (4, list.len() as u64));
        assert_eq!(SPEC.name(&[]), ListName::default());
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        use PrototypeError as E;
        assert_eq!(SPEC.check(&section(&[1])[1..], 10), Err(E::Length { entry: 10, found: 9 }));
        assert_eq!(SPEC.check(&section(&[9]), 9), Err(E::Class { class: 9, classes: 9 }));
        assert_eq!(SPEC.check(&[section(&[2]), section(&[2])].concat(), 10), Err(E::Order(2)));
        assert_eq!(SPEC.check(&[section(&[2]), section(&[1])].concat(), 10), Err(E::Order(1)));
        for q in [MAX_COORDINATE + 1, -MAX_COORDINATE - 1, i32::MIN, i32::MAX] {
            let mut bytes = section(&[0]);
            bytes[2..6].copy_from_slice(&q.to_le_bytes());
            assert!(matches!(SPEC.check(&bytes, 10), Err(E::Value(TensorError::OutOfRange { index: 0, .. }))), "{q}");
        }
    }

    #[test]
    fn a_diverged_or_misshapen_prototype_is_not_encoded() {
        let encode = |class, values: &[f32]| SPEC.encode([(class, values)], 10);
        assert!(matches!(encode(0, &[f32::NAN, 0.0]), Err(PrototypeError::Value(_))));
        assert!(matches!(encode(0, &[0.0, 65.0]), Err(PrototypeError::Value(_))));
        assert!(matches!(encode(0, &[0.0]), Err(PrototypeError::Values { expected: 2, found: 1, .. })));
        assert!(matches!(encode(10, &[0.0, 0.0]), Err(PrototypeError::Class { .. })));
    }

    #[test]
    fn lists_of_the_largest_networks_must_fit_a_blob() {
        assert!(PrototypeSpec { len: 512, ..SPEC }.fits(100));
        assert!(!PrototypeSpec { len: 512, ..SPEC }.fits(200));
        assert!(!PrototypeSpec { len: 0, ..SPEC }.fits(2));
        assert!(!PrototypeSpec { scale_bits: 31, ..SPEC }.fits(2));
        let head = |epochs, batch| {
            let descent = Descent::new(0.01, epochs, batch);
            Some(Summary::Head(Head { descent, loss: Loss::CrossEntropy }))
        };
        for (summary, fits) in [(head(1, 10), true), (head(0, 10), false), (head(1, 0), false), (head(1001, 1), false)]
        {
            assert_eq!(PrototypeSpec { summary, ..SPEC }.fits(2), fits, "{summary:?}");
        }
    }
}
