//! Direct messages on the wire: bytes one way, one byte of acknowledgement back.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::{Behaviour, Codec, Config, ProtocolSupport};

use crate::frame::Inbound;
use crate::{MAX_DIRECT_BYTES, Tempo, frame};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fedswarm/direct/1");

/// What becomes of a direct message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ack {
    /// Its addressee has it.
    Taken,
    /// Its addressee takes messages from members only.
    Refused,
    /// Its addressee has too many waiting.
    Busy,
}

/// How direct messages are written and read.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct DirectCodec {
    /// How long a message may take to come in.
    patience: Option<Duration>,
}

pub(crate) type Direct = Behaviour<DirectCodec>;

pub(crate) fn behaviour(tempo: &Tempo) -> Direct {
    let config = Config::default().with_request_timeout(tempo.direct_timeout);
    let codec = DirectCodec { patience: Some(frame::patience(tempo.direct_timeout)) };
    Direct::with_codec(codec, [(PROTOCOL, ProtocolSupport::Full)], config)
}

impl Codec for DirectCodec {
    type Protocol = StreamProtocol;
    type Request = Inbound<Vec<u8>>;
    type Response = Ack;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Inbound<Vec<u8>>> {
        Inbound::of(frame::read(io, "direct message", MAX_DIRECT_BYTES), self.patience).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Ack> {
        match frame::read_byte(io).await? {
            0 => Ok(Ack::Taken),
            1 => Ok(Ack::Refused),
            2 => Ok(Ack::Busy),
            other => Err(frame::unknown("acknowledgement", other)),
        }
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Inbound<Vec<u8>>,
    ) -> io::Result<()> {
        match request {
            Inbound::Good(message) => frame::write(io, &message).await,
            Inbound::Bad(_) => Err(io::Error::other("nothing to send")),
        }
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        ack: Ack,
    ) -> io::Result<()> {
        let byte = match ack {
            Ack::Taken => 0,
            Ack::Refused => 1,
            Ack::Busy => 2,
        };
        io.write_all(&[byte]).await
    }
}
