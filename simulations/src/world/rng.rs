//! The one source of chance in a world.

use fedswarm_protocol::hash::Stream;

/// Numbers that follow from a seed and a purpose, the same on every machine.
#[derive(Debug)]
pub struct Rng(Stream);

impl Rng {
    /// A stream of its own for each purpose, so that more draws for one thing do not change another.
    #[must_use]
    pub fn new(purpose: &str, seed: u64) -> Self {
        Self(Stream::new("virtual world", &[purpose.as_bytes(), &seed.to_le_bytes()]))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// An index below `len`; 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included; `low` if they are the wrong way round.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A number in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.unit()
    }

    /// True with this probability; without a draw if that is none.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.unit() < probability
    }

    /// One of these; nothing if there are none.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.index(items.len())).copied()
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }
}
