//! Rounds whose membership changes.

use super::*;
use crate::membership::{Invite, Join, Leave, Role, Rotate};

fn key(i: u8) -> SecretKey {
    SecretKey::from_bytes(&[i; 32])
}

impl World {
    fn invited(&self, sponsor: usize, ticket: u8, who: u8, role: Role) -> Operation {
        let (network, ticket) = (self.network(), key(ticket));
        let invite = Invite::new(&network, &self.nodes[sponsor].secret, ticket.public(), role, 1000);
        Operation::Join(Box::new(Join::new(&network, invite, &ticket, &key(who), format!("peer {who}"))))
    }

    /// Hands an operation to one member, as its author would.
    fn submit(&mut self, to: usize, operation: Operation) {
        let bytes = self.sealed(to, &super::super::operations::SLOT, &Message::Operation(operation));
        self.hear(to, to, &bytes);
    }

    fn voters(&self) -> usize {
        self.state(0).committee().voters()
    }
}

#[test]
fn a_network_of_two_grows_to_five_and_shrinks_again() {
    let mut world = World::new(2, 60);
    assert!(world.run_to(1));
    for (who, sponsor) in [(50, 0), (51, 1), (52, 0)] {
        let operation = world.invited(sponsor, 100 + who, who, Role::Voter);
        world.add(key(who));
        world.submit(sponsor, operation);
    }
    assert!(world.run_to(5));
    assert_eq!((world.voters(), world.state(0).head().inputs), (5, 5), "newcomers take part");
    assert_eq!(world.state(0).head().quorum, 4, "five tolerate a liar");
    let committee = Arc::clone(world.state(0).committee());
    for who in [50, 51, 52] {
        let member = &committee.members[usize::from(committee.place(&key(who).public()).unwrap())];
        let operation = Operation::Leave(Leave::new(&world.network(), &key(who), member.since));
        world.submit(0, operation);
    }
    assert!(world.run_to(9));
    assert!(world.agreed());
    assert_eq!((world.voters(), world.state(0).head().inputs), (2, 2));
    assert_eq!(world.state(0).head().quorum, 2);
    let epochs = world.state(0).head().epoch;
    assert!(epochs >= 2, "operations end an epoch early: {epochs}");
}

#[test]
fn an_uninvited_key_gets_no_vote_whatever_it_sends() {
    let mut world = World::new(4, 3);
    let stranger = key(77);
    let network = world.network();
    for kind in
        [Kind::Update, Kind::Receipt, Kind::Proposal, Kind::Notarize, Kind::Nullify, Kind::Finalize, Kind::Status]
    {
        let message = match kind {
            Kind::Update => Message::Update(world.header(0, Digest::ZERO)),
            Kind::Receipt => Message::Receipt(crate::message::Receipt { items: Vec::new(), artefacts: Vec::new() }),
            Kind::Status => Message::Status(Status::default()),
            Kind::Nullify => Message::Vote(Digest::ZERO),
            _ => Message::Vote(Digest([1; 32])),
        };
        for place in [0, 3, 4, u16::MAX] {
            let slot = Slot { kind, epoch: 0, round: 1, view: 0 };
            let bytes = seal(&stranger, &network, &slot, place, &message).unwrap();
            assert!(world.nodes[0].verifier.open(&bytes).is_err(), "{kind:?} as {place}");
        }
    }
    // Inviting itself does not help either.
    let invite = Invite::new(&network, &stranger, key(78).public(), Role::Voter, 1000);
    let join = Join::new(&network, invite, &key(78), &stranger, "nobody".into());
    world.submit(0, Operation::Join(Box::new(join)));
    assert!(world.run_to(3));
    assert_eq!(world.voters(), 4);
    assert!(world.state(0).pool.is_empty());
}

#[test]
fn a_member_that_says_two_things_is_evicted_with_a_proof_and_stays_out() {
    let mut world = World::new(5, 12);
    let liar = world.aggregator(3);
    let (liar_key, base) = (world.nodes[liar].secret.public(), world.state(0).head_hash());
    world.untrained.insert(liar);
    let slot = Slot { kind: Kind::Update, epoch: 0, round: 1, view: 0 };
    for samples in [1, 2] {
        let header = UpdateHeader { samples, ..world.header(liar, base) };
        let bytes = world.sealed(liar, &slot, &Message::Update(header));
        world.deliver(liar, Recipient::All, &bytes);
    }
    assert!(world.run_to(1));
    let head = world.state(0).head();
    assert_eq!((head.inputs, head.closes_epoch, world.voters()), (4, true, 4));
    assert!(world.run_to(4));
    assert!(world.agreed());
    for (i, node) in world.nodes.iter().enumerate().filter(|(i, _)| *i != liar) {
        assert_eq!(node.state.committee().place(&liar_key), None);
        let [proof] = node.evidence.as_slice() else { panic!("member {i} has {:?}", node.evidence) };
        assert_eq!(proof.author, liar_key);
        proof.check(&world.network()).unwrap();
    }
    let operation = {
        let (network, ticket) = (world.network(), key(99));
        let sponsor = world.aggregator(0);
        let invite = Invite::new(&network, &world.nodes[sponsor].secret, ticket.public(), Role::Voter, 1000);
        Join::new(&network, invite, &ticket, &world.nodes[liar].secret, "back again".into())
    };
    world.submit(world.aggregator(0), Operation::Join(Box::new(operation)));
    assert!(world.run_to(7));
    assert_eq!(world.voters(), 4);
}

#[test]
fn whoever_votes_to_nullify_and_to_finalize_in_one_view_is_caught() {
    let mut world = World::new(4, 1);
    let liar = 2;
    for kind in [Kind::Nullify, Kind::Finalize] {
        let vote = if kind == Kind::Nullify { Digest::ZERO } else { Digest([1; 32]) };
        let slot = Slot { kind, epoch: 0, round: 1, view: 0 };
        let bytes = world.sealed(liar, &slot, &Message::Vote(vote));
        world.hear(0, liar, &bytes);
    }
    while !world.nodes[0].evidence.iter().any(|proof| proof.author == world.nodes[liar].secret.public()) {
        assert!(world.advance());
    }
}

#[test]
fn an_aggregator_that_is_silent_twice_is_out_of_the_next_epochs_and_comes_back() {
    let mut world = World::new(4, 64);
    let silent = 1;
    let place = world.state(0).committee().place(&world.nodes[silent].secret.public()).unwrap();
    world.lost.insert((silent, Kind::Proposal));
    while world.state(0).order.len() == 4 {
        let next = world.state(0).head().round + 1;
        assert!(next < 20 && world.run_to(next), "not suspended by round {next}");
    }
    assert!(!world.state(0).order.contains(&place));
    let since = world.state(0).head().round;
    world.lost.clear();
    assert!(world.run_to(since + 8));
    let views: Vec<_> = world.events.iter().filter(|(i, _)| *i == 0).collect();
    let late = |e: &Event| matches!(e, Event::RoundCommitted { round, view: 1.., .. } if *round > since);
    assert!(!views.iter().any(|(_, e)| late(e)), "no view is wasted on it meanwhile");
    assert!(world.run_to(since + 12));
    assert!(world.agreed());
    assert_eq!(world.state(0).order.len(), 4, "it is back");
}

#[test]
fn a_member_away_over_several_epochs_follows_the_chain_of_committees() {
    let mut world = World::new(4, 40);
    world.down.insert(3);
    assert!(world.run_to(2));
    let operation = world.invited(0, 100, 50, Role::Voter);
    world.add(key(50));
    world.submit(0, operation);
    assert!(world.run_to(13));
    assert!(world.state(0).committee().epoch >= 3);
    world.down.remove(&3);
    world.step(3, Input::Start);
    assert!(world.run_to(16));
    assert!(world.agreed());
    assert_eq!(world.state(3).committee(), world.state(0).committee());
    assert_eq!(world.state(0).head().inputs, 5);
}

#[test]
fn a_rotated_key_goes_on_where_the_old_one_was() {
    let mut world = World::new(4, 10);
    assert!(world.run_to(1));
    let old = world.nodes[2].secret.clone();
    let rotate = Rotate::new(&world.network(), &old, &key(90), 0);
    world.submit(0, Operation::Rotate(Box::new(rotate)));
    let new = world.add(key(90));
    assert!(world.run_to(4));
    assert_eq!(world.voters(), 4);
    assert_eq!(world.state(0).committee().place(&old.public()), None);
    assert_eq!(world.state(2).me(), None, "the old key follows, and says nothing");
    assert_eq!(world.state(0).head().inputs, 4);
    assert!(world.state(new).me().is_some());
}

#[test]
fn contributors_contribute_and_do_not_vote() {
    let mut world = World::new(4, 8);
    assert!(world.run_to(1));
    for who in [60, 61] {
        let operation = world.invited(0, 100 + who, who, Role::Contributor);
        world.add(key(who));
        world.submit(0, operation);
    }
    assert!(world.run_to(6));
    assert!(world.agreed());
    let committee = world.state(0).committee();
    assert_eq!((committee.voters(), committee.members.len(), world.state(0).head().inputs), (4, 6, 6));
    for node in &world.nodes[4..] {
        let kinds: BTreeSet<_> = node.log.iter().map(|bytes| Verifier::peek(bytes).unwrap().0.kind).collect();
        assert_eq!(kinds, BTreeSet::from([Kind::Update]));
    }
}

#[test]
fn a_history_without_the_invitations_checkpoint_is_not_followed() {
    let mut world = World::new(4, 6);
    world.down.insert(3);
    assert!(world.run_to(5));
    let (rules, committee) = (world.state(3).rules.clone(), Arc::clone(world.state(3).committee()));
    let closing = world.nodes[0].chain[0].record.round;
    let wrong = Rules { checkpoint: Some((closing, Digest([1; 32]))), ..rules.as_ref().clone() };
    world.nodes[3].state = State::new(Arc::new(wrong), None, committee);
    world.down.remove(&3);
    world.serve(0, 3);
    assert_eq!(world.state(3).head().round, 0);
    assert!(world.events.iter().any(|(i, e)| *i == 3 && matches!(e, Event::Halted { .. })));
}

#[test]
fn a_contributor_repeats_its_update_and_is_told_nothing_of_what_the_round_decides_on() {
    let mut world = World::new(4, 8);
    assert!(world.run_to(1));
    let operation = world.invited(0, 160, 60, Role::Contributor);
    let who = world.add(key(60));
    world.submit(0, operation);
    assert!(world.run_to(4));
    let (now, round) = (Timestamp(0), world.state(who).position().0);
    let header = world.header(who, world.state(who).head_hash());
    let slot = Slot { kind: Kind::Update, epoch: world.state(who).committee().epoch, round, view: 0 };
    let place = world.state(who).me().unwrap();
    let bytes = seal(&key(60), &world.network(), &slot, place, &Message::Update(header)).unwrap();
    let update = world.nodes[who].verifier.open(&bytes).unwrap();
    let state = &mut world.nodes[who].state;
    state.handle(Input::Message(update.clone()), now);
    let effects = state.handle(Input::Timer(Timer::Resend { round }), now);
    let repeats = |e: &Effect| matches!(e, Effect::Forward { to: Recipient::All, message } if *message == update);
    let asks = |e: &Effect| matches!(e, Effect::Say { to: Recipient::All, message: Message::Status(_), .. });
    assert!(effects.iter().any(repeats) && effects.iter().any(asks), "{effects:?}");
    let status = Status { finalized: round - 1, record: world.state(0).head_hash(), ..Status::default() };
    let state = &mut world.nodes[0].state;
    assert_eq!(state.position().0, round);
    let mut out = super::super::Out { now, effects: Vec::new() };
    state.round.answered.clear();
    state.on_status(place, &status, &mut out);
    assert_eq!(out.effects, Vec::new(), "it takes no part in what is decided");
    state.round.answered.clear();
    state.on_status(place, &Status { finalized: round - 2, ..status }, &mut out);
    assert!(matches!(out.effects[..], [Effect::Say { message: Message::Committed(_), .. }]), "a record it gets");
}
