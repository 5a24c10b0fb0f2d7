#![allow(clippy::unwrap_used)]

use super::*;
use crate::keys::{Ed25519, SecretKey};

const NETWORK: Digest = Digest([5; 32]);
const CAP: u16 = 2;

fn key(i: u8) -> SecretKey {
    SecretKey::from_bytes(&[i; 32])
}

/// Voters with keys 1 to `n`.
fn committee(n: u8) -> Committee {
    let mut keys: Vec<_> = (1..=n).map(|i| key(i).public()).collect();
    keys.sort_unstable();
    Committee::of_keys(0, keys)
}

fn closing(round: u64, misses: &[u8]) -> Closing<'_> {
    Closing { round, misses, sponsor_cap: CAP, admission: Admission::Sponsor }
}

fn join(sponsor: u8, ticket: u8, who: u8, role: Role) -> Operation {
    let ticket = key(ticket);
    let invite = Invite::new(&NETWORK, &key(sponsor), ticket.public(), role, 20);
    Operation::Join(Box::new(Join::new(&NETWORK, invite, &ticket, &key(who), format!("peer {who}"))))
}

fn leave(who: u8, since: u64) -> Operation {
    Operation::Leave(Leave::new(&NETWORK, &key(who), since))
}

fn after(committee: &Committee, round: u64, mut operations: Vec<Operation>) -> Result<Committee, OperationError> {
    operations.sort_by_key(Operation::subject);
    committee.next(&closing(round, &[]), &operations)
}

#[test]
fn an_invited_key_joins_in_the_role_of_its_invitation() {
    let next =
        after(&committee(4), 7, vec![join(1, 100, 50, Role::Voter), join(2, 101, 51, Role::Contributor)]).unwrap();
    assert_eq!((next.epoch, next.first_round, next.voters(), next.members.len()), (1, 8, 5, 6));
    let place = next.place(&key(50).public()).unwrap();
    assert_eq!(next.voter(place), Some(&key(50).public()));
    assert_eq!(next.place(&key(51).public()), Some(5));
    assert_eq!(next.voter(5), None, "a contributor has no vote");
    assert!(next.members[..5].is_sorted_by_key(|m| m.key));
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    use OperationError as E;
    let now = committee(4);
    let cases = [
        (join(60, 100, 50, Role::Voter), 7, E::Sponsor),
        (join(1, 100, 50, Role::Voter), 21, E::Expired),
        (join(1, 100, 2, Role::Voter), 7, E::Member),
        (leave(50, 0), 7, E::NotMember),
        (leave(1, 3), 7, E::NotMember),
    ];
    for (operation, round, error) in cases {
        assert_eq!(now.check(&operation, round, CAP), Err(error));
    }
    assert_eq!(committee(1).check(&leave(1, 0), 7, CAP), Err(E::LastVoter));
    let joined = after(&now, 7, vec![join(1, 100, 50, Role::Voter)]).unwrap();
    assert_eq!(joined.check(&join(1, 100, 51, Role::Voter), 9, CAP), Err(E::Spent));
    let full = after(&joined, 8, vec![join(1, 101, 51, Role::Voter)]).unwrap();
    assert_eq!(full.check(&join(1, 102, 52, Role::Voter), 9, CAP), Err(E::SponsorCap));
    // By then the ticket has expired, and need not be remembered.
    assert!(after(&full, 20, vec![]).unwrap().spent.is_empty());
    let twice = [leave(1, 0), leave(1, 0)];
    assert_eq!(now.next(&closing(7, &[]), &twice), Err(E::Order));
}

#[test]
fn joins_at_one_boundary_are_bounded() {
    let now = committee(7);
    let five: Vec<_> = (0..5).map(|i| join(1 + i, 100 + i, 50 + i, Role::Voter)).collect();
    assert_eq!(after(&now, 7, five.clone()), Err(OperationError::TooManyJoins));
    let mut sorted = five;
    sorted.sort_by_key(Operation::subject);
    assert_eq!(now.select(&closing(7, &[]), sorted.iter()).len(), 4);
}

#[test]
fn a_signature_by_another_key_or_for_another_network_does_not_hold() {
    let good = join(1, 100, 50, Role::Voter);
    assert!(good.holds(&NETWORK, &Ed25519));
    assert!(!good.holds(&Digest([6; 32]), &Ed25519));
    let Operation::Join(join) = good else { panic!() };
    let Join { invite, key: who, .. } = join.as_ref();
    let forgeries = [
        Join { key: key(51).public(), ..join.as_ref().clone() },
        Join { name: "another".into(), ..join.as_ref().clone() },
        Join { invite: Invite { role: Role::Contributor, ..*invite }, ..join.as_ref().clone() },
        Join { invite: Invite { expires: 21, ..*invite }, ..join.as_ref().clone() },
        Join { invite: Invite { sponsor: *who, ..*invite }, ..join.as_ref().clone() },
        Join { signature: join.ticket_signature, ..join.as_ref().clone() },
    ];
    for forgery in forgeries {
        assert!(!Operation::Join(Box::new(forgery.clone())).holds(&NETWORK, &Ed25519), "{forgery:?}");
    }
}

#[test]
fn a_key_is_rotated_with_its_sponsorships_and_the_old_one_means_nothing_any_more() {
    let joined = after(&committee(4), 7, vec![join(1, 100, 50, Role::Voter)]).unwrap();
    let rotate = Operation::Rotate(Box::new(Rotate::new(&NETWORK, &key(1), &key(70), 0)));
    assert!(rotate.holds(&NETWORK, &Ed25519));
    let next = after(&joined, 9, vec![rotate.clone()]).unwrap();
    assert_eq!(next.place(&key(1).public()), None);
    let invited = &next.members[usize::from(next.place(&key(50).public()).unwrap())];
    assert_eq!(invited.sponsor, key(70).public());
    assert_eq!(next.check(&rotate, 10, CAP), Err(OperationError::NotMember));
    let stale = Operation::Leave(Leave::new(&NETWORK, &key(70), 0));
    assert_eq!(next.check(&stale, 10, CAP), Err(OperationError::NotMember), "of the membership before");
}

#[test]
fn voters_that_let_two_turns_pass_are_suspended_ever_longer_and_never_more_than_may_be_faulty() {
    let now = committee(7);
    let mut misses = [0; 7];
    (misses[2], misses[4]) = (2, 3);
    let next = now.next(&closing(15, &misses), &[]).unwrap();
    let out = |c: &Committee| (0..7u16).filter(|v| !c.order(&Digest([1; 32])).contains(v)).collect::<Vec<_>>();
    assert_eq!(out(&next), [2, 4]);
    assert_eq!(next.members[2].suspended_until, 1 + 2);
    let third = next.next(&closing(31, &[2, 0, 0, 0, 0, 0, 0]), &[]).unwrap();
    assert_eq!(out(&third).len(), 2, "two of seven may be faulty");
    assert!(out(&third).contains(&0), "those suspended longest return first");
    // Again when it is back: twice as long.
    let mut later = next;
    for round in [31, 47, 63] {
        later = later.next(&closing(round, &[0, 0, 2, 0, 0, 0, 0]), &[]).unwrap();
    }
    assert_eq!(later.members[2].strikes, MAX_STRIKES);
    // Three members survive crashes only, and none may be left out.
    assert_eq!(committee(3).next(&closing(15, &[9, 9, 9]), &[]).unwrap().order(&Digest([1; 32])).len(), 3);
}

#[test]
fn every_contributor_has_its_turn() {
    let mut now = committee(4);
    for i in 0..500u16 {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&i.to_le_bytes());
        bytes[31] = 1;
        let key = PublicKey(bytes);
        now.members.push(Member::new(key, Role::Contributor, key, String::new(), 0));
    }
    let seed = Digest([3; 32]);
    let mut turns = [0; 504];
    for round in 0..500 {
        let chosen = now.contributors(&seed, round);
        assert_eq!(chosen.len(), MAX_CONTRIBUTORS_PER_ROUND);
        assert!(chosen.is_sorted_by(|a, b| a < b));
        chosen.iter().for_each(|place| turns[usize::from(*place)] += 1);
    }
    assert!(turns[..4].iter().all(|n| *n == 0));
    assert!(turns[4..].iter().all(|n| *n == MAX_CONTRIBUTORS_PER_ROUND), "{turns:?}");
}
