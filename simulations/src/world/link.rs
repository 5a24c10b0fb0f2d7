//! What lies between nodes: time, loss, copies, bandwidth, and walls.

use super::options::Links as Options;
use super::pairs::Pairs;
use super::rng::Rng;

/// Bytes of framing and acknowledgement around a message.
const OVERHEAD_BYTES: u64 = 64;

/// A node drops what would wait longer than this for its uplink, as a bounded queue does; microseconds.
const MOST_BACKLOG_US: u64 = 5_000_000;

/// Of a transfer's round trip, how much a lost packet adds; reliable transports repeat until it is through.
const REPEAT_US: u64 = 200_000;

/// What becomes of one message on one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// After how many microseconds it arrives; nothing if it is lost.
    pub first: Option<u64>,
    /// After how many a second copy arrives.
    pub copy: Option<u64>,
    /// True if a wall stood in the way.
    pub walled: bool,
}

/// Nodes up to which each pair's lasting latency is drawn in turn; above, it follows from one draw and the pair.
const MOST_DRAWN: usize = 2_048;

/// The links between all nodes.
#[derive(Debug)]
pub struct Links {
    options: Options,
    base_us: Base,
    walls: Pairs<u8>,
    clogged_until: Pairs<u64>,
    uplink_free: Vec<u64>,
}

/// Lasting latencies, in microseconds.
#[derive(Debug)]
enum Base {
    Drawn(Pairs<u64>),
    Hashed(u64),
    Same(u64),
}

impl Base {
    fn new(range: (u64, u64), nodes: usize, rng: &mut Rng) -> Self {
        if nodes > MOST_DRAWN {
            return Self::Hashed(rng.bits());
        }
        let mut drawn = Pairs::new(nodes);
        for from in 0..nodes {
            for to in 0..from {
                let latency = rng.between(range.0, range.1);
                drawn.put(from, to, latency);
                drawn.put(to, from, latency);
            }
        }
        Self::Drawn(drawn)
    }

    fn get(&self, from: usize, to: usize, range: (u64, u64)) -> u64 {
        match self {
            Self::Drawn(drawn) => drawn.get(from, to),
            Self::Hashed(seed) => {
                // The finaliser of splitmix64: every bit of the pair changes every bit of the result.
                let pair = (from.min(to) as u64) << 32 | from.max(to) as u64;
                let mut bits = seed ^ pair.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                range.0 + (bits ^ (bits >> 31)) % range.1.saturating_sub(range.0).saturating_add(1)
            }
            Self::Same(latency) => *latency,
        }
    }
}

impl Links {
    /// Links whose lasting latencies are drawn from `rng`.
    #[must_use]
    pub fn new(options: &Options, nodes: usize, rng: &mut Rng) -> Self {
        Self {
            base_us: Base::new(options.latency_us, nodes, rng),
            options: options.clone(),
            walls: Pairs::new(nodes),
            clogged_until: Pairs::new(nodes),
            uplink_free: vec![0; nodes],
        }
    }

    fn base_us(&self, from: usize, to: usize) -> u64 {
        self.base_us.get(from, to, self.options.latency_us)
    }

    /// Sends one message now; `reliable` for what a transport repeats by itself.
    pub fn pass(&mut self, now: u64, from: usize, to: usize, bytes: usize, rng: &mut Rng) -> Passage {
        if self.walls.get(from, to) > 0 {
            return Passage { walled: true, ..Passage::default() };
        }
        // One draw serves loss, copy and the slow tail: 20 bits each.
        let draw = rng.bits();
        let lot = |shift: u32| ((draw >> shift) & 0xf_ffff) as f64 / f64::from(1 << 20);
        if lot(0) < self.options.loss {
            return Passage::default();
        }
        let Some(sent) = self.send_up(now, from, bytes) else { return Passage::default() };
        let wait = sent.max(self.clogged_until.get(from, to)).saturating_sub(now);
        let tail = if lot(20) < self.options.tail { self.options.tail_us } else { 0 };
        let first = wait + self.base_us(from, to) + tail + rng.below(self.options.jitter_us + 1);
        let copy = (lot(40) < self.options.duplicate).then(|| first + rng.below(self.options.jitter_us * 4 + 1_000));
        Passage { first: Some(first), copy, walled: false }
    }

    /// When the last byte has left the node; nothing if too much is waiting.
    fn send_up(&mut self, now: u64, from: usize, bytes: usize) -> Option<u64> {
        if self.options.bytes_per_s == 0 {
            return Some(now);
        }
        let begin = self.uplink_free[from].max(now);
        if begin - now > MOST_BACKLOG_US {
            return None;
        }
        let micros = (bytes as u64 + OVERHEAD_BYTES) * 1_000_000 / self.options.bytes_per_s;
        self.uplink_free[from] = begin + micros;
        Some(begin + micros)
    }

    /// How long a reliable transfer of `bytes` from `holder` to `asker` takes; nothing if they cannot talk.
    pub fn transfer(&mut self, now: u64, asker: usize, holder: usize, bytes: u64, rng: &mut Rng) -> Option<u64> {
        if !self.is_open(asker, holder) {
            return None;
        }
        let clogged = self.clogged_until.get(asker, holder).max(self.clogged_until.get(holder, asker));
        let wait = clogged.saturating_sub(now);
        let sent = self.send_up(now, holder, bytes as usize)?.saturating_sub(now);
        let mut time = wait
            + sent
            + self.base_us(asker, holder)
            + self.base_us(holder, asker)
            + rng.below(2 * self.options.jitter_us + 1);
        while rng.chance(self.options.loss) {
            time += REPEAT_US;
        }
        Some(time)
    }

    /// Puts a wall in one direction; walls of several causes add up.
    pub fn wall(&mut self, from: usize, to: usize) {
        self.walls.put(from, to, self.walls.get(from, to).saturating_add(1));
    }

    /// Takes a wall of one cause away.
    pub fn unwall(&mut self, from: usize, to: usize) {
        self.walls.put(from, to, self.walls.get(from, to).saturating_sub(1));
    }

    /// True if both hear each other.
    #[must_use]
    pub fn is_open(&self, a: usize, b: usize) -> bool {
        self.walls.get(a, b) == 0 && self.walls.get(b, a) == 0
    }

    /// Holds everything on a link back until then.
    pub fn clog(&mut self, from: usize, to: usize, until: u64) {
        self.clogged_until.put(from, to, until.max(self.clogged_until.get(from, to)));
    }

    /// Opens a clogged link.
    pub fn unclog(&mut self, from: usize, to: usize) {
        self.clogged_until.put(from, to, 0);
    }

    /// From now on nothing is lost, copied, held back or walled off, and latencies are a LAN's.
    pub fn heal(&mut self) {
        self.options = Options::default();
        self.base_us = Base::Same(self.options.latency_us.0);
        self.walls.clear();
        self.clogged_until.clear();
        self.uplink_free.fill(0);
    }
}
