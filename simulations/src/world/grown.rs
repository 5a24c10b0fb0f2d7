//! The chain of a network that has grown before the world begins: its founders have invited contributors, as many with each
//! record as one takes. The records are real ones, signed by a quorum; what is left out is the course of their rounds, in
//! which nobody contributes anything.

use std::sync::Arc;

use fedswarm_protocol::certificate::Certificate;
use fedswarm_protocol::derive::Position;
use fedswarm_protocol::envelope::{Kind, Slot, signed_bytes};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::membership::{Committee, Invite, Join, Operation, OperationError, Role};
use fedswarm_protocol::message::{Committed, MAX_OPERATIONS, RecordBody};
use fedswarm_protocol::record::Record;
use fedswarm_protocol::round::Rules;

use super::WorldError;
use super::founding::draw_key;
use super::keys::Keys;
use super::options::Options;
use super::rng::Rng;

/// What a network's founders have made of it when the world begins.
#[derive(Clone, Debug)]
pub struct Grown {
    /// The records, each of which closes its epoch.
    pub chain: Vec<Arc<Committed>>,
    /// The committee of each epoch.
    pub committees: Vec<Arc<Committee>>,
}

impl Grown {
    /// The committee when the world begins.
    #[must_use]
    pub fn committee(&self) -> &Arc<Committee> {
        // There is one from the founding on.
        &self.committees[self.committees.len() - 1]
    }

    /// The round after which the world begins.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.chain.last().map_or(0, |last| last.record.round)
    }
}

/// Joins that one record takes, whatever the number of its voters.
const JOINS_PER_RECORD: usize = 4;

/// Rounds that a network needs for all members that do not found it.
#[must_use]
pub fn growing_rounds(options: &Options) -> u64 {
    u64::from(options.members - options.voters()).div_ceil(joins_per_record(usize::from(options.voters())) as u64)
}

fn joins_per_record(voters: usize) -> usize {
    (voters / 3).clamp(JOINS_PER_RECORD, MAX_OPERATIONS)
}

/// Lets the members beyond the founders join: numbers `founders..members`, sponsored in turn.
///
/// # Errors
/// A manifest that does not let so many in.
pub fn grow(options: &Options, rules: &Rules, founders: Arc<Committee>, keys: &mut Keys) -> Result<Grown, WorldError> {
    let mut rng = Rng::new("tickets", options.seed);
    let voters = options.voters();
    keys.learn(&founders);
    let mut grown = Grown { chain: Vec::new(), committees: vec![founders] };
    let mut head = (rules.genesis.clone(), rules.genesis_hash);
    let newcomers: Vec<u16> = (voters..options.members).collect();
    for some in newcomers.chunks(joins_per_record(usize::from(voters))) {
        let round = head.0.round + 1;
        let mut operations = Vec::new();
        for member in some {
            let ticket = draw_key(&mut rng);
            operations.extend(join(keys, rules, (member % voters, *member), &ticket, round));
        }
        operations.sort_by_key(Operation::subject);
        let body = RecordBody { operations, ..RecordBody::default() };
        let committed = record(keys, rules, &head, grown.committee(), body).map_err(|error| {
            WorldError::Options(format!("the network cannot grow to {} members: {error}", options.members))
        })?;
        head = (committed.0.record.clone(), committed.0.certificate.record);
        keys.learn(&committed.1);
        grown.chain.push(Arc::new(committed.0));
        grown.committees.push(committed.1);
    }
    Ok(grown)
}

fn join(keys: &Keys, rules: &Rules, (sponsor, who): (u16, u16), ticket: &SecretKey, round: u64) -> Option<Operation> {
    let network = &rules.constants.network;
    let (sponsor, key) = (keys.secret(sponsor)?, keys.secret(who)?);
    let invite = Invite::new_with(keys.scheme(), network, sponsor, ticket.public(), Role::Contributor, round);
    let join = Join::new_with(keys.scheme(), network, invite, ticket, key, key.public().short());
    let request = Operation::Join(Box::new(join.clone()));
    if !request.needs_votes(rules.constants.admission) {
        return Some(request);
    }
    let voters = keys.newest()?;
    let approve = |place: u16| {
        let voter = keys.secret(keys.member(voters.epoch, place)?)?;
        Some(join.approve_with(keys.scheme(), network, voter, round))
    };
    Some(request.with_ballots((0..voters.quorum().quorum as u16).filter_map(approve).collect()))
}

/// The record after `head` with this body, decided by the first voters that are a quorum, and the committee that it makes.
fn record(
    keys: &Keys,
    rules: &Rules,
    head: &(Record, fedswarm_protocol::hash::Digest),
    committee: &Arc<Committee>,
    body: RecordBody,
) -> Result<(Committed, Arc<Committee>), OperationError> {
    let order = committee.order(&head.0.next_seeds().0);
    let position = Position {
        constants: &rules.constants,
        head: &head.0,
        head_hash: head.1,
        artefact: None,
        committee,
        order: &order,
    };
    let (record, next) = position.record(&body, None, position.leader(0), 0)?;
    let hash = record.hash().unwrap_or_default();
    let slot = Slot { kind: Kind::Finalize, epoch: record.epoch, round: record.round, view: 0 };
    let signed = signed_bytes(&rules.constants.network, &slot, hash.as_bytes());
    let voters = 0..committee.quorum().quorum as u16;
    let votes = voters.filter_map(|place| {
        let secret = keys.secret(keys.member(committee.epoch, place)?)?;
        Some((place, keys.scheme().sign(secret, &signed)))
    });
    let certificate = Certificate {
        kind: slot.kind,
        epoch: slot.epoch,
        round: slot.round,
        view: slot.view,
        record: hash,
        votes: votes.collect(),
    };
    let next = next.map_or_else(|| Arc::clone(committee), Arc::new);
    Ok((Committed { record, body, certificate }, next))
}
