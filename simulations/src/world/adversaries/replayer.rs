//! Repeats, at any later time, what it heard from others.

use super::{Adversary, Voice};
use crate::world::packet::Packet;

/// Packets that it remembers; newer ones take the place of random older ones.
const MEMORY: usize = 256;

#[derive(Default)]
pub(super) struct Replayer(Vec<Packet>);

impl Adversary for Replayer {
    fn hears(&mut self, voice: &mut Voice<'_>, packet: &Packet) {
        if self.0.len() < MEMORY {
            self.0.push(packet.clone());
        } else if voice.core.rng.chance(0.05) {
            let place = voice.core.rng.index(MEMORY);
            self.0[place] = packet.clone();
        }
    }

    fn acts(&mut self, voice: &mut Voice<'_>) {
        let place = voice.core.rng.index(self.0.len());
        if let (Some(packet), Some(to)) = (self.0.get(place), voice.somebody()) {
            voice.relay(&[to], packet);
        }
    }
}
