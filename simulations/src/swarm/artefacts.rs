//! What is seen of a generator's artefacts while a run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fedswarm_learning::methods::Trial;
use fedswarm_learning::transfer::Pairs;
use fedswarm_network::NodeId;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::message::Committed;

use super::{Prepared, hosting};
use crate::results::{Artefact, Generated, MOST_PICTURED, Projected, Refused, Verdict, spread};

/// Artefacts whose pairs are held until the end. Beyond it every second one is dropped: what is shown is spread over the run.
const MOST_HELD: usize = 8 * MOST_PICTURED;

/// Refusals that are remembered. Too low and a report does not name every lie of a long run.
const MOST_REFUSED: usize = 100;

/// By the round that an artefact was made of.
#[derive(Default)]
pub(super) struct Artefacts {
    received: BTreeMap<u64, BTreeSet<usize>>,
    pairs: BTreeMap<u64, Arc<Pairs>>,
    refused: BTreeMap<(u64, [u8; 32], String), BTreeSet<usize>>,
    /// Alignment loss in the first and the last epoch, by host.
    made: BTreeMap<(u64, usize), [f64; 2]>,
    /// By round and peer.
    verdicts: BTreeMap<(u64, usize), (u64, NodeId, Trial)>,
}

impl Artefacts {
    pub(super) fn received(&mut self, node: usize, job_round: u64, pairs: Arc<Pairs>) {
        self.received.entry(job_round).or_default().insert(node);
        self.pairs.entry(job_round).or_insert(pairs);
        if self.pairs.len() > MOST_HELD {
            let mut odd = false;
            self.pairs.retain(|_, _| {
                odd = !odd;
                odd
            });
        }
    }

    pub(super) fn refused(&mut self, node: usize, job_round: u64, host: NodeId, reason: String) {
        if self.refused.len() < MOST_REFUSED {
            self.refused.entry((job_round, host.0, reason)).or_default().insert(node);
        }
    }

    /// A machine's own refusal; nothing new if the node has said why.
    pub(super) fn refused_by_machine(&mut self, node: usize, job_round: u64, host: NodeId, reason: &str) {
        let said = |((job, key, _), by): (&(u64, [u8; 32], String), &BTreeSet<usize>)| {
            (*job, *key) == (job_round, host.0) && by.contains(&node)
        };
        if !self.refused.iter().any(said) {
            self.refused(node, job_round, host, reason.to_owned());
        }
    }

    pub(super) fn made(&mut self, node: usize, job_round: u64, loss: &[f32]) {
        if let (Some(first), Some(last)) = (loss.first(), loss.last()) {
            self.made.insert((job_round, node), [f64::from(*first), f64::from(*last)]);
        }
    }

    pub(super) fn tried(&mut self, node: usize, round: u64, job_round: u64, host: NodeId, trial: Trial) {
        self.verdicts.insert((round, node), (job_round, host, trial));
    }

    /// For the report; nothing for a run without a generator.
    pub(super) fn generated(
        &self,
        prepared: &Prepared,
        records: &[Committed],
        prototypes: Vec<Projected>,
    ) -> Option<Generated> {
        let chosen = prepared.generator.as_ref()?;
        let place = |key: &PublicKey| prepared.secrets.iter().position(|s| s.public() == *key).unwrap_or_default();
        let mut artefacts: Vec<Artefact> = Vec::new();
        for committed in records {
            let Some(artefact) = committed.body.artefact else { continue };
            if artefacts.last().is_some_and(|last| last.job_round == artefact.job_round) {
                continue;
            }
            artefacts.push(Artefact {
                round: committed.record.round,
                job_round: artefact.job_round,
                host: place(&artefact.host),
                loss: self.made.get(&(artefact.job_round, place(&artefact.host))).copied(),
                received: self.received.get(&artefact.job_round).map_or(0, BTreeSet::len),
                pictures: Vec::new(),
            });
        }
        let held: Vec<usize> =
            (0..artefacts.len()).filter(|i| self.pairs.contains_key(&artefacts[*i].job_round)).collect();
        for shown in spread(held.len(), MOST_PICTURED) {
            let artefact = &mut artefacts[held[shown]];
            if let Some(pairs) = self.pairs.get(&artefact.job_round) {
                artefact.pictures = hosting::pictures(&pairs.classes, &pairs.images, pairs.image);
            }
        }
        let refused = self.refused.iter().map(|((round, host, reason), by)| Refused {
            round: *round,
            host: place(&PublicKey(*host)),
            by: by.len(),
            reason: reason.clone(),
        });
        let number = |x: f32| x.is_finite().then_some(f64::from(x));
        let verdict = |(&(round, peer), &(job_round, host, trial)): (&(u64, usize), &(u64, NodeId, Trial))| Verdict {
            peer,
            round,
            job_round,
            host: place(&PublicKey(host.0)),
            refused: trial.refused,
            with: number(trial.with),
            without: number(trial.without),
        };
        Some(Generated {
            verdicts: self.verdicts.iter().map(verdict).collect(),
            without: None,
            generator: chosen.name.clone(),
            artefacts,
            refused: refused.collect(),
            samples: hosting::samples(&prepared.setups),
            prototypes,
        })
    }
}
