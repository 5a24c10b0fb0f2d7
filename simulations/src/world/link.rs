//! What lies between nodes: time, loss, copies, bandwidth, and walls.

use super::options::Links as Options;
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

/// The links between all nodes.
#[derive(Debug)]
pub struct Links {
    options: Options,
    nodes: usize,
    base_us: Vec<u64>,
    walls: Vec<u8>,
    clogged_until: Vec<u64>,
    uplink_free: Vec<u64>,
}

impl Links {
    /// Links whose lasting latencies are drawn from `rng`.
    #[must_use]
    pub fn new(options: &Options, nodes: usize, rng: &mut Rng) -> Self {
        let mut base_us = vec![0; nodes * nodes];
        for from in 0..nodes {
            for to in 0..from {
                let latency = rng.between(options.latency_us.0, options.latency_us.1);
                base_us[from * nodes + to] = latency;
                base_us[to * nodes + from] = latency;
            }
        }
        let count = nodes * nodes;
        let options = options.clone();
        Self {
            options,
            nodes,
            base_us,
            walls: vec![0; count],
            clogged_until: vec![0; count],
            uplink_free: vec![0; nodes],
        }
    }

    /// Sends one message now; `reliable` for what a transport repeats by itself.
    pub fn pass(&mut self, now: u64, from: usize, to: usize, bytes: usize, rng: &mut Rng) -> Passage {
        let link = from * self.nodes + to;
        if self.walls[link] > 0 {
            return Passage { walled: true, ..Passage::default() };
        }
        // One draw serves loss, copy and the slow tail: 20 bits each.
        let draw = rng.bits();
        let lot = |shift: u32| ((draw >> shift) & 0xf_ffff) as f64 / f64::from(1 << 20);
        if lot(0) < self.options.loss {
            return Passage::default();
        }
        let Some(sent) = self.send_up(now, from, bytes) else { return Passage::default() };
        let wait = sent.max(self.clogged_until[link]).saturating_sub(now);
        let tail = if lot(20) < self.options.tail { self.options.tail_us } else { 0 };
        let first = wait + self.base_us[link] + tail + rng.below(self.options.jitter_us + 1);
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
        let there = asker * self.nodes + holder;
        let back = holder * self.nodes + asker;
        let wait = self.clogged_until[there].max(self.clogged_until[back]).saturating_sub(now);
        let sent = self.send_up(now, holder, bytes as usize)?.saturating_sub(now);
        let mut time =
            wait + sent + self.base_us[there] + self.base_us[back] + rng.below(2 * self.options.jitter_us + 1);
        while rng.chance(self.options.loss) {
            time += REPEAT_US;
        }
        Some(time)
    }

    /// Puts a wall in one direction; walls of several causes add up.
    pub fn wall(&mut self, from: usize, to: usize) {
        let wall = &mut self.walls[from * self.nodes + to];
        *wall = wall.saturating_add(1);
    }

    /// Takes a wall of one cause away.
    pub fn unwall(&mut self, from: usize, to: usize) {
        let wall = &mut self.walls[from * self.nodes + to];
        *wall = wall.saturating_sub(1);
    }

    /// True if both hear each other.
    #[must_use]
    pub fn is_open(&self, a: usize, b: usize) -> bool {
        self.walls[a * self.nodes + b] == 0 && self.walls[b * self.nodes + a] == 0
    }

    /// Holds everything on a link back until then.
    pub fn clog(&mut self, from: usize, to: usize, until: u64) {
        let clog = &mut self.clogged_until[from * self.nodes + to];
        *clog = until.max(*clog);
    }

    /// Opens a clogged link.
    pub fn unclog(&mut self, from: usize, to: usize) {
        self.clogged_until[from * self.nodes + to] = 0;
    }

    /// From now on nothing is lost, copied, held back or walled off, and latencies are a LAN's.
    pub fn heal(&mut self) {
        self.options = Options::default();
        self.base_us.fill(self.options.latency_us.0);
        self.walls.fill(0);
        self.clogged_until.fill(0);
        self.uplink_free.fill(0);
    }
}
