//! Hosts a generator and signs, for each record, for something that no artefact of it is.

use fedswarm_protocol::artefact::{ArtefactShape, Contents};
use fedswarm_protocol::blob;
use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::message::{Artefact, Message};

use super::{Adversary, Voice};
use crate::world::hosting;

/// Kinds of lies.
const LIES: u64 = 9;

#[derive(Default)]
pub(super) struct LyingHost {
    /// The last job that it lied about, and the epoch in which it did.
    lied: (u64, u32),
}

impl Adversary for LyingHost {
    fn acts(&mut self, voice: &mut Voice<'_>) {
        let (record, epoch) = (voice.state().head().clone(), voice.state().committee().epoch);
        let Some((shape, id)) = voice.generator() else { return };
        if record.prototypes == 0 || self.lied == (record.round, epoch) {
            return;
        }
        self.lied = (record.round, epoch);
        let honest = hosting::make(&shape, &record);
        let lie = voice.core.rng.below(LIES);
        let blob = contents(lie, &shape, &honest, voice);
        let (blob_root, blob_len) = (blob::root(&blob), blob.len() as u32);
        let mut artefact =
            Artefact { protos_root: record.protos_root, generator: id, previous: Digest::ZERO, blob_root, blob_len };
        let noise = hash("lie", &voice.core.rng.bits().to_le_bytes());
        match lie {
            6 => artefact.protos_root = noise,
            7 => artefact.previous = noise,
            // Nobody has this one.
            8 => artefact.blob_root = noise,
            _ => {}
        }
        voice.core.monitor.no_artefact(artefact.blob_root);
        voice.serve(artefact.blob_root, blob);
        let slot = Slot { kind: Kind::Artefact, epoch, round: record.round, view: 0 };
        let audience = voice.others();
        voice.say(&audience, &slot, &Message::Artefact(artefact));
    }
}

fn contents(lie: u64, shape: &ArtefactShape, honest: &Contents, voice: &mut Voice<'_>) -> Vec<u8> {
    let mut altered = honest.clone();
    match lie {
        // Bytes of any kind, of the right length.
        0 => return (0..shape.len(2)).map(|_| voice.core.rng.bits() as u8 | 0x80).collect(),
        1 => altered.latents[1] = f32::NAN.to_bits() as i32,
        2 => return honest.to_bytes()[1..].to_vec(),
        3 => return honest.to_bytes().repeat(10),
        4 => altered.classes.reverse(),
        // One latent vector for all classes.
        5 => altered.latents.fill(7),
        // Beside what it says of them, these are sound, and of no other record.
        _ => altered.latents[0] ^= 1 + voice.core.rng.below(200) as i32,
    }
    altered.to_bytes()
}
