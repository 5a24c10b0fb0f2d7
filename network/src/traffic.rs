//! Counting bytes: on every connection, whatever carries it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

/// Bytes since the start. `sent` and `received` are all bytes on all streams: payloads, their framing and libp2p's own
/// protocols, before encryption and multiplexing, which add about one part in two thousand for large messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes written to streams.
    pub sent: u64,
    /// Bytes read from streams.
    pub received: u64,
    /// Gossip: own messages, each counted once, and foreign ones, each counted when first seen. Copies are in the totals only.
    pub gossip: Payload,
    /// Direct messages.
    pub direct: Payload,
    /// Chunks of blobs and lists of their hashes.
    pub blobs: Payload,
    /// Bytes on streams through relays. They are not in the totals a second time: there, they are part of what went to the
    /// relay and came from it.
    pub relayed: Payload,
}

/// Payload bytes of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Handed to the wire.
    pub sent: u64,
    /// Taken from the wire.
    pub received: u64,
}

/// One direction pair of counters.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Pair {
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    fn read(&self) -> Payload {
        Payload { sent: self.sent.load(Relaxed), received: self.received.load(Relaxed) }
    }
}

/// The counters behind [`Traffic`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) wire: Pair,
    pub(crate) gossip: Pair,
    pub(crate) direct: Pair,
    pub(crate) blobs: Pair,
    relayed: Pair,
}

/// Which way a connection goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Road {
    /// Straight to the peer, and to a relay.
    Own,
    /// Through a relay, inside a connection with that.
    Relayed,
}

impl Counters {
    const fn on(&self, road: Road) -> &Pair {
        match road {
            Road::Own => &self.wire,
            Road::Relayed => &self.relayed,
        }
    }

    pub(crate) fn read(&self) -> Traffic {
        let wire = self.wire.read();
        Traffic {
            sent: wire.sent,
            received: wire.received,
            gossip: self.gossip.read(),
            direct: self.direct.read(),
            blobs: self.blobs.read(),
            relayed: self.relayed.read(),
        }
    }
}

/// A connection whose streams count their bytes.
pub(crate) struct Counted {
    pub(crate) inner: StreamMuxerBox,
    pub(crate) counters: Arc<Counters>,
    pub(crate) road: Road,
}

impl Counted {
    fn stream(&self, poll: Poll<io::Result<SubstreamBox>>) -> Poll<io::Result<CountedStream>> {
        poll.map_ok(|inner| CountedStream { inner, counters: Arc::clone(&self.counters), road: self.road })
    }
}

impl StreamMuxer for Counted {
    type Substream = CountedStream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<CountedStream>> {
        let poll = Pin::new(&mut self.inner).poll_inbound(cx);
        self.stream(poll)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<CountedStream>> {
        let poll = Pin::new(&mut self.inner).poll_outbound(cx);
        self.stream(poll)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream that counts its bytes.
pub(crate) struct CountedStream {
    inner: SubstreamBox,
    counters: Arc<Counters>,
    road: Road,
}

impl AsyncRead for CountedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Ok(n)) = poll {
            self.counters.on(self.road).received(n);
        }
        poll
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = poll {
            self.counters.on(self.road).sent(n);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
