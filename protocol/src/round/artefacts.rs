//! Artefacts of generator hosts: fetched and checked off the critical path, listed in receipts, and kept until a record takes
//! one of their job or a later one. Nothing waits for them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Event, Fault, Out, Recipient, State};
use crate::artefact::{ArtefactRef, MAX_ARTEFACT_LAG, MAX_ARTEFACTS};
use crate::derive::preference;
use crate::envelope::{Kind, Verified};
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::message::{Artefact, Message};

/// Artefacts of one host that are kept, of all jobs together; the oldest goes first. A host that starts again may have two of
/// one job, since floats differ. Too low and a slow host's last one is forgotten when it signs the next.
pub(super) const ARTEFACTS_PER_HOST: usize = 2;

/// What came out of checking an artefact's blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArtefactVerdict {
    /// It is what artefacts of this network are: it may be listed.
    Valid,
    /// No honest host signs for these bytes.
    Invalid,
    /// It is not what this member's own generator makes of it. Machines differ, so nobody is to blame; it is not listed.
    Doubtful,
}

/// What is known of an artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    /// Its job's record is not here yet.
    Early,
    Wanted,
    Valid,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    standing: Standing,
    message: Verified,
}

/// What artefacts were made of: part of a certified record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Job {
    protos_root: Digest,
    /// The artefact in force, which a host may carry on from.
    artefact_root: Digest,
}

/// Artefacts of this epoch, and what they are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Artefacts {
    known: BTreeMap<ArtefactRef, Known>,
    /// Records of the last few rounds, as far as this member has seen them.
    jobs: BTreeMap<u64, Job>,
    /// Hosts that signed for something unacceptable; they are not heard again in this epoch.
    refused: BTreeSet<PublicKey>,
    /// Those that were asked for in an earlier round, in vain so far.
    waited: BTreeSet<ArtefactRef>,
    /// What this member has made itself, with its job: signed again in a new epoch.
    own: Option<(u64, Artefact)>,
}

impl Artefacts {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

impl State {
    /// The artefact in force, as the last record names it.
    #[must_use]
    pub fn artefact(&self) -> Option<&ArtefactRef> {
        self.proof.as_ref()?.body.artefact.as_ref()
    }

    /// Whether an artefact of this job or a later one is in force, or is here and not refused: other hosts need not make one.
    #[must_use]
    pub fn has_artefact_of(&self, job_round: u64) -> bool {
        let in_force = self.artefact().is_some_and(|artefact| artefact.job_round >= job_round);
        let here = |(artefact, known): (&ArtefactRef, &Known)| {
            artefact.job_round >= job_round && known.standing != Standing::Refused
        };
        in_force || self.artefacts.known.iter().any(here)
    }

    /// What this member makes of artefacts of this job: not certified yet, not too old, and not of the future.
    fn is_open(&self, job_round: u64) -> bool {
        let newer = self.artefact().is_none_or(|in_force| job_round > in_force.job_round);
        newer && job_round <= self.round.number && job_round.saturating_add(MAX_ARTEFACT_LAG) >= self.round.number
    }

    /// This member has made an artefact: it is signed at once, and again when an epoch ends before it is certified.
    pub(super) fn on_generated(&mut self, job_round: u64, artefact: Artefact, out: &mut Out) {
        self.artefacts.own = Some((job_round, artefact));
        self.offer(out);
    }

    fn offer(&mut self, out: &mut Out) {
        let Some((job_round, artefact)) = self.artefacts.own.clone() else { return };
        if !self.is_open(job_round) {
            self.artefacts.own = None;
        } else if self.me.is_some() {
            let slot = crate::envelope::Slot { round: job_round, ..self.slot(Kind::Artefact, 0) };
            out.push(Effect::Sign { slot, message: Message::Artefact(artefact) });
        }
    }

    /// Keeps what a host has signed, if it can be certified.
    pub(super) fn on_artefact(&mut self, message: Verified, out: &mut Out) {
        let (Some(rules), Message::Artefact(artefact)) = (&self.rules.generator, message.message()) else { return };
        let Some(host) = self.committee.key(message.author()).copied() else { return };
        let job_round = message.slot().round;
        if !self.is_open(job_round) || self.artefacts.refused.contains(&host) {
            return;
        }
        let fits = rules.spec.may_host(&host)
            && artefact.generator == rules.spec.id
            && rules.shape.pairs(artefact.blob_len.into()).is_some();
        let reference = ArtefactRef {
            job_round,
            host,
            statement: message.statement(),
            blob_root: artefact.blob_root,
            blob_len: artefact.blob_len,
        };
        if !fits {
            return self.refuse(
                &reference,
                "it is by another generator or host than the manifest allows, or of another size",
                out,
            );
        }
        if self.artefacts.known.contains_key(&reference) {
            return;
        }
        let of_host: Vec<ArtefactRef> =
            self.artefacts.known.keys().filter(|known| known.host == host).copied().collect();
        if of_host.len() >= ARTEFACTS_PER_HOST {
            match of_host.first() {
                Some(oldest) if oldest.job_round < job_round => drop(self.artefacts.known.remove(oldest)),
                _ => return,
            }
        }
        self.artefacts.known.insert(reference, Known { standing: Standing::Early, message });
        self.consider(&reference, out);
        self.fetch_artefacts(out);
    }

    /// An artefact whose job's record is here is compared with it.
    fn consider(&mut self, reference: &ArtefactRef, out: &mut Out) {
        let Some(known) = self.artefacts.known.get_mut(reference).filter(|k| k.standing == Standing::Early) else {
            return;
        };
        let (Some(job), Message::Artefact(artefact)) =
            (self.artefacts.jobs.get(&reference.job_round), known.message.message())
        else {
            return;
        };
        let carries_on = artefact.previous == Digest::ZERO || artefact.previous == job.artefact_root;
        if artefact.protos_root != job.protos_root || job.protos_root == Digest::ZERO || !carries_on {
            return self.refuse(
                reference,
                "it was not made of its job's certified prototypes, or carries on from something else",
                out,
            );
        }
        // What this member has made itself is here.
        let own = self.me == Some(known.message.author());
        known.standing = if own { Standing::Valid } else { Standing::Wanted };
    }

    /// An artefact's blob was fetched and checked.
    pub(super) fn on_artefact_checked(&mut self, reference: &ArtefactRef, verdict: ArtefactVerdict, out: &mut Out) {
        let Some(known) = self.artefacts.known.get_mut(reference).filter(|k| k.standing == Standing::Wanted) else {
            return;
        };
        match verdict {
            ArtefactVerdict::Valid => known.standing = Standing::Valid,
            ArtefactVerdict::Invalid => self.refuse(reference, "its contents are not acceptable", out),
            ArtefactVerdict::Doubtful => {
                known.standing = Standing::Refused;
                self.tell_refused(reference, "this member's generator makes something else of it", out);
            }
        }
        // There may be room for the next one.
        self.fetch_artefacts(out);
    }

    fn tell_refused(&self, reference: &ArtefactRef, reason: &'static str, out: &mut Out) {
        out.emit(Event::ArtefactRefused { job_round: reference.job_round, host: reference.host, reason });
    }

    /// A host that signs what no honest one does is not heard again in this epoch.
    fn refuse(&mut self, reference: &ArtefactRef, reason: &'static str, out: &mut Out) {
        self.tell_refused(reference, reason, out);
        out.push(Effect::Penalise { member: reference.host, fault: Fault::Invalid });
        self.artefacts.known.retain(|known, _| known.host != reference.host);
        self.artefacts.refused.insert(reference.host);
    }

    /// The best artefacts that are listed or may yet be, at most as many as a receipt takes. Those that have kept others waiting
    /// for a round come after all others.
    fn candidates(&self) -> Vec<(ArtefactRef, Standing)> {
        let seed = self.head.next_seeds().0;
        let listable =
            |(_, known): &(&ArtefactRef, &Known)| matches!(known.standing, Standing::Wanted | Standing::Valid);
        let mut all: Vec<_> =
            self.artefacts.known.iter().filter(listable).map(|(r, known)| (*r, known.standing)).collect();
        let late = |(r, standing): &(ArtefactRef, Standing)| {
            *standing == Standing::Wanted && self.artefacts.waited.contains(r)
        };
        all.sort_by_cached_key(|one| (late(one), preference(&seed, &one.0)));
        all.truncate(MAX_ARTEFACTS);
        all
    }

    /// What a receipt of this member lists: ascending.
    pub(super) fn listed_artefacts(&self) -> Vec<ArtefactRef> {
        let seed = self.head.next_seeds().0;
        // What is valid is of a job whose record is here, and still open: the others went with the last record.
        let valid = self.artefacts.known.iter().filter(|(_, known)| known.standing == Standing::Valid);
        let mut out: Vec<ArtefactRef> = valid.map(|(r, _)| *r).collect();
        out.sort_by_cached_key(|r| preference(&seed, r));
        out.truncate(MAX_ARTEFACTS);
        out.sort_unstable();
        out
    }

    /// Asks for the blobs of the best artefacts: from their hosts, and from whoever lists them in this round's receipts. Only
    /// voters need them.
    pub(super) fn fetch_artefacts(&self, out: &mut Out) {
        if self.voter().is_none() {
            return;
        }
        for (reference, _) in self.candidates().into_iter().filter(|(_, standing)| *standing == Standing::Wanted) {
            let Some(known) = self.artefacts.known.get(&reference) else { continue };
            let Message::Artefact(artefact) = known.message.message() else { continue };
            let mut holders = vec![known.message.author()];
            for ((signer, _), receipt) in &self.round.receipts {
                let lists = matches!(receipt.message(), Message::Receipt(r) if r.artefacts.contains(&reference));
                if lists && !holders.contains(signer) && self.me != Some(*signer) {
                    holders.push(*signer);
                }
            }
            out.push(Effect::FetchArtefact { reference, artefact: artefact.clone(), holders });
        }
    }

    /// Says again what this member has made, as long as it can be certified.
    pub(super) fn repeat_artefact(&self, out: &mut Out) {
        let mine = self.artefacts.known.values().filter(|known| self.me == Some(known.message.author()));
        for known in mine.filter(|known| self.is_open(known.message.slot().round)) {
            out.push(Effect::Forward { to: Recipient::All, message: known.message.clone() });
        }
    }

    /// The head is what the next artefacts are made of.
    pub(super) fn remember_job(&mut self) {
        let head = &self.head;
        if self.rules.generator.is_some() {
            let job = Job { protos_root: head.protos_root, artefact_root: head.artefact_root };
            self.artefacts.jobs.insert(head.round, job);
        }
    }

    /// After a record: what can no longer be certified goes, and what came early is looked at. In a new epoch places have
    /// changed, so that hosts sign again.
    pub(super) fn move_artefacts(&mut self, new_epoch: bool, out: &mut Out) {
        if self.rules.generator.is_none() {
            return;
        }
        self.remember_job();
        let number = self.head.round + 1;
        self.artefacts.jobs.retain(|round, _| round.saturating_add(MAX_ARTEFACT_LAG) >= number);
        if new_epoch {
            self.artefacts.known.clear();
            self.artefacts.refused.clear();
            self.artefacts.waited.clear();
            self.offer(out);
            return;
        }
        let asked = self.candidates().into_iter().filter(|(_, standing)| *standing == Standing::Wanted);
        self.artefacts.waited.extend(asked.map(|(reference, _)| reference));
        let in_force = self.artefact().map(|artefact| artefact.job_round);
        self.artefacts.known.retain(|r, _| in_force.is_none_or(|job| r.job_round > job) && r.in_time(number));
        let known = &self.artefacts.known;
        self.artefacts.waited.retain(|reference| known.contains_key(reference));
        let all: Vec<ArtefactRef> = self.artefacts.known.keys().copied().collect();
        for reference in all {
            self.consider(&reference, out);
        }
        self.fetch_artefacts(out);
        // Rounds may be shorter than the interval of resends.
        self.repeat_artefact(out);
    }
}
