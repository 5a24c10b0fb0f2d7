//! What the nodes tell, put together by round.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fedswarm_learning::methods::Evaluation;
use fedswarm_network::NodeId;
use fedswarm_node::NodeEvent;
use fedswarm_protocol::message::Committed;
use fedswarm_protocol::round::Event;
use serde::{Deserialize, Serialize};

use super::Prepared;
use super::artefacts::Artefacts;
use super::prepare::peer_name;
use crate::progress::RoundSummary;
use crate::results::{
    Accuracy, Bytes, Exchange, FORMAT, Peer, Phases, Projected, Results, Round, Score, Seconds, Summary,
};
use crate::stats;

/// One round as it is seen so far. Moments are seconds since the run began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    last_update: Option<f64>,
    proposed: BTreeMap<u32, f64>,
    certified: Option<f64>,
    view: u32,
    losses: BTreeMap<usize, f32>,
    measured: BTreeMap<usize, Evaluation>,
}

/// What is to be remembered of a run that may be stopped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Seconds since the run began.
    elapsed: f64,
    /// The peers trained alone.
    pub(super) alone: Option<Vec<Vec<Score>>>,
    by_round: Vec<Seen>,
    told: usize,
    proposers: BTreeMap<u64, u16>,
}

/// The first of the longest stores.
pub(super) fn longest(stores: &[Vec<Committed>]) -> Option<&Vec<Committed>> {
    stores.iter().rev().max_by_key(|store| store.len())
}

/// Follows a run.
pub(super) struct Observer {
    began: Instant,
    /// In virtual time: seconds since the world began.
    virtual_now: Option<f64>,
    /// When the first node was started, in seconds since the run began: loading data and training alone come before.
    started: f64,
    nodes: usize,
    rounds: u64,
    links: BTreeSet<(usize, [u8; 32])>,
    connected: Option<f64>,
    by_round: Vec<Seen>,
    told: usize,
    finished: BTreeSet<usize>,
    alone: Option<Vec<Vec<Score>>>,
    proposers: BTreeMap<u64, u16>,
    artefacts: Artefacts,
}

impl Observer {
    pub(super) fn new(prepared: &Prepared, alone: Option<Vec<Vec<Score>>>, began: Instant) -> Self {
        let rounds = prepared.scenario.rounds;
        Self {
            began,
            virtual_now: None,
            started: began.elapsed().as_secs_f64(),
            nodes: prepared.setups.len(),
            rounds,
            links: BTreeSet::new(),
            connected: None,
            by_round: (0..=rounds).map(|_| Seen::default()).collect(),
            told: 0,
            finished: BTreeSet::new(),
            alone,
            proposers: BTreeMap::new(),
            artefacts: Artefacts::default(),
        }
    }

    /// Goes on where an earlier process was stopped.
    pub(super) fn resume(&mut self, memory: Memory) {
        let Memory { elapsed, alone, mut by_round, told, proposers } = memory;
        by_round.resize_with(self.by_round.len(), Seen::default);
        // The time in between was not spent on the run.
        if let Some(began) = Duration::try_from_secs_f64(elapsed).ok().and_then(|d| self.began.checked_sub(d)) {
            self.began = began;
            self.started += elapsed;
        }
        (self.alone, self.by_round, self.told, self.proposers) = (alone, by_round, told, proposers);
    }

    /// Rounds that were certified before this process began, but not seen to be.
    pub(super) fn catch_up(&mut self, records: &[Committed]) {
        let now = self.now();
        for Committed { record, certificate, .. } in records {
            if let Some(seen) = self.by_round.get_mut(record.round as usize).filter(|seen| seen.certified.is_none()) {
                (seen.certified, seen.view) = (Some(now), certificate.view);
                self.proposers.insert(record.round, record.proposer);
            }
        }
    }

    pub(super) fn memory(&self) -> Memory {
        Memory {
            elapsed: self.now(),
            alone: self.alone.clone(),
            by_round: self.by_round.clone(),
            told: self.told,
            proposers: self.proposers.clone(),
        }
    }

    /// Rounds that all peers have measured.
    pub(super) const fn rounds_done(&self) -> usize {
        self.told
    }

    pub(super) fn name(&self, node: usize) -> String {
        peer_name(node)
    }

    /// True once every node is connected to every other.
    pub(super) const fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.len() == self.nodes
    }

    /// From now on this is the time, in seconds.
    pub(super) const fn set_virtual_now(&mut self, seconds: f64) {
        if self.virtual_now.is_none() {
            self.started = seconds;
        }
        self.virtual_now = Some(seconds);
    }

    fn now(&self) -> f64 {
        self.virtual_now.unwrap_or_else(|| self.began.elapsed().as_secs_f64())
    }

    /// Takes an event in; true if it is progress.
    pub(super) fn take(&mut self, node: usize, event: NodeEvent) -> bool {
        let now = self.now();
        match event {
            NodeEvent::Peer { id, connected } => {
                if connected {
                    self.links.insert((node, id.0));
                } else {
                    self.links.remove(&(node, id.0));
                }
                if self.links.len() == self.nodes * (self.nodes - 1) && self.connected.is_none() {
                    self.connected = Some(now);
                }
                connected
            }
            NodeEvent::Measured(measured) => {
                if let Some(seen) = self.by_round.get_mut(measured.round as usize) {
                    seen.measured.insert(node, measured.evaluation);
                }
                true
            }
            NodeEvent::Trained { round, loss, .. } => {
                if let Some(seen) = self.by_round.get_mut(round as usize) {
                    seen.losses.insert(node, loss);
                }
                true
            }
            NodeEvent::ArtefactReceived { job_round, pairs, .. } => {
                self.artefacts.received(node, job_round, pairs);
                false
            }
            NodeEvent::ArtefactRefused { job_round, host, reason } => {
                self.artefacts.refused(node, job_round, host, reason);
                false
            }
            NodeEvent::Round { event: Event::ArtefactRefused { job_round, host, reason }, .. } => {
                self.artefacts.refused_by_machine(node, job_round, NodeId(host.0), reason);
                false
            }
            NodeEvent::Generated { job_round, loss, .. } => {
                self.artefacts.made(node, job_round, &loss);
                false
            }
            NodeEvent::Tried { round, job_round, host, trial } => {
                self.artefacts.tried(node, round, job_round, host, trial);
                false
            }
            NodeEvent::Finished { .. } => self.finished.insert(node),
            NodeEvent::Round { event, .. } => self.take_round(event, now),
            NodeEvent::Failed { .. }
            | NodeEvent::RequestDone { .. }
            | NodeEvent::RequestHindered { .. }
            | NodeEvent::Evidence { .. }
            | NodeEvent::Held { .. }
            | NodeEvent::Path { .. } => false,
        }
    }

    fn take_round(&mut self, event: Event, now: f64) -> bool {
        match event {
            Event::RoundStarted { .. } if self.nodes == 1 => self.connected = Some(self.connected.unwrap_or(now)),
            Event::UpdatePublished { round } => {
                if let Some(seen) = self.by_round.get_mut(round as usize) {
                    seen.last_update = Some(now);
                }
            }
            Event::Proposed { round, view } => {
                if let Some(seen) = self.by_round.get_mut(round as usize) {
                    seen.proposed.entry(view).or_insert(now);
                }
            }
            Event::RoundCommitted { round, view, proposer, .. } => {
                if let Some(seen) = self.by_round.get_mut(round as usize).filter(|seen| seen.certified.is_none()) {
                    seen.certified = Some(now);
                    seen.view = view;
                    self.proposers.insert(round, proposer);
                }
            }
            _ => return false,
        }
        true
    }

    /// The next round that all peers have measured, once.
    pub(super) fn next_round(&mut self) -> Option<RoundSummary> {
        let next = self.told + 1;
        let seen = self.by_round.get(next)?;
        // A process that was killed may have taken a measurement along; later ones are there for all.
        let complete = |seen: &Seen| seen.measured.len() == self.nodes;
        if seen.certified.is_none() || !self.by_round[next..].iter().any(complete) {
            return None;
        }
        self.told = next;
        let proposer = self.proposers.get(&(next as u64)).copied().unwrap_or_default();
        Some(RoundSummary {
            round: next as u64,
            view: seen.view,
            aggregator: peer_name(proposer.into()),
            accuracy: Score::pooled(&self.scores(next)).accuracy(),
            seconds: seen.certified.unwrap_or_default() - self.begin_of(next),
        })
    }

    /// Why nothing goes on, for people.
    pub(super) fn stuck(&self, limit_ms: u64) -> String {
        let seconds = limit_ms / 1000;
        if self.connected.is_none() {
            let (have, want) = (self.links.len(), self.nodes * (self.nodes - 1));
            return format!(
                "after {seconds} s only {have} of {want} connections stand; raise timers.t_start_ms, or lower --nodes"
            );
        }
        let round = self.by_round.iter().skip(1).take_while(|seen| seen.certified.is_some()).count() + 1;
        format!("round {round} made no progress for {seconds} s; raise timers.t_round_ms if this machine is slow")
    }

    fn begin_of(&self, round: usize) -> f64 {
        let before = round.checked_sub(1).and_then(|r| self.by_round.get(r)).and_then(|seen| seen.certified);
        before.or(self.connected).unwrap_or_default()
    }

    fn scores(&self, round: usize) -> Vec<Score> {
        let measured = |node: usize| self.by_round.get(round).and_then(|seen| seen.measured.get(&node));
        (0..self.nodes)
            .map(|node| {
                measured(node).map_or(Score::default(), |e| Score { correct: e.correct.into(), total: e.total.into() })
            })
            .collect()
    }

    fn round(&self, number: usize, committed: &Committed) -> Round {
        let seen = &self.by_round[number];
        let (begin, certified) = (self.begin_of(number), seen.certified.unwrap_or_default());
        // A round that was caught up on has no proposal that this process saw in time.
        let trained = seen.last_update.unwrap_or(begin).clamp(begin, certified.max(begin));
        let proposed = seen.proposed.values().copied().fold(trained, f64::max).clamp(trained, certified.max(trained));
        let scores = self.scores(number);
        let gates: Vec<f64> = seen.measured.values().filter_map(|e| e.gate).map(f64::from).collect();
        let losses: Vec<f64> = seen.losses.values().map(|loss| f64::from(*loss)).collect();
        Round {
            round: number as u64,
            view: seen.view,
            aggregator: committed.record.proposer.into(),
            inputs: committed.record.inputs.into(),
            record_hash: committed.certificate.record.to_string(),
            phases_ms: Phases {
                train: 1e3 * (trained - begin),
                collect: 1e3 * (proposed - trained),
                agree: 1e3 * (certified - proposed).max(0.0),
            },
            certified_at_ms: 1e3 * certified,
            accuracy: Score::pooled(&scores).accuracy(),
            accuracies: scores.iter().map(|s| s.accuracy()).collect(),
            local_accuracy: self.alone.as_ref().map(|alone| Score::pooled(&alone[number]).accuracy()),
            loss: (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64),
            gates: if gates.len() == self.nodes { gates } else { Vec::new() },
        }
    }

    pub(super) fn results(
        self,
        prepared: &Prepared,
        stores: &[Vec<Committed>],
        bytes: Bytes,
        peak_rss_bytes: Option<u64>,
        command: &str,
        projected: Vec<Projected>,
    ) -> Results {
        let empty = Vec::new();
        // Whoever was away has taken over later records without those in between.
        let first = longest(stores).unwrap_or(&empty);
        let rounds: Vec<Round> = first
            .iter()
            .filter(|c| c.record.round <= self.rounds)
            .map(|c| self.round(c.record.round as usize, c))
            .collect();
        let by_round: Vec<Vec<Score>> = (0..=self.rounds as usize).map(|r| self.scores(r)).collect();
        let accuracy = Accuracy::from_scores(&by_round);
        let local = match &self.alone {
            Some(alone) => Some(Accuracy::from_scores(alone)),
            // Method `local` is its own baseline.
            None => (prepared.scenario.method == "local").then(|| accuracy.clone()),
        };
        let last_hashes: BTreeSet<_> = stores.iter().map(|s| s.last().map(|c| c.certificate.record)).collect();
        let durations: Vec<f64> = rounds.iter().map(|r| r.phases_ms.total() / 1e3).collect();
        let scenario = &prepared.scenario;
        let exchange = Some(Exchange::of(&prepared.manifest, first, self.nodes as u64));
        let generated = self.artefacts.generated(prepared, first, projected);
        let peers = (0..self.nodes).map(|i| self.peer(i, prepared, &accuracy, local.as_ref())).collect();
        Results {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            summary: Summary {
                method: scenario.method.clone(),
                nodes: self.nodes,
                rounds: scenario.rounds,
                seed: scenario.seed,
                accuracy,
                local_accuracy: local,
                record_hash: first.last().map(|c| c.certificate.record.to_string()).unwrap_or_default(),
                state_hash: first.last().map(|c| c.record.state_hash().to_string()).unwrap_or_default(),
                distinct_record_hashes: last_hashes.len(),
                rounds_certified: first.len() as u64,
                bytes: Bytes { exchange, ..bytes },
                seconds: Seconds {
                    start: self.connected.map_or(0.0, |connected| connected - self.started),
                    total: self.began.elapsed().as_secs_f64(),
                    per_round_median: stats::median(&durations).unwrap_or_default(),
                },
                peak_rss_bytes,
            },
            scenario: scenario.clone(),
            classes: prepared.class_names.clone(),
            peers,
            rounds,
            generated,
        }
    }

    fn peer(&self, i: usize, prepared: &Prepared, accuracy: &Accuracy, local: Option<&Accuracy>) -> Peer {
        let setup = &prepared.setups[i];
        let last = self.by_round.last().and_then(|seen| seen.measured.get(&i));
        let parameters = prepared.method.member(setup.clone()).map_or(0, |member| member.parameters() as u64);
        Peer {
            name: peer_name(i),
            id: prepared.secrets[i].public().to_string(),
            architecture: setup.architecture.name().to_owned(),
            parameters,
            train_samples: setup.data.train.labels.len() as u64,
            test_samples: setup.data.test.labels.len() as u64,
            label_counts: prepared.label_counts[i].iter().map(|n| u64::from(*n)).collect(),
            local_accuracy: local.and_then(|l| l.per_node_last.get(i).copied()),
            accuracy: accuracy.per_node_last.get(i).copied().unwrap_or_default(),
            gate: last.and_then(|e| e.gate).map(f64::from),
        }
    }
}
