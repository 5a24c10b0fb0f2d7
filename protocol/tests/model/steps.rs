//! What one honest member does in one step, and the mutants: a wrapper around the machine that breaks one rule each.

use fedswarm_protocol::envelope::{Kind, Verified};
use fedswarm_protocol::message::Message;
use fedswarm_protocol::round::{Input, Timer};

use crate::member::Member;
use crate::model::Setting;
use crate::network::{Network, ROUND};
use crate::vocabulary::{Vocabulary, Vote};

/// One thing that happens to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many equal votes arrive that they decide.
    Votes(usize),
    /// A proposal arrives.
    Proposal(usize),
    /// Somebody that holds a record final sends it, with these votes.
    Final(usize),
    /// Somebody passes on a proof that a Byzantine member said two things.
    Evidence,
    /// A timer fires, armed or not.
    Timer(Timer),
    /// The member ends, and begins again from its disk.
    Restart,
}

/// A rule that the wrapper breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Rule (a): it notarizes every good proposal of its view.
    DoubleNotarize,
    /// Rule (b): when a view's timer fires, it nullifies that view although it voted to finalize in it.
    NullifyAfterFinalize,
    /// Rule (b): on a notarization it votes to finalize although it nullified the view.
    FinalizeAfterNullify,
    /// Rule (c): it takes every proposal as justified.
    NoJustification,
    /// Phase 4: it notarizes without recomputing.
    NoRecomputation,
    /// Rule (e): it restarts without its vote log.
    Amnesia,
}

/// A member, with what matters about it to others and to the invariants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Local {
    pub(crate) member: Member,
    /// Votes that it ever signed.
    pub(crate) votes: u128,
    /// Proposals that it ever signed.
    pub(crate) proposals: u128,
    /// Votes that have decided something for it since it started.
    pub(crate) decided: u128,
    /// Proposals that it has heard since it started, its own not among them.
    pub(crate) heard: u128,
}

impl Local {
    pub(crate) fn new(vocabulary: &Vocabulary, member: Member) -> Self {
        Self { member, votes: 0, proposals: 0, decided: 0, heard: 0 }.updated(vocabulary)
    }

    /// With what the member has newly said; without what no longer matters once it holds a final record.
    fn updated(mut self, vocabulary: &Vocabulary) -> Self {
        self.votes |= vocabulary.votes_in(&self.member.log);
        let index = self.member.index;
        let own = self.member.log.iter().filter(|m| m.author() == index);
        self.proposals |= vocabulary.proposals_in(&own.cloned().collect::<Vec<_>>());
        if self.member.committed.is_some() {
            // A restart would begin at the record that is final.
            self.member.log.clear();
            (self.decided, self.heard) = (0, 0);
        }
        self
    }
}

/// Carries a step out.
pub(crate) fn step(network: &Network, vocabulary: &Vocabulary, setting: &Setting, before: &Local, step: Step) -> Local {
    let mutant = setting.mutant;
    let mut local = before.clone();
    let member = &mut local.member;
    match step {
        Step::Votes(index) => {
            let vote = vocabulary.votes[index];
            let certificate = || network.fabricated(vote.kind, vote.view, vocabulary.digest(vote));
            // An aggregator's own nullify vote does what the view's timer does, and that is a step of its own.
            let whole = setting.frugal || vote.kind == Kind::Nullify;
            let said = if whole { vec![certificate()] } else { deciding(network, vocabulary, member, vote) };
            for message in said {
                member.hear(network, &message);
            }
            if member.blames_honest && mutant.is_some() {
                // Mutants that contradict themselves are caught, too. Their eviction is not explored.
                *member = Member { blames_honest: true, ..before.member.clone() };
                member.hear(network, &certificate());
            }
            local.decided |= 1 << index;
            if mutant == Some(Mutant::FinalizeAfterNullify) && vote.kind == Kind::Notarize {
                let finalize = Vote { kind: Kind::Finalize, ..vote };
                local.votes |= vocabulary.votes_where(|v| v == finalize);
            }
        }
        Step::Proposal(index) => {
            let proposal = &vocabulary.proposals[index];
            match mutant {
                Some(Mutant::DoubleNotarize) => local.votes |= again(network, vocabulary, before, proposal),
                Some(Mutant::NoJustification) => justify(network, vocabulary, member, proposal),
                Some(Mutant::NoRecomputation) => local.votes |= blindly(vocabulary, member, proposal),
                _ => {}
            }
            member.hear(network, proposal);
            local.heard |= 1 << index;
        }
        Step::Final(index) => {
            let vote = vocabulary.votes[index];
            if setting.frugal {
                member.commits(network, vocabulary.digest(vote));
            } else {
                member.hear(network, &network.committed(vocabulary.proposal_of(vote.record), vote.view));
            }
        }
        Step::Evidence => member.hear(network, &network.evidence(network.byzantine[0])),
        Step::Timer(timer) => {
            member.drive(network, Input::Timer(timer));
            if let (Some(Mutant::NullifyAfterFinalize), Timer::View { view, .. }) = (mutant, timer) {
                local.votes |= vocabulary.votes_where(|v| v.kind == Kind::Nullify && v.view == view);
            }
        }
        Step::Restart => {
            let log = if mutant == Some(Mutant::Amnesia) { &[] } else { before.member.log.as_slice() };
            local.member = member.restarted(network, log);
            // Certificates on disk have been heard again; a proposal that is not there may arrive again.
            local.decided = vocabulary.certified_in(log);
            local.heard = 0;
        }
    }
    local.updated(vocabulary)
}

/// Equal votes, one short of or just as many as decide: with its own, if the member has voted so, and Byzantine ones before
/// others. Who of the others has signed does not matter to the machine (`any_quorum_of_votes_is_as_good_as_its_certificate`
/// shows it), so it is always the same ones, although other members may have said it.
fn deciding(network: &Network, vocabulary: &Vocabulary, member: &Member, vote: Vote) -> Vec<Verified> {
    let digest = vocabulary.digest(vote);
    let own = network.vote(member.index, vote.kind, vote.view, digest);
    let missing = network.quorum().quorum - usize::from(member.log.contains(&own));
    let others = network.byzantine.iter().copied().chain(network.honest());
    let others = others.filter(|v| *v != member.index).take(missing);
    others.map(|v| network.vote(v, vote.kind, vote.view, digest)).collect()
}

/// What a member says of a proposal if it has forgotten that it notarized another one in the same view.
fn again(network: &Network, vocabulary: &Vocabulary, before: &Local, proposal: &Verified) -> u128 {
    let view = proposal.slot().view;
    let is_notarize = |m: &Verified| (m.slot().kind, m.slot().view) == (Kind::Notarize, view);
    let is_proposal = |m: &Verified| (m.slot().kind, m.slot().view) == (Kind::Proposal, view);
    let forgotten = |m: &Verified| is_notarize(m) || is_proposal(m);
    let log: Vec<_> = before.member.log.iter().filter(|m| !forgotten(m)).cloned().collect();
    let mut forgetful = before.member.restarted(network, &log);
    hear_decided(network, vocabulary, before.decided, &mut forgetful);
    forgetful.hear(network, proposal);
    vocabulary.votes_in(&forgetful.log.into_iter().filter(is_notarize).collect::<Vec<_>>())
}

/// Certificates for everything that a member has seen decided, in the order of the views.
fn hear_decided(network: &Network, vocabulary: &Vocabulary, decided: u128, member: &mut Member) {
    for (index, vote) in vocabulary.votes.iter().enumerate() {
        if decided & 1 << index != 0 {
            member.hear(network, &network.fabricated(vote.kind, vote.view, vocabulary.digest(*vote)));
        }
    }
}

/// Makes a member judge a proposal of its view as if every certificate that the proposal needs were there.
fn justify(network: &Network, vocabulary: &Vocabulary, member: &mut Member, proposal: &Verified) {
    let Message::Proposal(body) = proposal.message() else { return };
    let view = proposal.slot().view;
    if member.machine.position().1 != view {
        return;
    }
    let mut deceived = member.clone();
    let first = body.notarized_in.map_or(0, |notarized| notarized + 1);
    for before in first..view {
        deceived.hear(network, &network.fabricated(Kind::Nullify, before, fedswarm_protocol::hash::Digest::ZERO));
    }
    if let (Some(notarized), Ok(hash)) = (body.notarized_in, body.record.hash()) {
        deceived.hear(network, &network.fabricated(Kind::Notarize, notarized, hash));
    }
    deceived.hear(network, proposal);
    let said = deceived.log.iter().find(|m| (m.slot().kind, m.slot().view) == (Kind::Notarize, view));
    let Some(vote) = said else { return };
    if vocabulary.votes_in(&member.log) & vocabulary.votes_in(std::slice::from_ref(vote)) == 0 {
        member.hear(network, vote);
        member.put(network, vote);
    }
}

/// The vote for whatever is proposed.
fn blindly(vocabulary: &Vocabulary, member: &Member, proposal: &Verified) -> u128 {
    let Message::Proposal(body) = proposal.message() else { return 0 };
    let view = proposal.slot().view;
    let spoke = member.log.iter().any(|m| m.slot().view == view && m.slot().kind.is_vote());
    if member.machine.position().1 != view || spoke {
        return 0;
    }
    let record = vocabulary.record(&body.record.hash().unwrap());
    vocabulary.votes_where(|v| v == Vote { kind: Kind::Notarize, view, record })
}

/// Every timer of the round that can make a member speak in the explored views.
pub(crate) fn timers(views: u32) -> Vec<Timer> {
    let round = ROUND;
    let of_views = (0..views).flat_map(|view| [Timer::View { round, view }, Timer::Repropose { round, view }]);
    [Timer::Collect { round }, Timer::Round { round }].into_iter().chain(of_views).collect()
}
