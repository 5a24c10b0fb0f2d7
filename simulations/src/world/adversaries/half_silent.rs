//! Talks to one member fewer than would decide, always to the same half first: some see its proposals and votes, others
//! never do.

use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::round::Recipient;

use super::{Adversary, Voice};
use crate::world::packet::Packet;

pub(super) struct HalfSilent;

impl Adversary for HalfSilent {
    fn says(&mut self, voice: &mut Voice<'_>, to: Recipient, packet: &Packet) -> bool {
        let mut some = voice.others();
        // With its own voice it is one short of a quorum.
        some.truncate(Quorum::of(some.len() + 1).quorum.saturating_sub(2));
        let heard: Vec<u16> = voice.audience(to).into_iter().filter(|member| some.contains(member)).collect();
        voice.relay(&heard, packet);
        false
    }
}
