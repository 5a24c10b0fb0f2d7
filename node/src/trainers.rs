//! Threads that train: never tokio's, so that a long step does not silence the network.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Jobs that wait until no other does.
    later: VecDeque<Job>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

/// A fixed number of threads that the nodes of a process share. Each node has at most one training at a time in it, and beside
/// it what it does for a generator: one job as its host, and one check for each artefact that it fetches at a time.
#[derive(Clone)]
pub struct Trainers {
    shared: Arc<Shared>,
    threads: usize,
    _owner: Arc<Owner>,
}

/// Closes the queue when the last handle is gone; the threads then end.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        lock(&self.0).closed = true;
        self.0.ready.notify_all();
    }
}

impl std::fmt::Debug for Trainers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainers").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Trainers {
    /// Starts this many threads, at least one.
    ///
    /// # Errors
    /// The system's reason if a thread cannot be started.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared { queue: Mutex::default(), ready: Condvar::new() });
        for i in 0..threads {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("train-{i}")).spawn(move || work(&shared))?;
        }
        let owner = Arc::new(Owner(Arc::clone(&shared)));
        Ok(Self { shared, threads, _owner: owner })
    }

    /// How many threads there are.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Queues a job.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        lock(&self.shared).jobs.push_back(Box::new(job));
        self.shared.ready.notify_one();
    }

    /// Queues a job that is begun only when no other waits.
    pub fn run_later(&self, job: impl FnOnce() + Send + 'static) {
        lock(&self.shared).later.push_back(Box::new(job));
        self.shared.ready.notify_one();
    }
}

fn work(shared: &Shared) {
    loop {
        let mut queue = lock(shared);
        let job = loop {
            let next = queue.jobs.pop_front();
            if let Some(job) = next.or_else(|| queue.later.pop_front()) {
                break job;
            }
            if queue.closed {
                return;
            }
            queue = shared.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        drop(queue);
        job();
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Queue> {
    shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_can_wait_is_begun_when_nothing_else_waits() {
        let trainers = Trainers::start(1).unwrap();
        let (begin, begun) = mpsc::sync_channel::<()>(4);
        let (done, finished) = mpsc::sync_channel(4);
        trainers.run(move || begun.recv().unwrap());
        let job = |name: &'static str| {
            let done = done.clone();
            move || done.send(name).unwrap()
        };
        trainers.run_later(job("later"));
        trainers.run(job("a"));
        trainers.run(job("b"));
        begin.send(()).unwrap();
        assert_eq!(finished.iter().take(3).collect::<Vec<_>>(), ["a", "b", "later"]);
    }

    #[test]
    fn jobs_run_side_by_side_and_the_threads_end_with_the_last_handle() {
        let trainers = Trainers::start(2).unwrap();
        let (to_second, from_first) = mpsc::sync_channel(1);
        let (done, finished) = mpsc::sync_channel(2);
        // The first job cannot end before the second has begun: they must overlap.
        let d = done.clone();
        trainers.run(move || {
            from_first.recv().unwrap();
            d.send(std::thread::current().name().map(str::to_owned)).unwrap();
        });
        trainers.run(move || {
            to_second.send(()).unwrap();
            done.send(std::thread::current().name().map(str::to_owned)).unwrap();
        });
        let names: Vec<_> = finished.iter().take(2).collect();
        assert!(names.iter().flatten().all(|n| n.starts_with("train-")), "{names:?}");
        let watch = Arc::downgrade(&trainers.shared);
        drop(trainers);
        while watch.upgrade().is_some() {
            std::thread::yield_now();
        }
    }
}
