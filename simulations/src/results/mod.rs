//! What came out of a run: [`Results`], written as `results.json`, and its [`Summary`], printed as one line.

mod accuracy;
mod exchange;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod generator;
mod projection;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use accuracy::{Accuracy, Score};
pub use exchange::{Exchange, PerPeerAndRound};
pub use files::{RESULTS_FILE, write_atomically};
pub use generator::{Artefact, Generated, MOST_PICTURED, Picture, Projected, Refused, Verdict, spread};
pub use projection::plane;

use crate::scenario::Scenario;

/// The version of `results.json`'s layout; a reader refuses another.
pub const FORMAT: u32 = 1;

/// The one line that `--json` prints, and the head of [`Results`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The learning method's name.
    pub method: String,
    /// Peers.
    pub nodes: usize,
    /// Rounds that were asked for.
    pub rounds: u64,
    /// The seed.
    pub seed: u64,
    /// Of the swarm's models.
    pub accuracy: Accuracy,
    /// Of the same peers trained alone; absent when the baseline was not run.
    pub local_accuracy: Option<Accuracy>,
    /// The last certified record's hash, in hexadecimal, read from the first node's own store.
    pub record_hash: String,
    /// The hash of the last certified state (model, prototypes, hand-over), in hexadecimal.
    pub state_hash: String,
    /// How many different hashes the nodes' own stores hold for the last record: 1 when all agree.
    pub distinct_record_hashes: usize,
    /// Rounds with a certificate.
    pub rounds_certified: u64,
    /// Bytes on the wire, over all nodes.
    pub bytes: Bytes,
    /// Wall time.
    pub seconds: Seconds,
    /// The peak memory of the whole process; absent where the system does not say.
    pub peak_rss_bytes: Option<u64>,
}

/// Bytes on the wire, summed over all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
    /// Sent, by what they were for ("update", "vote", ...).
    pub by_kind: BTreeMap<String, u64>,
    /// What the method itself exchanged; absent in results of older versions.
    #[serde(default)]
    pub exchange: Option<Exchange>,
}

/// Wall time in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// From the start of the first node until every node is connected to every other.
    pub start: f64,
    /// The whole run.
    pub total: f64,
    /// The median round, from one certificate to the next.
    pub per_round_median: f64,
}

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of fedswarm that made this.
    pub version: String,
    /// The command that made this.
    pub command: String,
    /// The head.
    pub summary: Summary,
    /// The scenario, with nothing left open.
    pub scenario: Scenario,
    /// The classes' names, in the order of the labels.
    pub classes: Vec<String>,
    /// The peers, by index.
    pub peers: Vec<Peer>,
    /// The certified rounds, in order; round 0, the untrained models, is only in [`Accuracy::by_round`].
    pub rounds: Vec<Round>,
    /// What a generator peer made; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
}

/// One peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name in tables and plots, unique in the run.
    pub name: String,
    /// Its libp2p id.
    pub id: String,
    /// Its model's architecture.
    pub architecture: String,
    /// Its model's parameters, with everything that the method adds.
    pub parameters: u64,
    /// Images it trains on.
    pub train_samples: u64,
    /// Images it is tested on.
    pub test_samples: u64,
    /// Training images of each class, in the order of [`Results::classes`].
    pub label_counts: Vec<u64>,
    /// Its last accuracy when trained alone.
    pub local_accuracy: Option<f64>,
    /// Its last accuracy in the swarm.
    pub accuracy: f64,
    /// The mean weight its gate gives to the shared extractor on its test images, last round; for methods with a gate.
    pub gate: Option<f64>,
}

/// One certified round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The round, counted from 1.
    pub round: u64,
    /// The view in which it was certified: 0 when the first aggregator in line did its work.
    pub view: u32,
    /// The index of the peer that proposed the record.
    pub aggregator: usize,
    /// Updates that went into the merge.
    pub inputs: usize,
    /// The certified record's hash, in hexadecimal.
    pub record_hash: String,
    /// How long its phases took.
    pub phases_ms: Phases,
    /// When it was certified, in milliseconds since the run began.
    pub certified_at_ms: f64,
    /// Sample-weighted accuracy over all peers, once all have taken the certified state in.
    pub accuracy: f64,
    /// Each peer's accuracy.
    pub accuracies: Vec<f64>,
    /// Sample-weighted accuracy of the same peers trained alone for as many rounds.
    pub local_accuracy: Option<f64>,
    /// The mean training loss over the peers' steps of this round.
    pub loss: Option<f64>,
    /// Each peer's mean gate weight on the shared extractor; empty for methods without a gate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<f64>,
}

/// The phases of a round as the swarm saw them, in milliseconds; together they are the whole round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Until the last peer has trained.
    pub train: f64,
    /// From there until the proposal: updates are fetched, receipts signed.
    pub collect: f64,
    /// From there until the certificate: the merge is recomputed and voted on.
    pub agree: f64,
}

impl Phases {
    /// The whole round in milliseconds.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.train + self.collect + self.agree
    }
}

impl Summary {
    /// The summary as one line of JSON.
    ///
    /// # Errors
    /// Only if a number cannot be written, which these types rule out.
    pub fn to_json_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Bytes sent per peer and certified round.
    #[must_use]
    pub fn bytes_per_peer_and_round(&self) -> f64 {
        let parts = self.nodes as f64 * self.rounds_certified as f64;
        if parts > 0.0 { self.bytes.sent as f64 / parts } else { 0.0 }
    }

    /// What the traffic was for, per peer and certified round; absent in results of older versions.
    #[must_use]
    pub fn costs(&self) -> Option<PerPeerAndRound> {
        let exchange = self.bytes.exchange.as_ref()?;
        Some(PerPeerAndRound::of(exchange, &self.bytes, self.nodes as u64, self.rounds_certified))
    }

    /// How much the swarm's last accuracy is above that of the same peers alone, as a fraction.
    #[must_use]
    pub fn gain(&self) -> Option<f64> {
        self.local_accuracy.as_ref().map(|local| self.accuracy.last - local.last)
    }
}
