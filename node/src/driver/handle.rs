//! What the owner of a running node holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fedswarm_learning::methods::Member;
use fedswarm_network::{BlobId, Network, NodeId};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::{Committee, Operation};
use fedswarm_protocol::message::Committed;
use fedswarm_protocol::record::Record;
use tokio::sync::{mpsc, watch};

use super::membership::{self, Asked, Request};
use crate::Error;
use crate::blobs::Blobs;
use crate::roster::Roster;
use crate::status::{self, NodeStatus, PeerStatus};
use crate::store::Store;

/// A running node. Dropping it leaves the node running; [`NodeHandle::shutdown`] ends it.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    pub(super) network: Network,
    pub(super) store: Arc<Store>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) member: SharedMember,
    pub(super) requests: mpsc::Sender<Asked>,
    pub(super) motions: watch::Receiver<Vec<Operation>>,
    pub(super) stop: Arc<watch::Sender<bool>>,
}

/// The member is trained on other threads and looked at by its owner.
pub(crate) type SharedMember = Arc<MemberCell>;

/// A lock around a member.
pub(crate) struct MemberCell(pub(crate) Mutex<Box<dyn Member>>);

impl std::fmt::Debug for MemberCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Member")
    }
}

impl NodeHandle {
    /// The network layer.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// The node's key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.network.id()
    }

    /// Where the node stands, as its own store says.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn status(&self, manifest: &Manifest) -> Result<NodeStatus, Error> {
        let committee = self.store.committee()?.unwrap_or_else(|| Committee::founding(manifest));
        let network = manifest.network_id()?;
        let head = self.store.head()?;
        let record = head.as_ref().map_or_else(|| Record::genesis(manifest, network), |head| head.record.clone());
        let hash = record.hash().map_err(|e| Error::Corrupt(e.to_string()))?;
        let closing = self.store.last_closing_record()?;
        let addresses = self.network.full_addrs().await;
        Ok(NodeStatus {
            network: network.to_string(),
            member: self.id().to_string(),
            round: record.round,
            record: hash.to_string(),
            state: record.state_hash().to_string(),
            signatures: head.as_ref().map_or(0, |head| head.certificate.votes.len()),
            turn: None,
            epoch: committee.epoch,
            voters: committee.voters(),
            members: committee.members.len(),
            checkpoint: closing.map(|c| (c.record.round, c.certificate.record.to_string())),
            addresses: addresses.iter().take(crate::invitation::MAX_ADDRESSES).map(ToString::to_string).collect(),
            reachability: self.network.reachability().await.verdict().to_owned(),
            peers: self.network.peers().await.iter().filter(|peer| peer.member).map(PeerStatus::of).collect(),
            metrics: None,
            at: status::now(),
        })
    }

    /// Who belongs to the network and what is voted on, as this node knows it.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn roster(&self, manifest: &Manifest) -> Result<Roster, Error> {
        let (committee, round) = self.membership(manifest)?;
        Ok(Roster::new(&manifest.network_id()?, round, &committee, &self.motions.borrow()))
    }

    /// How many voters are connected, this node among them if it is one, and how many certify a round.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn voters_here(&self, manifest: &Manifest) -> Result<(usize, usize), Error> {
        let committee = self.store.committee()?.unwrap_or_else(|| Committee::founding(manifest));
        let mut here: BTreeSet<NodeId> = self.network.peers().await.iter().map(|peer| peer.id).collect();
        here.insert(self.id());
        let voters = membership::node_ids(&committee).into_iter().take(committee.voters());
        Ok((voters.filter(|voter| here.contains(voter)).count(), committee.quorum().quorum))
    }

    /// The committee of the round in progress, and the last certified round.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn membership(&self, manifest: &Manifest) -> Result<(Committee, u64), Error> {
        let committee = self.store.committee()?.unwrap_or_else(|| Committee::founding(manifest));
        Ok((committee, self.store.head()?.map_or(0, |head| head.record.round)))
    }

    /// Certified records, read from this node's own store.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn records(&self) -> Result<Vec<Committed>, Error> {
        self.store.records()
    }

    /// A payload or model, if it is still here.
    #[must_use]
    pub fn blob(&self, root: &Digest) -> Option<Vec<u8>> {
        self.blobs.get(&BlobId(*root)).map(|blob| blob.bytes.clone())
    }

    /// How many payloads and models are held, and their bytes.
    #[must_use]
    pub fn blobs_held(&self) -> (usize, u64) {
        self.blobs.held()
    }

    /// Looks at the member, waiting for a training step in progress to end.
    pub fn with_member<T>(&self, look: impl FnOnce(&mut dyn Member) -> T) -> T {
        let mut member = self.member.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(member.as_mut())
    }

    /// Asks the network for something on this node's behalf; [`NodeEvent::RequestDone`](crate::NodeEvent::RequestDone) tells when it is certified.
    ///
    /// # Errors
    /// [`Error::Config`] if the node has stopped.
    pub async fn request(&self, request: Request) -> Result<(), Error> {
        self.ask(Asked::Become(request)).await
    }

    /// Casts a vote on another member, signed with this node's key; it is said until it is decided or lapses.
    /// [`Event::Motion`](fedswarm_protocol::round::Event::Motion) tells how votes stand.
    ///
    /// # Errors
    /// [`Error::Config`] if the node has stopped.
    pub async fn cast(&self, vote: Operation) -> Result<(), Error> {
        self.ask(Asked::Cast(vote)).await
    }

    async fn ask(&self, asked: Asked) -> Result<(), Error> {
        self.requests.send(asked).await.map_err(|_| Error::Config("the node has stopped".to_owned()))
    }

    /// Ends the node: nothing more is said, connections close.
    pub async fn shutdown(&self) {
        self.halt();
        self.network.shutdown().await;
    }

    /// Tells the node to end; it hears of nothing that happens after this.
    fn halt(&self) {
        self.stop.send_replace(true);
    }
}

/// Ends nodes of one program at the same moment. Ended one after the other, those that are left see the first go and carry on with
/// the round without it, as they should; what they certify would then depend on when the program was stopped.
pub async fn shutdown_all(nodes: &[NodeHandle]) {
    nodes.iter().for_each(NodeHandle::halt);
    for node in nodes {
        node.shutdown().await;
    }
}
