//! Publishes headers and serves no payload: its own update can reach nobody, and its receipts promise in vain.

use super::{Adversary, Voice};

pub(super) struct Withholder;

impl Adversary for Withholder {
    fn acts(&mut self, voice: &mut Voice<'_>) {
        voice.withhold();
    }
}
