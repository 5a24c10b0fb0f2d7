//! Who is a member and by what right, worked out anew from the operations of final records.

use std::collections::{BTreeMap, BTreeSet};

use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::derive::Constants;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::manifest::MAX_VOTERS;
use fedswarm_protocol::membership::{Admission, Committee, Invite, MAX_MEMBERS, Operation, Role};

use super::ballots::Broken;

const ONE_SET: &str = "I9 one set of members";
const BY_RIGHT: &str = "I12 nobody uninvited or evicted has a vote";

/// The roll of members.
#[derive(Debug)]
pub(super) struct Roll {
    sponsor_cap: usize,
    admission: Admission,
    /// Role and sponsor of each member.
    members: BTreeMap<PublicKey, (Role, PublicKey)>,
    /// Invitations that were given: ticket, sponsor, role and the key that is meant. A sponsor that lies means several keys
    /// with one ticket.
    invited: BTreeSet<(PublicKey, PublicKey, Role, PublicKey)>,
    /// Tickets that were used.
    spent: BTreeSet<PublicKey>,
    /// Evicted keys, and the first epoch in which they are out.
    evicted: BTreeMap<PublicKey, u32>,
    /// Votes that were cast: on whom, and by whom.
    votes: BTreeSet<(PublicKey, PublicKey)>,
}

impl Roll {
    pub(super) fn new(committee: &Committee, constants: &Constants) -> Self {
        let members = committee.members.iter().map(|m| (m.key, (m.role, m.sponsor)));
        Self {
            sponsor_cap: constants.sponsor_cap.into(),
            admission: constants.admission,
            members: members.collect(),
            invited: BTreeSet::new(),
            spent: BTreeSet::new(),
            evicted: BTreeMap::new(),
            votes: BTreeSet::new(),
        }
    }

    /// The holder of a sponsor's key has invited the holder of a ticket, who means to join with this key.
    pub(super) fn invited(&mut self, invite: &Invite, key: PublicKey) {
        self.invited.insert((invite.ticket, invite.sponsor, invite.role, key));
    }

    /// The holder of a voter's key has voted for this key to come, or to go.
    pub(super) fn voted(&mut self, subject: PublicKey, voter: PublicKey) {
        self.votes.insert((subject, voter));
    }

    /// Whether an operation has votes of a quorum of the present voters, each of which was cast.
    fn is_voted(&self, operation: &Operation) -> bool {
        let voters: BTreeSet<PublicKey> =
            self.members.iter().filter(|(_, (role, _))| *role == Role::Voter).map(|(key, _)| *key).collect();
        let cast = |voter: &PublicKey| self.votes.contains(&(operation.subject(), *voter));
        let votes: BTreeSet<PublicKey> = operation.ballots().iter().map(|ballot| ballot.voter).collect();
        votes.intersection(&voters).filter(|voter| cast(voter)).count() >= Quorum::of(voters.len()).quorum
    }

    /// Whether a key is out in an epoch because it was evicted.
    pub(super) fn is_evicted(&self, key: &PublicKey, epoch: u32) -> bool {
        self.evicted.get(key).is_some_and(|from| *from <= epoch)
    }

    /// Takes in the operations of a record that closes an epoch, and compares with the committee that it makes.
    pub(super) fn close(&mut self, operations: &[Operation], next: &Committee) -> Result<(), Broken> {
        let unvoted = |op: &&Operation| op.needs_votes(self.admission) && !self.is_voted(op);
        if let Some(operation) = operations.iter().find(unvoted) {
            return Err((BY_RIGHT, format!("{} comes or goes without the votes of a quorum", operation.subject())));
        }
        for operation in operations {
            self.take(operation, next.epoch)?;
        }
        let listed: BTreeSet<(PublicKey, Role)> = next.members.iter().map(|m| (m.key, m.role)).collect();
        let expected: BTreeSet<(PublicKey, Role)> = self.members.iter().map(|(key, (role, _))| (*key, *role)).collect();
        if listed != expected || listed.len() != next.members.len() {
            return Err((ONE_SET, format!("epoch {} has {listed:?} instead of {expected:?}", next.epoch)));
        }
        if next.voters() > MAX_VOTERS || next.members.len() > MAX_MEMBERS {
            return Err((ONE_SET, format!("epoch {} has {} members", next.epoch, next.members.len())));
        }
        Ok(())
    }

    fn take(&mut self, operation: &Operation, epoch: u32) -> Result<(), Broken> {
        let subject = operation.subject();
        match operation {
            Operation::Join(join) => {
                let invite = &join.invite;
                if !self.invited.contains(&(invite.ticket, invite.sponsor, invite.role, subject)) {
                    return Err((BY_RIGHT, format!("{subject} joins, and nobody has invited it like this")));
                }
                if !self.spent.insert(invite.ticket) {
                    return Err((BY_RIGHT, format!("{subject} joins with a ticket that was used before")));
                }
                if self.evicted.contains_key(&subject) {
                    return Err((BY_RIGHT, format!("{subject} was evicted and joins again")));
                }
                self.members.insert(subject, (invite.role, invite.sponsor));
                let sponsored = |(key, (_, by)): &(&PublicKey, &(Role, PublicKey))| *by == invite.sponsor && *key != by;
                let count = self.members.iter().filter(sponsored).count();
                if count > self.sponsor_cap {
                    return Err((BY_RIGHT, format!("{} has brought in {count} members", invite.sponsor)));
                }
            }
            Operation::Leave(_) => drop(self.members.remove(&subject)),
            Operation::Rotate(rotate) => {
                if self.evicted.contains_key(&rotate.new) {
                    return Err((BY_RIGHT, format!("{} was evicted and is taken up again", rotate.new)));
                }
                for (_, sponsor) in self.members.values_mut().filter(|(_, sponsor)| *sponsor == rotate.old) {
                    *sponsor = rotate.new;
                }
                if let Some(entry) = self.members.remove(&rotate.old) {
                    self.members.insert(rotate.new, entry);
                }
            }
            Operation::Evict(_) | Operation::EvictVote(_) => {
                self.members.remove(&subject);
                self.evicted.insert(subject, epoch);
            }
        }
        Ok(())
    }
}
