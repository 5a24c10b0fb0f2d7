//! Members that the others vote in and out.

use super::*;
use crate::artefact::ArtefactRef;
use crate::codec;
use crate::envelope::MAX_MESSAGE_BYTES;
use crate::membership::{Admission, Ballot, EvictVote, Invite, Join, Leave, MAX_INPUTS, MAX_MEMBER_NAME_BYTES, Role};
use crate::message::{MAX_OPERATIONS_BYTES, Proposal};

fn key(i: u8) -> SecretKey {
    SecretKey::from_bytes(&[i; 32])
}

impl World {
    fn voting(n: u8, rounds: u64) -> Self {
        let (manifest, secrets) = testing::network(n, vec![TensorSpec::new("w", &[4], 4)]);
        Self::of(Manifest { rounds, admission: Admission::Vote, ..manifest }, secrets)
    }

    fn request(&self, sponsor: usize, ticket: u8, who: u8) -> Join {
        let (network, ticket) = (self.network(), key(ticket));
        let invite = Invite::new(&network, &self.nodes[sponsor].secret, ticket.public(), Role::Voter, 1000);
        Join::new(&network, invite, &ticket, &key(who), format!("peer {who}"))
    }

    /// Hands an operation to its voter's own machine.
    fn say(&mut self, to: usize, operation: &Operation) {
        let bytes = self.sealed(to, &super::super::operations::SLOT, &Message::Operation(operation.clone()));
        self.hear(to, to, &bytes);
    }

    fn approve(&mut self, voter: usize, join: &Join) {
        let approval = join.approve(&self.network(), &self.nodes[voter].secret, 1000);
        self.say(voter, &Operation::Join(Box::new(join.clone())).with_ballots(vec![approval]));
    }

    fn vote_out(&mut self, voter: usize, member: &PublicKey, until: u64) {
        let committee = self.state(voter).committee();
        let since = committee.members[usize::from(committee.place(member).unwrap())].since;
        let vote = EvictVote::new(&self.network(), *member, since, &self.nodes[voter].secret, until);
        self.say(voter, &Operation::EvictVote(vote));
    }

    fn tally(&self, node: usize, subject: &PublicKey) -> Option<usize> {
        self.state(node).motions.get(subject).map(|motion| motion.ballots().len())
    }

    fn is_member(&self, key: &PublicKey) -> bool {
        self.state(0).committee().place(key).is_some()
    }
}

#[test]
fn a_newcomer_is_let_in_once_a_quorum_has_approved_and_not_before() {
    let mut world = World::voting(4, 20);
    assert!(world.run_to(1));
    let (join, who) = (world.request(0, 150, 50), key(50).public());
    let newcomer = world.add(key(50));
    world.say(0, &Operation::Join(Box::new(join.clone())));
    for voter in [0, 3] {
        let round = world.state(0).head().round;
        assert!(world.run_to(round + 2));
        assert!(!world.is_member(&who));
        world.approve(voter, &join);
    }
    assert!(world.run_to(7));
    assert!(!world.is_member(&who));
    assert!((0..4).all(|node| world.tally(node, &who) == Some(2)), "everybody has gathered the votes");
    world.approve(2, &join);
    assert!(world.run_to(10));
    assert!(world.is_member(&who) && world.agreed());
    assert_eq!(world.state(newcomer).me(), world.state(0).committee().place(&who));
    assert_eq!(world.state(0).head().inputs, 5, "it takes part");
    assert!((0..4).all(|node| world.tally(node, &who).is_none()), "what is decided is forgotten");
    let last = |e: &(usize, Event)| matches!(e.1, Event::Motion { subject, votes: 3, needed: 3, .. } if subject == who);
    assert_eq!(world.events.iter().filter(|e| last(e)).count(), 5, "and all are told, the newcomer, too");
}

#[test]
fn a_dead_member_is_voted_out_by_the_others_and_its_key_stays_out() {
    let mut world = World::new(4, 20);
    world.down.insert(3);
    assert!(world.run_to(1));
    let dead = world.nodes[3].secret.public();
    for voter in [0, 1] {
        world.vote_out(voter, &dead, 1000);
    }
    assert!(world.run_to(4));
    assert!(world.is_member(&dead), "two of three votes that it takes");
    world.vote_out(2, &dead, 1000);
    assert!(world.run_to(8));
    assert!(!world.is_member(&dead) && world.agreed());
    assert_eq!(world.state(0).committee().evicted, [dead]);
    assert_eq!((world.state(0).head().quorum, world.state(0).motions.len()), (2, 0));
    let join = world.request(0, 150, 50);
    let back = Join::new(&world.network(), join.invite, &key(150), &world.nodes[3].secret, "back again".into());
    world.say(0, &Operation::Join(Box::new(back)));
    assert!(world.run_to(11));
    assert!(!world.is_member(&dead));
}

#[test]
fn votes_of_a_member_that_left_and_votes_that_lapsed_are_dropped() {
    let mut world = World::voting(5, 40);
    assert!(world.run_to(1));
    let (unwanted, join) = (world.nodes[4].secret.public(), world.request(0, 150, 50));
    for voter in [0, 1] {
        world.vote_out(voter, &unwanted, if voter == 0 { 1000 } else { 4 });
        world.approve(voter, &join);
    }
    assert!(world.run_to(3));
    assert_eq!((world.tally(2, &unwanted), world.tally(2, &key(50).public())), (Some(2), Some(2)));
    assert!(world.run_to(5));
    assert_eq!(world.tally(2, &unwanted), Some(1), "one was good until round 4");
    let leave = Operation::Leave(Leave::new(&world.network(), &world.nodes[1].secret.clone(), 0));
    world.say(0, &leave);
    assert!(world.run_to(8));
    assert_eq!((world.tally(2, &unwanted), world.tally(2, &key(50).public())), (Some(1), Some(1)));
    // Four are left, which decide by three: two more votes, and the one that is still good.
    for voter in [2, 3] {
        world.approve(voter, &join);
    }
    assert!(world.run_to(11));
    assert!(world.is_member(&key(50).public()) && world.is_member(&unwanted));
}

#[test]
fn a_vote_is_said_once_and_a_second_one_of_the_same_voter_adds_nothing() {
    let mut world = World::voting(4, 5);
    let join = world.request(0, 150, 50);
    let approval = |until| {
        Operation::Join(Box::new(join.clone())).with_ballots(vec![join.approve(
            &world.network(),
            &world.nodes[1].secret,
            until,
        )])
    };
    let (first, second) = (approval(1000), approval(1001));
    let mut said = Vec::new();
    for operation in [&first, &first, &second] {
        let mut out = super::super::Out { now: Timestamp(0), effects: Vec::new() };
        world.nodes[0].state.on_operation(operation.clone(), &mut out);
        said.push(out.effects.iter().filter(|e| matches!(e, Effect::Say { .. })).count());
    }
    assert_eq!(said, [1, 0, 0]);
    assert_eq!(world.tally(0, &key(50).public()), Some(1));
}

#[test]
fn a_lying_voter_fills_neither_the_ballots_nor_the_queue_of_joins() {
    use super::super::motions::{MAX_OPEN_VOTES, MAX_WAITING_JOINS};
    let (manifest, secrets) = testing::network(40, vec![TensorSpec::new("w", &[4], 4)]);
    let manifest = Manifest { sponsor_cap: 100, admission: Admission::Vote, ..manifest };
    let mut world = World::of(manifest, secrets);
    let keys: Vec<PublicKey> = world.nodes.iter().map(|node| node.secret.public()).collect();
    let hear = |world: &mut World, operation: Operation| {
        let mut out = super::super::Out { now: Timestamp(0), effects: Vec::new() };
        world.nodes[0].state.on_operation(operation, &mut out);
    };
    let (network, liar, honest) = (world.network(), world.nodes[7].secret.clone(), world.nodes[8].secret.clone());
    for member in &keys {
        hear(&mut world, Operation::EvictVote(EvictVote::new(&network, *member, 0, &liar, 1000)));
    }
    assert_eq!(world.state(0).motions.len(), MAX_OPEN_VOTES);
    let open = *world.state(0).motions.keys().next().unwrap();
    let other = keys.iter().find(|key| world.tally(0, key).is_none()).copied().unwrap();
    for (member, votes) in [(open, 2), (other, 1)] {
        hear(&mut world, Operation::EvictVote(EvictVote::new(&network, member, 0, &honest, 1000)));
        assert_eq!(world.tally(0, &member), Some(votes), "an honest voter has its own room");
    }
    // A stranger's vote for something new, or old, is none.
    hear(&mut world, Operation::EvictVote(EvictVote::new(&network, keys[39], 0, &key(200), 1000)));
    hear(&mut world, Operation::EvictVote(EvictVote::new(&network, open, 0, &key(200), 1000)));
    assert_eq!((world.tally(0, &open), world.state(0).motions.len()), (Some(2), MAX_OPEN_VOTES + 1));
    let before = world.state(0).motions.len();
    for i in 0..10 {
        let join = world.request(7, 100 + i, 150 + i);
        let approval = join.approve(&network, &liar, 1000);
        hear(&mut world, Operation::Join(Box::new(join)).with_ballots(vec![approval]));
    }
    assert_eq!(world.state(0).motions.len(), before + MAX_WAITING_JOINS / 40);
    let held = (world.state(0).held(), super::super::Held::most(world.state(0).committee(), 0));
    assert!(held.0.fits(&held.1) && held.0.ballots > 0, "{held:?}");
    let join = world.request(8, 120, 170);
    hear(&mut world, Operation::Join(Box::new(join)));
    assert_eq!(world.tally(0, &key(170).public()), Some(0), "an honest sponsor has its own room");
}

#[test]
fn one_vote_against_a_member_does_not_keep_it_from_leaving() {
    let mut world = World::new(5, 12);
    assert!(world.run_to(1));
    let leaver = world.nodes[4].secret.clone();
    world.vote_out(0, &leaver.public(), 1000);
    assert!(world.run_to(3));
    let leave = Operation::Leave(Leave::new(&world.network(), &leaver, 0));
    world.say(1, &leave);
    assert!(world.run_to(6));
    assert!(!world.is_member(&leaver.public()));
    assert_eq!(world.state(0).committee().evicted, []);
    assert_eq!(world.state(0).motions.len(), 0);
}

#[test]
fn a_message_brings_one_vote_and_a_record_a_quorum() {
    let world = World::voting(4, 1);
    let join = world.request(0, 150, 50);
    let approvals: Vec<Ballot> =
        world.nodes.iter().map(|node| join.approve(&world.network(), &node.secret, 1000)).collect();
    let join = Operation::Join(Box::new(join));
    for (votes, opens) in [(0, true), (1, true), (2, false), (3, false)] {
        let message = Message::Operation(join.with_ballots(approvals[..votes].to_vec()));
        let bytes = world.sealed(0, &super::super::operations::SLOT, &message);
        assert_eq!(world.nodes[1].verifier.open(&bytes).is_ok(), opens, "{votes} votes");
    }
}

/// A network of the largest committee, in which more than a quorum has approved two joins with the longest names.
fn largest() -> World {
    let mut world = World::voting(64, 1);
    let network = world.network();
    for i in 0..2 {
        // Another voter would not fit in.
        let sponsor = &world.nodes[usize::from(i)].secret;
        let invite = Invite::new(&network, sponsor, key(150 + i).public(), Role::Contributor, 1000);
        let join = Join::new(&network, invite, &key(150 + i), &key(100 + i), "n".repeat(MAX_MEMBER_NAME_BYTES));
        for voter in 0..50 {
            let approval = join.approve(&network, &world.nodes[voter].secret, 1000);
            let operation = Operation::Join(Box::new(join.clone())).with_ballots(vec![approval]);
            let mut out = super::super::Out { now: Timestamp(0), effects: Vec::new() };
            world.nodes[0].state.on_operation(operation, &mut out);
        }
    }
    world
}

#[test]
fn a_proposal_with_a_full_set_of_inputs_and_as_many_votes_as_are_chosen_fits_into_a_message() {
    let mut world = largest();
    let chosen = world.state(0).chosen_operations();
    assert_eq!(chosen.len(), 1, "the other has to wait for the next record");
    assert_eq!(chosen[0].ballots().len(), 43);
    world.nodes[0].state.motions.remove(&chosen[0].subject());
    let other = world.state(0).chosen_operations();
    assert!(other.len() == 1 && other[0].subject() != chosen[0].subject(), "then it has its turn");
    // As many bytes of operations as may be, whatever they are.
    let mut operations = chosen;
    let spent = |operations: &Vec<Operation>| codec::encode(operations).unwrap().len();
    for node in &world.nodes {
        operations.push(Operation::Leave(Leave::new(&world.network(), &node.secret, 0)));
        if spent(&operations) > MAX_OPERATIONS_BYTES {
            operations.pop();
        }
    }
    operations.sort_by_key(Operation::subject);
    assert!(MAX_OPERATIONS_BYTES - spent(&operations) < 120, "{}", spent(&operations));
    let list = |n: usize| (0..n as u16).map(|i| (i, Digest([7; 32]))).collect();
    let (host, digest) = (world.nodes[0].secret.public(), Digest([7; 32]));
    let artefact = ArtefactRef { job_round: 1, host, statement: digest, blob_root: digest, blob_len: u32::MAX };
    let body = RecordBody { receipts: list(43), inputs: list(MAX_INPUTS), artefact: Some(artefact), operations };
    let record = Record { misses: vec![0; 64], ..world.state(0).head().clone() };
    let proposal = Proposal { record, body, notarized_in: Some(1) };
    let slot = Slot { kind: Kind::Proposal, epoch: 0, round: 1, view: 2 };
    let message = Message::Proposal(Box::new(proposal));
    let bytes = seal(&world.nodes[0].secret, &world.network(), &slot, 0, &message).unwrap();
    assert!(bytes.len() <= MAX_MESSAGE_BYTES, "{}", bytes.len());
}
