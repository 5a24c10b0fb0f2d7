//! Everything that can be said in the explored views, numbered, so that what the network holds is a set of bits.

use fedswarm_protocol::envelope::{Kind, Verified};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{Message, Proposal};

use crate::member::Member;
use crate::model::Setting;
use crate::network::Network;

/// A vote, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) kind: Kind,
    pub(crate) view: u32,
    /// Index of the record; 0 in a nullify vote.
    pub(crate) record: usize,
}

/// Numbers for records, votes and proposals.
pub(crate) struct Vocabulary {
    /// Every record that somebody proposes; those that honest recomputation gives come first.
    pub(crate) records: Vec<Digest>,
    /// How many of them honest recomputation gives.
    pub(crate) valid: usize,
    /// Every vote for every record in every view, from the one in which it is first proposed.
    pub(crate) votes: Vec<Vote>,
    /// Every proposal that somebody can make.
    pub(crate) proposals: Vec<Verified>,
    /// Those of Byzantine aggregators: they are in the network from the start.
    pub(crate) byzantine: u128,
}

impl Vocabulary {
    /// With so many different valid records of each Byzantine aggregator, one to three, and with one that is wrong, as the
    /// setting says.
    pub(crate) fn new(network: &Network, setting: &Setting) -> Self {
        let (values, wrong_ones) = (setting.values, setting.wrong);
        let mut this = Self { records: Vec::new(), valid: 0, votes: Vec::new(), proposals: Vec::new(), byzantine: 0 };
        let mut wrong = Vec::new();
        // Fresh proposals of every view; their records are all there is to propose again later.
        let mut fresh: Vec<Proposal> = Vec::new();
        for view in 0..network.views {
            let leader = network.leader(view);
            let lies = network.byzantine.contains(&leader);
            let mut mine =
                if lies { different(network, view, values) } else { honest(network, view, setting.evidence) };
            this.records.extend(mine.iter().map(|p| p.record.hash().unwrap()));
            for again in (0..view).flat_map(|since| fresh.iter().map(move |p| (since, p))) {
                let (since, proposal) = again;
                this.add(network, leader, view, Proposal { notarized_in: Some(since), ..proposal.clone() });
            }
            if lies && wrong_ones {
                let mut altered = mine[0].clone();
                altered.record.model_root = Digest([1; 32]);
                wrong.push(altered.record.hash().unwrap());
                mine.push(altered);
            }
            for proposal in &mine {
                this.add(network, leader, view, proposal.clone());
            }
            fresh.append(&mut mine);
        }
        this.valid = this.records.len();
        this.records.append(&mut wrong);
        for view in 0..network.views {
            this.votes.push(Vote { kind: Kind::Nullify, view, record: 0 });
            for kind in [Kind::Notarize, Kind::Finalize] {
                let made = (0..this.records.len()).filter(|r| this.proposal_of(*r).record.origin_view <= view);
                this.votes.extend(made.map(|record| Vote { kind, view, record }).collect::<Vec<_>>());
            }
        }
        assert!(this.votes.len() <= 128 && this.proposals.len() <= 128, "more than fits into the sets of bits");
        this
    }

    fn add(&mut self, network: &Network, leader: u16, view: u32, proposal: Proposal) {
        let lies = network.byzantine.contains(&leader);
        self.byzantine |= u128::from(lies) << self.proposals.len();
        let slot = network.slot(Kind::Proposal, view);
        self.proposals.push(network.sign(leader, &slot, &Message::Proposal(Box::new(proposal))));
    }

    /// What a vote is about: zero in a nullify vote.
    pub(crate) fn digest(&self, vote: Vote) -> Digest {
        if vote.kind == Kind::Nullify { Digest::ZERO } else { self.records[vote.record] }
    }

    /// The number of a record.
    pub(crate) fn record(&self, digest: &Digest) -> usize {
        self.records.iter().position(|r| r == digest).expect("a record that nobody proposed")
    }

    /// The record of a proposal, and the proposal.
    pub(crate) fn proposal(&self, index: usize) -> (usize, &Proposal) {
        let Message::Proposal(proposal) = self.proposals[index].message() else { unreachable!() };
        (self.record(&proposal.record.hash().unwrap()), proposal)
    }

    /// The first proposal of a record.
    pub(crate) fn proposal_of(&self, record: usize) -> &Proposal {
        (0..self.proposals.len()).map(|i| self.proposal(i)).find(|p| p.0 == record).expect("nobody proposed it").1
    }

    /// Whether a record evicts somebody.
    pub(crate) fn evicts(&self, record: usize) -> bool {
        !self.proposal_of(record).body.operations.is_empty()
    }

    /// The votes among some statements, as a set.
    pub(crate) fn votes_in(&self, log: &[Verified]) -> u128 {
        let of = |m: &Verified| {
            let Message::Vote(digest) = *m.message() else { return 0 };
            let same = |v: &Vote| (v.kind, v.view, self.digest(*v)) == (m.slot().kind, m.slot().view, digest);
            1 << self.votes.iter().position(same).expect("a vote for a record that nobody proposed")
        };
        log.iter().map(of).fold(0, |set, bit| set | bit)
    }

    /// What the certificates among some statements decide, as a set of votes.
    pub(crate) fn certified_in(&self, log: &[Verified]) -> u128 {
        let of = |m: &Verified| match m.message() {
            Message::Certificate(c) => {
                self.votes_where(|v| (v.kind, v.view, self.digest(v)) == (c.kind, c.view, c.record))
            }
            _ => 0,
        };
        log.iter().map(of).fold(0, |set, bits| set | bits)
    }

    /// The proposals among some statements, as a set.
    pub(crate) fn proposals_in(&self, log: &[Verified]) -> u128 {
        let of = |m: &Verified| {
            let known = self.proposals.iter().position(|p| p == m).expect("a proposal that nobody thought of");
            1u128 << known
        };
        log.iter().filter(|m| m.slot().kind == Kind::Proposal).map(of).fold(0, |set, bit| set | bit)
    }

    /// All votes that this holds for, as a set.
    pub(crate) fn votes_where(&self, holds: impl Fn(Vote) -> bool) -> u128 {
        (0..self.votes.len()).filter(|i| holds(self.votes[*i])).fold(0, |set, i| set | 1 << i)
    }

    /// All proposals of a view, as a set.
    pub(crate) fn proposals_of(&self, view: u32) -> u128 {
        (0..self.proposals.len()).filter(|i| self.proposals[*i].slot().view == view).fold(0, |set, i| set | 1 << i)
    }
}

/// What the machine of a view's aggregator proposes after nullifications of all views before, with these receipts, and with
/// a proof that this member lies.
fn fresh(network: &Network, view: u32, receipts: &[u16], caught: Option<u16>) -> Proposal {
    let mut member = Member::with_receipts(network, network.leader(view), receipts);
    if let Some(liar) = caught {
        member.hear(network, &network.evidence(liar));
    }
    for before in 0..view {
        member.hear(network, &network.fabricated(Kind::Nullify, before, Digest::ZERO));
    }
    let proposal = member.log.iter().find(|m| (m.slot().kind, m.slot().view) == (Kind::Proposal, view));
    let Message::Proposal(proposal) = proposal.expect("no proposal").message() else { unreachable!() };
    (**proposal).clone()
}

/// What an honest aggregator proposes: if it has caught a liar by then, a record that evicts it, and leaves its update out.
/// The aggregator of view 0 proposes before the exploration begins.
fn honest(network: &Network, view: u32, evidence: bool) -> Vec<Proposal> {
    let all: Vec<u16> = network.voters().collect();
    let evicting = network.byzantine.first().filter(|_| evidence && view > 0);
    [None]
        .into_iter()
        .chain(evicting.map(|liar| Some(*liar)))
        .map(|caught| fresh(network, view, &all, caught))
        .collect()
}

/// Proposals of an aggregator that picks different receipts: equal inputs, but different records, all of them valid.
fn different(network: &Network, view: u32, values: usize) -> Vec<Proposal> {
    let others: Vec<u16> = network.voters().filter(|v| *v != network.leader(view)).collect();
    let picks: &[&[usize]] = match network.quorum().quorum {
        2 => &[&[0], &[1]],
        _ => &[&[0, 1], &[1, 2], &[0, 2]],
    };
    let receipts = picks.iter().take(values).map(|pick| pick.iter().map(|i| others[*i]).collect::<Vec<u16>>());
    receipts.map(|receipts| fresh(network, view, &receipts, None)).collect()
}
