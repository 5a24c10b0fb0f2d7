//! Serving blobs: to members, a few at a time, read on blocking threads.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::PeerId;
use libp2p::request_response::{self, InboundRequestId, ResponseChannel};
use tokio::sync::mpsc;

use super::Driver;
use crate::blobs::codec::{Answer, Question};
use crate::frame::Inbound;
use crate::quality::Sort;
use crate::{BlobSource, CHUNK_BYTES, Fault, HolderFault, Limits};
use fedswarm_protocol::blob::MAX_CHUNKS;

type BlobEvent = request_response::Event<Inbound<Question>, Answer>;
type Served = (ResponseChannel<Answer>, Answer);

/// What is being served to whom.
pub(super) struct Serving {
    source: Arc<dyn BlobSource>,
    per_peer: usize,
    total: usize,
    open: HashMap<InboundRequestId, PeerId>,
    done: mpsc::Sender<Served>,
    queue: mpsc::Receiver<Served>,
}

impl Serving {
    pub(super) fn new(source: Arc<dyn BlobSource>, limits: &Limits) -> Self {
        // Every read that is under way has its place in the queue: the threads never wait.
        let (done, queue) = mpsc::channel(limits.blob_requests_served);
        let (per_peer, total) = (limits.blob_requests_per_peer, limits.blob_requests_served);
        Self { source, per_peer, total, open: HashMap::new(), done, queue }
    }

    /// The next answer that is ready. The sender lives as long as the receiver, so there is always another one to wait for.
    pub(super) async fn next(&mut self) -> Served {
        loop {
            match self.queue.recv().await {
                Some(served) => return served,
                None => std::future::pending().await,
            }
        }
    }

    /// Requests that are being served.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    fn admits(&self, peer: &PeerId) -> bool {
        self.open.len() < self.total && self.open.values().filter(|p| *p == peer).count() < self.per_peer
    }

    fn read(&mut self, peer: PeerId, id: InboundRequestId, question: Question, channel: ResponseChannel<Answer>) {
        self.open.insert(id, peer);
        let (source, done) = (Arc::clone(&self.source), self.done.clone());
        tokio::task::spawn_blocking(move || {
            let answer = look_up(source.as_ref(), question);
            drop(done.blocking_send((channel, answer)));
        });
    }
}

/// A source that breaks the limits is treated as if it had nothing: the asker would refuse it anyhow.
fn look_up(source: &dyn BlobSource, question: Question) -> Answer {
    match question {
        Question::List(id) => {
            source.chunk_hashes(&id).filter(|l| l.len() <= MAX_CHUNKS).map_or(Answer::Absent, Answer::List)
        }
        Question::Chunk(id, index) => {
            source.chunk(&id, index).filter(|c| c.len() <= CHUNK_BYTES).map_or(Answer::Absent, Answer::Chunk)
        }
    }
}

impl Driver {
    pub(super) fn on_blobs(&mut self, event: BlobEvent) {
        match event {
            BlobEvent::Message { peer, message, .. } => match message {
                request_response::Message::Request { request_id, request, channel } => {
                    let request = match request {
                        Inbound::Good(request) => request,
                        // Not answered: the channel is dropped, which ends the stream.
                        Inbound::Bad(fault) => return self.fault(peer, fault),
                    };
                    if !self.discovery.is_member(&peer) {
                        self.fault(peer, Fault::NotAMember);
                        self.answer((channel, Answer::Refused));
                    } else if self.may(&peer, Sort::Blob) && self.serving.admits(&peer) {
                        self.serving.read(peer, request_id, request, channel);
                    } else {
                        self.answer((channel, Answer::Busy));
                    }
                }
                request_response::Message::Response { request_id, response } => {
                    self.counters.blobs.received(response.payload());
                    if let Some(open) = self.questions.remove(&request_id) {
                        drop(open.reply.send(Ok(response)));
                    }
                }
            },
            BlobEvent::OutboundFailure { request_id, error, .. } => {
                if let Some(open) = self.questions.remove(&request_id) {
                    drop(open.reply.send(Err(HolderFault::Transport(error.to_string()))));
                }
            }
            BlobEvent::InboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, %error, "a blob was not served");
                self.serving.open.remove(&request_id);
            }
            BlobEvent::ResponseSent { request_id, .. } => drop(self.serving.open.remove(&request_id)),
        }
    }

    /// libp2p loses a request that waits for a connection which turns out to lead through a relay: no answer, no failure. Whoever
    /// asked is told once every ordinary answer would be here.
    pub(super) fn give_up_questions(&mut self) {
        let limit = 2 * self.blob_timeout;
        for (_, open) in self.questions.extract_if(|_, open| open.since.elapsed() > limit) {
            drop(open.reply.send(Err(HolderFault::Transport("did not answer".into()))));
        }
    }

    /// An answer that comes too late is dropped; the failure that follows frees its place.
    pub(super) fn answer(&mut self, (channel, answer): Served) {
        let len = answer.payload();
        if self.swarm.behaviour_mut().blobs.0.send_response(channel, answer).is_ok() {
            self.counters.blobs.sent(len);
        }
    }
}
