//! Fetching a blob from several holders at once, trusting none of them.
//!
//! The list of chunk hashes is checked against the blob's name, each chunk against the list. A holder that sends anything wrong is
//! asked no more. One that is silent is given time, and meanwhile others are asked for the same chunk. Whoever turns out to be one
//! more holder is asked at once. What was checked stays in the [`Partial`] blob, whatever becomes of the holders.

use std::time::Duration;

use fedswarm_protocol::blob::{CHUNK_BYTES, MAX_BLOB_BYTES};
use fedswarm_protocol::hash::Digest;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::codec::{Answer, Question};
use super::partial::Partial;
use crate::{Error, HolderFault, NodeId};

/// How a fetch goes about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Who fetches, and is not asked.
    pub(crate) me: NodeId,
    /// Requests open at once, not counting overdue ones.
    pub(crate) window: usize,
    /// Requests open with one holder.
    pub(crate) per_holder: usize,
    /// After how long a request is overdue, at least.
    pub(crate) hedge: Duration,
}

/// How often a fetch looks up from waiting.
const GLANCE: Duration = Duration::from_millis(20);
/// The pause after a holder said it is busy; grows with each time.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How often a holder may be busy in a row before it is given up: about 25 s in all.
const BUSY_MAX: u32 = 50;
/// A request is overdue when it takes this many times longer than any that was answered.
const SLOWER: u32 = 3;

/// Fetches what is missing of a blob; `ask` puts one question to one holder, `accuse` is told what was wrong with answers. All fetches
/// of a node share `turns`: a question needs one, until it is answered or overdue.
pub(crate) async fn fetch<A, F>(
    ask: A,
    turns: &Semaphore,
    blob: &mut Partial,
    mut holders: watch::Receiver<Vec<NodeId>>,
    plan: Plan,
    accuse: &(dyn Fn(NodeId, &HolderFault) + Sync),
) -> Result<(), Error>
where
    A: Fn(NodeId, Question) -> F,
    F: Future<Output = Result<Answer, HolderFault>>,
{
    if blob.len() > MAX_BLOB_BYTES {
        return Err(Error::TooLarge { what: "blob", len: blob.len(), max: MAX_BLOB_BYTES });
    }
    if blob.is_whole() {
        return Ok(());
    }
    let empty = blob.is_empty();
    let mut fetch = Fetch::new(blob, plan);
    fetch.meet(&holders.borrow_and_update());
    if empty {
        return Err(fetch.failure());
    }
    let mut open = FuturesUnordered::new();
    loop {
        if holders.has_changed().unwrap_or(false) {
            fetch.meet(&holders.borrow_and_update());
        }
        while let Ok(turn) = turns.try_acquire()
            && let Some((task, holder, question)) = fetch.next()
        {
            let answer = ask(fetch.holders[holder].id, question);
            let (asked, overdue) = (Instant::now(), fetch.overdue());
            open.push(async move {
                let mut answer = std::pin::pin!(answer);
                let in_time = tokio::time::timeout(overdue, &mut answer).await;
                drop(turn);
                let answer = match in_time {
                    Ok(answer) => answer,
                    Err(_) => answer.await,
                };
                (task, holder, question, answer, asked.elapsed())
            });
        }
        if open.is_empty() {
            // Not before: what is on its way need not be fetched by the next attempt.
            if fetch.is_hopeless() {
                return Err(fetch.failure());
            }
            // A file may have lost what was written to it.
            if fetch.tasks.iter().all(|task| task.done) {
                fetch.set_tasks();
            }
            tokio::time::sleep(GLANCE).await;
            continue;
        }
        let Ok(Some((task, holder, question, answer, took))) = tokio::time::timeout(GLANCE, open.next()).await else {
            continue;
        };
        let before = fetch.faults.len();
        fetch.answered(task, holder, question, answer, took);
        fetch.faults.iter().skip(before).for_each(|(holder, fault)| accuse(*holder, fault));
        if fetch.blob.is_whole() {
            return Ok(());
        }
    }
}

#[derive(Debug)]
struct Holder {
    id: NodeId,
    open: usize,
    out: bool,
    busy: u32,
    not_before: Option<Instant>,
}

/// Something to ask for, and who was asked.
#[derive(Debug)]
struct Task {
    question: Question,
    asked: Vec<usize>,
    open: Vec<Instant>,
    done: bool,
}

impl Task {
    const fn new(question: Question) -> Self {
        Self { question, asked: Vec::new(), open: Vec::new(), done: false }
    }
}

#[derive(Debug)]
struct Fetch<'a> {
    blob: &'a mut Partial,
    plan: Plan,
    holders: Vec<Holder>,
    tasks: Vec<Task>,
    faults: Vec<(NodeId, HolderFault)>,
    slowest: Duration,
}

impl<'a> Fetch<'a> {
    fn new(blob: &'a mut Partial, plan: Plan) -> Self {
        let (holders, tasks, faults) = (Vec::new(), Vec::new(), Vec::new());
        let mut fetch = Self { blob, plan, holders, tasks, faults, slowest: Duration::ZERO };
        fetch.set_tasks();
        fetch
    }

    /// Adds those that are new. Whoever failed and is named again has failed for this time.
    fn meet(&mut self, ids: &[NodeId]) {
        for id in ids {
            if *id != self.plan.me && self.holders.iter().all(|h| h.id != *id) {
                self.holders.push(Holder { id: *id, open: 0, out: false, busy: 0, not_before: None });
            }
        }
    }

    /// First the list of chunks, then those that are not here. One chunk needs no list: the blob's name says which it must be.
    fn set_tasks(&mut self) {
        let id = self.blob.id();
        self.tasks = match self.blob.chunks() {
            None if self.blob.len() <= CHUNK_BYTES as u64 => vec![Task::new(Question::Chunk(id, 0))],
            None => vec![Task::new(Question::List(id))],
            Some(here) => {
                (0..).zip(here).map(|(i, done)| Task { done: *done, ..Task::new(Question::Chunk(id, i)) }).collect()
            }
        };
    }

    /// After how long a question is overdue.
    fn overdue(&self) -> Duration {
        self.plan.hedge.max(self.slowest * SLOWER)
    }

    /// What to ask next, and whom: chunks that nobody was asked for first, then overdue ones.
    fn next(&mut self) -> Option<(usize, usize, Question)> {
        let overdue = self.overdue();
        let fresh: usize = self.tasks.iter().flat_map(|t| &t.open).filter(|since| since.elapsed() < overdue).count();
        if fresh >= self.plan.window {
            return None;
        }
        let idle = |t: &Task| t.open.is_empty();
        let late = |t: &Task| !t.open.is_empty() && t.open.iter().all(|since| since.elapsed() >= overdue);
        let (task, holder) = self.pick(idle).or_else(|| self.pick(late))?;
        self.holders[holder].open += 1;
        self.tasks[task].asked.push(holder);
        self.tasks[task].open.push(Instant::now());
        Some((task, holder, self.tasks[task].question))
    }

    fn pick(&self, wanted: impl Fn(&Task) -> bool) -> Option<(usize, usize)> {
        let now = Instant::now();
        let count = self.holders.len();
        self.tasks.iter().enumerate().filter(|(_, t)| !t.done && wanted(t)).find_map(|(index, task)| {
            let ready = |h: &Holder| !h.out && h.open < self.plan.per_holder && h.not_before.is_none_or(|t| t <= now);
            (0..count)
                .filter(|h| ready(&self.holders[*h]) && !task.asked.contains(h))
                .min_by_key(|h| (self.holders[*h].open, (h + count - index % count) % count))
                .map(|holder| (index, holder))
        })
    }

    fn answered(
        &mut self,
        task: usize,
        holder: usize,
        question: Question,
        answer: Result<Answer, HolderFault>,
        took: Duration,
    ) {
        self.holders[holder].open -= 1;
        // The list's task is replaced by the chunks' once it is known; an answer that comes after that finds another task.
        let current = self.tasks.get(task).is_some_and(|t| t.question == question);
        if current {
            self.tasks[task].open.pop();
            if self.tasks[task].done {
                return;
            }
        } else {
            return;
        }
        let fault = match (question, answer) {
            (_, Ok(Answer::Busy)) => return self.busy(task, holder),
            (_, Ok(Answer::Absent)) => HolderFault::Absent,
            (_, Ok(Answer::Refused)) => HolderFault::Refused,
            (Question::List(_), Ok(Answer::List(list))) => match self.take_list(list) {
                Ok(()) => return self.fine(holder, took),
                Err(fault) => fault,
            },
            (Question::Chunk(_, index), Ok(Answer::Chunk(chunk))) => match self.take_chunk(task, index, &chunk) {
                Ok(()) => return self.fine(holder, took),
                Err(fault) => fault,
            },
            (_, Ok(Answer::List(_) | Answer::Chunk(_))) => HolderFault::WrongAnswer,
            (_, Err(fault)) => fault,
        };
        // Whoever lacks one chunk may have others. Everything else is reason enough to ask it no more.
        let lacks_one = fault == HolderFault::Absent && matches!(question, Question::Chunk(..));
        self.holders[holder].out |= !lacks_one;
        let who = self.holders[holder].id;
        tracing::debug!(blob = ?self.blob.id(), holder = ?who, %fault, "a holder failed");
        self.faults.push((who, fault));
    }

    fn fine(&mut self, holder: usize, took: Duration) {
        self.holders[holder].busy = 0;
        self.slowest = self.slowest.max(took);
    }

    fn busy(&mut self, task: usize, holder: usize) {
        self.tasks[task].asked.retain(|h| *h != holder);
        let holder = &mut self.holders[holder];
        holder.busy += 1;
        holder.not_before = Some(Instant::now() + BUSY_PAUSE * holder.busy);
        if holder.busy > BUSY_MAX {
            holder.out = true;
            let who = holder.id;
            self.faults.push((who, HolderFault::Busy));
        }
    }

    fn take_list(&mut self, list: Vec<Digest>) -> Result<(), HolderFault> {
        if !self.blob.take_list(list) {
            return Err(HolderFault::BadList);
        }
        self.set_tasks();
        Ok(())
    }

    fn take_chunk(&mut self, task: usize, index: u32, chunk: &[u8]) -> Result<(), HolderFault> {
        if !self.blob.take_chunk(index, chunk) {
            return Err(HolderFault::BadChunk(index));
        }
        self.tasks[task].done = true;
        Ok(())
    }

    /// Whether something is missing that nobody is left to be asked for.
    fn is_hopeless(&self) -> bool {
        self.tasks.iter().any(|task| {
            let nobody = (0..self.holders.len()).all(|h| self.holders[h].out || task.asked.contains(&h));
            !task.done && task.open.is_empty() && nobody
        })
    }

    fn failure(&mut self) -> Error {
        Error::Fetch { id: self.blob.id(), faults: std::mem::take(&mut self.faults) }
    }
}
