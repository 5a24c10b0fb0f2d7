//! Timers decide nothing by themselves: they make a member speak, and a quorum decides.

use super::{Effect, Out, Recipient, State, Timer};
use crate::certificate::Certificate;
use crate::envelope::Kind;
use crate::message::Message;

/// How far the interval between resends may double: 16-fold.
const MAX_RESEND_DOUBLINGS: u32 = 4;

/// Least time that an aggregator has, however fast the network was measured. Too low and a moment's load costs a view.
const LEAST_LEADER_MS: u64 = 200;

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

    /// How long the aggregator of a view has: what was measured, or what the manifest says until then; doubles with each view,
    /// up to 64-fold.
    pub(super) fn view_ms(&self, view: u32) -> u64 {
        let first = match self.tempo.leader_ms {
            0 => self.rules.timers.leader_ms,
            measured => measured.max(LEAST_LEADER_MS),
        };
        first.saturating_mul(1 << view.min(6))
    }

    /// How long a training phase has before receipts are signed for what there is; never longer than the manifest says.
    pub(super) fn round_ms(&self) -> u64 {
        let most = self.rules.timers.round_ms;
        match self.tempo.round_ms {
            0 => most,
            measured => measured.clamp(self.rules.timers.collect_ms.min(most), most),
        }
    }

    /// Says again what others may have missed: own statements of this round, and the certificate that led into this view. A
    /// member that is still training is not stuck, and does not ask; one that has nothing to do in this round only waits.
    fn resend(&mut self, out: &mut Out) {
        self.round.answered.clear();
        // A contributor signs no receipt: once its update is out it has done its part, and waits as voters do after theirs.
        let contributed = self.round.published && self.voter().is_none();
        if self.round.receipt_sent || contributed {
            self.repeat_own(out);
        }
        self.repeat_artefact(out);
        if self.round.published || self.round.receipt_sent || !self.contributes() {
            self.ask(Recipient::All, out);
        }
    }

    /// Own statements of this round, as they were sent.
    fn repeat_own(&self, out: &mut Out) {
        let Some(me) = self.me else { return };
        let to = Recipient::All;
        let round = &self.round;
        let update = round.updates.iter().filter(|(key, _)| key.0 == me).map(|(_, update)| &update.message);
        let receipt = round.receipts.iter().filter(|(key, _)| key.0 == me).map(|(_, receipt)| receipt);
        let proposals = round.proposals.values().map(|known| &known.message);
        let proposal = proposals.filter(|p| p.author() == me && p.slot().view == round.view);
        // Votes of the view before matter as well: its certificate may be what others lack.
        let recent = round.view.saturating_sub(1);
        let votes = round.votes.iter().filter(|((_, view), _)| *view >= recent).filter_map(|(_, votes)| votes.get(&me));
        for operation in self.pool.values() {
            let message = Message::Operation(operation.clone());
            out.push(Effect::Say { to, slot: super::operations::SLOT, message });
        }
        for message in update.chain(receipt).chain(proposal).chain(votes) {
            out.push(Effect::Forward { to, message: message.clone() });
        }
        self.say_complaint(out);
        self.say_certificates(out);
    }

    /// Tells everybody how this member got into its view. An aggregator does so with its proposal: whoever lacks one of these
    /// certificates cannot judge it.
    pub(super) fn say_certificates(&self, out: &mut Out) {
        for certificate in self.certificates_to_repeat() {
            let slot = self.slot(Kind::Certificate, certificate.view);
            let message = Message::Certificate(certificate.clone());
            out.push(Effect::Say { to: Recipient::All, slot, message });
        }
    }

    /// The certificate that led into this view; of its aggregator also those that justify its proposal.
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
