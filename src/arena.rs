//! How many regions glibc's allocator keeps.

/// Has all threads allocate from one region of memory. To be called before there is a second thread.
///
/// By default glibc gives a region to each new thread, up to eight a processor, and what one frees the others do not get: a voter that merges
/// takes twice the memory, and a node that runs for months keeps the largest moment of each thread (`docs/adr/022-one-arena.md`). Where many
/// members train side by side threads would wait for each other at one region, so `simulate` and `compare` do without. `MALLOC_ARENA_MAX` in
/// the environment is left as it is; other C libraries know nothing of the kind.
pub(crate) fn share_one() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        #[allow(unsafe_code, reason = "the only way to tell glibc from within")]
        // SAFETY: mallopt takes two numbers, touches only the allocator's own settings, and no other thread runs yet that it could race with.
        let _done = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}
