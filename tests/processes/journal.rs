//! What all nodes of a network have printed, in the order in which it came.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that is waited for. Only what hangs gets here, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Events shown of each node when something was waited for in vain.
const SHOWN: usize = 12;

/// A line of a node.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) node: usize,
    /// How often the node was started before.
    pub(crate) life: usize,
    pub(crate) at: Instant,
    line: Value,
}

impl Seen {
    pub(crate) fn is(&self, event: &str) -> bool {
        self.line["event"] == event
    }

    pub(crate) fn number(&self, field: &str) -> Option<u64> {
        self.line[field].as_u64()
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.line[field].as_str().unwrap_or_default()
    }

    /// The first text of a list.
    pub(crate) fn first(&self, field: &str) -> &str {
        self.line[field][0].as_str().unwrap_or_default()
    }

    /// All texts of a list.
    pub(crate) fn texts(&self, field: &str) -> Vec<String> {
        let list = self.line[field].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    }

    pub(crate) fn is_false(&self, field: &str) -> bool {
        self.line[field] == false
    }

    /// The round, if this is the line of a certificate.
    pub(crate) fn certified(&self) -> Option<u64> {
        self.is("certified").then(|| self.number("round")).flatten()
    }

    /// The round, if this line begins one.
    pub(crate) fn started(&self) -> Option<u64> {
        self.is("round_started").then(|| self.number("round")).flatten()
    }
}

#[derive(Debug)]
pub(crate) struct Journal {
    began: Instant,
    seen: Mutex<Vec<Seen>>,
    more: Condvar,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), seen: Mutex::default(), more: Condvar::new() }
    }

    pub(crate) fn add(&self, node: usize, life: usize, line: Value) {
        self.seen.lock().unwrap().push(Seen { node, life, at: Instant::now(), line });
        self.more.notify_all();
    }

    /// Everything up to now.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The next line from this one on of which `pick` makes something, and what; the cursor moves behind it.
    pub(crate) fn next<T>(&self, what: &str, cursor: &mut usize, mut pick: impl FnMut(&Seen) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock().unwrap();
        loop {
            while let Some(line) = seen.get(*cursor) {
                *cursor += 1;
                if let Some(found) = pick(line) {
                    return found;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let told = self.told(&seen);
                drop(seen);
                panic!("waited in vain for {what}:\n{told}");
            }
            seen = self.more.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until everything seen so far will do, at most so long. True if it does.
    pub(crate) fn until(&self, patience: Duration, will_do: impl Fn(&[Seen]) -> bool) -> bool {
        let until = Instant::now() + patience;
        let mut seen = self.seen.lock().unwrap();
        while !will_do(&seen) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            seen = self.more.wait_timeout(seen, left).unwrap().0;
        }
        true
    }

    /// Waits until each of these nodes has printed, at any time, a line that will do.
    pub(crate) fn each(&self, what: &str, nodes: &[usize], mut will_do: impl FnMut(&Seen) -> bool) {
        let mut missing = nodes.to_vec();
        let mut cursor = 0;
        while !missing.is_empty() {
            let text = format!("{what}, on {missing:?}");
            let node = self
                .next(&text, &mut cursor, |seen| (missing.contains(&seen.node) && will_do(seen)).then_some(seen.node));
            missing.retain(|m| *m != node);
        }
    }

    /// The last lines of every node.
    pub(crate) fn tail(&self) -> String {
        self.told(&self.seen.lock().unwrap())
    }

    fn told(&self, seen: &[Seen]) -> String {
        let mut text = String::new();
        let nodes: BTreeSet<usize> = seen.iter().map(|s| s.node).collect();
        for node in nodes {
            let lines: Vec<&Seen> = seen.iter().filter(|s| s.node == node).collect();
            for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
                let at = line.at.duration_since(self.began).as_secs_f64();
                writeln!(text, "  {at:8.3} s  node {node}, life {}: {}", line.life, line.line).unwrap();
            }
        }
        text
    }
}
