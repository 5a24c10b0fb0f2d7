//! From one committee to the next.

use super::{
    Admission, Ballot, Committee, Join, MAX_EVICTED, MAX_MEMBER_NAME_BYTES, MAX_MEMBERS, MAX_STRIKES,
    MISSES_BEFORE_SUSPENSION, Member, Operation, Role,
};
use crate::keys::PublicKey;
use crate::manifest::MAX_VOTERS;

/// Why an operation does not fit the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// The sponsor is not a voter.
    #[error("the sponsor is not a voter")]
    Sponsor,
    /// The sponsor has as many invitees as the manifest allows.
    #[error("the sponsor has as many invited members as the network allows")]
    SponsorCap,
    /// The invitation is too old.
    #[error("the invitation has expired")]
    Expired,
    /// The invitation was used before.
    #[error("the invitation was used already")]
    Spent,
    /// The key is a member.
    #[error("the key is a member already")]
    Member,
    /// The key is not a member, or not in the membership that the operation names.
    #[error("the key is not a member, or the operation is about an earlier membership")]
    NotMember,
    /// The key was evicted.
    #[error("the key was evicted, and stays out")]
    Evicted,
    /// The name is too long.
    #[error("the name is longer than 64 bytes")]
    Name,
    /// No room for another voter or member.
    #[error("the network is full")]
    Full,
    /// The last voter cannot go.
    #[error("the last voter cannot go")]
    LastVoter,
    /// More joins than one epoch takes.
    #[error("more members join at once than an epoch takes")]
    TooManyJoins,
    /// Too few votes, or votes beside those that it takes.
    #[error("{counting} of its {found} votes are good votes of voters; it takes exactly {needed}")]
    Votes {
        /// Votes of present voters that have not lapsed.
        counting: usize,
        /// All votes in it.
        found: usize,
        /// The quorum, or none for what is not voted on.
        needed: usize,
    },
    /// Two operations about one key, or not in ascending order.
    #[error("operations are not in ascending order of the keys that they are about")]
    Order,
}

/// What the end of an epoch knows beside the operations.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// The round whose record closes the epoch.
    pub round: u64,
    /// Turns that each voter let pass in a row, up to and including this round.
    pub misses: &'a [u8],
    /// Invited members that one sponsor may have at a time.
    pub sponsor_cap: u16,
    /// Who decides on newcomers.
    pub admission: Admission,
}

impl Committee {
    /// Most joins at one boundary: everybody must be able to tell the newcomers apart, and a quorum of the old members
    /// should still be a large part of the new one.
    #[must_use]
    pub fn most_joins(&self) -> usize {
        (self.voters() / 3).max(4)
    }

    /// Whether an operation could be taken in by a record of this round, if it has the votes that it takes
    /// ([`Committee::check_votes`]). Its signatures are checked elsewhere.
    ///
    /// # Errors
    /// [`OperationError`], the first thing that is in its way.
    pub fn check(&self, operation: &Operation, round: u64, sponsor_cap: u16) -> Result<(), OperationError> {
        match operation {
            Operation::Join(join) => self.check_join(join, round, sponsor_cap),
            Operation::Leave(leave) => self.check_goes(&leave.key, Some(leave.since)),
            Operation::Rotate(rotate) => {
                let member = self.find(&rotate.old).ok_or(OperationError::NotMember)?;
                if member.since != rotate.since {
                    return Err(OperationError::NotMember);
                }
                self.check_new(&rotate.new)
            }
            Operation::Evict(proof) => self.check_goes(&proof.author, None),
            Operation::EvictVote(vote) => self.check_goes(&vote.key, Some(vote.since)),
        }
    }

    /// Whether an operation has the votes that a record of this round must bring with it: a quorum of them and no more, all
    /// of present voters; none where nothing is voted on.
    ///
    /// # Errors
    /// [`OperationError::Votes`].
    pub fn check_votes(&self, operation: &Operation, round: u64, admission: Admission) -> Result<(), OperationError> {
        let ballots = operation.ballots();
        let needed = if operation.needs_votes(admission) { self.quorum().quorum } else { 0 };
        let counting = ballots.iter().filter(|ballot| self.counts(ballot, round)).count();
        if (counting, ballots.len()) == (needed, needed) {
            Ok(())
        } else {
            Err(OperationError::Votes { counting, found: ballots.len(), needed })
        }
    }

    /// Whether a vote counts in a round: its key is a voter's, and it has not lapsed.
    #[must_use]
    pub fn counts(&self, ballot: &Ballot, round: u64) -> bool {
        ballot.until >= round && self.find(&ballot.voter).is_some_and(|member| member.role == Role::Voter)
    }

    fn check_join(&self, join: &Join, round: u64, sponsor_cap: u16) -> Result<(), OperationError> {
        let invite = &join.invite;
        if self.find(&invite.sponsor).is_none_or(|s| s.role != Role::Voter) {
            return Err(OperationError::Sponsor);
        }
        if round > invite.expires {
            return Err(OperationError::Expired);
        }
        if self.spent.iter().any(|(ticket, _)| *ticket == invite.ticket) {
            return Err(OperationError::Spent);
        }
        self.check_new(&join.key)?;
        if join.name.len() > MAX_MEMBER_NAME_BYTES {
            return Err(OperationError::Name);
        }
        let invited = self.members.iter().filter(|m| m.sponsor == invite.sponsor && m.key != invite.sponsor).count();
        if invited >= usize::from(sponsor_cap) {
            return Err(OperationError::SponsorCap);
        }
        let full = invite.role == Role::Voter && self.voters() >= MAX_VOTERS;
        if full || self.members.len() >= MAX_MEMBERS { Err(OperationError::Full) } else { Ok(()) }
    }

    fn check_new(&self, key: &PublicKey) -> Result<(), OperationError> {
        if self.evicted.contains(key) {
            return Err(OperationError::Evicted);
        }
        if self.find(key).is_some() { Err(OperationError::Member) } else { Ok(()) }
    }

    fn check_goes(&self, key: &PublicKey, since: Option<u64>) -> Result<(), OperationError> {
        let member = self.find(key).ok_or(OperationError::NotMember)?;
        if since.is_some_and(|since| since != member.since) {
            return Err(OperationError::NotMember);
        }
        if member.role == Role::Voter && self.voters() == 1 { Err(OperationError::LastVoter) } else { Ok(()) }
    }

    fn find(&self, key: &PublicKey) -> Option<&Member> {
        self.members.iter().find(|m| m.key == *key)
    }

    /// As many of these operations, in ascending order of their subjects, as fit together at the end of this epoch.
    pub(crate) fn select<'a>(
        &self,
        closing: &Closing<'_>,
        operations: impl Iterator<Item = &'a Operation>,
    ) -> Vec<Operation> {
        let (mut next, mut joins, mut chosen) = (self.clone(), 0, Vec::new());
        for operation in operations {
            let voted = self.check_votes(operation, closing.round, closing.admission);
            if voted.and_then(|()| next.take(operation, closing, &mut joins, self.most_joins())).is_ok() {
                chosen.push(operation.clone());
            }
        }
        chosen
    }

    /// The committee after an epoch that ends like this.
    ///
    /// # Errors
    /// [`OperationError`] if the operations do not fit, one after the other.
    pub fn next(&self, closing: &Closing<'_>, operations: &[Operation]) -> Result<Self, OperationError> {
        if !operations.is_sorted_by(|a, b| a.subject() < b.subject()) {
            return Err(OperationError::Order);
        }
        let mut next = self.clone();
        for (member, misses) in next.members.iter_mut().zip(closing.misses) {
            member.misses = *misses;
        }
        let mut joins = 0;
        for operation in operations {
            // By the voters of the epoch that ends, whoever goes with it.
            self.check_votes(operation, closing.round, closing.admission)?;
            next.take(operation, closing, &mut joins, self.most_joins())?;
        }
        next.epoch = self.epoch.saturating_add(1);
        next.first_round = closing.round + 1;
        next.spent.retain(|(_, expires)| *expires > closing.round);
        next.spent.sort_unstable();
        let forget = next.evicted.len().saturating_sub(MAX_EVICTED);
        next.evicted.drain(..forget);
        next.members.sort_by_key(|m| (m.role, m.key));
        next.suspend(self.epoch);
        Ok(next)
    }

    fn take(
        &mut self,
        operation: &Operation,
        closing: &Closing<'_>,
        joins: &mut usize,
        most_joins: usize,
    ) -> Result<(), OperationError> {
        self.check(operation, closing.round, closing.sponsor_cap)?;
        match operation {
            Operation::Join(join) => {
                if *joins >= most_joins {
                    return Err(OperationError::TooManyJoins);
                }
                *joins += 1;
                self.spent.push((join.invite.ticket, join.invite.expires));
                let Join { key, name, invite, .. } = join.as_ref();
                self.insert(Member::new(*key, invite.role, invite.sponsor, name.clone(), closing.round + 1));
            }
            Operation::Leave(leave) => self.members.retain(|m| m.key != leave.key),
            Operation::Rotate(rotate) => {
                for member in &mut self.members {
                    if member.key == rotate.old {
                        (member.key, member.since) = (rotate.new, closing.round + 1);
                    }
                    if member.sponsor == rotate.old {
                        member.sponsor = rotate.new;
                    }
                }
            }
            Operation::Evict(_) | Operation::EvictVote(_) => {
                let key = operation.subject();
                self.members.retain(|m| m.key != key);
                self.evicted.push(key);
            }
        }
        Ok(())
    }

    /// Keeps voters before contributors, which [`Committee::voters`] relies on.
    fn insert(&mut self, member: Member) {
        let at = match member.role {
            Role::Voter => self.voters(),
            Role::Contributor => self.members.len(),
        };
        self.members.insert(at, member);
    }

    /// Takes voters that let their turns pass out of the election for 2, 4, 8 or 16 epochs, but never more than may be
    /// faulty: whoever can nullify honest aggregators cannot empty the list. Those suspended longest return first.
    fn suspend(&mut self, closed: u32) {
        let now = self.epoch;
        for member in self.members.iter_mut().filter(|m| m.role == Role::Voter) {
            let aggregated = member.suspended_until <= closed;
            if member.misses >= MISSES_BEFORE_SUSPENSION {
                member.strikes = (member.strikes + 1).min(MAX_STRIKES);
                member.suspended_until = now.saturating_add(1 << member.strikes);
                member.misses = 0;
            } else if aggregated && member.misses == 0 {
                member.strikes = 0;
            }
        }
        let most = self.quorum().faulty;
        let mut out: Vec<(u32, PublicKey)> = self
            .members
            .iter()
            .filter(|m| m.role == Role::Voter && m.suspended_until > now)
            .map(|m| (m.suspended_until, m.key))
            .collect();
        out.sort_unstable();
        let back = out.len().saturating_sub(most);
        for (_, key) in &out[..back] {
            if let Some(member) = self.members.iter_mut().find(|m| m.key == *key) {
                member.suspended_until = 0;
            }
        }
    }
}
