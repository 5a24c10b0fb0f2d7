//! The blob protocol on the wire.
//!
//! ```text
//! request   kind u8 (0 list, 1 chunk) | blob id [u8; 32] | index u32 LE (0 for a list)
//! response  kind u8 (0 absent, 1 refused, 2 busy, 3 list, 4 chunk), and for the last two: length u32 LE | bytes
//! ```

use std::io;
use std::time::Duration;

use fedswarm_protocol::blob::{BlobId, CHUNK_BYTES, MAX_CHUNKS};
use fedswarm_protocol::hash::Digest;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::{Behaviour, Codec, Config, ProtocolSupport};

use crate::frame::Inbound;
use crate::{Limits, Tempo, frame};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fedswarm/blob/1");

/// A question to a holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    /// Which hashes do the chunks have?
    List(BlobId),
    /// What is in this chunk?
    Chunk(BlobId, u32),
}

/// A holder's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Absent,
    Refused,
    Busy,
    List(Vec<Digest>),
    Chunk(Vec<u8>),
}

impl Answer {
    /// Bytes of payload in it.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Self::List(hashes) => 32 * hashes.len(),
            Self::Chunk(bytes) => bytes.len(),
            Self::Absent | Self::Refused | Self::Busy => 0,
        }
    }
}

/// How questions and answers are written and read.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct BlobCodec {
    /// How long a question may take to come in.
    patience: Option<Duration>,
}

/// How long the 37 bytes of a question may take. Shorter, and a line that is full drops them.
const QUESTION_TIME: Duration = Duration::from_secs(10);

pub(crate) type Blobs = Behaviour<BlobCodec>;

pub(crate) fn behaviour(limits: &Limits, tempo: &Tempo) -> Blobs {
    // Both directions share the streams of a connection; some more than both peers' limits, so that a stranger or a fast
    // asker hears "busy" instead of silence.
    let streams = 4 * limits.blob_requests_per_peer + 4;
    let config = Config::default().with_request_timeout(tempo.blob_timeout).with_max_concurrent_streams(streams);
    let codec = BlobCodec { patience: Some(frame::patience(tempo.blob_timeout).min(QUESTION_TIME)) };
    Blobs::with_codec(codec, [(PROTOCOL, ProtocolSupport::Full)], config)
}

async fn read_question<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Question> {
    let kind = frame::read_byte(io).await?;
    let (mut id, mut index) = ([0; 32], [0; 4]);
    io.read_exact(&mut id).await?;
    io.read_exact(&mut index).await?;
    let id = BlobId(Digest(id));
    match kind {
        0 if index == [0; 4] => Ok(Question::List(id)),
        1 => Ok(Question::Chunk(id, u32::from_le_bytes(index))),
        other => Err(frame::unknown("blob question", other)),
    }
}

impl Codec for BlobCodec {
    type Protocol = StreamProtocol;
    type Request = Inbound<Question>;
    type Response = Answer;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Inbound<Question>> {
        Inbound::of(read_question(io), self.patience).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Answer> {
        match frame::read_byte(io).await? {
            0 => Ok(Answer::Absent),
            1 => Ok(Answer::Refused),
            2 => Ok(Answer::Busy),
            3 => {
                let bytes = frame::read(io, "chunk list", 32 * MAX_CHUNKS).await?;
                let (hashes, rest) = bytes.as_chunks::<32>();
                if !rest.is_empty() {
                    let text = format!("a chunk list of {} bytes is not made of 32-byte hashes", bytes.len());
                    return Err(frame::invalid(text));
                }
                Ok(Answer::List(hashes.iter().copied().map(Digest).collect()))
            }
            4 => Ok(Answer::Chunk(frame::read(io, "chunk", CHUNK_BYTES).await?)),
            other => Err(frame::unknown("blob answer", other)),
        }
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Inbound<Question>,
    ) -> io::Result<()> {
        let Inbound::Good(question) = question else { return Err(io::Error::other("nothing to ask")) };
        let (kind, id, index) = match question {
            Question::List(id) => (0, id, 0),
            Question::Chunk(id, index) => (1, id, index),
        };
        let mut bytes = [0; 37];
        bytes[0] = kind;
        bytes[1..33].copy_from_slice(id.0.as_bytes());
        bytes[33..].copy_from_slice(&u32::to_le_bytes(index));
        io.write_all(&bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Answer,
    ) -> io::Result<()> {
        match answer {
            Answer::Absent => io.write_all(&[0]).await,
            Answer::Refused => io.write_all(&[1]).await,
            Answer::Busy => io.write_all(&[2]).await,
            Answer::List(hashes) => {
                io.write_all(&[3]).await?;
                let bytes: Vec<u8> = hashes.iter().flat_map(|digest| digest.0).collect();
                frame::write(io, &bytes).await
            }
            Answer::Chunk(bytes) => {
                io.write_all(&[4]).await?;
                frame::write(io, &bytes).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::io::Cursor;

    async fn back(answer: Answer) -> io::Result<Answer> {
        let mut io = Cursor::new(Vec::new());
        BlobCodec::default().write_response(&PROTOCOL, &mut io, answer).await?;
        BlobCodec::default().read_response(&PROTOCOL, &mut Cursor::new(io.into_inner())).await
    }

    #[tokio::test]
    async fn questions_and_answers_come_back_as_they_were() {
        let id = BlobId(Digest([9; 32]));
        for question in [Question::List(id), Question::Chunk(id, 63)] {
            let mut io = Cursor::new(Vec::new());
            let asked = Inbound::Good(question);
            BlobCodec::default().write_request(&PROTOCOL, &mut io, asked.clone()).await.unwrap();
            let read = BlobCodec::default().read_request(&PROTOCOL, &mut Cursor::new(io.into_inner())).await.unwrap();
            assert_eq!(read, asked);
        }
        let list = Answer::List(vec![Digest([1; 32]); MAX_CHUNKS]);
        for answer in [Answer::Absent, Answer::Refused, Answer::Busy, list, Answer::Chunk(vec![5; CHUNK_BYTES])] {
            assert_eq!(back(answer.clone()).await.unwrap(), answer);
        }
    }

    #[tokio::test]
    async fn an_oversized_answer_is_refused() {
        assert!(back(Answer::Chunk(vec![0; CHUNK_BYTES + 1])).await.is_err());
        assert!(back(Answer::List(vec![Digest::ZERO; MAX_CHUNKS + 1])).await.is_err());
    }
}
