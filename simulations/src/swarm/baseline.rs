//! The same peers trained alone: same images, same first weights, same number of passes. Accuracy means nothing without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fedswarm_learning::methods::{MemberSetup, method};
use fedswarm_node::trainers::Trainers;
use tokio::sync::mpsc;

use super::Prepared;
use crate::Error;
use crate::results::Score;

/// Scores by round, then by peer; entry 0 is untrained.
pub(super) async fn run(
    prepared: &Prepared,
    trainers: &Trainers,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Vec<Score>>, Error> {
    let (nodes, rounds) = (prepared.setups.len(), prepared.scenario.rounds);
    let (sender, mut finished) = mpsc::channel(nodes);
    for (i, setup) in prepared.setups.iter().enumerate() {
        let (setup, stop, sender) = (setup.clone(), Arc::clone(stop), sender.clone());
        trainers.run(move || {
            // A receiver that is gone does not want to know.
            drop(sender.blocking_send((i, alone(setup, rounds, &stop))));
        });
    }
    drop(sender);
    let mut scores = vec![vec![Score::default(); nodes]; rounds as usize + 1];
    while let Some((i, peer)) = finished.recv().await {
        for (round, score) in peer.map_err(Error::learning)?.into_iter().enumerate() {
            scores[round][i] = score;
        }
    }
    if stop.load(Ordering::Relaxed) { Err(Error::Interrupted { done: 0, rounds, kept: false }) } else { Ok(scores) }
}

fn alone(setup: MemberSetup, rounds: u64, stop: &AtomicBool) -> Result<Vec<Score>, fedswarm_learning::Error> {
    let mut member = method("local")?.member(setup)?;
    let mut scores = Vec::with_capacity(rounds as usize + 1);
    for round in 0..=rounds {
        if round > 0 {
            match member.train(stop) {
                Ok(_) => {}
                Err(fedswarm_learning::Error::Cancelled) => break,
                Err(error) => return Err(error),
            }
        }
        let evaluation = member.evaluate()?;
        scores.push(Score { correct: evaluation.correct.into(), total: evaluation.total.into() });
    }
    Ok(scores)
}
