//! Hosts of a generator: what they make is certified when it can be, and nothing waits for it.

use super::*;
use crate::artefact::{ArtefactRef, ArtefactShape, GeneratorSpec, MAX_ARTEFACT_LAG, MAX_ARTEFACTS, host_rank};
use crate::message::Artefact;
use crate::prototypes::PrototypeSpec;

const ROUNDS: u64 = 20;

fn world_of(epoch_length: u32, hosts: &[usize]) -> World {
    let (manifest, secrets) = testing::network(4, vec![TensorSpec::new("w", &[4], 4)]);
    let (id, keys) = (Digest([6; 32]), hosts.iter().map(|i| secrets[*i].public()).collect());
    let generator = GeneratorSpec { id, latent: 2, transformer: 3, per_class: 1, hosts: keys, wait_ms: 1 };
    let prototypes = Some(PrototypeSpec { len: 3, scale_bits: 24, summary: None });
    let manifest = Manifest { rounds: ROUNDS, epoch_length, prototypes, generator: Some(generator), ..manifest };
    assert_eq!(manifest.check(), Ok(()));
    World::of(manifest, secrets)
}

fn world() -> World {
    world_of(100, &[])
}

fn host(world: &World, i: usize) -> PublicKey {
    world.nodes[i].secret.public()
}

/// What node `i` makes of its head.
pub(super) fn made(world: &World, i: usize) -> Artefact {
    let head = world.state(i).head();
    Artefact {
        protos_root: head.protos_root,
        generator: world.manifest.generator.as_ref().unwrap().id,
        previous: Digest::ZERO,
        blob_root: hash("artefact", &[i as u8]),
        blob_len: ArtefactShape::of(&world.manifest).unwrap().len(2) as u32,
    }
}

fn certified(world: &World, i: usize) -> Vec<(u64, u64, PublicKey)> {
    let of = |(node, event): &(usize, Event)| match event {
        Event::ArtefactCertified { round, job_round, host } if *node == i => Some((*round, *job_round, *host)),
        _ => None,
    };
    world.events.iter().filter_map(of).collect()
}

fn refusals(world: &World, i: usize) -> usize {
    let refused = |(node, event): &&(usize, Event)| *node == i && matches!(event, Event::ArtefactRefused { .. });
    world.events.iter().filter(refused).count()
}

/// Node `i` says this of the job of its head, whatever its machine thinks of it.
fn say(world: &mut World, i: usize, job_round: u64, artefact: Artefact) {
    let state = world.state(i);
    let slot = Slot { kind: Kind::Artefact, epoch: state.committee.epoch, round: job_round, view: 0 };
    let bytes = world.sealed(i, &slot, &Message::Artefact(artefact));
    world.deliver(i, Recipient::All, &bytes);
}

/// The places in which hosts of this epoch come.
fn by_rank(world: &World) -> Vec<usize> {
    let seed = world.state(0).head().next_seeds().0;
    let mut nodes: Vec<usize> = (0..world.nodes.len()).collect();
    nodes.sort_by_key(|i| host_rank(&seed, &host(world, *i)));
    nodes
}

#[test]
fn what_a_host_makes_is_certified_within_its_time_and_stays_in_force() {
    let mut world = world();
    world.hosting.extend((1..=3).map(|job| (2, job)));
    assert!(world.run_to(8));
    assert!(world.agreed());
    for i in 0..4 {
        let mine = certified(&world, i);
        assert!(!mine.is_empty());
        assert_eq!(mine, certified(&world, 0));
        for (round, job, by) in &mine {
            assert_eq!(*by, host(&world, 2));
            assert!(job < round && *round <= job + MAX_ARTEFACT_LAG);
        }
        assert_eq!(mine.last().unwrap().1, 3, "the last job's");
        assert!(mine.is_sorted_by(|a, b| a.1 < b.1), "never an older one");
        let state = world.state(i);
        assert_eq!(state.head().artefact_root, crate::artefact::artefact_root(state.artefact()));
        assert_eq!(state.artefact().map(|a| a.job_round), Some(3));
    }
}

#[test]
fn the_certified_prototypes_are_those_of_the_merge_and_are_carried_over_an_empty_round() {
    let mut world = world();
    assert!(world.run_to(2));
    let (root, count) = (world.state(0).head().protos_root, world.state(0).head().prototypes);
    assert!(root != Digest::ZERO && count == 4, "{count}");
    world.untrained.extend([0, 1, 2]);
    // What they had trained already is still on its way.
    assert!(world.run_to(4));
    let head = world.state(0).head();
    assert_eq!(head.kind, RecordKind::Empty);
    assert!(head.protos_root != Digest::ZERO && head.prototypes > 0);
    assert_eq!(head.model_root, world.nodes[0].records[&3].model_root);
    assert_eq!(head.protos_root, world.nodes[0].records[&3].protos_root);
}

#[test]
fn of_two_hosts_the_first_in_the_order_of_the_epoch_is_taken() {
    let mut world = world();
    let order = by_rank(&world);
    assert!(world.run_to(1));
    // Both are there before anybody signs a receipt.
    world.untrained.extend(0..4);
    for i in [order[3], order[1]] {
        let artefact = made(&world, i);
        world.step(i, Input::Generated { job_round: 1, artefact });
    }
    assert!(world.run_to(3));
    assert_eq!(certified(&world, 0)[0].2, host(&world, order[1]));
    assert_eq!(certified(&world, 0).len(), 1, "one artefact per job");
}

#[test]
fn contents_that_no_honest_host_signs_for_are_not_listed_and_their_host_is_not_heard_again() {
    let mut world = world();
    world.blobs.insert(2, Some(ArtefactVerdict::Invalid));
    world.hosting.extend((1..=6).map(|job| (2, job)));
    assert!(world.run_to(8));
    assert!(world.agreed());
    assert_eq!(world.state(0).head().artefact_root, Digest::ZERO);
    assert_eq!(refusals(&world, 0), 1, "once, not for each");
    assert_eq!(world.faults[&(0, host(&world, 2))], [Fault::Invalid]);
    assert_eq!(world.fetched.iter().filter(|(i, _)| *i == 0).count(), 1);
}

#[test]
fn a_doubtful_artefact_is_not_listed_but_nobody_is_blamed() {
    let mut world = world();
    world.blobs.insert(2, Some(ArtefactVerdict::Doubtful));
    world.hosting.insert((2, 1));
    assert!(world.run_to(4));
    assert_eq!(world.state(0).head().artefact_root, Digest::ZERO, "one voter, its host, lists it");
    assert!(refusals(&world, 0) == 1 && world.faults.is_empty());
}

#[test]
fn hosts_that_withhold_stall_nothing_and_keep_another_waiting_for_one_round() {
    let mut world = world();
    let order = by_rank(&world);
    assert!(world.run_to(1));
    // Three better hosts take up all places of a receipt.
    assert_eq!(MAX_ARTEFACTS, 3);
    world.untrained.extend(0..4);
    for i in &order[..3] {
        world.blobs.insert(*i, None);
    }
    for i in order {
        let artefact = made(&world, i);
        world.step(i, Input::Generated { job_round: 1, artefact });
    }
    assert!(world.run_to(4));
    assert!(world.agreed());
    assert!(world.state(0).artefact().is_some(), "what was offered in round 2 is in force in round 4");
    assert_eq!(certified(&world, 0)[0].1, 1);
}

#[test]
fn statements_that_contradict_the_chain_or_the_manifest_are_refused() {
    type Lie = fn(&mut Artefact);
    let lies: [(&str, Lie); 5] = [
        ("prototypes", |a| a.protos_root = Digest([1; 32])),
        ("generator", |a| a.generator = Digest([1; 32])),
        ("previous", |a| a.previous = Digest([1; 32])),
        ("length", |a| a.blob_len += 1),
        ("ten times", |a| a.blob_len *= 10),
    ];
    for (name, lie) in lies {
        let mut world = world();
        assert!(world.run_to(1));
        let mut artefact = made(&world, 3);
        lie(&mut artefact);
        say(&mut world, 3, 1, artefact);
        assert!(world.run_to(3), "{name}");
        assert_eq!(world.state(0).head().artefact_root, Digest::ZERO, "{name}");
        assert_eq!(world.faults[&(0, host(&world, 3))], [Fault::Invalid], "{name}");
        assert!(world.fetched.is_empty(), "{name}: nothing was fetched");
    }
}

#[test]
fn only_hosts_that_the_manifest_names_are_heard() {
    let mut world = world_of(100, &[1]);
    world.hosting.extend([(1, 2), (3, 2)]);
    assert!(world.run_to(4));
    assert_eq!(certified(&world, 0)[0].2, host(&world, 1));
    assert!(world.faults.contains_key(&(0, host(&world, 3))));
}

#[test]
fn what_is_too_old_or_of_the_future_is_ignored() {
    let mut world = world();
    assert!(world.run_to(1));
    let old = made(&world, 2);
    assert!(world.run_to(1 + MAX_ARTEFACT_LAG + 1));
    say(&mut world, 2, 1, old);
    let (head, next) = (world.state(2).head().round, made(&world, 2));
    say(&mut world, 2, head + 2, next);
    assert!(world.run_to(head + 3));
    assert_eq!(world.state(0).head().artefact_root, Digest::ZERO);
    assert!(world.faults.is_empty(), "{:?}: late is no offence", world.faults);
}

#[test]
fn what_comes_before_its_jobs_record_is_looked_at_when_that_is_here() {
    let mut world = world();
    assert!(world.run_to(1));
    // Member 3 hears no more of round 2, but of what is made of it.
    let artefact = |world: &World| made(world, 2);
    world.down.insert(3);
    assert!(world.run_to(2));
    let late = artefact(&world);
    world.down.remove(&3);
    let slot = Slot { kind: Kind::Artefact, epoch: 0, round: 2, view: 0 };
    let bytes = world.sealed(2, &slot, &Message::Artefact(late));
    let message = world.open(3, &bytes);
    world.step(3, Input::Message(message));
    assert!(world.state(3).head().round == 1 && world.fetched.iter().all(|(i, _)| *i != 3));
    assert!(world.state(3).has_artefact_of(2));
    world.step(3, Input::Start);
    let key = world.nodes[3].secret.public();
    world.step(0, Input::Connected { key });
    assert!(world.run_to(3));
    assert!(world.fetched.iter().any(|(i, r)| *i == 3 && r.job_round == 2));
}

#[test]
fn a_host_signs_again_when_an_epoch_ends_before_its_work_is_certified() {
    let mut world = world_of(2, &[]);
    // The record of round 1 closes epoch 0, that of round 3 epoch 1.
    world.lost.insert((2, Kind::Artefact));
    world.hosting.insert((2, 2));
    let said = |world: &World| world.nodes[2].log.iter().any(|b| Verifier::peek(b).unwrap().0.kind == Kind::Artefact);
    while !said(&world) {
        assert!(world.advance());
    }
    world.lost.clear();
    assert!(world.run_to(6));
    assert!(world.agreed());
    let (round, job, by) = certified(&world, 0)[0];
    assert_eq!((job, by), (2, host(&world, 2)));
    assert!(round >= 4, "in the next epoch, although nobody heard of it in the first: {round}");
}

#[test]
fn an_artefact_that_receipts_do_not_force_is_refused_in_a_proposal() {
    let world = world();
    let state = world.state(0);
    let position = state.position_in_chain();
    let artefact = |job_round: u64, node: usize| ArtefactRef {
        job_round,
        host: host(&world, node),
        statement: hash("s", &[node as u8]),
        blob_root: Digest([1; 32]),
        blob_len: 76,
    };
    let order = by_rank(&world);
    let (best, second) = (artefact(3, order[0]), artefact(3, order[1]));
    let newer = artefact(4, order[3]);
    let receipts = |lists: &[&[ArtefactRef]]| -> Vec<Receipt> {
        lists.iter().map(|list| Receipt { items: Vec::new(), artefacts: list.to_vec() }).collect()
    };
    let forced = |lists: &[&[ArtefactRef]]| position.forced_artefact(receipts(lists).iter(), &[]);
    assert_eq!(forced(&[&[best], &[], &[]]), None, "one of three may lie");
    assert_eq!(forced(&[&[best], &[best], &[]]), Some(best));
    assert_eq!(forced(&[&[best, second], &[second], &[best]]), Some(best), "the better host");
    assert_eq!(forced(&[&[best, newer], &[best, newer], &[best]]), Some(newer), "the later job");
    assert_eq!(forced(&[&[best, newer], &[best], &[best]]), Some(best), "not what one lists");
    let lists = receipts(&[&[best, second], &[best, second]]);
    assert_eq!(position.forced_artefact(lists.iter(), &[best.host]), Some(second), "not of whom the record evicts");
    // In force already, or newer: an older job never comes back.
    for (in_force, want) in [(best, best), (newer, newer), (artefact(2, 0), best)] {
        let later = Position { artefact: Some(&in_force), ..position };
        assert_eq!(later.forced_artefact(lists.iter(), &[]), Some(want));
    }
}
