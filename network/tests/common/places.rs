//! What the files that are shared with the tests of whole nodes (`tests/processes`) expect.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[allow(dead_code)]
pub(crate) const NODES: usize = 8;

#[allow(dead_code)]
pub(crate) trait Place {
    fn wrapper(&self, number: usize) -> Vec<String>;
    fn listen(&self, number: usize) -> Vec<String>;
}

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
