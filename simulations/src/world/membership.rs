//! Signed changes of the membership, as honest members make them.

use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::membership::{Committee, EvictVote, Invite, Join, Leave, Operation, Role, Rotate};

use super::core::Core;
use super::founding::draw_key;
use super::keys::Keys;

/// A stranger's request to join, with an invitation of a member.
pub fn invite(core: &mut Core, sponsor: u16, who: u16, role: Role, expires: u64) -> Option<Operation> {
    let ticket = draw_key(&mut core.rng);
    let key = core.keys.secret(who)?.clone();
    join(core, sponsor, (&ticket, &key), role, expires)
}

/// The request of a key to join, with an invitation of a member for this ticket.
pub fn join(
    core: &mut Core,
    sponsor: u16,
    (ticket, key): (&SecretKey, &SecretKey),
    role: Role,
    expires: u64,
) -> Option<Operation> {
    let (scheme, network) = (core.keys.scheme(), core.keys.network());
    let invite = Invite::new_with(scheme, network, core.keys.secret(sponsor)?, ticket.public(), role, expires);
    let join = Join::new_with(scheme, network, invite, ticket, key, key.public().short());
    core.monitor.invited(&invite, key.public());
    Some(Operation::Join(Box::new(join)))
}

/// A member's request to leave.
#[must_use]
pub fn leave(keys: &Keys, committee: &Committee, member: u16) -> Option<Operation> {
    let secret = keys.secret(member)?;
    let since = since(committee, keys, member)?;
    Some(Operation::Leave(Leave::new_with(keys.scheme(), keys.network(), secret, since)))
}

/// A member's request to go on with a stranger's key.
#[must_use]
pub fn rotate(keys: &Keys, member: u16, new: u16) -> Option<Operation> {
    let since = since(keys.newest()?, keys, member)?;
    let rotate = Rotate::new_with(keys.scheme(), keys.network(), keys.secret(member)?, keys.secret(new)?, since);
    Some(Operation::Rotate(Box::new(rotate)))
}

/// A voter's approval of a request to join.
pub fn approve(core: &mut Core, voter: u16, request: &Operation, until: u64) -> Option<Operation> {
    let Operation::Join(join) = request else { return None };
    let secret = core.keys.secret(voter)?;
    let ballot = join.approve_with(core.keys.scheme(), core.keys.network(), secret, until);
    core.monitor.voted(join.key, ballot.voter);
    Some(request.with_ballots(vec![ballot]))
}

/// A voter's vote to send a member away.
pub fn vote_out(core: &mut Core, committee: &Committee, voter: u16, member: u16, until: u64) -> Option<Operation> {
    let (key, since) = (*core.keys.public(member)?, since(committee, &core.keys, member)?);
    let (scheme, network) = (core.keys.scheme(), core.keys.network());
    let vote = EvictVote::new_with(scheme, network, key, since, core.keys.secret(voter)?, until);
    core.monitor.voted(key, vote.votes.first()?.voter);
    Some(Operation::EvictVote(vote))
}

fn since(committee: &Committee, keys: &Keys, member: u16) -> Option<u64> {
    let place = keys.place(committee, member)?;
    committee.members.get(usize::from(place)).map(|member| member.since)
}
