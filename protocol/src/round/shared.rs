//! What follows from a final record alone, worked out once for many machines of one process.
//!
//! A node never uses this: it works out everything for itself. In a virtual world of ten thousand members it makes the difference
//! between one list of members and ten thousand equal ones.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use crate::hash::Digest;
use crate::membership::Committee;

/// Records of which something is remembered. Too low and machines that are behind work it out again.
const MOST_RECORDS: usize = 16;

/// What is known, by the record that it follows from; the oldest first.
#[derive(Debug, Default)]
struct Known {
    committees: VecDeque<(Digest, Arc<Committee>)>,
    contributors: VecDeque<(Digest, Vec<u16>)>,
}

/// A memory that machines share; by default they share none. It holds nothing that they would not find out by themselves, so it is
/// no part of what tells them apart.
#[derive(Clone, Debug, Default)]
pub struct Shared(Option<Arc<Mutex<Known>>>);

impl Shared {
    /// A memory for all machines that get a copy of it. They must belong to one network and trust each other's arithmetic.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// The committee after a record that closes its epoch.
    pub(super) fn committee<E>(
        &self,
        record: &Digest,
        work_out: impl FnOnce() -> Result<Arc<Committee>, E>,
    ) -> Result<Arc<Committee>, E> {
        self.recall(record, |known| &mut known.committees, work_out)
    }

    /// The contributors of the round after a record.
    pub(super) fn contributors(&self, record: &Digest, work_out: impl FnOnce() -> Vec<u16>) -> Vec<u16> {
        let worked_out = || Ok::<_, std::convert::Infallible>(work_out());
        match self.recall(record, |known| &mut known.contributors, worked_out) {
            Ok(contributors) => contributors,
            Err(never) => match never {},
        }
    }

    fn recall<T: Clone, E>(
        &self,
        record: &Digest,
        part: impl Fn(&mut Known) -> &mut VecDeque<(Digest, T)>,
        work_out: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(shared) = &self.0 else { return work_out() };
        let mut known = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = part(&mut known);
        if let Some((_, found)) = known.iter().find(|(known, _)| known == record) {
            return Ok(found.clone());
        }
        let found = work_out()?;
        if known.len() == MOST_RECORDS {
            known.pop_front();
        }
        known.push_back((*record, found.clone()));
        Ok(found)
    }
}

impl PartialEq for Shared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Shared {}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_share_work_a_thing_out_once_and_others_each_time() {
        let mut count = 0;
        let mut ask = |shared: &Shared, record: u8| {
            shared.contributors(&Digest([record; 32]), || {
                count += 1;
                vec![u16::from(record)]
            })
        };
        let shared = Shared::new();
        let copy = shared.clone();
        assert_eq!((ask(&shared, 1), ask(&copy, 1), ask(&copy, 2)), (vec![1], vec![1], vec![2]));
        let own = Shared::default();
        assert_eq!((ask(&own, 1), ask(&own, 1)), (vec![1], vec![1]));
        assert_eq!(count, 4);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_failures_are_not() {
        let shared = Shared::new();
        assert_eq!(shared.committee(&Digest::ZERO, || Err("no")), Err("no"));
        for record in 0..2 * MOST_RECORDS as u8 {
            shared.contributors(&Digest([record; 32]), Vec::new);
        }
        let known = shared.0.as_ref().map(|known| known.lock().unwrap_or_else(PoisonError::into_inner));
        assert_eq!(known.map(|known| (known.committees.len(), known.contributors.len())), Some((0, MOST_RECORDS)));
    }
}
