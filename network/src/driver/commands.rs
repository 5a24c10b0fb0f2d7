//! What the handle asks of the task.

use std::collections::HashMap;

use libp2p::{Multiaddr, PeerId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{BlobReply, DirectReply, Driver, Open};
use crate::blobs::codec::Question;
use crate::frame::Inbound;
use crate::{AccessLists, Error, Fault, Gauges, HolderFault, Missing, PeerInfo, Reachability, Tie, Topic};
use tokio::time::Instant;

/// A wish, and where to answer.
pub(crate) enum Command {
    Publish { topic: Topic, data: Vec<u8>, reply: oneshot::Sender<Result<(), Error>> },
    Send { peer: PeerId, data: Vec<u8>, permit: OwnedSemaphorePermit, reply: oneshot::Sender<DirectReply> },
    Question { peer: PeerId, question: Question, permit: OwnedSemaphorePermit, reply: oneshot::Sender<BlobReply> },
    SetTies { ties: HashMap<PeerId, Tie>, reply: oneshot::Sender<()> },
    SetMembers { peers: Vec<PeerId>, reply: oneshot::Sender<()> },
    SetLists { lists: AccessLists, reply: oneshot::Sender<()> },
    Block { peer: PeerId, reply: oneshot::Sender<()> },
    Accuse { peer: PeerId, fault: Fault },
    Gauges(oneshot::Sender<Gauges>),
    Dial { addr: Multiaddr, reply: oneshot::Sender<Result<(), Error>> },
    Reachability(oneshot::Sender<Reachability>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Missing(oneshot::Sender<Vec<Missing>>),
    LeastMesh(oneshot::Sender<usize>),
    ListenAddrs(oneshot::Sender<Vec<Multiaddr>>),
    Shutdown(oneshot::Sender<()>),
}

impl Driver {
    /// Whoever asked may have gone away meanwhile; its answer is dropped then.
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { topic, data, reply } => drop(reply.send(self.publish(topic, data))),
            Command::Send { peer, data, permit, reply } => {
                self.counters.direct.sent(data.len());
                let id = self.swarm.behaviour_mut().direct.send(peer, data);
                self.direct.insert(id, Open { reply, since: Instant::now(), _permit: permit });
            }
            Command::Question { peer, question, permit, reply } => {
                // Where relays are in use, a request would wait for a direct connection that may never come.
                let direct = self.peers.get(&peer).map(super::connections::Peer::is_direct);
                let fault = match direct {
                    _ if !self.swarm.behaviour().through.is_enabled() => None,
                    Some(true) => None,
                    Some(false) => Some(HolderFault::Relayed),
                    None => Some(HolderFault::Transport("is not connected".into())),
                };
                if let Some(fault) = fault {
                    drop(reply.send(Err(fault)));
                    return;
                }
                let id = self.swarm.behaviour_mut().blobs.0.send_request(&peer, Inbound::Good(question));
                self.questions.insert(id, Open { reply, since: Instant::now(), _permit: permit });
            }
            Command::SetTies { ties, reply } => {
                self.discovery.set_ties(ties);
                _ = reply.send(());
            }
            Command::SetMembers { peers, reply } => {
                self.set_members(peers);
                _ = reply.send(());
            }
            Command::Block { peer, reply } => {
                self.swarm.behaviour_mut().common.doorman.ban(peer);
                _ = reply.send(());
            }
            Command::SetLists { lists, reply } => {
                self.set_lists(lists);
                _ = reply.send(());
            }
            Command::Accuse { peer, fault } => self.fault(peer, fault),
            Command::Gauges(reply) => drop(reply.send(self.gauges())),
            Command::Dial { addr, reply } => {
                let result = self.swarm.dial(addr.clone());
                drop(reply.send(result.map_err(|e| Error::Dial { addr, reason: e.to_string() })));
            }
            Command::Reachability(reply) => drop(reply.send(self.reachability())),
            Command::Peers(reply) => drop(reply.send(self.peer_infos())),
            Command::Missing(reply) => drop(reply.send(self.discovery.missing())),
            Command::LeastMesh(reply) => {
                let gossip = &self.swarm.behaviour().gossip;
                _ = reply.send(self.topics.keys().map(|topic| gossip.mesh_peers(topic).count()).min().unwrap_or(0));
            }
            Command::ListenAddrs(reply) => drop(reply.send(self.swarm.listeners().cloned().collect())),
            Command::Shutdown(reply) => _ = reply.send(()),
        }
    }
}
