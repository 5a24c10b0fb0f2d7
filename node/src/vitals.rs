//! How a node is, as its events tell: where it is in its round, how long the last certificate is ago, and whether that is well.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fedswarm_protocol::round::Event;

use crate::NodeEvent;

/// Rounds whose time is remembered. Fewer, and one quick round makes the next one look late.
const ROUNDS: usize = 16;

/// A certificate is late after so many of the longest of the last rounds.
const LATE_ROUNDS: u32 = 5;

/// It is never late before this. Shorter, and the time that a dead aggregator costs looks like trouble.
const LATE_AT_LEAST: Duration = Duration::from_secs(60);

/// What a node is doing in its round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is no round: it waits for the others, or for what it missed.
    #[default]
    Waiting,
    /// It trains.
    Training,
    /// Its update is out; it waits for those of the others.
    Collecting,
    /// Its receipt is out; the aggregator is to propose, and the voters to agree.
    Deciding,
    /// The network's last round is certified.
    Finished,
    /// It stopped, since it cannot go on honestly.
    Failed,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Training, Self::Collecting, Self::Deciding, Self::Finished, Self::Failed];

    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Training => "training",
            Self::Collecting => "collecting",
            Self::Deciding => "deciding",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// What was seen.
#[derive(Debug)]
struct Seen {
    began: Instant,
    phase: Phase,
    /// The round and view in progress.
    position: (u64, u32),
    certified: Option<Instant>,
    rounds: u64,
    gaps: VecDeque<Duration>,
    reason: String,
}

/// A node's condition; cheap to clone, and looked at from anywhere.
#[derive(Clone, Debug)]
pub struct Vitals(Arc<Mutex<Seen>>);

impl Default for Vitals {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Seen {
            began: Instant::now(),
            phase: Phase::Waiting,
            position: (0, 0),
            certified: None,
            rounds: 0,
            gaps: VecDeque::new(),
            reason: String::new(),
        })))
    }
}

impl Vitals {
    /// Looks at what happens at the node.
    pub fn observe(&self, event: &NodeEvent) {
        self.observe_at(event, Instant::now());
    }

    fn observe_at(&self, event: &NodeEvent, now: Instant) {
        let mut seen = self.lock();
        match event {
            NodeEvent::Round { event, .. } => match *event {
                Event::RoundStarted { round, .. } => (seen.position, seen.phase) = ((round, 0), Phase::Training),
                Event::ViewEntered { round, view, .. } => seen.position = (round, view),
                Event::UpdatePublished { .. } => seen.phase = Phase::Collecting,
                Event::ReceiptPublished { .. } | Event::ReceiptQuorum { .. } | Event::Proposed { .. } => {
                    seen.phase = Phase::Deciding;
                }
                Event::RoundCommitted { .. } => {
                    if let Some(last) = seen.certified {
                        if seen.gaps.len() == ROUNDS {
                            seen.gaps.pop_front();
                        }
                        seen.gaps.push_back(now.saturating_duration_since(last));
                    }
                    (seen.certified, seen.phase) = (Some(now), Phase::Waiting);
                    seen.rounds += 1;
                }
                Event::CaughtUp { .. } => seen.certified = Some(now),
                Event::Halted { .. } | Event::Fork { .. } => {
                    seen.phase = Phase::Failed;
                    seen.reason = "the node signs nothing any more: it was halted, or saw a fork".to_owned();
                }
                _ => {}
            },
            NodeEvent::Finished { .. } => seen.phase = Phase::Finished,
            NodeEvent::Failed { reason } => {
                seen.phase = Phase::Failed;
                seen.reason.clone_from(reason);
            }
            _ => {}
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// The round and view in progress; zero before the first.
    #[must_use]
    pub fn position(&self) -> (u64, u32) {
        self.lock().position
    }

    /// How long the last certificate is ago, if there was one since the start.
    #[must_use]
    pub fn certificate_age(&self) -> Option<Duration> {
        self.lock().certified.map(|at| at.elapsed())
    }

    /// Rounds that became final here, since the start.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.lock().rounds
    }

    /// Whether a round is in progress that this node takes part in.
    #[must_use]
    pub fn is_in_round(&self) -> bool {
        matches!(self.phase(), Phase::Training | Phase::Collecting | Phase::Deciding)
    }

    /// Whether all is well, for a node that is connected to so many voters, itself among them, of a quorum of so many.
    ///
    /// # Errors
    /// What is not.
    pub fn health(&self, voters_here: usize, quorum: usize) -> Result<(), String> {
        self.health_at(voters_here, quorum, Instant::now())
    }

    fn health_at(&self, voters_here: usize, quorum: usize, now: Instant) -> Result<(), String> {
        let seen = self.lock();
        match seen.phase {
            Phase::Failed => return Err(seen.reason.clone()),
            Phase::Finished => return Ok(()),
            _ => {}
        }
        if voters_here < quorum {
            return Err(format!("{voters_here} voters are here, {quorum} are needed to certify a round"));
        }
        let late = (LATE_ROUNDS * seen.gaps.iter().max().copied().unwrap_or_default()).max(LATE_AT_LEAST);
        let age = now.saturating_duration_since(seen.certified.unwrap_or(seen.began));
        if age > late {
            return Err(format!("no certificate for {} s", age.as_secs()));
        }
        Ok(())
    }

    /// A panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use fedswarm_protocol::hash::Digest;

    use super::*;

    fn round(event: Event) -> NodeEvent {
        NodeEvent::Round { at_ms: 0, event }
    }

    fn committed(round_number: u64) -> NodeEvent {
        round(Event::RoundCommitted { round: round_number, view: 0, proposer: 0, inputs: 3, record: Digest([0; 32]) })
    }

    #[test]
    fn a_node_tells_its_phase() {
        let vitals = Vitals::default();
        assert!(!vitals.is_in_round());
        for (event, phase) in [
            (round(Event::RoundStarted { round: 3, leader: 0 }), Phase::Training),
            (round(Event::UpdatePublished { round: 3 }), Phase::Collecting),
            (round(Event::ReceiptPublished { round: 3, updates: 3 }), Phase::Deciding),
            (round(Event::ViewEntered { round: 3, view: 1, leader: 1 }), Phase::Deciding),
            (committed(3), Phase::Waiting),
        ] {
            vitals.observe(&event);
            assert_eq!(vitals.phase(), phase);
        }
        assert_eq!((vitals.position(), vitals.rounds()), ((3, 1), 1));
    }

    #[test]
    fn it_is_unwell_without_a_quorum_without_certificates_and_once_it_failed() {
        let (vitals, begin) = (Vitals::default(), Instant::now());
        assert_eq!(vitals.health(3, 3), Ok(()));
        assert_eq!(vitals.health(2, 3), Err("2 voters are here, 3 are needed to certify a round".to_owned()));
        let second = Duration::from_secs(1);
        assert!(vitals.health_at(3, 3, begin + 62 * second).is_err_and(|reason| reason.starts_with("no certificate")));
        // Rounds of half a minute: a certificate is late after five of them.
        for n in 1..=3 {
            vitals.observe_at(&committed(n.into()), begin + n * 30 * second);
        }
        assert_eq!(vitals.health_at(3, 3, begin + 230 * second), Ok(()));
        assert!(vitals.health_at(3, 3, begin + 250 * second).is_err());
        vitals.observe(&NodeEvent::Failed { reason: "the disk is full".to_owned() });
        assert_eq!(vitals.health(3, 3), Err("the disk is full".to_owned()));
    }

    #[test]
    fn a_finished_node_is_well() {
        let vitals = Vitals::default();
        vitals.observe(&NodeEvent::Finished { record: Digest([0; 32]), state: Digest([0; 32]) });
        assert_eq!(vitals.health(1, 3), Ok(()));
    }
}
