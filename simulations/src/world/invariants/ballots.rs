//! All votes that were ever cast, whoever got to see them: what certificates could be made of.

use std::collections::BTreeMap;

use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::hash::Digest;

/// Voters as bits.
type Voters = u64;

#[derive(Debug, Default)]
struct View {
    notarize: Vec<(Digest, Voters)>,
    finalize: Vec<(Digest, Voters)>,
    nullify: Voters,
}

/// Votes by round and view.
#[derive(Debug, Default)]
pub(super) struct Ballots {
    views: BTreeMap<(u64, u32), View>,
    /// The first view of a round in which a quorum finalized, and what.
    finals: BTreeMap<u64, (u32, Digest)>,
}

/// A rule that does not hold, and why.
pub(super) type Broken = (&'static str, String);

impl Ballots {
    /// Counts a vote. Votes of liars count too: whoever has their keys could make certificates of them.
    pub(super) fn cast(&mut self, slot: &Slot, voter: u16, record: Digest, quorum: usize) -> Result<(), Broken> {
        let (round, number) = (slot.round, slot.view);
        let Some(bit) = 1u64.checked_shl(u32::from(voter)) else { return Ok(()) };
        let view = self.views.entry((round, number)).or_default();
        let full = |voters: Voters| voters.count_ones() as usize >= quorum;
        match slot.kind {
            Kind::Notarize => {
                add(&mut view.notarize, record, bit);
                if view.notarize.iter().filter(|(_, voters)| full(*voters)).count() > 1 {
                    let what = format!("round {round}, view {number}: {:?}", view.notarize);
                    return Err(("I2 one notarization per view", what));
                }
            }
            Kind::Nullify => view.nullify |= bit,
            Kind::Finalize => {
                add(&mut view.finalize, record, bit);
                for (record, voters) in &view.finalize {
                    if full(*voters) {
                        let first = self.finals.entry(round).or_insert((number, *record));
                        if number < first.0 {
                            *first = (number, *record);
                        }
                    }
                }
            }
            _ => return Ok(()),
        }
        if full(view.nullify) && view.finalize.iter().any(|(_, voters)| full(*voters)) {
            let what = format!("round {round}, view {number}: nullified and final");
            return Err(("I3 no view is nullified and final", what));
        }
        let Some((first, hash)) = self.finals.get(&round) else { return Ok(()) };
        for ((_, later), view) in self.views.range((round, *first)..=(round, u32::MAX)) {
            let other = view.notarize.iter().chain(&view.finalize).find(|(h, voters)| h != hash && full(*voters));
            if let Some((other, _)) = other {
                let what = format!("round {round}: {hash:?} final in view {first}, {other:?} certified in {later}");
                return Err(("I4 nothing else after a finalization", what));
            }
        }
        Ok(())
    }

    /// True if all of these voted to finalize this record in this view.
    pub(super) fn finalized(&self, round: u64, view: u32, record: &Digest, voters: impl Iterator<Item = u16>) -> bool {
        let Some(view) = self.views.get(&(round, view)) else { return false };
        let Some((_, cast)) = view.finalize.iter().find(|(hash, _)| hash == record) else { return false };
        let mut voters = voters;
        voters.all(|voter| 1u64.checked_shl(u32::from(voter)).is_some_and(|bit| cast & bit != 0))
    }

    pub(super) fn forget(&mut self, oldest: u64) {
        self.views = self.views.split_off(&(oldest, 0));
        self.finals = self.finals.split_off(&oldest);
    }
}

fn add(list: &mut Vec<(Digest, Voters)>, record: Digest, bit: Voters) {
    match list.iter_mut().find(|(hash, _)| *hash == record) {
        Some((_, voters)) => *voters |= bit,
        None => list.push((record, bit)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn slot(kind: Kind, view: u32) -> Slot {
        Slot { kind, epoch: 0, round: 1, view }
    }

    const A: Digest = Digest([1; 32]);
    const B: Digest = Digest([2; 32]);

    #[test]
    fn two_notarizations_of_a_view_are_noticed() {
        let mut ballots = Ballots::default();
        for voter in 0..3 {
            ballots.cast(&slot(Kind::Notarize, 0), voter, A, 3).unwrap();
        }
        ballots.cast(&slot(Kind::Notarize, 0), 1, B, 3).unwrap();
        ballots.cast(&slot(Kind::Notarize, 0), 2, B, 3).unwrap();
        assert_eq!(ballots.cast(&slot(Kind::Notarize, 0), 3, B, 3).unwrap_err().0, "I2 one notarization per view");
    }

    #[test]
    fn a_view_that_is_nullified_and_final_is_noticed() {
        let mut ballots = Ballots::default();
        for voter in 0..3 {
            ballots.cast(&slot(Kind::Finalize, 0), voter, A, 3).unwrap();
        }
        ballots.cast(&slot(Kind::Nullify, 0), 0, Digest::ZERO, 3).unwrap();
        ballots.cast(&slot(Kind::Nullify, 0), 1, Digest::ZERO, 3).unwrap();
        let broken = ballots.cast(&slot(Kind::Nullify, 0), 3, Digest::ZERO, 3).unwrap_err();
        assert_eq!(broken.0, "I3 no view is nullified and final");
    }

    #[test]
    fn another_record_after_a_finalization_is_noticed_in_either_order() {
        for late in [Kind::Notarize, Kind::Finalize] {
            let mut ballots = Ballots::default();
            for voter in 0..3 {
                ballots.cast(&slot(late, 2), voter, B, 3).unwrap();
            }
            ballots.cast(&slot(Kind::Finalize, 0), 0, A, 3).unwrap();
            ballots.cast(&slot(Kind::Finalize, 0), 1, A, 3).unwrap();
            let broken = ballots.cast(&slot(Kind::Finalize, 0), 3, A, 3).unwrap_err();
            assert_eq!(broken.0, "I4 nothing else after a finalization");
        }
    }

    #[test]
    fn a_certificate_of_votes_that_nobody_cast_is_told_apart() {
        let mut ballots = Ballots::default();
        for voter in 0..3 {
            ballots.cast(&slot(Kind::Finalize, 0), voter, A, 3).unwrap();
        }
        assert!(ballots.finalized(1, 0, &A, [0, 1, 2].into_iter()));
        assert!(!ballots.finalized(1, 0, &A, [0, 1, 3].into_iter()));
        assert!(!ballots.finalized(1, 1, &A, [0].into_iter()));
    }
}
