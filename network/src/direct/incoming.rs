//! A stream of another's messages.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::Ack;
use crate::{Fault, MAX_DIRECT_BYTES};

/// Messages of a stream that wait for their answers. Too low, and a burst waits for our owner after every few; too high, and it takes
/// the place of others' messages in the queue.
const MAX_UNANSWERED: usize = 64;

/// Bytes that are read at once.
const READ: usize = 4096;

/// What a stream brings.
pub(super) enum News {
    Message(Vec<u8>),
    Bad(Fault),
    /// It has ended, well or not.
    End,
}

/// See the module's text.
pub(super) struct Incoming<S> {
    stream: S,
    /// Bytes that are no whole message yet, or several: at most one message and [`READ`].
    buffer: Vec<u8>,
    /// Messages that were told, and not answered.
    unanswered: usize,
    answers: VecDeque<u8>,
    flush: bool,
    /// The peer says no more.
    ended: bool,
    /// Rings when a message that has begun takes too long.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    pub(super) fn new(stream: S) -> Self {
        let (buffer, answers) = (Vec::new(), VecDeque::new());
        Self { stream, buffer, unanswered: 0, answers, flush: false, ended: false, alarm: None }
    }

    /// Answers the first message without an answer.
    pub(super) fn answer(&mut self, ack: Ack) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.answers.push_back(ack.byte());
    }

    /// The next message, once it is there; until then answers are written.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, patience: Duration) -> Poll<News> {
        if self.poll_answers(context).is_err() {
            return Poll::Ready(News::End);
        }
        while self.unanswered < MAX_UNANSWERED {
            match take_message(&mut self.buffer) {
                Ok(Some(message)) => {
                    (self.unanswered, self.alarm) = (self.unanswered + 1, None);
                    return Poll::Ready(News::Message(message));
                }
                Ok(None) => {}
                Err(fault) => return Poll::Ready(News::Bad(fault)),
            }
            if self.ended {
                break;
            }
            let mut bytes = [0; READ];
            match Pin::new(&mut self.stream).poll_read(context, &mut bytes) {
                Poll::Ready(Ok(0) | Err(_)) => self.ended = true,
                Poll::Ready(Ok(count)) => self.buffer.extend(&bytes[..count]),
                Poll::Pending => return self.poll_alarm(context, patience),
            }
        }
        if self.ended && self.unanswered == 0 && self.answers.is_empty() && !self.flush {
            return Poll::Ready(News::End);
        }
        Poll::Pending
    }

    fn poll_answers(&mut self, context: &mut Context<'_>) -> std::io::Result<()> {
        while !self.answers.is_empty() {
            let bytes: &[u8] = self.answers.make_contiguous();
            match Pin::new(&mut self.stream).poll_write(context, bytes)? {
                Poll::Ready(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => drop(self.answers.drain(..count)),
                Poll::Pending => return Ok(()),
            }
            self.flush = true;
        }
        if self.flush && Pin::new(&mut self.stream).poll_flush(context)?.is_ready() {
            self.flush = false;
        }
        Ok(())
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>, patience: Duration) -> Poll<News> {
        if self.buffer.is_empty() {
            return Poll::Pending;
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(patience)));
        alarm.as_mut().poll(context).map(|()| News::Bad(Fault::Stalled))
    }
}

/// Takes the first message out of a buffer, if it is all there.
pub(crate) fn take_message(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Fault> {
    let Some((head, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*head) as usize;
    if len > MAX_DIRECT_BYTES {
        return Err(Fault::BadFrame);
    }
    let Some((message, rest)) = rest.split_at_checked(len) else { return Ok(None) };
    let (message, rest) = (message.to_vec(), rest.to_vec());
    // Memory of a large one is given back.
    *buffer = rest;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;

    use super::*;

    /// What a peer has written, and where our answers go.
    struct Wire {
        bytes: VecDeque<u8>,
        /// Whether the peer says no more after that.
        ended: bool,
        answers: Vec<u8>,
    }

    impl AsyncRead for Wire {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            let count = into.len().min(self.bytes.len()).min(3);
            if count == 0 && !self.ended {
                return Poll::Pending;
            }
            into.iter_mut().zip(self.bytes.drain(..count)).for_each(|(into, byte)| *into = byte);
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Wire {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.answers.extend(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn incoming(messages: &[&[u8]], ended: bool) -> Incoming<Wire> {
        let frame = |message: &&[u8]| [&(message.len() as u32).to_le_bytes()[..], message].concat();
        Incoming::new(Wire { bytes: messages.iter().flat_map(frame).collect(), ended, answers: Vec::new() })
    }

    async fn next(incoming: &mut Incoming<Wire>) -> Option<News> {
        std::future::poll_fn(|context| match incoming.poll(context, Duration::from_secs(1)) {
            Poll::Pending => Poll::Ready(None),
            Poll::Ready(news) => Poll::Ready(Some(news)),
        })
        .await
    }

    #[tokio::test]
    async fn messages_come_one_after_the_other_and_answers_go_back_in_order() {
        let mut incoming = incoming(&[b"one", b"", b"three"], true);
        for expected in [&b"one"[..], b"", b"three"] {
            assert!(matches!(next(&mut incoming).await, Some(News::Message(message)) if message == expected));
        }
        assert!(next(&mut incoming).await.is_none(), "it waits for the answers");
        [Ack::Taken, Ack::Busy, Ack::Taken].into_iter().for_each(|ack| incoming.answer(ack));
        assert!(matches!(next(&mut incoming).await, Some(News::End)));
        assert_eq!(incoming.stream.answers, [0, 2, 0]);
    }

    #[tokio::test]
    async fn whoever_does_not_wait_for_answers_is_not_read_on() {
        let many = vec![&b"x"[..]; 2 * MAX_UNANSWERED];
        let mut incoming = incoming(&many, false);
        let mut read = 0;
        while let Some(News::Message(_)) = next(&mut incoming).await {
            read += 1;
        }
        assert_eq!(read, MAX_UNANSWERED);
        incoming.answer(Ack::Taken);
        assert!(matches!(next(&mut incoming).await, Some(News::Message(_))));
    }

    #[tokio::test]
    async fn a_message_that_stops_in_the_middle_is_given_up_and_a_quiet_stream_is_not() {
        let mut quiet = incoming(&[b"one"], false);
        assert!(matches!(next(&mut quiet).await, Some(News::Message(_))));
        let mut stalled = incoming(&[b"one"], false);
        stalled.stream.bytes.pop_back();
        let news = std::future::poll_fn(|context| stalled.poll(context, Duration::from_millis(1))).await;
        assert!(matches!(news, News::Bad(Fault::Stalled)));
        assert!(
            next(&mut quiet).await.is_none() && quiet.alarm.is_none(),
            "nothing waits for a message that has not begun"
        );
    }
}
