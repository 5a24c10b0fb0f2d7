//! Buffers that a thread keeps between steps, so that no step asks the system for fresh pages.

use std::cell::RefCell;

/// Buffers kept per thread: the gradients of a model and what kernels use at once. Too few and a step allocates anew.
const KEPT: usize = 64;
/// Buffers of fewer numbers are not kept: the allocator has those at hand. Fewer, and gradients of biases take the places of images.
const SMALL: usize = 1 << 12;
/// A kept buffer is not used for less than one part in this many of its size. Too low and large buffers go to small uses.
const SLACK: usize = 2;

thread_local! {
    static POOL: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
thread_local! {
    static FRESH: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Buffers that this thread had to ask the allocator for, small ones not counted.
#[cfg(test)]
pub(super) fn fresh() -> usize {
    FRESH.get()
}

/// A buffer that returns to its thread's pool when dropped.
pub(super) struct Scratch(Vec<f32>);

impl Scratch {
    /// `len` numbers of any value.
    pub(super) fn any(len: usize) -> Self {
        let fit = len..=len.saturating_mul(SLACK);
        let mut buffer = POOL.with_borrow_mut(|pool| {
            let fits = (0..pool.len()).filter(|&i| fit.contains(&pool[i].capacity()));
            fits.min_by_key(|&i| pool[i].capacity()).map(|i| pool.swap_remove(i)).unwrap_or_default()
        });
        #[cfg(test)]
        FRESH.set(FRESH.get() + usize::from(buffer.capacity() == 0 && len >= SMALL));
        buffer.resize(len, 0.0);
        Self(buffer)
    }

    /// `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let mut buffer = Self::any(len);
        buffer.0.fill(0.0);
        buffer
    }

    /// The buffer itself, for a tensor; [`keep`] takes it back.
    pub(super) fn into_vec(mut self) -> Vec<f32> {
        std::mem::take(&mut self.0)
    }
}

/// Keeps a buffer that nobody needs any more for this thread's next steps; of many, the ones kept last.
pub(super) fn keep(buffer: Vec<f32>) {
    if buffer.capacity() < SMALL {
        return;
    }
    // A thread that is ending has no pool any more.
    let _ = POOL.try_with(|pool| {
        if let Ok(mut pool) = pool.try_borrow_mut() {
            if pool.len() == KEPT {
                pool.swap_remove(0);
            }
            pool.push(buffer);
        }
    });
}

impl std::ops::Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl std::ops::DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        keep(std::mem::take(&mut self.0));
    }
}
