//! What a method itself sends and brings, whoever carries it: its formula, counted from the certified records.
//!
//! *Up* is what authors publish, each payload once; *down* is what peers take in, the certified tensors and a generator's pairs once
//! per peer. In a swarm that recomputes, every voter fetches every payload and makes the certified state of them, so more travels than
//! up, and less than down: [`PerPeerAndRound`].

use fedswarm_protocol::artefact::ArtefactShape;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::message::Committed;
use fedswarm_protocol::record::RecordKind;
use fedswarm_protocol::summary::{Summary, state_schema};
use fedswarm_protocol::tensor::TensorSpec;
use serde::{Deserialize, Serialize};

use super::Bytes;

/// Totals over a run. Numbers are those of the papers' formulas; bytes are exact, of the codec that the run had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Up: values of updates and prototypes that were accepted.
    pub up_numbers: u64,
    /// Their bytes.
    pub up_bytes: u64,
    /// Bytes that go up with them: the class of each prototype, and with `FedGen` how many images there are of it. An author's number of
    /// images is in its signed header, which is overhead.
    pub up_labels: u64,
    /// Down: values of certified tensors and of a generator's pairs, times the peers that take them in.
    pub down_numbers: u64,
    /// Their bytes.
    pub down_bytes: u64,
    /// Bytes that come with them: which classes are known or how frequent, the class of each pair, what names a member's row and says
    /// how it was made, and what only those read who carry the state on (what `FedTGP`'s targets are made of, a generator's transformer).
    pub down_beside: u64,
    /// Of `down_bytes` and `down_beside`, what a generator's host sends: it travels even where all recompute.
    pub artefacts: u64,
}

/// Bytes that name a member's row: a root and a number at the state's end, and the index, of a root, a number, and a key and a root for
/// each member.
const fn index_len(members: u64) -> u64 {
    36 + 36 + 64 * members
}

/// Tensors of the certified state that the method's formula does not count: flags, and what only the derivation goes on from.
fn is_beside(tensor: &TensorSpec) -> bool {
    const FLAGS: [&str; 4] = ["means.known", "generator.classes", "curvature", "counted"];
    FLAGS.contains(&tensor.name.as_str()) || tensor.name.starts_with("targets.")
}

impl Exchange {
    /// Counts a network's records, taken in by so many peers each.
    pub(crate) fn of(manifest: &Manifest, records: &[Committed], peers: u64) -> Self {
        let classes = manifest.task.classes.len();
        let schema = &manifest.schema;
        let summary = manifest.prototypes.and_then(|spec| spec.summary);
        let row = summary.and_then(|summary| summary.row(schema));
        let numbers_of = |beside: bool| {
            let state = state_schema(schema, manifest.prototypes.as_ref(), classes);
            let tensors = state.tensors.iter().chain(row.iter().flat_map(|row| &row.tensors));
            tensors.filter(|t| is_beside(t) == beside).map(|t| t.len() as u64).sum::<u64>()
        };
        let (state, beside) = (numbers_of(false), 4 * numbers_of(true) + row.as_ref().map_or(0, |_| index_len(peers)));
        let delta = manifest.codec.encoded_len(schema) as u64;
        let len = manifest.prototypes.map_or(0, |spec| u64::from(spec.len));
        // Numbers of images are no prototypes of the method's.
        let (values, counts) = if matches!(summary, Some(Summary::Generator(_))) { (0, len) } else { (len, 0) };
        let shape = ArtefactShape::of(manifest);
        let (mut total, mut last_job) = (Self::default(), None);
        for committed in records.iter().filter(|c| c.record.round > 0) {
            let record = &committed.record;
            if record.kind == RecordKind::Normal {
                let (inputs, prototypes) = (u64::from(record.inputs), u64::from(record.prototypes));
                total.up_numbers += inputs * schema.len() as u64 + prototypes * values;
                total.up_bytes += inputs * delta + 4 * prototypes * values;
                total.up_labels += prototypes * (2 + 4 * counts);
                total.down_numbers += peers * state;
                total.down_bytes += 4 * peers * state;
                total.down_beside += peers * beside;
            }
            // An artefact stays in force until there is a newer one.
            let artefact = committed.body.artefact.filter(|artefact| last_job != Some(artefact.job_round));
            if let (Some(artefact), Some(shape)) = (artefact, shape) {
                last_job = Some(artefact.job_round);
                let whole = u64::from(artefact.blob_len);
                let pairs = shape.pairs(whole).map_or(0, u64::from);
                let (image, latent) = (u64::from(shape.image), u64::from(shape.latent));
                let values = pairs * (2 * image + 4 * latent);
                total.down_numbers += peers * pairs * (image + latent);
                total.down_bytes += peers * values;
                total.down_beside += peers * whole.saturating_sub(values);
                total.artefacts += peers * whole;
            }
        }
        total
    }
}

/// What a run's traffic was for, per peer and certified round. Where all recompute, what a peer sends is up, recomputation, overhead
/// and, of a generator's host, artefacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerPeerAndRound {
    /// Numbers up, as the method's formula has them; with classes, of the mean peer.
    pub up_numbers: f64,
    /// Numbers down.
    pub down_numbers: f64,
    /// Bytes of the numbers up.
    pub up: f64,
    /// Bytes of the numbers down.
    pub down: f64,
    /// Bytes beside them in both directions: labels, flags, what carries the state on.
    pub beside: f64,
    /// Bytes of payloads that were sent once more, so that every voter could merge them itself, and of the lists of hashes that they are
    /// checked by. Absent in virtual time, where payloads are not carried.
    pub recomputation: Option<f64>,
    /// All other bytes: headers, receipts, proposals, votes, discovery, framing. In virtual time those of the messages.
    pub overhead: f64,
}

impl PerPeerAndRound {
    pub(super) fn of(exchange: &Exchange, bytes: &Bytes, peers: u64, rounds: u64) -> Self {
        let each = |total: u64| if peers * rounds > 0 { total as f64 / (peers * rounds) as f64 } else { 0.0 };
        let blobs = bytes.by_kind.get("blobs").copied();
        // A host has its own artefact.
        let artefacts = exchange.artefacts - exchange.artefacts.checked_div(peers).unwrap_or_default();
        let once = exchange.up_bytes + exchange.up_labels + artefacts;
        Self {
            up_numbers: each(exchange.up_numbers),
            down_numbers: each(exchange.down_numbers),
            up: each(exchange.up_bytes),
            down: each(exchange.down_bytes),
            beside: each(exchange.up_labels + exchange.down_beside),
            recomputation: blobs.map(|blobs| each(blobs.saturating_sub(once))),
            overhead: each(bytes.sent.saturating_sub(blobs.unwrap_or_default())),
        }
    }

    /// The mean of several runs of one method.
    pub(crate) fn mean(runs: &[Self]) -> Option<Self> {
        let over = |f: fn(&Self) -> f64| crate::stats::mean(&runs.iter().map(f).collect::<Vec<_>>());
        let recomputed: Option<Vec<f64>> = runs.iter().map(|run| run.recomputation).collect();
        Some(Self {
            up_numbers: over(|run| run.up_numbers)?,
            down_numbers: over(|run| run.down_numbers)?,
            up: over(|run| run.up)?,
            down: over(|run| run.down)?,
            beside: over(|run| run.beside)?,
            recomputation: recomputed.as_deref().and_then(crate::stats::mean),
            overhead: over(|run| run.overhead)?,
        })
    }
}
