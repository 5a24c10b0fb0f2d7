//! What must hold in every state around a boundary, and what must happen in some.

use std::collections::BTreeSet;

use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::envelope::Kind;
use stateright::Property;

use super::model::{Epochs, Global, Seen};
use super::peer::Peer;
use super::world::{NEWCOMER, ROUNDS};

/// What an honest member must never do; found out when it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wrongs {
    /// It took something for a certificate that is none.
    pub(super) mixed: bool,
    /// It voted in an epoch in which it is no voter.
    pub(super) early: bool,
    /// It signed two votes in one slot.
    pub(super) second: bool,
    /// It has found fault with an honest member.
    pub(super) blames_honest: bool,
    /// It takes what was certified for wrong.
    pub(super) halted: bool,
}

pub(super) const AGREEMENT: &str = "I1 one final record a round";
pub(super) const FINAL: &str = "whoever holds a record final, honest voters of its epoch have made it so";
pub(super) const MEMBERS: &str = "I9 everybody in a round has the same members, those that the operations give";
pub(super) const EVICTED: &str = "I12 whoever is evicted has no place and leads no view from the boundary on";
pub(super) const MIXED: &str = "a certificate has a quorum of its own epoch's voters, and nobody else";
pub(super) const EARLY: &str = "nobody votes before its first epoch, or after its last";

fn agreement(model: &Epochs, state: &Global) -> bool {
    let peers = model.peers(state);
    let all = || peers.iter().flat_map(|seen| &seen.peer.committed);
    all().all(|(round, (_, record))| all().all(|(other, (_, same))| other != round || same == record))
}

/// At least as many honest finalize votes as a quorum with the liar in it has.
fn is_final(model: &Epochs, state: &Global) -> bool {
    let peers = model.peers(state);
    peers.iter().all(|seen| {
        seen.finals.iter().zip(&seen.peer.committed).all(|(number, (_, said))| {
            let Some(voters) = seen.peer.voters.get(said.0.epoch as usize) else { return false };
            let honest = peers.iter().filter(|p| voters.contains(&p.peer.who) && p.votes.contains(number)).count();
            honest + usize::from(voters.contains(&model.world.liar)) >= Quorum::of(voters.len()).quorum
        })
    })
}

fn same_members(model: &Epochs, state: &Global) -> bool {
    let peers = model.peers(state);
    let round = |seen: &Seen| seen.peer.machine.position().0;
    let same = |a: &Seen, b: &Seen| round(a) != round(b) || a.members == b.members;
    peers.iter().all(|a| a.fits && peers.iter().all(|b| same(a, b)))
}

fn evicted_are_out(model: &Epochs, state: &Global) -> bool {
    model.peers(state).iter().all(|seen| seen.clean)
}

fn nobody(model: &Epochs, state: &Global, wrong: fn(&Wrongs) -> bool) -> bool {
    model.peers(state).iter().all(|seen| !wrong(&seen.peer.wrongs))
}

fn everybody(model: &Epochs, state: &Global, holds: impl Fn(&Peer) -> bool) -> bool {
    model.peers(state).iter().all(|seen| holds(&seen.peer))
}

fn somebody(model: &Epochs, state: &Global, holds: impl Fn(&Peer) -> bool) -> bool {
    model.peers(state).iter().any(|seen| holds(&seen.peer))
}

/// The numbers of voters through which a member has come.
fn sizes(peer: &Peer) -> Vec<usize> {
    peer.voters.iter().map(BTreeSet::len).collect()
}

fn done(peer: &Peer) -> bool {
    peer.machine.head().round >= ROUNDS
}

/// All of them; `sometimes` in two views only what the second one adds.
pub(super) fn properties(views: u32) -> Vec<Property<Epochs>> {
    let mut all = vec![
        Property::always(AGREEMENT, agreement),
        Property::always(FINAL, is_final),
        Property::always(MEMBERS, same_members),
        Property::always(EVICTED, evicted_are_out),
        Property::always(MIXED, |m, s| nobody(m, s, |w| w.mixed)),
        Property::always(EARLY, |m, s| nobody(m, s, |w| w.early)),
        Property::always("I7 no honest member votes twice", |m, s| nobody(m, s, |w| w.second)),
        Property::always("I7 no honest member is found at fault", |m, s| nobody(m, s, |w| w.blames_honest)),
        Property::always("nobody takes what is certified for wrong", |m, s| nobody(m, s, |w| w.halted)),
        Property::sometimes("four voters, then five, then four, and a final record after that", |m, s| {
            everybody(m, s, |peer| sizes(peer) == [4, 5, 4] && done(peer))
        }),
        Property::sometimes("three final records without any change", |m, s| {
            everybody(m, s, |peer| sizes(peer) == [4] && done(peer))
        }),
        Property::sometimes("a member is behind by two epochs", |m, s| {
            let epochs = m.peers(s).map(|seen| seen.peer.voters.len());
            epochs.iter().max() == Some(&3) && epochs.iter().min() == Some(&1)
        }),
        Property::sometimes("an honest newcomer votes, or a Byzantine one is taken in", |m, s| {
            let joined = |peer: &Peer| peer.who == NEWCOMER && !peer.votes.is_empty();
            let taken = |peer: &Peer| m.world.liar == NEWCOMER && peer.is_voter(NEWCOMER);
            somebody(m, s, |peer| joined(peer) || taken(peer))
        }),
    ];
    if views > 1 {
        all.push(Property::sometimes("a record that changes the members is final in view 1", |m, s| {
            let in_second = |peer: &Peer| {
                let closes = peer.voters.len() > 1;
                closes && peer.committed.iter().any(|(_, (slot, _))| (slot.kind, slot.view) == (Kind::Finalize, 1))
            };
            somebody(m, s, in_second)
        }));
    }
    all
}
