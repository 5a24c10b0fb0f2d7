//! Many worlds, one per seed, on all cores.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::keys::Signatures;
use super::options::Options;
use super::outcome::Outcome;
use super::tally::Tally;
use super::{World, WorldError, invariants::Break};

/// One seed in so many is run twice, to see that the same happens.
const TWICE_EVERY: u64 = 50;

/// Broken seeds that a report names; more are only counted.
const NAMED_BREAKS: usize = 100;

/// Which seeds to run, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub first: u64,
    /// The last one; nothing for no end.
    pub last: Option<u64>,
    /// No seed is begun after this long.
    pub time: Option<Duration>,
    /// Threads.
    pub threads: usize,
}

/// What came of many runs.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// Of them, those with real signatures.
    pub real_signatures: u64,
    /// Of them, those that were run twice, with the same events.
    pub twice: u64,
    /// Final rounds.
    pub rounds: u64,
    /// Of them, those that became final while faults were on.
    pub under_faults: u64,
    /// Rounds that were not final in their first view.
    pub late_views: u64,
    /// Members that joined, left, changed their keys or were evicted.
    pub changes: u64,
    /// Events.
    pub events: u64,
    /// Milliseconds of virtual time.
    pub virtual_ms: u64,
    /// The longest round after a healing, in milliseconds.
    pub longest_ms: u64,
    /// Faults and lies.
    pub tally: Tally,
    /// Runs in which an invariant did not hold.
    pub broken: u64,
    /// The first of them, by seed.
    pub breaks: Vec<(u64, Break)>,
}

impl Report {
    fn take(&mut self, outcome: &Outcome, real_signatures: bool) {
        self.seeds += 1;
        self.real_signatures += u64::from(real_signatures);
        self.rounds += outcome.rounds;
        self.under_faults += outcome.under_faults;
        self.late_views += outcome.late_views;
        self.changes += outcome.changes;
        self.events += outcome.events;
        self.virtual_ms += outcome.virtual_ms;
        self.longest_ms = self.longest_ms.max(outcome.longest_ms);
        self.tally += outcome.tally;
        if let Some(broken) = &outcome.broken {
            self.note(outcome.seed, broken.clone());
        }
    }

    fn note(&mut self, seed: u64, broken: Break) {
        self.broken += 1;
        self.breaks.push((seed, broken));
        self.breaks.sort_by_key(|(seed, _)| *seed);
        self.breaks.truncate(NAMED_BREAKS);
    }
}

/// The command that repeats one seed.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("fedswarm simulate --soak --seeds {seed}..{seed}")
}

/// Runs seeds until the plan is done or `stop` is set; `tell` hears of each outcome.
///
/// # Errors
/// Options from which no world can be made.
pub fn run(
    plan: &Plan,
    stop: &AtomicBool,
    options: impl Fn(u64) -> Options + Sync,
    tell: impl Fn(&Outcome) + Sync,
) -> Result<Report, WorldError> {
    let (next, began) = (AtomicU64::new(plan.first), Instant::now());
    let shared = Mutex::new((Report::default(), None));
    let work = || {
        loop {
            let late = plan.time.is_some_and(|time| began.elapsed() >= time);
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if late || stop.load(Ordering::Relaxed) || plan.last.is_some_and(|last| seed > last) {
                return;
            }
            let options = options(seed);
            let done = one(&options);
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match done {
                Ok((outcome, same)) => {
                    shared.0.take(&outcome, options.signatures == Signatures::Each);
                    match same {
                        Some(true) => shared.0.twice += 1,
                        Some(false) => {
                            let what = "two runs of the seed differ in their events".to_owned();
                            shared.0.note(seed, Break { rule: "determinism", what, at_ms: outcome.virtual_ms });
                        }
                        None => {}
                    }
                    tell(&outcome);
                }
                Err(error) => {
                    shared.1 = Some(error);
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(work);
        }
    });
    let (report, error) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    error.map_or(Ok(report), Err)
}

/// One seed; whether a second run of it had the same events, if there was one.
fn one(options: &Options) -> Result<(Outcome, Option<bool>), WorldError> {
    let outcome = World::new(options)?.run();
    if !options.seed.is_multiple_of(TWICE_EVERY) {
        return Ok((outcome, None));
    }
    let same = World::new(options)?.run() == outcome;
    Ok((outcome, Some(same)))
}
