//! Sends updates that start from somewhere else: the record before the last, or none.

use fedswarm_protocol::message::Message;
use fedswarm_protocol::round::Recipient;

use super::{Adversary, Voice};
use crate::world::packet::Packet;

pub(super) struct StaleBase;

impl Adversary for StaleBase {
    fn says(&mut self, voice: &mut Voice<'_>, to: Recipient, packet: &Packet) -> bool {
        let Some(message) = packet.open(&voice.core.keys) else { return true };
        let Message::Update(header) = message.message() else { return true };
        if voice.place() != Some(message.author()) {
            return true;
        }
        let mut stale = header.clone();
        stale.base = voice.state().head().parent;
        let audience = voice.audience(to);
        voice.say(&audience, message.slot(), &Message::Update(stale));
        false
    }
}
