//! Sends bytes that are nearly a message: real ones with one byte changed, cut short, or made longer.

use super::{Adversary, Voice};
use crate::world::packet::Packet;

/// Packets that it has to work with.
const MEMORY: usize = 32;

#[derive(Default)]
pub(super) struct Garbage(Vec<Packet>);

impl Adversary for Garbage {
    fn hears(&mut self, voice: &mut Voice<'_>, packet: &Packet) {
        if self.0.len() < MEMORY {
            self.0.push(packet.clone());
        } else if voice.core.rng.chance(0.1) {
            let place = voice.core.rng.index(MEMORY);
            self.0[place] = packet.clone();
        }
    }

    fn acts(&mut self, voice: &mut Voice<'_>) {
        let place = voice.core.rng.index(self.0.len());
        let (Some(packet), Some(to)) = (self.0.get(place), voice.somebody()) else { return };
        let mut bytes = packet.bytes().to_vec();
        match voice.core.rng.below(4) {
            0 => bytes.truncate(voice.core.rng.index(bytes.len())),
            1 => bytes.push(voice.core.rng.bits() as u8),
            _ => {
                let at = voice.core.rng.index(bytes.len());
                let flip = 1u8 << voice.core.rng.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= flip;
                }
            }
        }
        voice.relay(&[to], &Packet::of_bytes(bytes));
    }
}
