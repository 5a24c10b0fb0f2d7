//! Immediate expiry: a view whose aggregator is gone, or has given up itself, ends before its time is over.
//!
//! Nothing here can do what a timer could not: all that follows is a nullify vote, which rule (b) guards. So safety rests on
//! none of it, and a wrong complaint costs a view at most.

use super::{Effect, Out, Recipient, State};
use crate::envelope::{Kind, Verified};
use crate::keys::PublicKey;
use crate::message::{Complaint, Message};

/// Views of a round in which complaints count; in later ones there are only timers, which double. Too low and a round with
/// many dead aggregators waits for each of them; without it, liars together with one member's bad link could end every view
/// of an honest aggregator for ever.
pub(super) const VIEWS_WITH_COMPLAINTS: u32 = 16;

impl State {
    /// The last connection to a member is gone.
    pub(super) fn on_disconnected(&mut self, key: PublicKey, out: &mut Out) {
        if self.committee.place(&key).is_some_and(|place| self.committee.voter(place).is_some()) {
            self.lost.insert(key);
            self.try_complain(out);
        }
    }

    /// Complains of this view's aggregator if its proposal is due and it cannot be reached.
    pub(super) fn try_complain(&mut self, out: &mut Out) {
        let view = self.round.view;
        // After a notarization only its finalisation is awaited; and in view 0, before there are receipts, the aggregator has
        // nothing to do yet and may come back.
        let awaited = match view.checked_sub(1) {
            None => self.round.quorum_seen,
            Some(before) => !self.round.notarized.contains_key(&before),
        };
        let lost = self.committee.key(self.leader(view)).is_some_and(|key| self.lost.contains(key));
        if awaited && lost && !self.round.proposals.contains_key(&view) {
            self.complain(view, Complaint::Unreachable, out);
        }
    }

    /// Says once per view that its aggregator should be given up.
    pub(super) fn complain(&mut self, view: u32, complaint: Complaint, out: &mut Out) {
        let Some(me) = self.voter() else { return };
        let own = self.own_votes(view);
        if self.is_finished() || own.nullify || view >= VIEWS_WITH_COMPLAINTS || self.has_complained(me, view) {
            return;
        }
        self.round.complaints.entry(view).or_default().insert(me, complaint);
        self.say_complaint(out);
        self.try_expire(out);
    }

    fn has_complained(&self, voter: u16, view: u32) -> bool {
        self.round.complaints.get(&view).is_some_and(|voters| voters.contains_key(&voter))
    }

    /// Says, or says again, what this member has to complain of in its view.
    pub(super) fn say_complaint(&self, out: &mut Out) {
        let view = self.round.view;
        let own = self.me.and_then(|me| self.round.complaints.get(&view)?.get(&me));
        if let Some(complaint) = own {
            let slot = self.slot(Kind::Complaint, view);
            out.push(Effect::Say { to: Recipient::All, slot, message: Message::Complaint(*complaint) });
        }
    }

    /// Counts a voter's complaint; the first of a voter in a view holds.
    pub(super) fn on_complaint(&mut self, message: &Verified, out: &mut Out) {
        let view = message.slot().view;
        let Message::Complaint(complaint) = *message.message() else { return };
        if (self.round.view..VIEWS_WITH_COMPLAINTS).contains(&view) {
            self.round.complaints.entry(view).or_default().entry(message.author()).or_insert(complaint);
            self.try_expire(out);
        }
    }

    /// Phase 6 before its time: the aggregator itself leaves its view, or so many complain of it that one of them is honest.
    pub(super) fn try_expire(&mut self, out: &mut Out) {
        let view = self.round.view;
        let complaints = self.round.complaints.get(&view).map_or(0, std::collections::BTreeMap::len);
        let nullifies = self.round.votes.get(&(Kind::Nullify, view));
        if complaints > self.quorum.faulty || nullifies.is_some_and(|votes| votes.contains_key(&self.leader(view))) {
            self.nullify(view, out);
        }
    }
}
