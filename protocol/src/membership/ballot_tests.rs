//! What a vote is worth, and what is worth nothing.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::keys::{Ed25519, SecretKey};

const NETWORK: Digest = Digest([5; 32]);

fn key(i: u8) -> SecretKey {
    SecretKey::from_bytes(&[i; 32])
}

/// Voters with keys 1 to `n`.
fn committee(n: u8) -> Committee {
    let mut keys: Vec<_> = (1..=n).map(|i| key(i).public()).collect();
    keys.sort_unstable();
    Committee::of_keys(0, keys)
}

fn closing(round: u64) -> Closing<'static> {
    Closing { round, misses: &[], sponsor_cap: 2, admission: Admission::Vote }
}

fn after(committee: &Committee, round: u64, mut operations: Vec<Operation>) -> Result<Committee, OperationError> {
    operations.sort_by_key(Operation::subject);
    committee.next(&closing(round), &operations)
}

/// Key `who` asks to join with an invitation of voter 1.
fn join(ticket: u8, who: u8) -> Join {
    let invite = Invite::new(&NETWORK, &key(1), key(ticket).public(), Role::Voter, 50);
    Join::new(&NETWORK, invite, &key(ticket), &key(who), format!("peer {who}"))
}

/// The same, approved by these keys.
fn approved(join: &Join, voters: &[u8]) -> Operation {
    let ballots = voters.iter().map(|v| join.approve(&NETWORK, &key(*v), 40));
    Operation::Join(Box::new(join.clone())).with_ballots(ballots.collect())
}

/// These keys vote to send `who` away.
fn evict(who: u8, since: u64, voters: &[u8]) -> Operation {
    let ballots = voters.iter().flat_map(|v| EvictVote::new(&NETWORK, key(who).public(), since, &key(*v), 40).votes);
    Operation::EvictVote(EvictVote { key: key(who).public(), since, votes: ballots.collect() }.sorted())
}

impl EvictVote {
    fn sorted(mut self) -> Self {
        self.votes.sort_by_key(|ballot| ballot.voter);
        self
    }
}

const fn votes(counting: usize, found: usize) -> OperationError {
    OperationError::Votes { counting, found, needed: 3 }
}

#[test]
fn under_vote_a_join_takes_effect_with_a_quorum_of_approvals_and_not_before() {
    let (now, join) = (committee(4), join(100, 50));
    for voters in [&[][..], &[1], &[1, 2], &[2, 4]] {
        let error = after(&now, 7, vec![approved(&join, voters)]);
        assert_eq!(error, Err(votes(voters.len(), voters.len())), "approved by {voters:?}");
    }
    let next = after(&now, 7, vec![approved(&join, &[1, 2, 4])]).unwrap();
    assert!(next.place(&key(50).public()).is_some());
    assert_eq!(after(&now, 7, vec![approved(&join, &[1, 2, 3, 4])]), Err(votes(4, 4)), "no more than it takes");
}

#[test]
fn under_sponsor_an_invitation_is_enough_and_approvals_have_no_place() {
    let (now, join) = (committee(4), join(100, 50));
    let sponsor = Closing { admission: Admission::Sponsor, ..closing(7) };
    assert!(now.next(&sponsor, &[approved(&join, &[])]).is_ok());
    let error = OperationError::Votes { counting: 3, found: 3, needed: 0 };
    assert_eq!(now.next(&sponsor, &[approved(&join, &[1, 2, 3])]), Err(error));
    assert_eq!(now.next(&sponsor, &[evict(4, 0, &[1, 2])]), Err(votes(2, 2)), "evictions are voted on all the same");
    assert!(now.next(&sponsor, &[evict(4, 0, &[1, 2, 3])]).is_ok());
}

#[test]
fn approvals_that_are_forged_doubled_or_meant_for_another_network_or_join_do_not_hold() {
    let good = join(100, 50);
    let holds = |ballots: Vec<Ballot>| {
        Operation::Join(Box::new(Join { approvals: ballots, ..good.clone() })).holds(&NETWORK, &Ed25519)
    };
    let vote = good.approve(&NETWORK, &key(2), 40);
    assert!(holds(vec![vote]));
    assert!(!holds(vec![vote, vote]), "twice the same");
    assert!(!holds(vec![vote, good.approve(&NETWORK, &key(2), 41)].into_iter().rev().collect()), "one voter twice");
    assert!(!holds(vec![good.approve(&Digest([6; 32]), &key(2), 40)]), "another network");
    assert!(!holds(vec![Ballot { voter: key(3).public(), ..vote }]), "another voter's name");
    assert!(!holds(vec![Ballot { until: 41, ..vote }]), "good for longer than it was meant");
    let mut both = vec![vote, good.approve(&NETWORK, &key(3), 40)];
    both.sort_by_key(|ballot| std::cmp::Reverse(ballot.voter));
    assert!(!holds(both), "out of order");
    let others = [
        join(101, 50),
        join(100, 51),
        Join { name: "another".into(), ..good.clone() },
        Join { invite: Invite { role: Role::Contributor, ..good.invite }, ..good.clone() },
        Join { invite: Invite { expires: 51, ..good.invite }, ..good.clone() },
        Join { invite: Invite { sponsor: key(2).public(), ..good.invite }, ..good.clone() },
    ];
    for other in others {
        assert!(!holds(vec![other.approve(&NETWORK, &key(2), 40)]), "an approval of {other:?}");
    }
    let goes = EvictVote::new(&NETWORK, key(50).public(), 0, &key(2), 40);
    assert!(!holds(goes.votes.clone()), "a vote to send it away is no approval");
    assert!(!Operation::EvictVote(EvictVote { votes: vec![vote], ..goes }).holds(&NETWORK, &Ed25519));
}

#[test]
fn votes_of_strangers_contributors_former_voters_and_rotated_keys_do_not_count_and_nor_do_lapsed_ones() {
    let contributor = Invite::new(&NETWORK, &key(2), key(90).public(), Role::Contributor, 50);
    let contributor = Join::new(&NETWORK, contributor, &key(90), &key(60), "contributor".into());
    let now = after(&committee(5), 3, vec![approved(&contributor, &[1, 2, 3, 4])]).unwrap();
    let now = after(&now, 4, vec![Operation::Leave(Leave::new(&NETWORK, &key(5), 0))]).unwrap();
    let rotate = Operation::Rotate(Box::new(Rotate::new(&NETWORK, &key(4), &key(44), 0)));
    let now = after(&now, 5, vec![rotate]).unwrap();
    let join = join(100, 50);
    for (third, who) in [(77, "a stranger"), (60, "a contributor"), (5, "who left"), (4, "a key that was changed")] {
        assert_eq!(after(&now, 7, vec![approved(&join, &[1, 2, third])]), Err(votes(2, 3)), "{who}");
        assert_eq!(after(&now, 7, vec![evict(3, 0, &[1, 2, third])]), Err(votes(2, 3)), "{who}");
    }
    assert!(after(&now, 7, vec![approved(&join, &[1, 2, 44])]).is_ok(), "the new key votes anew");
    assert!(after(&now, 40, vec![approved(&join, &[1, 2, 3])]).is_ok());
    assert_eq!(after(&now, 41, vec![approved(&join, &[1, 2, 3])]), Err(votes(0, 3)), "lapsed");
}

#[test]
fn a_quorum_of_votes_sends_a_member_away_and_one_vote_less_does_not() {
    let now = committee(4);
    assert_eq!(after(&now, 7, vec![evict(4, 0, &[1, 2])]), Err(votes(2, 2)));
    let operation = evict(4, 0, &[1, 2, 3]);
    assert!(operation.holds(&NETWORK, &Ed25519));
    let next = after(&now, 7, vec![operation.clone()]).unwrap();
    assert_eq!((next.place(&key(4).public()), next.voters()), (None, 3));
    assert_eq!(next.check(&operation, 8, 2), Err(OperationError::NotMember), "once is enough");
    // Its key stays out, whatever invitations it has; who holds it can be invited anew with another.
    let next = Committee { members: committee(3).members, ..next };
    assert_eq!(after(&next, 9, vec![approved(&join(100, 4), &[1, 2])]), Err(OperationError::Evicted));
    assert!(after(&next, 9, vec![approved(&join(100, 54), &[1, 2])]).is_ok());
}

#[test]
fn a_vote_from_an_earlier_membership_means_nothing() {
    let now = after(&committee(4), 3, vec![approved(&join(100, 50), &[1, 2, 3])]).unwrap();
    let early = evict(50, 4, &[1, 2, 3, 4]);
    assert_eq!(now.check(&early, 5, 2), Ok(()));
    let left = after(&now, 5, vec![Operation::Leave(Leave::new(&NETWORK, &key(50), 4))]).unwrap();
    let back = after(&left, 6, vec![approved(&join(101, 50), &[1, 2, 3])]).unwrap();
    assert_eq!(back.check(&early, 7, 2), Err(OperationError::NotMember));
    let Operation::EvictVote(vote) = early else { panic!() };
    assert!(
        !Operation::EvictVote(EvictVote { since: 7, ..vote }).holds(&NETWORK, &Ed25519),
        "signed for the first one"
    );
    let again = approved(&join(100, 50), &[1, 2, 3]);
    assert_eq!(left.check(&again, 7, 2), Err(OperationError::Spent), "and an approval goes with its ticket");
}

#[test]
fn the_voters_of_the_epoch_that_ends_decide_whoever_goes_with_it() {
    // Five voters decide by four; with one of them gone, three would do.
    let now = committee(5);
    let leave = Operation::Leave(Leave::new(&NETWORK, &key(1), 0));
    let with = |operation: Operation| after(&now, 7, vec![leave.clone(), operation]);
    assert_eq!(with(evict(4, 0, &[2, 3, 5])), Err(OperationError::Votes { counting: 3, found: 3, needed: 4 }));
    let next = with(evict(4, 0, &[1, 2, 3, 5])).unwrap();
    assert_eq!(next.voters(), 3);
    let mut both = [leave, evict(4, 0, &[2, 3, 5])];
    both.sort_by_key(Operation::subject);
    assert_eq!(now.select(&closing(7), both.iter()).len(), 1);
}
