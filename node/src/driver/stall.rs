//! When to say things again: not while the round gets on.
//!
//! The machine repeats what it has said after a fixed time, since it knows no better. Here it is known whether anything new came in
//! meanwhile, and how long rounds take. In a large network half a second is not long, and everybody repeating everything is what
//! makes it longer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fedswarm_protocol::round::{Input, Timer};

use super::Driver;

/// How often in a row a voter puts off repeating itself. Too low and a round that takes long is made longer; too high and a member
/// that lets others hear something new now and then keeps them from helping each other.
const MOST_PUT_OFF: u32 = 8;

/// Waits for a round's record that a contributor remembers.
const WAITS: usize = 5;

/// How many times as long as the machine asks for a contributor waits at most, before it repeats its update.
const MOST_STRETCH: u32 = 16;

/// Whether a round gets on.
#[derive(Debug)]
pub(super) struct Stall {
    heard: Instant,
    put_off: u32,
    published: Option<Instant>,
    waits: VecDeque<Duration>,
}

impl Stall {
    pub(super) fn new() -> Self {
        Self { heard: Instant::now(), put_off: 0, published: None, waits: VecDeque::new() }
    }

    /// Something new came in that this round needs.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// This node's update is out.
    pub(super) fn published(&mut self, now: Instant) {
        self.published = Some(now);
    }

    /// A round is final, and the next one begins.
    pub(super) fn committed(&mut self, now: Instant) {
        self.put_off = 0;
        if let Some(published) = self.published.take() {
            if self.waits.len() == WAITS {
                self.waits.pop_front();
            }
            self.waits.push_back(now - published);
        }
    }

    /// How long to wait before this node repeats itself, which the machine would do after `pause`, or would have done now. A
    /// contributor hears nothing of a round before its record, so it goes by how long that took before.
    pub(super) fn first(&self, pause: Duration, votes: bool) -> Duration {
        if votes {
            return pause;
        }
        let mut sorted: Vec<_> = self.waits.iter().copied().collect();
        sorted.sort_unstable();
        let usual = sorted.get(sorted.len() / 2).map_or(Duration::ZERO, |median| *median * 2);
        usual.clamp(pause, pause * MOST_STRETCH)
    }

    /// How much longer a voter waits that is to repeat itself now; nothing if it is to do so.
    pub(super) fn put_off(&mut self, pause: Duration, now: Instant) -> Option<Duration> {
        let left = (self.heard + pause).checked_duration_since(now).filter(|left| !left.is_zero())?;
        if self.put_off == MOST_PUT_OFF {
            return None;
        }
        self.put_off += 1;
        Some(left)
    }
}

impl Driver {
    /// A timer has run out; what would only be said again waits while the round gets on.
    pub(super) fn on_timer(&mut self, timer: Timer) {
        let (now, pause) = (Instant::now(), Duration::from_millis(self.manifest.timers.resend_ms));
        let resends = matches!(timer, Timer::Resend { round } if round == self.state.position().0);
        let longer = if resends && self.votes() { self.stall.put_off(pause, now) } else { None };
        match longer {
            Some(longer) => self.set_timer(timer, longer),
            None => self.inputs.push_back(Input::Timer(timer)),
        }
    }

    pub(super) fn set_timer(&mut self, timer: Timer, after: Duration) {
        self.timer_count += 1;
        self.timers.retain(|_, t| t.round() >= timer.round());
        self.timers.insert((Instant::now() + after, self.timer_count), timer);
    }

    /// Whether this node votes in the round in progress.
    pub(super) fn votes(&self) -> bool {
        let committee = self.state.committee();
        self.state.me().is_some_and(|me| committee.voter(me).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_voter_repeats_itself_only_once_nothing_new_came_for_a_while() {
        let (mut stall, began) = (Stall::new(), Instant::now());
        stall.heard(began);
        assert_eq!(stall.put_off(500 * MS, began + 400 * MS), Some(100 * MS));
        assert_eq!(stall.put_off(500 * MS, began + 500 * MS), None);
    }

    #[test]
    fn nobody_can_keep_a_voter_silent_by_saying_something_new_again_and_again() {
        let (mut stall, mut now) = (Stall::new(), Instant::now());
        let mut silent = 0;
        loop {
            stall.heard(now);
            now += 400 * MS;
            match stall.put_off(500 * MS, now) {
                Some(_) => silent += 1,
                None => break,
            }
        }
        assert_eq!(silent, MOST_PUT_OFF);
        stall.committed(now);
        stall.heard(now);
        assert!(stall.put_off(500 * MS, now + MS).is_some(), "the next round is a new one");
    }

    #[test]
    fn a_contributor_waits_twice_as_long_as_rounds_take_but_not_without_end() {
        let (mut stall, now) = (Stall::new(), Instant::now());
        assert_eq!(stall.first(500 * MS, false), 500 * MS);
        for wait in [1_000, 900, 1_100] {
            stall.published(now);
            stall.committed(now + wait * MS);
        }
        assert_eq!(stall.first(500 * MS, false), 2_000 * MS);
        assert_eq!(stall.first(500 * MS, true), 500 * MS, "a voter hears how the round gets on");
        stall.published(now);
        stall.committed(now + 100_000 * MS);
        stall.published(now);
        stall.committed(now + 100_000 * MS);
        stall.published(now);
        stall.committed(now + 100_000 * MS);
        assert_eq!(stall.first(500 * MS, false), 8_000 * MS);
    }
}
