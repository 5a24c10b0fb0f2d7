//! Gossipsub, tuned for a closed set of members and small signed messages.
//!
//! Two traps shape this file.
//!
//! *Frames.* The receiver of gossipsub 0.50.1 rejects a frame when the bytes in its read buffer exceed `max_transmit_size`, and the
//! buffer may hold up to 8 KiB of the *next* frame. After a rejection every later message on that connection is lost, silently. So
//! our own messages stay at a quarter of gossipsub's limit, and a test sends twenty of the largest back to back.
//!
//! *Scores.* The defaults punish a quiet peer for what it had no occasion to say (P3), and peers that share an address (P6). Here
//! messages come in bursts once a round, and a whole swarm may live on one machine: both are off. Invalid messages (P4) weigh
//! heavily: three of them, and a peer is not heard any more.

use std::collections::HashMap;
use std::time::Duration;

use fedswarm_protocol::hash::{Digest, hash};
use libp2p::gossipsub::{
    self, ConfigBuilder, MaxCountSubscriptionFilter, Message, MessageAuthenticity, MessageId, PeerScoreParams,
    PeerScoreThresholds, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};

use crate::{Error, MAX_GOSSIP_BYTES, Tempo, Topic};

pub(crate) type Gossip =
    gossipsub::Behaviour<gossipsub::IdentityTransform, MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>>;

/// The frame limit: four times our own, see above.
const MAX_TRANSMIT_BYTES: usize = 4 * MAX_GOSSIP_BYTES;
/// How long a message is remembered as seen. Lower, and late copies are delivered again; each costs 20 bytes and some.
const SEEN: Duration = Duration::from_secs(600);
/// How long a message may be under examination, and is offered to those who missed it.
const HISTORY: Duration = Duration::from_secs(6);
/// How often scores decay. Longer, and what was once done wrong weighs more at one moment than at another; shorter, and every node
/// wakes up for nothing else.
const DECAY: Duration = Duration::from_secs(5);
/// The score of whoever is not a member: out of the mesh, still heard.
pub(crate) const STRANGER_SCORE: f64 = -20.0;

/// A gossipsub behaviour, subscribed to nothing yet.
pub(crate) fn behaviour(network: &Digest, tempo: &Tempo) -> Result<Gossip, Error> {
    let setting = |e: String| Error::Setting(format!("gossipsub: {e}"));
    let beats = HISTORY.as_millis().div_ceil(tempo.heartbeat.as_millis().max(1)).clamp(6, 120) as usize;
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(MAX_TRANSMIT_BYTES)
        .flood_publish(false)
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .mesh_outbound_min(3)
        .gossip_lazy(6)
        .heartbeat_interval(tempo.heartbeat)
        .heartbeat_initial_delay(tempo.first_heartbeat)
        .history_length(beats)
        .history_gossip(beats.div_ceil(2))
        .duplicate_cache_time(SEEN)
        .build()
        .map_err(|e| setting(e.to_string()))?;
    let topics: Vec<_> = Topic::ALL.iter().map(|t| t.ident(network).hash()).collect();
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(topics.iter().cloned().collect()),
        max_subscribed_topics: topics.len(),
        max_subscriptions_per_request: 2 * topics.len(),
    };
    let mut behaviour = Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
        .map_err(|e| setting(e.to_string()))?;
    let scores = topics.into_iter().map(|topic| (topic, topic_score())).collect();
    behaviour.with_peer_score(peer_score(scores), thresholds()).map_err(setting)?;
    Ok(behaviour)
}

/// The same bytes on the same topic are the same message, whoever sends them.
fn message_id(message: &Message) -> MessageId {
    let mut bytes = message.topic.as_str().as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(&message.data);
    MessageId::from(&hash("gossip message", &bytes).as_bytes()[..20])
}

/// What is left after [`DECAY`] of what loses this much in a second.
fn left_of(in_a_second: f64) -> f64 {
    in_a_second.powf(DECAY.as_secs_f64())
}

fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_weight: 0.02,
        first_message_deliveries_decay: left_of(0.97),
        first_message_deliveries_cap: 50.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -12.0,
        invalid_message_deliveries_decay: left_of(0.99),
        ..TopicScoreParams::default()
    }
}

fn peer_score(topics: HashMap<gossipsub::TopicHash, TopicScoreParams>) -> PeerScoreParams {
    PeerScoreParams {
        topics,
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: 0.0,
        // A peer that trains answers late. That is no misbehaviour until it is a habit.
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: left_of(0.9),
        decay_interval: DECAY,
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -10.0,
        publish_threshold: -50.0,
        graylist_threshold: -80.0,
        accept_px_threshold: 100.0,
        opportunistic_graft_threshold: 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, data: &[u8]) -> Message {
        Message {
            source: None,
            data: data.to_vec(),
            sequence_number: None,
            topic: gossipsub::TopicHash::from_raw(topic),
        }
    }

    #[test]
    fn a_message_is_named_by_topic_and_content() {
        assert_eq!(message_id(&message("a", b"x")), message_id(&message("a", b"x")));
        assert_ne!(message_id(&message("a", b"x")), message_id(&message("b", b"x")));
        assert_ne!(message_id(&message("a", b"bc")), message_id(&message("ab", b"c")));
    }

    #[test]
    fn three_invalid_messages_are_enough_to_be_unheard_and_two_are_not() {
        let weight = topic_score().invalid_message_deliveries_weight;
        assert!(9.0 * weight < thresholds().graylist_threshold);
        assert!(4.0 * weight > thresholds().graylist_threshold);
    }

    #[test]
    fn a_stranger_is_heard_but_gets_no_gossip() {
        assert!(STRANGER_SCORE < thresholds().gossip_threshold);
        assert!(STRANGER_SCORE > thresholds().publish_threshold);
    }
}
