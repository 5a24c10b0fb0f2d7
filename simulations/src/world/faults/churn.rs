//! Members come and go: strangers join by invitation, members leave and change their keys, while everything else goes wrong,
//! too. Nobody leaves whom the network needs: there are never more faults than its voters are made for.

use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::membership::{Committee, Operation, Role};

use super::Hardship;
use crate::world::core::Core;
use crate::world::membership;
use crate::world::node::Node;

/// Rounds for which an invitation holds.
const HOLDS_ROUNDS: u64 = 20;

/// An operation that somebody wants.
struct Wish {
    operation: Operation,
    /// The node that wants it.
    node: usize,
}

#[derive(Default)]
pub(super) struct Churn {
    /// The epoch for which chance has had its turn.
    epoch: Option<u32>,
    wishes: Vec<Wish>,
    /// Members that are to be voted out, and the last round of the votes.
    unwanted: Vec<(Operation, u64)>,
}

impl Hardship for Churn {
    fn tick(&mut self, core: &mut Core, nodes: &mut [Node]) {
        let rate = core.options.churn.rate;
        let Some(committee) = core.keys.newest().cloned().filter(|_| rate > 0.0) else { return };
        self.sweep(&committee, core, nodes);
        if self.epoch == Some(committee.epoch) {
            return;
        }
        self.epoch = Some(committee.epoch);
        for place in 0..committee.voters() as u16 {
            if core.rng.chance(rate) {
                let turn = core.rng.below(if core.options.vote { 4 } else { 3 });
                let member = core.keys.member(committee.epoch, place);
                let Some(member) = member.filter(|member| !core.monitor.is_liar(*member)) else { continue };
                match turn {
                    0 => self.leave(member, &committee, core, nodes),
                    1 => self.rotate(member, core, nodes),
                    2 if core.options.vote => self.vote_out(member, &committee, core, nodes),
                    _ => self.invite(member, core, nodes),
                }
            }
        }
    }
}

impl Churn {
    /// Wishes that are fulfilled, or never will be, are dropped.
    fn sweep(&mut self, committee: &Committee, core: &mut Core, nodes: &mut [Node]) {
        let (round, cap) = (core.monitor.height() + 1, core.options.sponsor_cap());
        self.wishes.retain(|wish| {
            let open = committee.check(&wish.operation, round, cap).is_ok();
            if !open {
                nodes[wish.node].request = None;
            }
            open
        });
        self.unwanted.retain(|(vote, until)| *until >= round && committee.check(vote, round, cap).is_ok());
        for node in nodes {
            node.ballots.retain(|vote| committee.check(vote, round, cap).is_ok());
        }
        let leaves = |wish: &&Wish| matches!(wish.operation, Operation::Leave(_));
        core.leaving = self.wishes.iter().filter(leaves).count() + self.unwanted.len();
    }

    /// An honest stranger that is well and wants nothing yet.
    fn stranger(&self, core: &mut Core, nodes: &[Node]) -> Option<u16> {
        let committee = core.keys.newest()?;
        let wanted = |member: u16| {
            core.keys.public(member).is_some_and(|key| {
                let rotates = |op: &Operation| matches!(op, Operation::Rotate(rotate) if rotate.new == *key);
                self.wishes.iter().any(|wish| wish.operation.subject() == *key || rotates(&wish.operation))
            })
        };
        let free = |node: &&Node| {
            !core.monitor.is_liar(node.me)
                && !node.disk.corrupt
                && core.keys.place(committee, node.me).is_none()
                && !core.keys.public(node.me).is_some_and(|key| committee.evicted.contains(key))
                && !wanted(node.me)
        };
        let strangers: Vec<u16> = nodes.iter().filter(free).map(|node| node.me).collect();
        core.rng.pick(&strangers)
    }

    fn wish(&mut self, operation: Operation, node: usize, core: &mut Core, nodes: &mut [Node]) {
        self.wishes.push(Wish { operation: operation.clone(), node });
        nodes[node].request = Some(operation);
        nodes[node].submit(core);
    }

    /// The faults that there are must be as few as those that stay are made for.
    fn may_go(&self, member: u16, committee: &Committee, core: &Core, nodes: &[Node]) -> bool {
        let node = core.places[usize::from(member)][0];
        let voters = committee.voters().saturating_sub(core.leaving + 1);
        let before = Quorum::of(committee.voters() - core.leaving.min(committee.voters())).faulty;
        let key = core.keys.public(member);
        let goes = self.unwanted.iter().any(|(vote, _)| Some(&vote.subject()) == key);
        let spared = before.saturating_sub(Quorum::of(voters).faulty) <= core.spare();
        voters > 0 && nodes[node].request.is_none() && !goes && spared
    }

    /// The other honest voters want a member to go, and are enough.
    fn vote_out(&mut self, member: u16, committee: &Committee, core: &mut Core, nodes: &mut [Node]) {
        let others: Vec<u16> = honest_voters(core).into_iter().filter(|voter| *voter != member).collect();
        if others.len() < committee.quorum().quorum || !self.may_go(member, committee, core, nodes) {
            return;
        }
        let until = core.monitor.height() + HOLDS_ROUNDS;
        let mut last = None;
        for voter in others {
            let Some(vote) = membership::vote_out(core, committee, voter, member, until) else { return };
            nodes[core.places[usize::from(voter)][0]].cast(vote.clone(), core);
            last = Some(vote);
        }
        core.leaving += 1;
        core.tally.departures += 1;
        self.unwanted.extend(last.map(|vote| (vote, until)));
    }

    fn leave(&mut self, member: u16, committee: &Committee, core: &mut Core, nodes: &mut [Node]) {
        let node = core.places[usize::from(member)][0];
        if !self.may_go(member, committee, core, nodes) {
            return;
        }
        let Some(leave) = membership::leave(&core.keys, committee, member) else { return };
        core.leaving += 1;
        core.tally.departures += 1;
        self.wish(leave, node, core, nodes);
    }

    fn rotate(&mut self, member: u16, core: &mut Core, nodes: &mut [Node]) {
        let node = core.places[usize::from(member)][0];
        let Some(new) = self.stranger(core, nodes).filter(|_| nodes[node].request.is_none()) else { return };
        let Some(rotate) = membership::rotate(&core.keys, member, new) else { return };
        core.tally.rotations += 1;
        self.wish(rotate, node, core, nodes);
    }

    fn invite(&mut self, sponsor: u16, core: &mut Core, nodes: &mut [Node]) {
        let Some(who) = self.stranger(core, nodes) else { return };
        let role = if core.rng.chance(core.options.churn.contributors) { Role::Contributor } else { Role::Voter };
        let expires = core.monitor.height() + HOLDS_ROUNDS;
        let Some(join) = membership::invite(core, sponsor, who, role, expires) else { return };
        core.tally.invitations += 1;
        let node = core.places[usize::from(who)][0];
        if core.options.vote {
            for voter in honest_voters(core) {
                let Some(vote) = membership::approve(core, voter, &join, expires) else { continue };
                nodes[core.places[usize::from(voter)][0]].cast(vote, core);
            }
        }
        self.wish(join, node, core, nodes);
    }
}

/// Voters of the newest committee that do not lie.
fn honest_voters(core: &Core) -> Vec<u16> {
    let Some(committee) = core.keys.newest() else { return Vec::new() };
    let voters = 0..committee.voters() as u16;
    let honest = |member: &u16| !core.monitor.is_liar(*member);
    voters.filter_map(|place| core.keys.member(committee.epoch, place)).filter(honest).collect()
}
