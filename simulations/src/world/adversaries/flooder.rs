//! Says very much: votes for views far ahead, statements of rounds to come, and status after status.

use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::hash::hash;
use fedswarm_protocol::message::{Message, Status};

use super::{Adversary, Voice};

/// Messages in each of its turns.
const BURST: u64 = 8;

pub(super) struct Flooder;

impl Adversary for Flooder {
    fn acts(&mut self, voice: &mut Voice<'_>) {
        let others = voice.others();
        let (round, view) = voice.state().position();
        let epoch = voice.state().committee().epoch;
        for _ in 0..BURST {
            let ahead = voice.core.rng.below(3);
            let far = voice.core.rng.below(200) as u32;
            let record = hash("lie", &voice.core.rng.bits().to_le_bytes());
            let kind = voice.core.rng.pick(&[Kind::Notarize, Kind::Finalize, Kind::Status]).unwrap_or(Kind::Status);
            let view = if kind.has_view() { view.saturating_add(far) } else { 0 };
            let slot = Slot { kind, epoch, round: round + ahead, view };
            let message = match kind {
                Kind::Status => Message::Status(Status { finalized: round + ahead, record, ..Status::default() }),
                _ => Message::Vote(record),
            };
            voice.say(&others, &slot, &message);
        }
    }
}
