//! From the network to the machine: drop what is known or out of date, verify, and only then let it in.

use fedswarm_network::{Acceptance, Event, NodeId};
use fedswarm_protocol::envelope::{Kind, Verifier};
use fedswarm_protocol::round::Input;

use super::Driver;
use crate::NodeEvent;

impl Driver {
    pub(super) async fn on_network(&mut self, event: Event) {
        match event {
            Event::Connected(id) => self.on_peer(id, true).await,
            Event::Disconnected(id) => self.on_peer(id, false).await,
            Event::Gossip { token, data, .. } => {
                let verdict = self.on_bytes(&data);
                self.network.report(token, verdict);
            }
            Event::Direct { data, .. } => {
                self.on_bytes(&data);
            }
            _ => {}
        }
    }

    async fn on_peer(&mut self, id: NodeId, connected: bool) {
        let Some(member) = self.members.iter().position(|m| *m == id) else { return };
        if connected {
            self.connected.insert(id);
            self.inputs.push_back(Input::Connected { member: member as u16 });
        } else {
            self.connected.remove(&id);
        }
        self.tell(NodeEvent::Peer { id, connected }).await;
    }

    /// Cheap checks first; a signature is checked once per message, however often it arrives.
    fn on_bytes(&mut self, bytes: &[u8]) -> Acceptance {
        let Some((slot, author)) = Verifier::peek(bytes) else { return Acceptance::Reject };
        let (round, _) = self.state.position();
        let about_the_past = match slot.kind {
            Kind::Status => false,
            Kind::Committed => slot.round < self.state.head().round,
            _ => slot.round < round,
        };
        if about_the_past || author == self.me && slot.kind != Kind::Certificate && slot.kind != Kind::Committed {
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
                }
                self.inputs.push_back(Input::Message(message));
                Acceptance::Accept
            }
            Err(error) => {
                tracing::debug!(%error, author, "refused");
                Acceptance::Reject
            }
        }
    }
}
