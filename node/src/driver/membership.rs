//! Members that come and go: who is connected as what, the chain of committees for those who are behind or not members yet,
//! and this node's own wish to join, leave or change its key.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fedswarm_network::{NodeId, Tie};
use fedswarm_protocol::envelope::{Kind, NOBODY, Slot, Verifier, seal};
use fedswarm_protocol::keys::{PublicKey, SecretKey};
use fedswarm_protocol::membership::{Committee, Join, Leave, Operation, OperationError, Rotate};
use fedswarm_protocol::message::{Committed, Message, Status};
use fedswarm_protocol::round::Input;

use super::Driver;
use crate::{Error, NodeEvent};

/// Records that one answer to a member of an earlier epoch carries, beside the last one. Too low and whoever was away for
/// many epochs asks more often.
const CHAIN_PER_ANSWER: usize = 8;

/// Messages of later epochs that wait for the record that closes this one. Too low and a member that is a moment behind at an
/// epoch's end has to ask for them again.
const MAX_AHEAD: usize = 1024;

/// How long until the same question is asked, or answered, again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Peers whose last question is remembered.
const MAX_ASKED: usize = 4096;

/// What a node wants to become.
#[derive(Clone, Debug)]
pub enum Request {
    /// A member, by an invitation.
    Join(Box<Join>),
    /// No member any more.
    Leave,
    /// A member with another key.
    Rotate(Box<SecretKey>),
}

/// What the owner of a running node asks of it.
#[derive(Debug)]
pub(super) enum Asked {
    /// To become something.
    Become(Request),
    /// To say its vote on another member.
    Cast(Operation),
}

/// Messages that come too early, and questions that were asked.
#[derive(Debug, Default)]
pub(super) struct Chain {
    ahead: VecDeque<Vec<u8>>,
    asked: Vec<(NodeId, u32, Instant)>,
    answered: Vec<(NodeId, u32, Instant)>,
    turn: usize,
    /// Why this node could not be admitted when its operator was last told.
    hindered: Option<OperationError>,
}

/// True once per peer, epoch and [`ASK_AGAIN`].
fn once(list: &mut Vec<(NodeId, u32, Instant)>, peer: NodeId, epoch: u32) -> bool {
    let now = Instant::now();
    list.retain(|(_, _, at)| now.duration_since(*at) < ASK_AGAIN);
    if list.len() >= MAX_ASKED || list.iter().any(|(p, e, _)| (*p, *e) == (peer, epoch)) {
        return false;
    }
    list.push((peer, epoch, now));
    true
}

/// Whom a key is not tied to closely. Voters are connected to each other, and contributors to all voters, whom they call. Among
/// contributors, neighbours in two rings are connected, so that gossip comes to everybody by more ways than through voters: the
/// next by key, and the one that is as many places on as the root of their number.
pub(super) fn ties(committee: &Committee, me: &PublicKey) -> Vec<(NodeId, Tie)> {
    let contributors = &committee.members[committee.voters()..];
    let ids = contributors.iter().map(|member| NodeId(member.key.0));
    if committee.place(me).is_some_and(|place| committee.voter(place).is_some()) {
        return ids.map(|id| (id, Tie::Loose)).collect();
    }
    let count = contributors.len();
    let mine = contributors.iter().position(|member| member.key == *me);
    let steps = [1, count.isqrt().max(1)];
    let near = |other: usize| {
        mine.is_some_and(|mine| {
            steps.iter().any(|step| (mine + step) % count == other || (other + step) % count == mine)
        })
    };
    let far = ids.enumerate().filter(|(other, _)| !near(*other)).map(|(_, id)| (id, Tie::None));
    let voters = committee.voter_keys().into_iter().map(|key| (NodeId(key.0), Tie::Eager));
    voters.chain(far).collect()
}

pub(super) fn node_ids(committee: &Committee) -> Vec<NodeId> {
    committee.members.iter().map(|m| NodeId(m.key.0)).collect()
}

impl Driver {
    /// A new epoch: other keys, other places.
    pub(super) async fn on_committee(&mut self, next: std::sync::Arc<Committee>) -> Result<(), Error> {
        self.members = node_ids(&next);
        self.pace.keep_only(&self.members);
        self.network.set_ties(ties(&next, &self.secret.public())).await?;
        self.network.set_members(self.members.iter().copied()).await?;
        self.connected = self.peers.iter().filter(|peer| self.members.contains(peer)).copied().collect();
        self.verifier.advance(next);
        for bytes in std::mem::take(&mut self.chain.ahead) {
            self.on_bytes(&bytes);
        }
        self.check_request().await?;
        self.check_hindrance().await;
        Ok(())
    }

    /// Members drop a request that cannot be granted; nobody but this node itself can tell its operator why it waits. Told again
    /// only when the reason is another one.
    async fn check_hindrance(&mut self) {
        let Some(operation @ Operation::Join(_)) = self.operation() else { return };
        let committee = self.state.committee();
        let (epoch, next) = (committee.epoch, self.state.position().0);
        let error = committee.check(&operation, next, self.manifest.sponsor_cap).err();
        let before = std::mem::replace(&mut self.chain.hindered, error);
        let Some(error) = error.filter(|error| before != Some(*error)) else { return };
        self.tell(NodeEvent::RequestHindered { epoch, reason: error.to_string() }).await;
    }

    /// Bytes of an epoch that has not begun here: kept, and their sender is asked for the records in between.
    pub(super) fn on_ahead(&mut self, from: Option<NodeId>, bytes: &[u8]) {
        if self.chain.ahead.len() < MAX_AHEAD {
            self.chain.ahead.push_back(bytes.to_vec());
        }
        if let Some(from) = from {
            self.ask_chain(from);
        }
    }

    /// Tells a peer which epoch this node knows; the answer is what follows it.
    fn ask_chain(&mut self, peer: NodeId) {
        let epoch = self.verifier.committee().epoch;
        if !once(&mut self.chain.asked, peer, epoch) {
            return;
        }
        let head = self.state.head();
        let status = Status { finalized: head.round, record: self.state.head_hash(), epoch, ..Status::default() };
        let slot = Slot { kind: Kind::Status, epoch, round: head.round + 1, view: 0 };
        match seal(&self.secret, self.verifier.network(), &slot, NOBODY, &Message::Status(status)) {
            Ok(bytes) => self.send_to(peer, bytes),
            Err(error) => tracing::error!(%error, "a status cannot be sealed"),
        }
    }

    /// This key has no place: ask whoever is connected in turn, and say again what is wanted. Who the members are by now is
    /// what the answer will tell.
    pub(super) fn ask_someone(&mut self) {
        self.chain.turn = self.chain.turn.wrapping_add(1);
        let known = if self.connected.is_empty() { &self.peers } else { &self.connected };
        if let Some(peer) = known.iter().nth(self.chain.turn % known.len().max(1)).copied() {
            self.ask_chain(peer);
            if let Some(bytes) = self.sealed_request() {
                self.send_to(peer, bytes);
            }
        }
    }

    /// A status of another epoch, or of someone without a place.
    pub(super) fn on_foreign_status(&mut self, from: NodeId, bytes: &[u8]) -> Result<(), Error> {
        let Some(status) = Verifier::anonymous_status(bytes) else { return Ok(()) };
        let epoch = self.verifier.committee().epoch;
        if status.epoch > epoch {
            self.ask_chain(from);
            return Ok(());
        }
        if !once(&mut self.chain.answered, from, status.epoch) {
            return Ok(());
        }
        let mut records = self.store.closing_records(status.epoch, CHAIN_PER_ANSWER)?;
        records.extend(self.state.proof().map(|proof| proof.as_ref().clone()));
        for committed in records.into_iter().filter(|c| c.record.round > status.finalized) {
            self.send_to(from, self.sealed_record(committed)?);
        }
        Ok(())
    }

    fn sealed_record(&self, committed: Committed) -> Result<Vec<u8>, Error> {
        let record = &committed.record;
        let slot = Slot { kind: Kind::Committed, epoch: record.epoch, round: record.round, view: 0 };
        let message = Message::Committed(Box::new(committed));
        Ok(seal(&self.secret, self.verifier.network(), &slot, NOBODY, &message)?)
    }

    /// The operation that this node's wish needs now; nothing if it is fulfilled.
    fn operation(&self) -> Option<Operation> {
        let (committee, network) = (self.state.committee(), self.verifier.network());
        let mine = self.secret.public();
        let since = committee.members.iter().find(|m| m.key == mine).map(|m| m.since);
        match (self.request.as_ref()?, since) {
            (Request::Join(join), None) => Some(Operation::Join(join.clone())),
            (Request::Leave, Some(since)) => Some(Operation::Leave(Leave::new(network, &self.secret, since))),
            (Request::Rotate(new), Some(since)) => {
                Some(Operation::Rotate(Box::new(Rotate::new(network, &self.secret, new, since))))
            }
            _ => None,
        }
    }

    fn sealed_request(&self) -> Option<Vec<u8>> {
        let slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };
        let message = Message::Operation(self.operation()?);
        seal(&self.secret, self.verifier.network(), &slot, NOBODY, &message).ok()
    }

    /// Tells what this node wants: its own machine if it is a member, otherwise a member that has just been met.
    pub(super) fn submit(&mut self, to: Option<NodeId>) {
        let Some(bytes) = self.sealed_request() else { return };
        match to {
            Some(peer) if self.state.me().is_none() => self.send_to(peer, bytes),
            _ => match self.verifier.open(&bytes) {
                Ok(message) => self.inputs.push_back(Input::Message(message)),
                Err(error) => tracing::error!(%error, "this node's own request is not valid"),
            },
        }
    }

    /// Whether the wish is fulfilled; then people are told, and a node that left stops.
    async fn check_request(&mut self) -> Result<(), Error> {
        if self.request.is_none() || self.operation().is_some() {
            return Ok(());
        }
        let request = self.request.take();
        let epoch = self.state.committee().epoch;
        if let Some(Request::Rotate(new)) = &request {
            self.store.rebind(&new.public().0)?;
        }
        let ends = matches!(request, Some(Request::Leave | Request::Rotate(_)));
        self.tell(NodeEvent::RequestDone { epoch, ends }).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fedswarm_protocol::membership::Role;

    use super::*;

    /// Four voters and so many contributors, with the keys 0, 1, 2 and so on.
    fn committee(contributors: u8) -> Committee {
        let mut committee = Committee::of_keys(0, (0..4 + contributors).map(|i| PublicKey([i; 32])));
        committee.members.iter_mut().skip(4).for_each(|member| member.role = Role::Contributor);
        committee
    }

    fn close(committee: &Committee, me: u8) -> Vec<u8> {
        let mut far = ties(committee, &PublicKey([me; 32]));
        far.retain(|(_, tie)| matches!(tie, Tie::Loose | Tie::None));
        let all = 0..committee.members.len() as u8;
        all.filter(|i| *i != me && far.iter().all(|(id, _)| id.0[0] != *i)).collect()
    }

    #[test]
    fn voters_are_close_to_each_other_and_contributors_to_all_voters_and_few_others() {
        let committee = committee(25);
        assert_eq!(close(&committee, 2), [0, 1, 3]);
        assert!(ties(&committee, &PublicKey([2; 32])).iter().all(|(_, tie)| *tie == Tie::Loose));
        assert_eq!(close(&committee, 4), [0, 1, 2, 3, 5, 9, 24, 28]);
        assert_eq!(close(&committee, 200), [0, 1, 2, 3], "whoever is no member calls voters only");
    }

    #[test]
    fn contributors_agree_on_who_is_close_and_all_are_joined_by_such_ties() {
        for contributors in [1, 2, 3, 7, 100] {
            let committee = committee(contributors);
            let mine: Vec<Vec<u8>> = (4..4 + contributors).map(|me| close(&committee, me)).collect();
            let mut met = vec![4];
            let mut next = 0;
            while let Some(me) = met.get(next).copied() {
                next += 1;
                for other in mine[usize::from(me) - 4].iter().filter(|other| **other >= 4) {
                    assert!(mine[usize::from(*other) - 4].contains(&me), "{me} and {other} of {contributors}");
                    if !met.contains(other) {
                        met.push(*other);
                    }
                }
            }
            assert_eq!(met.len(), usize::from(contributors));
        }
    }
}
