//! From the network to the machine: drop what is known or out of date, verify, and only then let it in.

use std::time::Instant;

use fedswarm_network::{Acceptance, Event, Fault, NodeId};
use fedswarm_protocol::artefact::MAX_ARTEFACT_LAG;
use fedswarm_protocol::envelope::{EnvelopeError, Kind, NOBODY, Verifier};
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::round::Input;

use super::Driver;
use super::effects::ASKED_AT_ONCE;
use crate::NodeEvent;

impl Driver {
    pub(super) async fn on_network(&mut self, event: Event) {
        match event {
            Event::Connected(id) => self.on_peer(id, true).await,
            Event::Disconnected(id) => self.on_peer(id, false).await,
            Event::Path { peer, path } => self.tell(NodeEvent::Path { id: peer, path }).await,
            Event::Gossip { token, data, .. } => {
                let verdict = self.on_bytes(&data);
                self.network.report(token, verdict);
            }
            Event::Direct { from, data } => self.on_direct(from, &data).await,
            // What proves itself is welcome from anybody, and everybody may ask where the network stands.
            Event::Knock { from, data } => {
                match Verifier::peek(&data).map(|(slot, _)| slot) {
                    Some(slot) if slot.kind == Kind::Status || slot.kind.proves_itself() => {
                        self.on_direct(from, &data).await;
                    }
                    // A member that others have taken in since.
                    Some(slot) if slot.epoch > self.state.committee().epoch => {}
                    Some(_) => self.network.accuse(from, Fault::NotAMember),
                    None => self.network.accuse(from, Fault::BadMessage),
                }
            }
            _ => {}
        }
    }

    async fn on_direct(&mut self, from: NodeId, bytes: &[u8]) {
        let Some((slot, author)) = Verifier::peek(bytes) else {
            return self.network.accuse(from, Fault::BadMessage);
        };
        let foreign = slot.epoch != self.state.committee().epoch || author == NOBODY || !self.members.contains(&from);
        if slot.kind == Kind::Status && foreign {
            if let Err(error) = self.on_foreign_status(from, bytes) {
                self.fail(&error).await;
            }
        } else if slot.epoch > self.state.committee().epoch {
            self.on_ahead(Some(from), bytes);
        } else if self.on_bytes(bytes) == Acceptance::Reject {
            self.network.accuse(from, Fault::BadMessage);
        }
    }

    async fn on_peer(&mut self, id: NodeId, connected: bool) {
        if connected {
            self.peers.insert(id);
        } else {
            self.peers.remove(&id);
        }
        if !self.members.contains(&id) {
            return;
        }
        let key = PublicKey(id.0);
        if connected {
            self.connected.insert(id);
            // Contributors know nothing that voters do not, and ask by themselves; what a few voters do not know, none does.
            let committee = self.state.committee();
            let voter = committee.place(&key).is_some_and(|place| committee.voter(place).is_some());
            if voter && (self.votes() || self.voters_connected().count() <= ASKED_AT_ONCE) {
                self.inputs.push_back(Input::Connected { key });
            }
            self.submit(Some(id));
            self.say_ballots(Some(id));
        } else {
            self.connected.remove(&id);
            self.inputs.push_back(Input::Disconnected { key });
        }
        self.tell(NodeEvent::Peer { id, connected }).await;
    }

    /// Cheap checks first; a signature is checked once per message, however often it arrives.
    pub(super) fn on_bytes(&mut self, bytes: &[u8]) -> Acceptance {
        let Some((slot, author)) = Verifier::peek(bytes) else { return Acceptance::Reject };
        let (round, _) = self.state.position();
        if slot.epoch > self.state.committee().epoch {
            self.on_ahead(None, bytes);
            return Acceptance::Ignore;
        }
        let about_the_past = match slot.kind {
            Kind::Status | Kind::Operation => false,
            Kind::Committed => slot.round < self.state.head().round,
            // Its round is that of its job.
            Kind::Artefact => slot.round.saturating_add(MAX_ARTEFACT_LAG) < round,
            _ => slot.round < round,
        };
        if about_the_past || Some(author) == self.state.me() && !slot.kind.proves_itself() {
            return Acceptance::Ignore;
        }
        if let Some(message) = self.seen.get(bytes) {
            self.inputs.push_back(Input::Message(message));
            return Acceptance::Ignore;
        }
        match self.verifier.open(bytes) {
            Ok(message) => {
                tracing::trace!(kind = slot.kind.name(), author, round = slot.round, "received");
                // No two statuses are the same for long.
                if slot.kind != Kind::Status {
                    self.seen.remember(&message, round);
                    self.stall.heard(Instant::now());
                }
                self.inputs.push_back(Input::Message(message));
                Acceptance::Accept
            }
            // Of an epoch long past: late, but nobody's fault.
            Err(EnvelopeError::Epoch(_)) => Acceptance::Ignore,
            Err(error) => {
                tracing::debug!(%error, author, "refused");
                Acceptance::Reject
            }
        }
    }
}
