//! Phases 4 to 7: votes and certificates.

use super::{Effect, Out, OwnVotes, Recipient, State, VIEWS_AHEAD};
use crate::certificate::Certificate;
use crate::envelope::{Kind, Slot, Verified};
use crate::hash::Digest;
use crate::message::Message;

impl State {
    pub(super) fn own_votes(&self, view: u32) -> OwnVotes {
        self.round.own.get(&view).copied().unwrap_or_default()
    }

    /// Rule (a): at most one notarize vote per view, none after nullifying it.
    pub(super) fn notarize(&mut self, view: u32, record: Digest, out: &mut Out) {
        let votes = self.voter().is_some();
        let own = self.round.own.entry(view).or_default();
        if own.notarize.is_none() && !own.nullify && votes {
            own.notarize = Some(record);
            // Whoever votes for a record holds it: it may be for this member alone to bring it to the others.
            if let Some(known) = self.round.proposals.get(&view).filter(|p| self.me != Some(p.message.author())) {
                out.keep(self.round.number, vec![known.message.clone()]);
            }
            out.push(Effect::Sign { slot: self.slot(Kind::Notarize, view), message: Message::Vote(record) });
        }
    }

    /// Rule (b): no nullify vote in a view with a finalize vote.
    pub(super) fn nullify(&mut self, view: u32, out: &mut Out) {
        let votes = self.voter().is_some();
        let own = self.round.own.entry(view).or_default();
        if own.finalize.is_none() && !own.nullify && votes {
            own.nullify = true;
            out.push(Effect::Sign { slot: self.slot(Kind::Nullify, view), message: Message::Vote(Digest::ZERO) });
        }
    }

    /// Rule (b), the other way round: no finalize vote in a view with a nullify vote.
    pub(super) fn finalize(&mut self, view: u32, record: Digest, out: &mut Out) {
        let votes = self.voter().is_some();
        let own = self.round.own.entry(view).or_default();
        if own.finalize.is_none() && !own.nullify && votes {
            own.finalize = Some(record);
            out.push(Effect::Sign { slot: self.slot(Kind::Finalize, view), message: Message::Vote(record) });
        }
    }

    /// Counts a vote; the first of a voter in its slot holds, a different one proves equivocation.
    pub(super) fn on_vote(&mut self, message: Verified, out: &mut Out) {
        let (slot, author) = (*message.slot(), message.author());
        let Message::Vote(record) = *message.message() else { return };
        if slot.view > self.round.view.saturating_add(VIEWS_AHEAD) {
            return;
        }
        if self.me == Some(author) {
            self.remember(&slot, record);
        }
        let votes = self.round.votes.entry((slot.kind, slot.view)).or_default();
        if let Some(known) = votes.get(&author) {
            if known.statement() != message.statement() {
                let known = known.clone();
                self.caught(&known, &message, out);
            }
            return;
        }
        votes.insert(author, message.clone());
        self.check_rule_b(&message, out);
        if slot.kind == Kind::Nullify {
            self.try_expire(out);
        }
        if self.has_certificate(slot.kind, slot.view) {
            return;
        }
        let votes = self.round.votes.entry((slot.kind, slot.view)).or_default();
        let equal = || votes.iter().filter(|(_, vote)| *vote.message() == Message::Vote(record));
        if equal().count() < self.quorum.quorum {
            return;
        }
        let equal = equal().map(|(voter, vote)| (*voter, *vote.signature())).collect();
        let certificate = Certificate {
            kind: slot.kind,
            epoch: slot.epoch,
            round: slot.round,
            view: slot.view,
            record,
            votes: equal,
        };
        self.on_certificate(certificate, out);
    }

    /// Own votes that come back, from this run or from the vote log of an earlier one, bind as if just made.
    fn remember(&mut self, slot: &Slot, record: Digest) {
        let own = self.round.own.entry(slot.view).or_default();
        match slot.kind {
            Kind::Notarize => own.notarize = Some(record),
            Kind::Nullify => own.nullify = true,
            Kind::Finalize => own.finalize = Some(record),
            _ => {}
        }
    }

    /// Phase 5 and 6: on disk before a vote rests on it, or a view is left because of it.
    fn keep_certificate(&self, certificate: &Certificate, out: &mut Out) {
        if self.voter().is_none() || certificate.kind == Kind::Finalize {
            return;
        }
        let message = Verified::assembled(&self.rules.constants.network, certificate.clone());
        out.keep(self.round.number, message.into_iter().collect());
    }

    fn has_certificate(&self, kind: Kind, view: u32) -> bool {
        match kind {
            Kind::Notarize => self.round.notarized.contains_key(&view),
            Kind::Nullify => self.round.nullified.contains_key(&view),
            _ => self.round.finalized.is_some(),
        }
    }

    /// Phases 5 to 7: what a quorum of equal votes brings about.
    pub(super) fn on_certificate(&mut self, certificate: Certificate, out: &mut Out) {
        let view = certificate.view;
        // However far ahead: a quorum has been there.
        if self.has_certificate(certificate.kind, view) {
            return;
        }
        self.keep_certificate(&certificate, out);
        match certificate.kind {
            // Phase 5: on a notarization, vote to finalize unless this view was nullified; then only a timer is left.
            Kind::Notarize => {
                let record = certificate.record;
                self.round.notarized.insert(view, certificate);
                self.finalize(view, record, out);
                if view >= self.round.view {
                    self.enter_view(view.saturating_add(1), true, out);
                }
                self.try_judge(out);
            }
            // Phase 6: on a nullification, the next in line.
            Kind::Nullify => {
                self.round.nullified.insert(view, certificate);
                if view >= self.round.view {
                    self.enter_view(view.saturating_add(1), false, out);
                }
                self.try_judge(out);
            }
            // Phase 7: on a finalization, commit.
            Kind::Finalize => {
                self.round.finalized = Some(certificate);
                self.try_commit(out);
                if self.round.finalized.is_some() {
                    // The record itself never arrived: somebody who voted for it has it.
                    self.ask(Recipient::All, out);
                }
            }
            _ => {}
        }
    }
}
