//! A certified state as blobs.
//!
//! What all members take in is one blob, the state's own, whose root is in the record. Where each member has a row, that blob ends
//! with the name of an index, and the index names the rows and the hidden part: whoever trains fetches the state, the index and its
//! own row; whoever derives fetches the state, the index and the hidden part. Rows are known by their member's key, so that they stay
//! with it from one epoch's places to the next.
//!
//! ```text
//! state:   common tensors, 4 each | index root 32 | rows 4        the last two only in networks with rows
//! index:   hidden root 32 | hidden coordinates 4 | (key 32 | row root 32)*       by ascending key
//! ```
//!
//! At genesis there is no index (a root of zeros): rows and hidden part follow from the seed.

use std::collections::BTreeMap;

use super::Derivation;
use crate::blob;
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::tensor::{FixedVector, Schema, TensorError};

/// Bytes at the end of a state that name its index.
const TAIL: usize = 36;

/// Bytes of an index without rows.
const INDEX_HEAD: usize = 36;

/// Bytes of a row's entry in an index.
const ENTRY: usize = 64;

/// Why a state cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// One of its parts is not here.
    #[error("the part {root} of a certified state is not here")]
    Missing {
        /// The part's name.
        root: Digest,
        /// Its length in bytes.
        len: u64,
    },
    /// Bytes that are no state of this network.
    #[error("a certified state: {0}")]
    Tensor(#[from] TensorError),
    /// An index that does not name what it should.
    #[error("a certified state's index is malformed")]
    Index,
}

/// What a certified state is to those who derive the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The tensors that all members take in.
    pub common: FixedVector,
    /// What the state names; nothing in networks without rows.
    pub(super) parts: Option<Parts>,
}

/// What a state names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// What only deriving needs; nothing if it is still as at genesis.
    pub(super) hidden: Option<Vec<i32>>,
    /// Roots of the rows.
    pub(super) rows: BTreeMap<PublicKey, Digest>,
    /// The rows that this state was derived with.
    pub(super) fresh: Vec<(Digest, Vec<u8>)>,
}

/// Finds a blob by its root.
type Find<'a> = &'a mut dyn FnMut(&Digest) -> Option<Vec<u8>>;

impl State {
    /// Its blobs: the state's own first, then the new ones that it names.
    #[must_use]
    pub fn to_blobs(&self) -> Vec<Vec<u8>> {
        let mut state = self.common.to_bytes();
        let Some(parts) = &self.parts else { return vec![state] };
        if parts.rows.is_empty() && parts.hidden.is_none() {
            state.extend([0; TAIL]);
            return vec![state];
        }
        let hidden = parts.hidden.as_ref().map(|hidden| FixedVector(hidden.clone()).to_bytes());
        let mut index = hidden.as_ref().map_or(Digest::ZERO, |bytes| blob::root(bytes)).0.to_vec();
        index.extend((hidden.as_ref().map_or(0, Vec::len) as u32 / 4).to_le_bytes());
        for (key, root) in &parts.rows {
            index.extend([key.0, root.0].concat());
        }
        state.extend(blob::root(&index).0);
        state.extend((parts.rows.len() as u32).to_le_bytes());
        let rows = parts.fresh.iter().map(|(_, bytes)| bytes.clone());
        [state, index].into_iter().chain(hidden).chain(rows).collect()
    }

    /// The root of its own blob.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.to_blobs().first().map_or(Digest::ZERO, |state| blob::root(state))
    }

    /// The same without the rows that it was derived with, which deriving the next one does not need.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.parts.iter_mut().for_each(|parts| parts.fresh.clear());
        self
    }

    /// The row of a member that was given one in the round that this state was derived in.
    #[must_use]
    pub fn fresh_row(&self, key: &PublicKey) -> Option<&[u8]> {
        let parts = self.parts.as_ref()?;
        let root = parts.rows.get(key)?;
        parts.fresh.iter().find(|(fresh, _)| fresh == root).map(|(_, bytes)| bytes.as_slice())
    }
}

/// A state's own blob, taken apart.
struct Opened {
    common: FixedVector,
    /// Name and rows of the index, if there is one.
    index: Option<(Digest, usize)>,
}

/// An index, taken apart.
#[derive(Default)]
struct Index {
    hidden: Option<(Digest, usize)>,
    rows: BTreeMap<PublicKey, Digest>,
}

impl Derivation {
    /// Bytes of a state's own blob.
    #[must_use]
    pub fn state_len(&self) -> u64 {
        let tail = if self.row().is_some() { TAIL } else { 0 };
        4 * self.common().len() as u64 + tail as u64
    }

    /// Reads what deriving needs of a state: its own blob in `bytes`, the parts that it names from `find`.
    ///
    /// # Errors
    /// [`LoadError::Missing`] with the next part to get, or that it is no state of this network.
    pub fn load(&self, bytes: &[u8], find: Find<'_>) -> Result<State, LoadError> {
        let opened = self.open(bytes)?;
        if self.row().is_none() {
            return Ok(State { common: opened.common, parts: None });
        }
        let index = Self::index(&opened, find)?;
        let hidden = match index.hidden {
            None => None,
            Some((root, len)) => {
                let bytes = part(&root, 4 * len as u64, find)?;
                Some(coordinates(&bytes)?.0)
            }
        };
        Ok(State { common: opened.common, parts: Some(Parts { hidden, rows: index.rows, fresh: Vec::new() }) })
    }

    /// What a member takes in of a state, flat, as tensors of [`Self::own`]: the common ones, and its row.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn take_in(&self, bytes: &[u8], key: &PublicKey, find: Find<'_>) -> Result<Vec<f32>, LoadError> {
        let opened = self.open(bytes)?;
        let mut floats = self.common().dequantise(&opened.common)?;
        let Some(schema) = self.row() else { return Ok(floats) };
        let row = match Self::index(&opened, find)?.rows.get(key) {
            None => self.first_row(key),
            Some(root) => FixedVector::from_bytes(&part(root, 4 * schema.len() as u64, find)?, &schema)?,
        };
        floats.extend(schema.dequantise(&row)?);
        Ok(floats)
    }

    /// The names of all parts of a state, as far as its index is here: what is kept with it.
    #[must_use]
    pub fn parts_of(&self, bytes: &[u8], find: Find<'_>) -> Vec<Digest> {
        let Ok(opened) = self.open(bytes) else { return Vec::new() };
        let Ok(index) = Self::index(&opened, find) else { return Vec::new() };
        let hidden = index.hidden.map(|(root, _)| root);
        opened.index.map(|(root, _)| root).into_iter().chain(hidden).chain(index.rows.into_values()).collect()
    }

    /// The names of the parts of a state that deriving the next one needs, as far as its index is here.
    #[must_use]
    pub fn needed_of(&self, bytes: &[u8], find: Find<'_>) -> Vec<Digest> {
        let Ok(opened) = self.open(bytes) else { return Vec::new() };
        let hidden = Self::index(&opened, find).ok().and_then(|index| index.hidden).map(|(root, _)| root);
        opened.index.map(|(root, _)| root).into_iter().chain(hidden).collect()
    }

    fn open(&self, bytes: &[u8]) -> Result<Opened, LoadError> {
        let common = self.common();
        if self.row().is_none() {
            return Ok(Opened { common: FixedVector::from_bytes(bytes, &common)?, index: None });
        }
        let Some((tensors, tail)) = bytes.split_at_checked(4 * common.len()).filter(|(_, tail)| tail.len() == TAIL)
        else {
            let expected = common.len() + TAIL / 4;
            return Err(TensorError::Length { expected, found: bytes.len() / 4 }.into());
        };
        let (root, rows) = (digest(tail), number(&tail[32..]));
        let index = (root != Digest::ZERO).then_some((root, rows));
        Ok(Opened { common: FixedVector::from_bytes(tensors, &common)?, index })
    }

    fn index(opened: &Opened, find: Find<'_>) -> Result<Index, LoadError> {
        let Some((root, rows)) = opened.index else { return Ok(Index::default()) };
        let len = INDEX_HEAD + ENTRY * rows;
        let bytes = part(&root, len as u64, find)?;
        let (head, entries) = bytes.split_at_checked(INDEX_HEAD).ok_or(LoadError::Index)?;
        if bytes.len() != len {
            return Err(LoadError::Index);
        }
        let (hidden, coordinates) = (digest(head), number(&head[32..]));
        let rows = entries.chunks_exact(ENTRY).map(|entry| (PublicKey(digest(entry).0), digest(&entry[32..])));
        Ok(Index { hidden: (hidden != Digest::ZERO).then_some((hidden, coordinates)), rows: rows.collect() })
    }
}

fn part(root: &Digest, len: u64, find: Find<'_>) -> Result<Vec<u8>, LoadError> {
    find(root).ok_or(LoadError::Missing { root: *root, len })
}

fn coordinates(bytes: &[u8]) -> Result<FixedVector, TensorError> {
    let count = (bytes.len() / 4) as u32;
    FixedVector::from_bytes(bytes, &Schema { tensors: vec![crate::tensor::TensorSpec::new("hidden", &[count], 0)] })
}

/// Of at least 32 bytes.
fn digest(bytes: &[u8]) -> Digest {
    let mut digest = Digest::ZERO;
    digest.0.copy_from_slice(&bytes[..32]);
    digest
}

/// Of at least 4 bytes.
fn number(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}
