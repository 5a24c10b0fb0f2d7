//! Faults, bans and the operator's lists.

use std::collections::HashSet;

use libp2p::{PeerId, kad};
use tokio::time::Instant;

use super::Driver;
use crate::doorman::Doorman;
use crate::quality::{Passage, Sort};
use crate::{AccessLists, Fault, Gauges, NodeId};

impl Driver {
    fn doorman(&mut self) -> &mut Doorman {
        &mut self.swarm.behaviour_mut().common.doorman
    }

    /// Notes what a peer did wrong, and bans it if that is enough. Members are banned for a shorter time.
    pub(super) fn fault(&mut self, peer: PeerId, fault: Fault) {
        let known = self.discovery.is_known(&peer);
        tracing::debug!(%peer, fault = fault.name(), known, "a fault");
        if self.doorman().is_allowed(&peer) {
            return;
        }
        if self.ledger.fault(peer, fault, known, Instant::now()) {
            if known {
                tracing::warn!(%peer, fault = fault.name(), "a member is banned for a minute");
            } else {
                tracing::info!(%peer, fault = fault.name(), "banned");
            }
            self.doorman().ban(peer);
        }
    }

    /// Whether a peer may send one more of these; notes a flood.
    pub(super) fn may(&mut self, peer: &PeerId, sort: Sort) -> bool {
        let member = self.discovery.is_known(peer);
        let Some(entry) = self.peers.get_mut(peer) else { return false };
        match entry.allowance.take(sort, member) {
            Passage::Free => true,
            Passage::Over => false,
            Passage::Flood => {
                self.fault(*peer, Fault::Flood);
                false
            }
        }
    }

    /// Lets those in again whose ban is over.
    pub(super) fn end_bans(&mut self) {
        for peer in self.ledger.ended(Instant::now()) {
            self.doorman().unban(&peer);
        }
    }

    /// Tells the doorman who is no guest. What was held against a newcomer while it was none of ours is forgotten.
    pub(super) fn introduce(&mut self) {
        let known: HashSet<PeerId> = self.discovery.known().collect();
        for peer in known.iter().filter(|peer| !self.introduced.contains(*peer)) {
            self.ledger.pardon(peer);
            self.swarm.behaviour_mut().common.doorman.unban(peer);
        }
        self.introduced.clone_from(&known);
        self.doorman().set_known(known);
    }

    pub(super) fn set_lists(&mut self, lists: AccessLists) {
        for peer in self.ledger.banned().filter(|peer| lists.allows(peer, None)).copied().collect::<Vec<_>>() {
            self.ledger.pardon(&peer);
            self.doorman().unban(&peer);
        }
        self.doorman().set_lists(lists);
    }

    /// Nobody of ours stores records in the routing table or asks to be named there.
    pub(super) fn on_kad(&mut self, event: kad::Event) {
        if let Some(peer) = pollutes(&event) {
            self.fault(peer, Fault::ForeignRecord);
        }
        self.discovery.on_kad(event, &mut self.swarm);
    }

    pub(super) fn gauges(&self) -> Gauges {
        let doorman = &self.swarm.behaviour().common.doorman;
        let (faults, bans) = self.ledger.counts();
        let mut banned: Vec<NodeId> = self.ledger.banned().filter_map(NodeId::from_peer_id).collect();
        banned.sort();
        Gauges {
            connections: doorman.connections(),
            opened: doorman.opened(),
            half_open: doorman.half_open(),
            guests: doorman.guests(),
            denied: doorman.denied(),
            banned,
            bans,
            faults,
            events_waiting: self.events.max_capacity() - self.events.capacity(),
            direct_open: self.direct.len(),
            blobs_asked: self.questions.len(),
            blobs_serving: self.serving.open(),
            unsent_gossip: self.unsent.len(),
        }
    }
}

/// Who wants to store something in the routing table, if this says so.
pub(crate) fn pollutes(event: &kad::Event) -> Option<PeerId> {
    let kad::Event::InboundRequest { request } = event else { return None };
    match request {
        kad::InboundRequest::PutRecord { source, .. } => Some(*source),
        // A peer can name nobody but itself; libp2p drops what says otherwise.
        kad::InboundRequest::AddProvider { record } => record.as_ref().map(|record| record.provider),
        _ => None,
    }
}
