//! A value for each ordered pair of nodes.

use std::collections::HashMap;

/// Nodes up to which there is a place for each pair. Above, what differs from the rest is kept by pair: a table of ten thousand nodes
/// would have a hundred million places, nearly all of them equal.
const MOST_IN_TABLE: usize = 2_048;

/// Values by pair, equal to the default where nothing was set.
#[derive(Debug)]
pub struct Pairs<T> {
    nodes: usize,
    table: Vec<T>,
    set: HashMap<(u32, u32), T>,
}

impl<T: Copy + Default + PartialEq> Pairs<T> {
    /// For so many nodes.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let table = if nodes <= MOST_IN_TABLE { vec![T::default(); nodes * nodes] } else { Vec::new() };
        Self { nodes, table, set: HashMap::new() }
    }

    /// The value of a pair.
    #[must_use]
    pub fn get(&self, from: usize, to: usize) -> T {
        match self.table.get(from * self.nodes + to) {
            Some(value) => *value,
            None if self.set.is_empty() => T::default(),
            None => self.set.get(&(from as u32, to as u32)).copied().unwrap_or_default(),
        }
    }

    /// Sets the value of a pair.
    pub fn put(&mut self, from: usize, to: usize, value: T) {
        match self.table.get_mut(from * self.nodes + to) {
            Some(place) => *place = value,
            None if value == T::default() => drop(self.set.remove(&(from as u32, to as u32))),
            None => drop(self.set.insert((from as u32, to as u32), value)),
        }
    }

    /// Sets all to the default.
    pub fn clear(&mut self) {
        self.table.fill(T::default());
        self.set.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_small_worlds_keep_the_same() {
        for nodes in [10, 1_000_000] {
            let mut pairs: Pairs<u8> = Pairs::new(nodes);
            pairs.put(3, 4, 7);
            assert_eq!((pairs.get(3, 4), pairs.get(4, 3), pairs.get(9, 9)), (7, 0, 0), "{nodes} nodes");
            pairs.put(3, 4, 0);
            assert_eq!(pairs.get(3, 4), 0);
            pairs.put(9, 9, 1);
            pairs.clear();
            assert_eq!(pairs.get(9, 9), 0);
        }
    }
}
