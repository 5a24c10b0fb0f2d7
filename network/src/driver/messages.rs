//! Gossip and direct messages.

use libp2p::gossipsub;
use libp2p::gossipsub::{MessageAcceptance, PublishError};
use tokio::time::{Duration, Instant};

use super::Driver;
use crate::direct::{Ack, DirectEvent};
use crate::quality::Sort;
use crate::{Acceptance, Error, Event, Fault, GossipToken, MAX_GOSSIP_BYTES, NodeId, Topic};

/// How long a message waits for a first subscriber.
const UNSENT_FOR: Duration = Duration::from_secs(60);

/// A message that nobody was there to receive.
#[derive(Debug)]
pub(super) struct Unsent {
    topic: Topic,
    data: Vec<u8>,
    since: Instant,
}

impl Driver {
    pub(super) fn publish(&mut self, topic: Topic, data: Vec<u8>) -> Result<(), Error> {
        let len = data.len();
        let ident = topic.ident(&self.network);
        match self.swarm.behaviour_mut().gossip.publish(ident, data.clone()) {
            Ok(_) => self.counters.gossip.sent(len),
            // Said already: it is on its way.
            Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic) => {
                if self.unsent.len() >= self.limits.unsent_gossip {
                    self.unsent.pop_front();
                }
                if self.limits.unsent_gossip > 0 {
                    self.unsent.push_back(Unsent { topic, data, since: Instant::now() });
                }
            }
            Err(error) => return Err(Error::Publish(error.to_string())),
        }
        Ok(())
    }

    pub(super) fn judge(&mut self, token: &GossipToken, verdict: Acceptance) {
        if verdict == Acceptance::Reject {
            self.fault(token.from, Fault::BadMessage);
        }
        let verdict = match verdict {
            Acceptance::Accept => MessageAcceptance::Accept,
            Acceptance::Ignore => MessageAcceptance::Ignore,
            Acceptance::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        if !gossip.report_message_validation_result(&token.id, &token.from, verdict) {
            tracing::debug!(id = %token.id, "a verdict came too late: the message is not passed on");
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let token = GossipToken { id: message_id, from: propagation_source };
                let topic = self.topics.get(&message.topic).copied();
                let (Some(topic), Some(from)) = (topic, NodeId::from_peer_id(&propagation_source)) else {
                    return self.judge(&token, Acceptance::Reject);
                };
                if message.data.len() > MAX_GOSSIP_BYTES {
                    return self.judge(&token, Acceptance::Reject);
                }
                self.counters.gossip.received(message.data.len());
                if !self.may(&propagation_source, Sort::Gossip) {
                    return self.judge(&token, Acceptance::Ignore);
                }
                let again = GossipToken { id: token.id.clone(), from: token.from };
                if !self.tell_message(Event::Gossip { topic, from, token, data: message.data }) {
                    tracing::warn!(?topic, from = ?from, "the queue of events is full; gossip is dropped");
                    self.judge(&again, Acceptance::Ignore);
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                let Some(topic) = self.topics.get(&topic).copied() else { return };
                let Some(id) = NodeId::from_peer_id(&peer_id) else { return };
                if let Some(peer) = self.peers.get_mut(&peer_id) {
                    peer.topics.insert(topic);
                }
                self.tell(Event::Subscribed { peer: id, topic });
                self.retry(topic);
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                if let (Some(topic), Some(peer)) = (self.topics.get(&topic), self.peers.get_mut(&peer_id)) {
                    peer.topics.remove(topic);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::debug!(peer = %peer_id, ?failed_messages, "a peer does not keep up with gossip");
            }
            gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    /// Someone subscribed: what waited for it can go.
    fn retry(&mut self, topic: Topic) {
        let waiting = std::mem::take(&mut self.unsent);
        for unsent in waiting {
            if unsent.since.elapsed() > UNSENT_FOR {
                continue;
            }
            if unsent.topic != topic {
                self.unsent.push_back(unsent);
            } else if let Err(error) = self.publish(topic, unsent.data) {
                tracing::warn!(%error, "a message that had waited is lost");
            }
        }
    }

    pub(super) fn on_direct(&mut self, event: DirectEvent) {
        match event {
            DirectEvent::Message { peer, channel, message } => {
                let ack = match NodeId::from_peer_id(&peer) {
                    None => Ack::Refused,
                    Some(_) if !self.may(&peer, Sort::Direct) => Ack::Busy,
                    Some(from) => {
                        let (len, member) = (message.len(), self.discovery.is_member(&peer));
                        let event = if member {
                            Event::Direct { from, data: message }
                        } else {
                            Event::Knock { from, data: message }
                        };
                        if self.tell_message(event) {
                            self.counters.direct.received(if member { len } else { 0 });
                            Ack::Taken
                        } else {
                            Ack::Busy
                        }
                    }
                };
                self.swarm.behaviour_mut().direct.answer(channel, ack);
            }
            DirectEvent::Bad { peer, fault } => self.fault(peer, fault),
            DirectEvent::Answered { id, outcome } => {
                // Whoever asked may have gone away meanwhile.
                let Some(open) = self.direct.remove(&id) else { return };
                drop(open.reply.send(match outcome {
                    Ok(Ack::Taken) => Ok(()),
                    Ok(Ack::Refused) => Err("it takes messages from members only".into()),
                    Ok(Ack::Busy) => Err("it has too many messages waiting".into()),
                    Err(error) => Err(error),
                }));
            }
        }
    }
}
