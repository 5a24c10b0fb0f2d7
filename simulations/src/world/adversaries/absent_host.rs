//! Signs for artefacts that are all that they should be, and serves none of them.

use fedswarm_protocol::blob;
use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{Artefact, Message};

use super::{Adversary, Voice};
use crate::world::hosting;

#[derive(Default)]
pub(super) struct AbsentHost {
    /// The last job that it signed for, and the epoch in which it did.
    signed: (u64, u32),
}

impl Adversary for AbsentHost {
    fn acts(&mut self, voice: &mut Voice<'_>) {
        voice.withhold();
        let (record, epoch) = (voice.state().head().clone(), voice.state().committee().epoch);
        let Some((shape, generator)) = voice.generator() else { return };
        if record.prototypes == 0 || self.signed == (record.round, epoch) {
            return;
        }
        self.signed = (record.round, epoch);
        // Its own, so that nobody who has another host's can serve it.
        let mut contents = hosting::make(&shape, &record);
        contents.transformer.fill(i32::from(voice.me()) + 1);
        let blob = contents.to_bytes();
        let (blob_root, blob_len) = (blob::root(&blob), blob.len() as u32);
        let artefact =
            Artefact { protos_root: record.protos_root, generator, previous: Digest::ZERO, blob_root, blob_len };
        let slot = Slot { kind: Kind::Artefact, epoch, round: record.round, view: 0 };
        let audience = voice.others();
        voice.say(&audience, &slot, &Message::Artefact(artefact));
    }
}
