//! Whether a final record is what its inputs give, worked out anew from what was said.

use std::collections::BTreeMap;

use fedswarm_protocol::artefact::{ArtefactRef, MAX_ARTEFACT_LAG, artefact_root, host_rank};
use fedswarm_protocol::derive::{evicted_keys, evicted_places};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::message::{Committed, UpdateRef};
use fedswarm_protocol::prototypes::ListName;
use fedswarm_protocol::record::{Record, RecordKind};

use super::Monitor;
use super::ballots::Broken;
use crate::world::hosting;
use crate::world::work::{abstract_model, is_bad};

impl Monitor {
    /// Checks the first commit of a round.
    pub(super) fn check_record(&self, committed: &Committed) -> Result<(), Broken> {
        let (record, body, certificate) = (&committed.record, &committed.body, &committed.certificate);
        let round = record.round;
        let Some((parent_hash, parent)) = self.finals.get(&(round - 1)) else {
            return Err(("I1 agreement", "its parent was never final anywhere".to_owned()));
        };
        let epoch = parent.epoch + u32::from(parent.closes_epoch);
        if record.parent != *parent_hash || record.epoch != epoch {
            return Err(("I1 agreement", format!("it follows {:?}, not {parent_hash:?}", record.parent)));
        }
        let Some(committee) = self.committees.get(&epoch) else {
            return Err(("I9 one set of members", format!("nobody knows the members of epoch {epoch}")));
        };
        let quorum = committee.quorum();
        let next = self.next_committee(committed).map_or(record.members_root, |next| next.root());
        if record.members_root != committee.root() || record.next_members_root != next {
            return Err(("I9 one set of members", format!("members {:?}", record.members_root)));
        }
        let voters = || certificate.votes.iter().map(|(voter, _)| *voter);
        let ballots = self.ballots.get(&epoch);
        let cast = ballots.is_some_and(|b| b.finalized(round, certificate.view, &certificate.record, voters()));
        if !cast || voters().count() < quorum.quorum {
            let what = format!("its certificate names voters {:?}", voters().collect::<Vec<_>>());
            return Err(("I10 a quorum decides", what));
        }
        let mut speakers = voters().chain([record.proposer]).filter_map(|place| committee.key(place));
        if let Some(key) = speakers.find(|key| self.roll.is_evicted(key, epoch)) {
            return Err(("I12 nobody uninvited or evicted has a vote", format!("{key} was evicted and decides")));
        }
        let mut forced = self.forced(round, &body.receipts, quorum.faulty)?;
        let evicted = evicted_places(body, committee);
        forced.retain(|(author, _)| !evicted.contains(author));
        if forced != body.inputs || body.receipts.len() != quorum.quorum {
            return Err(("I6 receipts force the inputs", format!("{:?} instead of {forced:?}", body.inputs)));
        }
        self.check_artefact(committed, parent, quorum.faulty)?;
        self.check_inputs(committed, parent_hash, parent, committee)
    }

    /// Updates that more than `f` of these receipts list, without authors that have two.
    fn forced(&self, round: u64, receipts: &[UpdateRef], faulty: usize) -> Result<Vec<UpdateRef>, Broken> {
        let mut counts: BTreeMap<UpdateRef, usize> = BTreeMap::new();
        for key in receipts {
            let Some(items) = self.receipts.get(&(round, *key)) else {
                return Err(("I6 receipts force the inputs", format!("nobody signed receipt {key:?}")));
            };
            for item in &items.items {
                *counts.entry(*item).or_default() += 1;
            }
        }
        counts.retain(|_, count| *count > faulty);
        let mut authors: BTreeMap<u16, usize> = BTreeMap::new();
        counts.keys().for_each(|(author, _)| *authors.entry(*author).or_default() += 1);
        Ok(counts.into_keys().filter(|(author, _)| authors[author] == 1).collect())
    }

    /// The artefact of a record: of those that more than `f` of the receipts list, that of the latest job by the first host, if
    /// its job is later than that of the one in force; otherwise that one.
    fn check_artefact(&self, committed: &Committed, parent: &Record, faulty: usize) -> Result<(), Broken> {
        let rule = "I6 receipts force the artefact";
        let (record, body) = (&committed.record, &committed.body);
        let before = self.artefact_of(record.round - 1);
        let receipts: Vec<_> =
            body.receipts.iter().filter_map(|key| self.receipts.get(&(record.round, *key))).collect();
        let evicted = evicted_keys(body);
        let mut best = before;
        for listed in receipts.iter().flat_map(|receipt| &receipt.artefacts) {
            let count = receipts.iter().filter(|receipt| receipt.artefacts.contains(listed)).count();
            let newer = before.is_none_or(|before| listed.job_round > before.job_round);
            if count <= faulty || !newer || evicted.contains(&listed.host) {
                continue;
            }
            let rank = |one: &ArtefactRef| (host_rank(&record.seed, &one.host), one.statement);
            let better = best.is_none_or(|best| {
                best.job_round < listed.job_round || best.job_round == listed.job_round && rank(listed) < rank(&best)
            });
            if better {
                best = Some(*listed);
            }
        }
        if best != body.artefact || record.artefact_root != artefact_root(best.as_ref()) {
            return Err((rule, format!("{:?} instead of {best:?}", body.artefact)));
        }
        let old = parent.artefact_root != artefact_root(before.as_ref());
        if old {
            return Err((rule, format!("the parent names {:?}, not {before:?}", parent.artefact_root)));
        }
        let job = best.filter(|best| Some(*best) != before).map_or(record.round - 1, |best| best.job_round);
        if job >= record.round || job + MAX_ARTEFACT_LAG < record.round {
            return Err((rule, format!("an artefact of round {job}")));
        }
        match best.filter(|best| self.no_artefacts.contains(&best.blob_root)) {
            Some(bad) => Err(("I5 validity", format!("{bad:?} is no artefact"))),
            None => Ok(()),
        }
    }

    fn check_inputs(
        &self,
        committed: &Committed,
        parent_hash: &Digest,
        parent: &Record,
        committee: &Committee,
    ) -> Result<(), Broken> {
        let base = &parent.model_root;
        let (record, inputs) = (&committed.record, &committed.body.inputs);
        let mut parts = Vec::with_capacity(inputs.len());
        for key in inputs {
            let Some(header) = self.updates.get(&(record.round, *key)) else {
                return Err(("I5 validity", format!("nobody signed update {key:?}")));
            };
            if header.base != *parent_hash {
                return Err((
                    "I11 every update starts from the parent",
                    format!("{key:?} starts from {:?}", header.base),
                ));
            }
            if is_bad(header) && self.recomputes {
                return Err(("I5 validity", format!("the payload of {key:?} is not what its header says")));
            }
            parts.push((key.0, header.payload_root, self.rules.constants.weight(header.samples)));
        }
        let empty = !self.rules.constants.is_enough(inputs.len(), committee);
        if empty != (record.kind == RecordKind::Empty) && self.recomputes {
            return Err(("I5 validity", format!("{:?} with {} inputs", record.kind, inputs.len())));
        }
        let list = hosting::list(parts.iter().map(|(author, payload, _)| (*author, *payload)));
        let name = match (empty, &self.rules.generator) {
            (true, _) => ListName { root: parent.protos_root, count: parent.prototypes },
            (false, Some(_)) => hosting::PROTOTYPES.name(&list),
            (false, None) => ListName::default(),
        };
        if self.recomputes && (name.root, name.count) != (record.protos_root, record.prototypes) {
            return Err(("I5 validity", format!("prototypes {:?} instead of {name:?}", record.protos_root)));
        }
        let model = if empty { *base } else { abstract_model(base, parts.into_iter()).0 };
        if self.recomputes && model != record.model_root {
            return Err(("I5 validity", format!("model {:?} instead of {model:?}", record.model_root)));
        }
        Ok(())
    }
}
