//! Sends bytes beyond every limit.

use fedswarm_protocol::envelope::MAX_MESSAGE_BYTES;

use super::{Adversary, Voice};
use crate::world::packet::Packet;

pub(super) struct Oversized;

impl Adversary for Oversized {
    fn acts(&mut self, voice: &mut Voice<'_>) {
        let Some(to) = voice.somebody() else { return };
        let more = voice.core.rng.between(1, 64 * 1024) as usize;
        // The first byte is a kind that exists.
        let bytes = vec![3; MAX_MESSAGE_BYTES + more];
        voice.relay(&[to], &Packet::of_bytes(bytes));
    }
}
