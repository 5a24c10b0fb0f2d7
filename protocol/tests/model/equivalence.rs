//! Why votes arrive in bundles, and why it does not matter whose they are.

use fedswarm_protocol::envelope::{Kind, Verified};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::round::{Input, Timer};

use crate::member::Member;
use crate::model::{RoundModel, Setting, ones};
use crate::network::ROUND;
use crate::reduction;
use crate::steps::{Step, step};

/// What a member has said and where it stands.
fn outcome(member: &Member) -> (Vec<Verified>, Option<Digest>, bool, (u64, u32)) {
    // What it said of a round that is final is not kept.
    let log = if member.committed.is_some() { Vec::new() } else { member.log.clone() };
    (log, member.committed, member.blames_honest, member.machine.position())
}

/// All ways in which the others' votes can decide: every choice of voters, in two orders.
fn choices(others: &[u16], missing: usize) -> Vec<Vec<u16>> {
    let chosen = (0u32..1 << others.len()).filter(|set| set.count_ones() as usize == missing);
    let forward = chosen.map(|set| ones(set.into()).map(|i| others[i]).collect::<Vec<u16>>());
    forward.flat_map(|voters| [voters.clone(), voters.into_iter().rev().collect()]).collect()
}

/// In every state of a member, a final record is taken.
#[test]
fn a_final_record_is_taken_whatever_else_is_known() {
    let model = RoundModel::new(Setting { byzantine: vec![1], ..Setting::default() });
    let vocabulary = &model.vocabulary;
    for place in 0..model.honest.len() {
        for local in model.examples(place).into_iter().filter(|local| local.member.committed.is_none()) {
            for index in ones(model.masks.finalize) {
                let vote = vocabulary.votes[index];
                let after = step(&model.network, vocabulary, &model.setting, &local, Step::Final(index));
                assert_eq!(after.member.committed, Some(vocabulary.digest(vote)));
                assert_eq!((after.votes, after.proposals), (local.votes, local.proposals), "it speaks afterwards");
            }
        }
    }
}

/// In every state of a member, every vote, whoever casts it in whatever order, ends in what the bundle of the exploration
/// and what a certificate end in; one vote less says nothing, one more changes nothing; and a Byzantine vote for something
/// else in between makes no difference. Only the nullify vote of the view's aggregator speaks by itself: it does what the
/// view's timer does.
#[test]
fn any_quorum_of_votes_is_as_good_as_its_certificate() {
    let setting = Setting { byzantine: vec![1], ..Setting::default() };
    let model = RoundModel::new(setting);
    let (network, vocabulary) = (&model.network, &model.vocabulary);
    let liar = network.byzantine[0];
    let (mut compared, mut given_up_by_leader) = (0, 0);
    for place in 0..model.honest.len() {
        for local in model.examples(place).into_iter().filter(|local| local.member.committed.is_none()) {
            for index in ones(reduction::open(network, vocabulary, &model.setting, &local).0) {
                let vote = vocabulary.votes[index];
                let cast = |voter: u16| network.vote(voter, vote.kind, vote.view, vocabulary.digest(vote));
                let expected = outcome(&step(network, vocabulary, &model.setting, &local, Step::Votes(index)).member);
                let mut certified = local.member.clone();
                certified.hear(network, &network.fabricated(vote.kind, vote.view, vocabulary.digest(vote)));
                assert!(outcome(&certified) == expected, "a certificate for {vote:?}");
                let mut hastened = local.member.clone();
                hastened.drive(network, Input::Timer(Timer::View { round: ROUND, view: vote.view }));
                let hurry = outcome(&hastened);
                hastened.hear(network, &network.fabricated(vote.kind, vote.view, vocabulary.digest(vote)));
                let own = local.member.log.contains(&cast(local.member.index));
                let others: Vec<u16> = network.voters().filter(|v| *v != local.member.index).collect();
                for voters in choices(&others, network.quorum().quorum - usize::from(own)) {
                    let mut member = local.member.clone();
                    if !voters.contains(&liar) && vote.kind != Kind::Nullify {
                        member.hear(network, &network.vote(liar, vote.kind, vote.view, Digest([7; 32])));
                    }
                    let gives_up = |voter: &u16| vote.kind == Kind::Nullify && *voter == network.leader(vote.view);
                    let given_up = voters.iter().position(gives_up).unwrap_or(voters.len());
                    for (nth, voter) in voters.iter().enumerate() {
                        // With its own nullify vote, a member needs one fewer of the others'.
                        let now = if nth > given_up { &hurry } else { &outcome(&local.member) };
                        let decided = nth > given_up && outcome(&member) == outcome(&hastened);
                        assert!(decided || outcome(&member) == *now, "{nth} votes for {vote:?} spoke");
                        member.hear(network, &cast(*voter));
                    }
                    let expected = if given_up < voters.len() { &outcome(&hastened) } else { &expected };
                    given_up_by_leader += u32::from(given_up < voters.len());
                    assert!(outcome(&member) == *expected, "votes of {voters:?} for {vote:?}");
                    if member.committed.is_none() {
                        for voter in others.iter().filter(|v| **v != liar) {
                            member.hear(network, &cast(*voter));
                        }
                        assert!(outcome(&member) == *expected, "a vote more for {vote:?}");
                    }
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} bundles compared, {given_up_by_leader} of them with the aggregator's own nullify vote");
    assert!(compared > 10_000 && given_up_by_leader > 1_000);
}
