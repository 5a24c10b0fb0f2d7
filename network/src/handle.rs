//! The handle in front of the task that owns the swarm.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use libp2p::{Multiaddr, PeerId};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::blobs::codec::{Answer, Question};
use crate::blobs::fetch::{self, Plan};
use crate::blobs::partial::Partial;
use crate::driver::{Command, Driver};
use crate::gates::Gates;
use crate::listen::is_local;
use crate::traffic::Counters;
use crate::{
    Acceptance, AccessLists, BlobId, BlobSource, Config, Error, EventReceiver, Fault, Gauges, GossipToken, HolderFault,
    MAX_DIRECT_BYTES, MAX_GOSSIP_BYTES, Missing, NodeId, PeerInfo, Reachability, Tie, Topic, Traffic,
};

/// Commands waiting for the swarm's task. Full, callers wait.
const COMMANDS: usize = 256;
/// A running node of the network. Cheap to clone; the node stops when the last one is dropped, or at [`Network::shutdown`].
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    id: NodeId,
    commands: mpsc::Sender<Command>,
    reports: mpsc::Sender<(GossipToken, Acceptance)>,
    counters: Arc<Counters>,
    direct: Gates,
    blobs: Gates,
    /// Of all fetches together.
    turns: Semaphore,
    plan: Plan,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Network").field(&self.0.id).finish()
    }
}

/// Starts a node on the caller's tokio runtime and waits until its listeners are up.
///
/// # Errors
/// [`Error::Setting`] and [`Error::Key`] for a configuration that cannot work, [`Error::PortInUse`] and [`Error::Listen`] for an
/// address that cannot be listened on.
pub async fn start(config: Config, blobs: Arc<dyn BlobSource>) -> Result<(Network, EventReceiver), Error> {
    config.check()?;
    let id = NodeId::of_secret(&config.secret)?;
    let counters = Arc::new(Counters::default());
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    // There are no more reports than tokens, and those came through the queue of events, which is as long.
    let (reports, report_queue) = mpsc::channel(config.limits.events);
    let (events, event_queue) = mpsc::channel(config.limits.events);
    let network = Network(Arc::new(Shared {
        id,
        commands,
        reports,
        counters: Arc::clone(&counters),
        direct: Gates::new(config.limits.direct_per_peer),
        blobs: Gates::new(config.limits.blob_requests_per_peer),
        turns: Semaphore::new(config.limits.blob_requests_asked),
        plan: Plan {
            me: id,
            window: config.limits.fetch_window,
            per_holder: config.limits.blob_requests_per_peer,
            hedge: config.tempo.hedge,
        },
    }));
    // Large enough to be a burden to every future that waits for this one.
    let mut driver = Box::new(Driver::new(config, blobs, counters, command_queue, report_queue, events)?);
    driver.listen().await?;
    tokio::spawn((*driver).run());
    Ok((network, event_queue))
}

/// By peer, and only those that are not close.
pub(crate) fn peer_ties(ties: impl IntoIterator<Item = (NodeId, Tie)>) -> Result<HashMap<PeerId, Tie>, Error> {
    let far = ties.into_iter().filter(|(_, tie)| *tie != Tie::Close);
    far.map(|(id, tie)| Ok((id.peer_id()?, tie))).collect()
}

impl Network {
    /// This node's key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// Where this node listens, without the `/p2p/` part. Empty after a shutdown.
    pub async fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.ask(Command::ListenAddrs).await.unwrap_or_default()
    }

    /// Where this node can be found, each address with its `/p2p/` part: what others may be given. Addresses that lead nowhere but
    /// to this machine are among them only if there are no others. Empty after a shutdown.
    pub async fn full_addrs(&self) -> Vec<Multiaddr> {
        let Ok(peer) = self.0.id.peer_id() else { return Vec::new() };
        let mut addrs = self.listen_addrs().await;
        if !addrs.iter().all(is_local) {
            addrs.retain(|addr| !is_local(addr));
        }
        addrs.into_iter().filter_map(|addr| addr.with_p2p(peer).ok()).collect()
    }

    /// Gossips a message. If nobody is subscribed yet, it waits for the first one for up to a minute. The same bytes on the same
    /// topic travel once in ten minutes: publishing them again does nothing; repeat by [`Network::send`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] over [`MAX_GOSSIP_BYTES`], [`Error::Publish`] if every peer's queue is full, [`Error::Closed`].
    pub async fn publish(&self, topic: Topic, data: Vec<u8>) -> Result<(), Error> {
        if data.len() > MAX_GOSSIP_BYTES {
            let (len, max) = (data.len() as u64, MAX_GOSSIP_BYTES as u64);
            return Err(Error::TooLarge { what: "gossip message", len, max });
        }
        self.ask(|reply| Command::Publish { topic, data, reply }).await?
    }

    /// Sends a message to one member, and returns when it is acknowledged: it is in the addressee's queue of events. Nobody is
    /// dialed for it. More than a few at once to one peer wait here.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over [`MAX_DIRECT_BYTES`], [`Error::Send`] if it was not acknowledged, [`Error::Closed`].
    pub async fn send(&self, to: NodeId, data: Vec<u8>) -> Result<(), Error> {
        if data.len() > MAX_DIRECT_BYTES {
            let (len, max) = (data.len() as u64, MAX_DIRECT_BYTES as u64);
            return Err(Error::TooLarge { what: "direct message", len, max });
        }
        let peer = to.peer_id()?;
        let permit = self.0.direct.pass(to).await?;
        self.ask(|reply| Command::Send { peer, data, permit, reply })
            .await?
            .map_err(|reason| Error::Send { to, reason })
    }

    /// Fetches a blob of `len` bytes from `holders`, several at once; every chunk is verified. Ourselves among them is skipped.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over [`crate::MAX_BLOB_BYTES`], [`Error::Fetch`] with what each holder did if none was of use,
    /// [`Error::Closed`].
    pub async fn fetch(&self, id: BlobId, len: u64, holders: Vec<NodeId>) -> Result<Vec<u8>, Error> {
        let mut blob = Partial::new(id, len);
        let (_only, holders) = watch::channel(holders);
        self.fetch_rest(&mut blob, &holders).await?;
        blob.into_bytes().ok_or(Error::Closed)
    }

    /// Fetches what is missing of a blob, as [`Network::fetch`] does; holders may be added meanwhile. What was checked stays in
    /// `blob` after a failure, and if the future is dropped.
    ///
    /// # Errors
    /// As [`Network::fetch`].
    pub async fn fetch_rest(&self, blob: &mut Partial, holders: &watch::Receiver<Vec<NodeId>>) -> Result<(), Error> {
        if self.0.commands.is_closed() {
            return Err(Error::Closed);
        }
        let accuse = |holder, fault: &HolderFault| {
            if matches!(fault, HolderFault::BadList | HolderFault::BadChunk(_) | HolderFault::WrongAnswer) {
                self.accuse(holder, Fault::WrongBlob);
            }
        };
        let ask = |holder, question| self.question(holder, question);
        fetch::fetch(ask, &self.0.turns, blob, holders.clone(), self.0.plan, &accuse).await
    }

    async fn question(&self, holder: NodeId, question: Question) -> Result<Answer, HolderFault> {
        let transport = |e: Error| HolderFault::Transport(e.to_string());
        let peer = holder.peer_id().map_err(transport)?;
        let permit = self.0.blobs.pass(holder).await.map_err(transport)?;
        self.ask(|reply| Command::Question { peer, question, permit, reply }).await.map_err(transport)?
    }

    /// Says what a gossiped message was worth. After a shutdown it does nothing; should the driver be so far behind that its
    /// queue is full, the message is not passed on.
    pub fn report(&self, token: GossipToken, verdict: Acceptance) {
        drop(self.0.reports.try_send((token, verdict)));
    }

    /// Replaces the members: who may fetch blobs and send direct messages, and is kept connected. Connections of former members
    /// stay, without these rights. Ourselves among them is skipped.
    ///
    /// # Errors
    /// [`Error::Setting`] for more than [`crate::MAX_MEMBERS`], [`Error::Closed`].
    pub async fn set_members(&self, members: impl IntoIterator<Item = NodeId> + Send) -> Result<(), Error> {
        let peers = members.into_iter().map(|id| id.peer_id()).collect::<Result<Vec<PeerId>, Error>>()?;
        if peers.len() > crate::MAX_MEMBERS {
            let text = format!("{} members, at most {} are allowed", peers.len(), crate::MAX_MEMBERS);
            return Err(Error::Setting(text));
        }
        self.ask(|reply| Command::SetMembers { peers, reply }).await
    }

    /// Says that a peer did something wrong; with too many faults it is banned for a while. What was gossiped is judged by
    /// [`Network::report`] alone. Should the driver be far behind, the fault is forgotten.
    pub fn accuse(&self, peer: NodeId, fault: Fault) {
        if let Ok(peer) = peer.peer_id() {
            drop(self.0.commands.try_send(Command::Accuse { peer, fault }));
        }
    }

    /// Puts other lists in force; peers that they block are disconnected.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn set_lists(&self, lists: AccessLists) -> Result<(), Error> {
        self.ask(|reply| Command::SetLists { lists, reply }).await
    }

    /// How full everything is, and what was refused. Zero after a shutdown.
    pub async fn gauges(&self) -> Gauges {
        self.ask(Command::Gauges).await.unwrap_or_default()
    }

    /// Says to which members this node is not tied closely; to all others it is. Takes effect with the next [`set_members`].
    ///
    /// # Errors
    /// [`Error::Key`] for a key that is none, [`Error::Closed`].
    ///
    /// [`set_members`]: Network::set_members
    pub async fn set_ties(&self, ties: impl IntoIterator<Item = (NodeId, Tie)> + Send) -> Result<(), Error> {
        let ties = peer_ties(ties)?;
        self.ask(|reply| Command::SetTies { ties, reply }).await
    }

    /// Closes all connections with a peer and lets it in no more.
    ///
    /// # Errors
    /// [`Error::Key`] for a key that is none, [`Error::Closed`].
    pub async fn block(&self, peer: NodeId) -> Result<(), Error> {
        let peer = peer.peer_id()?;
        self.ask(|reply| Command::Block { peer, reply }).await
    }

    /// Dials an address. Returns when the attempt is under way; [`crate::Event::Connected`] tells of success.
    ///
    /// # Errors
    /// [`Error::Dial`] if the address cannot be dialed at all, [`Error::Closed`].
    pub async fn dial(&self, addr: Multiaddr) -> Result<(), Error> {
        self.ask(|reply| Command::Dial { addr, reply }).await?
    }

    /// Who is connected, by key. Empty after a shutdown.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(Command::Peers).await.unwrap_or_default()
    }

    /// Which members and entry points are not connected, and what came of the attempts. Empty after a shutdown.
    pub async fn missing(&self) -> Vec<Missing> {
        self.ask(Command::Missing).await.unwrap_or_default()
    }

    /// The fewest peers that this node has in the gossip mesh of any topic. None after a shutdown.
    pub async fn least_mesh(&self) -> usize {
        self.ask(Command::LeastMesh).await.unwrap_or(0)
    }

    /// How others reach this node, as far as it knows. Nothing is known after a shutdown.
    pub async fn reachability(&self) -> Reachability {
        self.ask(Command::Reachability).await.unwrap_or_default()
    }

    /// Bytes since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.counters.read()
    }

    /// Closes all connections and listeners. Everything asked afterwards is [`Error::Closed`].
    pub async fn shutdown(&self) {
        drop(self.ask(Command::Shutdown).await);
        self.0.commands.closed().await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.commands.send(command(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }
}
