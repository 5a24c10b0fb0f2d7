//! How much an entry point relays.

use std::num::NonZeroU32;
use std::time::Duration;

use libp2p::{PeerId, relay};

use super::EntryStats;
use crate::{Error, MAX_MEMBERS};

/// How much an entry point relays. libp2p's own limits - 128 KiB and two minutes for a pair - are made for arranging a hole punch,
/// and a pair that cannot punch is cut off after a few rounds. These let the messages of many rounds pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Guests that may have a place. Too low, and later ones behind a NAT are not reached.
    pub places: usize,
    /// Pairs at once. Too low, and members of a network without punched holes do not all meet.
    pub circuits: usize,
    /// Pairs of which one guest is a part: all other members of its network.
    pub circuits_per_guest: usize,
    /// Bytes of one pair, both ways together, before it has to begin anew. Too low, and messages are lost at each new beginning.
    pub circuit_bytes: u64,
    /// How long a pair lasts before it has to begin anew.
    pub circuit_time: Duration,
    /// New pairs a minute that one guest may ask for; new places a minute, a quarter of it. One address has eight times as many.
    pub new_per_minute: u32,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            places: 1024,
            circuits: 4096,
            circuits_per_guest: MAX_MEMBERS,
            circuit_bytes: 16 << 20,
            circuit_time: Duration::from_secs(3600),
            new_per_minute: 256,
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

impl RelayLimits {
    fn check(&self) -> Result<NonZeroU32, Error> {
        let setting = |text: &str| Err(Error::Setting(text.to_owned()));
        if self.places == 0 || self.circuits == 0 || self.circuits_per_guest == 0 {
            return setting("a relay without places or circuits relays nothing; switch it off instead");
        }
        if self.circuit_bytes < 4096 {
            return setting(
                "relay: circuit bytes must be at least 4096, or no two peers get as far as greeting each other",
            );
        }
        if self.circuit_time < Duration::from_secs(1) || self.circuit_time.as_secs() > u64::from(u32::MAX) {
            return setting("relay: circuit time must be from 1 s to 2^32 - 1 s");
        }
        NonZeroU32::new(self.new_per_minute)
            .ok_or_else(|| Error::Setting("relay: at least one new circuit a minute is needed".into()))
    }

    pub(super) fn behaviour(self, me: PeerId) -> Result<relay::Behaviour, Error> {
        let pairs = self.check()?;
        let quarter = NonZeroU32::MIN.saturating_add(pairs.get() / 4);
        let eight = NonZeroU32::MIN.saturating_add(7);
        let config = relay::Config {
            max_reservations: self.places,
            max_reservations_per_peer: 2,
            reservation_rate_limiters: Vec::new(),
            max_circuits: self.circuits,
            max_circuits_per_peer: self.circuits_per_guest,
            max_circuit_duration: self.circuit_time,
            max_circuit_bytes: self.circuit_bytes,
            circuit_src_rate_limiters: Vec::new(),
            ..relay::Config::default()
        };
        // libp2p's limiters give back one of so many in each interval.
        let each = |limit: NonZeroU32| MINUTE / limit.get();
        let config = config
            .reservation_rate_per_peer(quarter, each(quarter))
            .reservation_rate_per_ip(quarter.saturating_mul(eight), each(quarter.saturating_mul(eight)))
            .circuit_src_per_peer(pairs, each(pairs))
            .circuit_src_per_ip(pairs.saturating_mul(eight), each(pairs.saturating_mul(eight)));
        let mut behaviour = relay::Behaviour::new(me, config);
        // Whoever runs an entry point has seen to it that it can be reached.
        behaviour.set_status(Some(relay::Status::Enable));
        Ok(behaviour)
    }
}

impl EntryStats {
    pub(super) fn count(&mut self, event: &relay::Event) {
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id, renewed } => {
                tracing::info!(guest = %src_peer_id, renewed, "a place at the relay");
                self.places += u64::from(!renewed);
            }
            relay::Event::ReservationReqDenied { src_peer_id, status } => {
                tracing::warn!(guest = %src_peer_id, ?status, "no place at the relay");
                self.places_denied += 1;
            }
            relay::Event::CircuitReqAccepted { src_peer_id, dst_peer_id } => {
                tracing::info!(from = %src_peer_id, to = %dst_peer_id, "relaying");
                self.circuits += 1;
                self.circuits_opened += 1;
            }
            relay::Event::CircuitReqDenied { src_peer_id, dst_peer_id, status } => {
                tracing::info!(from = %src_peer_id, to = %dst_peer_id, ?status, "not relayed");
                self.circuits_denied += 1;
            }
            relay::Event::CircuitClosed { .. } => self.circuits = self.circuits.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_that_would_relay_nothing_are_refused_with_what_is_wrong() {
        let me = crate::id::keypair(&[1; 32]).unwrap().public().to_peer_id();
        let refused = |limits: RelayLimits| limits.behaviour(me).err().unwrap().to_string();
        let good = RelayLimits::default();
        assert!(good.behaviour(me).is_ok());
        assert!(refused(RelayLimits { circuits: 0, ..good }).contains("switch it off"));
        assert!(refused(RelayLimits { circuit_bytes: 128, ..good }).contains("4096"));
        assert!(refused(RelayLimits { circuit_time: Duration::ZERO, ..good }).contains("circuit time"));
        assert!(refused(RelayLimits { new_per_minute: 0, ..good }).contains("at least one"));
    }
}
