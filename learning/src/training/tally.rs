//! What evaluation counts.

use super::network::Examined;
use crate::Error;
use crate::methods::Evaluation;
use crate::parameters::to_vec;

/// Sums over evaluation batches.
#[derive(Default)]
pub(super) struct Tally {
    correct: u32,
    total: u32,
    loss: f64,
    gate: Option<f64>,
    shared_only: Option<u32>,
    local_only: Option<u32>,
}

impl Tally {
    pub(super) fn add(&mut self, seen: Examined, labels: &[u16]) -> Result<(), Error> {
        let logits = to_vec(seen.logits)?;
        self.correct += correct(&logits, labels);
        self.total += labels.len() as u32;
        let classes = logits.len() / labels.len().max(1);
        self.loss += logits.chunks_exact(classes.max(1)).zip(labels).map(|(row, &y)| row_loss(row, y)).sum::<f64>();
        if let Some(experts) = seen.experts {
            let gate: f64 = to_vec(experts.gate)?.into_iter().map(f64::from).sum();
            *self.gate.get_or_insert(0.0) += gate;
            *self.shared_only.get_or_insert(0) += correct(&to_vec(experts.shared_only)?, labels);
            *self.local_only.get_or_insert(0) += correct(&to_vec(experts.local_only)?, labels);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Evaluation {
        let n = f64::from(self.total.max(1));
        Evaluation {
            correct: self.correct,
            total: self.total,
            loss: (self.loss / n) as f32,
            gate: self.gate.map(|g| (g / n) as f32),
            shared_only: self.shared_only,
            local_only: self.local_only,
        }
    }
}

/// Rows whose largest logit is their label's; the first of equals counts, and rows with NaN are wrong.
pub(super) fn correct(logits: &[f32], labels: &[u16]) -> u32 {
    let classes = logits.len() / labels.len().max(1);
    let hit = |row: &[f32], label: u16| {
        let best = row.iter().enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a });
        best.is_some_and(|(i, v)| i == usize::from(label) && !v.is_nan())
    };
    logits.chunks_exact(classes.max(1)).zip(labels).filter(|(row, label)| hit(row, **label)).count() as u32
}

/// Cross entropy of one row.
pub(super) fn row_loss(row: &[f32], label: u16) -> f64 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&x| f64::from(x - top).exp()).sum();
    sum.ln() + f64::from(top) - row.get(usize::from(label)).map_or(0.0, |&x| f64::from(x))
}
