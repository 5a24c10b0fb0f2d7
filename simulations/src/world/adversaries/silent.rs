//! Trains and receipts like everybody, but as an aggregator and voter it is not there.

use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::round::Recipient;

use super::{Adversary, Voice};
use crate::world::packet::Packet;

pub(super) struct Silent;

impl Adversary for Silent {
    fn says(&mut self, _voice: &mut Voice<'_>, _to: Recipient, packet: &Packet) -> bool {
        !packet.kind().is_some_and(|kind| kind == Kind::Proposal || kind.is_vote())
    }
}
