//! Splits of the network, one at a time.

use serde::{Deserialize, Serialize};

use super::Hardship;
use crate::world::core::Core;
use crate::world::node::Node;

/// A kind of split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Every node falls on one of two sides.
    Halves,
    /// One node is alone.
    Isolate,
    /// Some links work in one direction only.
    Asymmetric,
    /// Two sides, now together, now apart.
    Flapping,
    /// Nodes are cut off one after the other, and joined again in another order.
    Swizzle,
}

impl Split {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Halves, Self::Isolate, Self::Asymmetric, Self::Flapping, Self::Swizzle];
}

/// The split under way.
#[derive(Default)]
pub(super) struct Splits {
    kind: Option<Split>,
    walls: Vec<(usize, usize)>,
    up: bool,
    /// For a swizzle: nodes still to be cut off, and those to be joined again.
    cut_next: Vec<usize>,
    join_next: Vec<usize>,
}

impl Hardship for Splits {
    fn tick(&mut self, core: &mut Core, nodes: &mut [Node]) {
        let Some(kind) = self.kind else {
            if nodes.len() > 1 && core.rng.chance(core.options.faults.split) {
                self.begin(core, nodes.len());
            }
            return;
        };
        match kind {
            Split::Swizzle => return self.swizzle(core, nodes.len()),
            Split::Flapping if core.rng.chance(0.2) => {
                if self.up {
                    self.lower(core);
                } else {
                    self.raise(core);
                }
            }
            _ => {}
        }
        if core.rng.chance(core.options.faults.heal) {
            self.lower(core);
            self.walls.clear();
            self.kind = None;
        }
    }
}

impl Splits {
    fn begin(&mut self, core: &mut Core, count: usize) {
        let Some(kind) = core.rng.pick(&core.options.faults.splits.clone()) else { return };
        self.kind = Some(kind);
        match kind {
            Split::Halves | Split::Flapping => {
                let sides: Vec<bool> = (0..count).map(|_| core.rng.chance(0.5)).collect();
                self.between(count, |a, b| sides[a] != sides[b]);
            }
            Split::Isolate => {
                let alone = core.rng.index(count);
                self.between(count, |a, b| a == alone || b == alone);
            }
            Split::Asymmetric => {
                let share = core.rng.uniform(0.1, 0.6);
                let deaf: Vec<bool> = (0..count * count).map(|_| core.rng.chance(share)).collect();
                self.between(count, |a, b| deaf[a * count + b]);
            }
            Split::Swizzle => {
                let mut some: Vec<usize> = (0..count).filter(|_| core.rng.chance(0.5)).collect();
                core.rng.shuffle(&mut some);
                self.cut_next.clone_from(&some);
                core.rng.shuffle(&mut some);
                self.join_next = some;
                core.tally.splits += 1;
                return;
            }
        }
        self.raise(core);
    }

    fn between(&mut self, count: usize, apart: impl Fn(usize, usize) -> bool) {
        self.walls =
            (0..count).flat_map(|a| (0..count).map(move |b| (a, b))).filter(|(a, b)| a != b && apart(*a, *b)).collect();
    }

    fn raise(&mut self, core: &mut Core) {
        core.tally.splits += 1;
        self.up = true;
        self.walls.iter().for_each(|(a, b)| core.links.wall(*a, *b));
    }

    fn lower(&mut self, core: &mut Core) {
        if !std::mem::replace(&mut self.up, false) {
            return;
        }
        self.walls.iter().for_each(|(a, b)| core.links.unwall(*a, *b));
        reconnect(core, &self.walls);
    }

    /// One step: cut a node off, or if none is left to cut, join one.
    fn swizzle(&mut self, core: &mut Core, count: usize) {
        if !core.rng.chance(0.3) {
            return;
        }
        let around = |node: usize| (0..count).filter(move |other| *other != node).map(move |other| (node, other));
        if let Some(node) = self.cut_next.pop() {
            for (a, b) in around(node) {
                core.links.wall(a, b);
                core.links.wall(b, a);
            }
        } else if let Some(node) = self.join_next.pop() {
            for (a, b) in around(node) {
                core.links.unwall(a, b);
                core.links.unwall(b, a);
            }
            reconnect(core, &around(node).collect::<Vec<_>>());
        } else {
            self.kind = None;
        }
    }
}

/// Nodes that can hear each other again notice it.
fn reconnect(core: &mut Core, pairs: &[(usize, usize)]) {
    let members = core.members();
    for &(a, b) in pairs {
        let once = a < b || !pairs.contains(&(b, a));
        if once && core.up[a] && core.up[b] && core.links.is_open(a, b) {
            core.connect(a, b, &members);
        }
    }
}
