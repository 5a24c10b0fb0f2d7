//! How fast this network is, as this node sees it: what the machine's timers follow ([`Tempo`]).
//!
//! An aggregator's time is `3 D + 2 M`, with `D` one and a half round trips (at least 50 ms) and `M` a merge, or one and a half
//! times what rounds really took from the aggregator's start to the certificate, whichever is longer; the training phase's is
//! one and a half times the median of the last five waits for a quorum of updates (design: protocol.md 2.4, decisions.md).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fedswarm_network::NodeId;
use fedswarm_protocol::round::{Effect, Event, Tempo, Timer};

/// Round trips per member, merges and decisions that are remembered. Too low and one slow moment sets the timers.
const SAMPLES: usize = 32;

/// Waits for a quorum of updates that are remembered.
const TRAININGS: usize = 5;

/// Decided rounds before anything is adapted. One is enough, since of a few samples the longest counts, and half as much again; and
/// a node that has just come back should not hold up the others, whose timers are short already.
const LEAST_DECISIONS: usize = 1;

/// Least `D`. Too low and a busy core looks like a dead aggregator.
const LEAST_D: Duration = Duration::from_millis(50);

/// How far the measured time of an aggregator may go beyond the manifest's. Too high and members that answer slowly on purpose
/// delay every change of aggregator by as much.
const MOST_STRETCH: u64 = 8;

/// The latest measurements of one thing.
#[derive(Debug)]
struct Window {
    most: usize,
    samples: VecDeque<Duration>,
}

impl Window {
    const fn new(most: usize) -> Self {
        Self { most, samples: VecDeque::new() }
    }

    fn push(&mut self, sample: Duration) {
        if self.samples.len() == self.most {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The sample that this share of them, in percent, does not exceed; nothing without samples.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted: Vec<_> = self.samples.iter().copied().collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1).min(last)).copied()
    }
}

/// What background work measures.
#[derive(Debug)]
struct Shared {
    round_trips: BTreeMap<NodeId, Window>,
    merges: Window,
}

/// Where background work leaves its measurements.
#[derive(Clone, Debug)]
pub(super) struct Stopwatch(Arc<Mutex<Shared>>);

impl Stopwatch {
    /// A message to a member was acknowledged after this time.
    pub(super) fn round_trip(&self, member: NodeId, took: Duration) {
        self.lock().round_trips.entry(member).or_insert_with(|| Window::new(SAMPLES)).push(took);
    }

    /// A merge took this time.
    pub(super) fn merge(&self, took: Duration) {
        self.lock().merges.push(took);
    }

    /// A panic elsewhere leaves the windows whole.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The measurements of one node.
#[derive(Debug)]
pub(super) struct Pace {
    shared: Stopwatch,
    trainings: Window,
    decisions: Window,
    round_began: Option<(u64, Instant)>,
    view_began: Option<(u64, Instant)>,
}

impl Pace {
    pub(super) fn new() -> Self {
        let shared = Shared { round_trips: BTreeMap::new(), merges: Window::new(SAMPLES) };
        Self {
            shared: Stopwatch(Arc::new(Mutex::new(shared))),
            trainings: Window::new(TRAININGS),
            decisions: Window::new(SAMPLES),
            round_began: None,
            view_began: None,
        }
    }

    pub(super) fn stopwatch(&self) -> Stopwatch {
        self.shared.clone()
    }

    /// Forgets whoever is no member any more.
    pub(super) fn keep_only(&self, members: &[NodeId]) {
        self.shared.lock().round_trips.retain(|id, _| members.contains(id));
    }

    /// Looks at what the machine does, for the moments between which time is taken.
    pub(super) fn watch(&mut self, effect: &Effect, now: Instant) {
        match effect {
            Effect::Emit { event: Event::RoundStarted { round, .. }, .. } => {
                (self.round_began, self.view_began) = (Some((*round, now)), None);
            }
            // This wait begins when a quorum of updates is here.
            Effect::SetTimer { timer: Timer::Collect { round }, .. } => {
                if let Some((_, began)) = self.round_began.take_if(|(r, _)| r == round) {
                    self.trainings.push(now - began);
                }
            }
            Effect::SetTimer { timer: Timer::View { round, .. }, .. } => self.view_began = Some((*round, now)),
            Effect::Emit { event: Event::RoundCommitted { round, .. }, .. } => {
                if let Some((_, began)) = self.view_began.take_if(|(r, _)| r == round) {
                    self.decisions.push(now - began);
                }
            }
            _ => {}
        }
    }

    /// What the timers should follow, for a node that needs `others` more members for a quorum and whose manifest gives an
    /// aggregator `leader_ms`. Zero where too little is known.
    pub(super) fn tempo(&self, others: usize, leader_ms: u64) -> Tempo {
        let half_more = |time: Duration| time * 3 / 2;
        let training = if self.trainings.samples.len() == TRAININGS { self.trainings.percentile(50) } else { None };
        let round_ms = training.map_or(0, |t| half_more(t).as_millis() as u64);
        let shared = self.shared.lock();
        // The fastest quorum decides a round, so slow members, and those that answer slowly on purpose, count for nothing.
        let mut trips: Vec<_> = shared.round_trips.values().filter_map(|window| window.percentile(95)).collect();
        trips.sort_unstable();
        let quorum = others.checked_sub(1).and_then(|last| trips.get(last)).copied();
        let known = self.decisions.samples.len() >= LEAST_DECISIONS;
        let (Some(trip), Some(decision), true) = (quorum, self.decisions.percentile(95), known) else {
            return Tempo { leader_ms: 0, round_ms };
        };
        let merge = shared.merges.percentile(95).unwrap_or_default();
        let needed = (3 * half_more(trip).max(LEAST_D) + 2 * merge).max(half_more(decision));
        Tempo { leader_ms: (needed.as_millis() as u64).min(leader_ms.saturating_mul(MOST_STRETCH)), round_ms }
    }
}

#[cfg(test)]
mod tests {
    use fedswarm_protocol::hash::Digest;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn id(i: u8) -> NodeId {
        NodeId([i; 32])
    }

    /// Rounds that train for so long and are decided in so long.
    fn rounds(pace: &mut Pace, count: u64, training: Duration, deciding: Duration) {
        let start = Instant::now();
        for round in 1..=count {
            let at = fedswarm_protocol::round::Timestamp(0);
            pace.watch(&Effect::Emit { at, event: Event::RoundStarted { round, leader: 0 } }, start);
            pace.watch(&Effect::SetTimer { timer: Timer::Collect { round }, after_ms: 1 }, start + training);
            let began = start + 2 * training;
            pace.watch(&Effect::SetTimer { timer: Timer::View { round, view: 0 }, after_ms: 1 }, began);
            let event = Event::RoundCommitted { round, view: 0, proposer: 0, inputs: 3, record: Digest([0; 32]) };
            pace.watch(&Effect::Emit { at, event }, began + deciding);
        }
    }

    #[test]
    fn nothing_is_adapted_before_enough_is_known() {
        let mut pace = Pace::new();
        pace.stopwatch().round_trip(id(1), MS);
        assert_eq!(pace.tempo(1, 1_500), Tempo::default(), "no round was decided");
        rounds(&mut pace, 1, 100 * MS, 10 * MS);
        assert_eq!(pace.tempo(2, 1_500), Tempo::default(), "no quorum has answered");
        assert_eq!(pace.tempo(1, 1_500).leader_ms, 150);
    }

    #[test]
    fn a_fast_network_gives_its_aggregators_little_time() {
        let mut pace = Pace::new();
        rounds(&mut pace, 5, 100 * MS, 10 * MS);
        for i in 1..4 {
            pace.stopwatch().round_trip(id(i), MS);
        }
        pace.stopwatch().merge(20 * MS);
        // 3 times the least D of 50 ms, 2 merges of 20 ms.
        assert_eq!(pace.tempo(2, 1_500), Tempo { leader_ms: 190, round_ms: 150 });
    }

    #[test]
    fn rounds_that_take_long_are_given_longer_but_not_without_end() {
        let mut pace = Pace::new();
        rounds(&mut pace, 5, 100 * MS, 4_000 * MS);
        pace.stopwatch().round_trip(id(1), MS);
        assert_eq!(pace.tempo(1, 1_500).leader_ms, 6_000);
        rounds(&mut pace, 32, 100 * MS, 400_000 * MS);
        assert_eq!(pace.tempo(1, 1_500).leader_ms, 12_000);
    }

    #[test]
    fn members_that_answer_slowly_on_purpose_count_for_nothing() {
        let mut pace = Pace::new();
        rounds(&mut pace, 5, 100 * MS, 10 * MS);
        for (i, trip) in [100, 120, 9_000].into_iter().enumerate() {
            pace.stopwatch().round_trip(id(i as u8), trip * MS);
        }
        // Four members, a quorum of three: this one and the two fastest others.
        assert_eq!(pace.tempo(2, 1_500).leader_ms, 3 * 180);
    }
}
