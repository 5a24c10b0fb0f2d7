//! Timers decide nothing by themselves: they make a member speak, and a quorum decides.

use super::{Effect, Out, Recipient, State, Timer};
use crate::certificate::Certificate;
use crate::envelope::Kind;
use crate::message::Message;

/// How far the interval between resends may double: 16-fold.
const MAX_RESEND_DOUBLINGS: u32 = 4;

impl State {
    pub(super) fn on_timer(&mut self, timer: Timer, out: &mut Out) {
        if timer.round() != self.round.number || self.is_finished() {
            return;
        }
        match timer {
            // Phase 2: the wait is over, sign for what is here.
            Timer::Collect { .. } | Timer::Round { .. } => self.send_receipt(out),
            // Phase 6: the aggregator has had its time.
            Timer::View { view, .. } => {
                if view == self.round.view {
                    self.nullify(view, out);
                }
            }
            Timer::Repropose { view, .. } => {
                if view == self.round.view {
                    self.round.repropose = true;
                    self.try_propose(out);
                }
            }
            Timer::Resend { round } => {
                self.resend(out);
                self.round.resends = self.round.resends.saturating_add(1);
                let doublings = self.round.resends.min(MAX_RESEND_DOUBLINGS);
                out.timer(Timer::Resend { round }, self.rules.timers.resend_ms.saturating_mul(1 << doublings));
            }
        }
    }

    /// Says again what others may have missed: own statements of this round, and the certificate that led into this view. A
    /// member that is still training is not stuck, and does not ask.
    fn resend(&mut self, out: &mut Out) {
        self.round.answered.clear();
        if self.round.receipt_sent {
            self.repeat_own(out);
        }
        if self.round.published || self.round.receipt_sent {
            self.ask(Recipient::All, out);
        }
    }

    /// Own statements of this round, as they were sent.
    fn repeat_own(&self, out: &mut Out) {
        let Some(me) = self.rules.me else { return };
        let to = Recipient::All;
        let round = &self.round;
        let update = round.updates.iter().filter(|(key, _)| key.0 == me).map(|(_, update)| &update.message);
        let receipt = round.receipts.iter().filter(|(key, _)| key.0 == me).map(|(_, receipt)| receipt);
        let proposal = round.proposals.values().filter(|p| p.author() == me && p.slot().view == round.view);
        // Votes of the view before matter as well: its certificate may be what others lack.
        let recent = round.view.saturating_sub(1);
        let votes = round.votes.iter().filter(|((_, view), _)| *view >= recent).filter_map(|(_, votes)| votes.get(&me));
        for message in update.chain(receipt).chain(proposal).chain(votes) {
            out.push(Effect::Forward { to, message: message.clone() });
        }
        for certificate in self.certificates_to_repeat() {
            let slot = self.slot(Kind::Certificate, certificate.view);
            out.push(Effect::Say { to, slot, message: Message::Certificate(certificate.clone()) });
        }
    }

    /// The certificate that led into this view; of its aggregator also those that justify its proposal, since a voter that
    /// lacks one of them cannot judge it.
    fn certificates_to_repeat(&self) -> Vec<&Certificate> {
        let round = &self.round;
        let Some(before) = round.view.checked_sub(1) else { return Vec::new() };
        let led_here = round.notarized.get(&before).or_else(|| round.nullified.get(&before));
        if !round.proposed.contains(&round.view) {
            return led_here.into_iter().collect();
        }
        let notarized = round.notarized.range(..round.view).next_back();
        let first = notarized.map_or(0, |(view, _)| view + 1);
        let nullified = round.nullified.range(first..round.view).map(|(_, certificate)| certificate);
        notarized.map(|(_, certificate)| certificate).into_iter().chain(nullified).collect()
    }
}
