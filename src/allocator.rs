//! What a node asks of glibc's allocator. Other C libraries know nothing of the kind, and there this does nothing.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::time::{Duration, Instant};

/// Between two times that free pages are given back. Much shorter, and pages that each round takes anew are asked for again all the time; much
/// longer, and what one large moment took stays taken.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIVE_BACK_EVERY: Duration = Duration::from_mins(1);

/// Has all threads allocate from one region of memory, and gives free pages back to the system once a minute. To be called before there is
/// a second thread.
///
/// By default glibc gives a region to each new thread, up to eight a processor, and what one frees the others do not get: a voter that merges
/// takes twice the memory, and a node that runs for months keeps the largest moment of each thread. Of one region it gives back the end
/// alone, so that a single block behind keeps what the largest moment took (`docs/adr/022-one-arena.md`). Where many members train side by side
/// threads would wait for each other at one region, so `simulate` and `compare` do without. `MALLOC_ARENA_MAX` in the environment is left as
/// it is.
pub(crate) fn keep_small() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
            #[allow(unsafe_code, reason = "the only way to tell glibc from within")]
            // SAFETY: mallopt takes two numbers, touches only the allocator's own settings, and no other thread runs yet that it could race with.
            let _done = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        }
        // A node without that thread takes some more memory, and works.
        let _thread = std::thread::Builder::new().name("give-back".to_owned()).spawn(|| {
            loop {
                std::thread::sleep(GIVE_BACK_EVERY);
                give_back();
            }
        });
    }
}

/// Gives the pages that lie free between blocks back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    let began = Instant::now();
    #[allow(unsafe_code, reason = "the only way to tell glibc from within")]
    // SAFETY: malloc_trim takes a number and locks each region for itself; it touches no block that is in use.
    let some = unsafe { libc::malloc_trim(0) } != 0;
    tracing::debug!(some, took = ?began.elapsed(), "free memory given back");
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fedswarm_simulations::bench::process;

    use super::*;

    #[test]
    fn free_pages_before_a_block_in_use_are_given_back() {
        const MIB: u64 = 1 << 20;
        let anonymous = || process::anonymous_pss_bytes(None).unwrap();
        let many: Vec<Vec<u8>> = (0..64 * 1024).map(|_| vec![1; 1024]).collect();
        let behind = vec![1_u8; 1024];
        let full = anonymous();
        drop(many);
        let freed = anonymous();
        assert!(full - freed < 16 * MIB, "the allocator gave {} back by itself", full - freed);
        give_back();
        let after = anonymous();
        assert!(freed - after > 32 * MIB, "{freed} bytes before, {after} after");
        assert_eq!(behind[1023], 1);
    }
}
