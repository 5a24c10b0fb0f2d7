//! Complains of every aggregator, in its view and in views to come, and now and then nullifies as one itself.

use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{Complaint, Message};

use super::{Adversary, Voice};

/// How far ahead it complains.
const AHEAD: u32 = 3;

/// How often it leaves the view as well.
const NULLIFIES: f64 = 0.2;

#[derive(Default)]
pub(super) struct Complainer {
    last: (u64, u32),
}

impl Adversary for Complainer {
    fn acts(&mut self, voice: &mut Voice<'_>) {
        let (round, view) = voice.state().position();
        let again = self.last == (round, view) && !voice.core.rng.chance(0.05);
        if again || voice.place().is_none() {
            return;
        }
        self.last = (round, view);
        let (epoch, others) = (voice.state().committee().epoch, voice.others());
        for of in view..=view.saturating_add(AHEAD) {
            let complaint = if voice.core.rng.chance(0.5) { Complaint::Unreachable } else { Complaint::Refused };
            let slot = Slot { kind: Kind::Complaint, epoch, round, view: of };
            voice.say(&others, &slot, &Message::Complaint(complaint));
        }
        if voice.core.rng.chance(NULLIFIES) {
            voice.say(&others, &Slot { kind: Kind::Nullify, epoch, round, view }, &Message::Vote(Digest::ZERO));
        }
    }
}
