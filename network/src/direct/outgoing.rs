//! The stream of own messages: bytes there, answers back.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Ack, DirectId};

/// Answers that are read at once.
const ANSWERS: usize = 64;

/// See the module's text.
pub(super) struct Outgoing<S> {
    stream: S,
    /// Frames that are not written yet, from `written` on.
    buffer: Vec<u8>,
    written: usize,
    flush: bool,
    /// Messages without an answer, in order, and when each is to have come.
    open: VecDeque<(DirectId, Instant)>,
    /// Rings when the first of them may be late.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outgoing<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), written: 0, flush: false, open: VecDeque::new(), alarm: None }
    }

    /// Adds a message; its length was checked.
    pub(super) fn push(&mut self, id: DirectId, message: &[u8], patience: Duration) {
        self.buffer.extend((message.len() as u32).to_le_bytes());
        self.buffer.extend(message);
        self.open.push_back((id, Instant::now() + patience));
    }

    /// Messages that have no answer.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = DirectId> {
        self.open.iter().map(|(id, _)| *id)
    }

    /// Writes and reads what can be; ready when the stream is of no more use.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        answered: &mut dyn FnMut(DirectId, Ack),
    ) -> Poll<io::Error> {
        if let Poll::Ready(Err(error)) = self.poll_write(context) {
            return Poll::Ready(error);
        }
        if let Poll::Ready(error) = self.poll_read(context, answered) {
            return Poll::Ready(error);
        }
        self.poll_alarm(context)
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.buffer[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            (self.written, self.flush) = (self.written + written, true);
        }
        // Memory of a burst is given back.
        (self.buffer, self.written) = (Vec::new(), 0);
        if self.flush {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>, answered: &mut dyn FnMut(DirectId, Ack)) -> Poll<io::Error> {
        loop {
            let mut answers = [0; ANSWERS];
            let count = match ready!(Pin::new(&mut self.stream).poll_read(context, &mut answers)) {
                Ok(0) => return Poll::Ready(io::Error::other("the stream was closed")),
                Ok(count) => count,
                Err(error) => return Poll::Ready(error),
            };
            for answer in &answers[..count] {
                let (Some(ack), Some((id, _))) = (Ack::of(*answer), self.open.pop_front()) else {
                    return Poll::Ready(io::Error::other(format!("acknowledgement {answer} was not expected")));
                };
                answered(id, ack);
            }
        }
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let Some((_, due)) = self.open.front() else { return Poll::Pending };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(*due)));
            ready!(alarm.as_mut().poll(context));
            if *due <= Instant::now() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.alarm = None;
        }
    }
}
