//! The question where peers are, on the wire.
//!
//! ```text
//! question  length u32 LE | keys, 32 bytes each
//! answer    length u32 LE | for each key that is known: its place in the question u16 LE | addresses u8 |
//!           for each of them: length u16 LE | the address as libp2p writes it
//! ```

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::request_response::{Behaviour, Codec, Config, ProtocolSupport};
use libp2p::{Multiaddr, StreamProtocol};

use crate::behaviour::MAX_ADDRS;
use crate::frame::Inbound;
use crate::{NodeId, Tempo, frame};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fedswarm/where/1");

/// Keys in one question. Lower, and a member of a large network asks several times.
pub(super) const MAX_KEYS: usize = 256;

/// Bytes of an answer; what does not fit is left out. Lower, and a member of a large network asks several times.
const MAX_ANSWER: usize = 64 << 10;

/// Bytes of one address. Lower, and a relay with a long host name cannot be told.
const MAX_ADDR: usize = 1024;

/// Questions and answers that may be open on one connection, both ways together.
const STREAMS: usize = 8;

/// Addresses of some of the keys in a question, by their places there.
pub(crate) type Answer = Vec<(u16, Vec<Multiaddr>)>;

/// How questions and answers are written and read.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct WhereCodec {
    /// How long a question may take to come in.
    patience: Option<Duration>,
}

pub(super) fn behaviour(tempo: &Tempo) -> Behaviour<WhereCodec> {
    let config = Config::default().with_request_timeout(tempo.direct_timeout).with_max_concurrent_streams(STREAMS);
    let codec = WhereCodec { patience: Some(frame::patience(tempo.direct_timeout)) };
    Behaviour::with_codec(codec, [(PROTOCOL, ProtocolSupport::Full)], config)
}

fn broken(why: &str) -> io::Error {
    frame::invalid(format!("an answer to where peers are {why}"))
}

/// As much of an answer as fits.
fn encode(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, addrs) in answer {
        let addrs = || addrs.iter().map(AsRef::<[u8]>::as_ref).filter(|addr| addr.len() <= MAX_ADDR).take(MAX_ADDRS);
        let len: usize = 3 + addrs().map(|addr| 2 + addr.len()).sum::<usize>();
        if bytes.len() + len > MAX_ANSWER {
            continue;
        }
        bytes.extend(place.to_le_bytes());
        bytes.push(addrs().count() as u8);
        for addr in addrs() {
            bytes.extend((addr.len() as u16).to_le_bytes());
            bytes.extend(addr);
        }
    }
    bytes
}

/// The first so many bytes, and without them the rest.
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> io::Result<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(len).ok_or_else(|| broken("ends in the middle"))?;
    *bytes = rest;
    Ok(head)
}

fn take_u16(bytes: &mut &[u8]) -> io::Result<u16> {
    let head = take(bytes, 2)?;
    Ok(u16::from_le_bytes([head[0], head[1]]))
}

fn decode(mut bytes: &[u8]) -> io::Result<Answer> {
    let mut answer = Vec::new();
    while !bytes.is_empty() {
        if answer.len() == MAX_KEYS {
            return Err(broken("names more peers than were asked for"));
        }
        let place = take_u16(&mut bytes)?;
        let count = usize::from(take(&mut bytes, 1)?[0]);
        if count > MAX_ADDRS {
            return Err(broken("has too many addresses of one peer"));
        }
        let mut addrs = Vec::with_capacity(count);
        for _ in 0..count {
            let len = usize::from(take_u16(&mut bytes)?);
            if len > MAX_ADDR {
                return Err(broken("has an address that is too long"));
            }
            let addr = Multiaddr::try_from(take(&mut bytes, len)?.to_vec());
            addrs.push(addr.map_err(|_| broken("has something that is no address"))?);
        }
        answer.push((place, addrs));
    }
    Ok(answer)
}

async fn read_question<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<NodeId>> {
    let bytes = frame::read(io, "question where peers are", 32 * MAX_KEYS).await?;
    let (keys, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(frame::invalid(format!("a question of {} bytes is not made of 32-byte keys", bytes.len())));
    }
    Ok(keys.iter().copied().map(NodeId).collect())
}

impl Codec for WhereCodec {
    type Protocol = StreamProtocol;
    type Request = Inbound<Vec<NodeId>>;
    type Response = Answer;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Inbound<Vec<NodeId>>> {
        Inbound::of(read_question(io), self.patience).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Answer> {
        decode(&frame::read(io, "answer to where peers are", MAX_ANSWER).await?)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Inbound<Vec<NodeId>>,
    ) -> io::Result<()> {
        match question {
            Inbound::Good(keys) => {
                let bytes: Vec<u8> = keys.iter().flat_map(|key| key.0).collect();
                frame::write(io, &bytes).await
            }
            Inbound::Bad(_) => Err(io::Error::other("nothing to send")),
        }
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Answer,
    ) -> io::Result<()> {
        frame::write(io, &encode(&answer)).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::io::Cursor;

    use super::*;

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let answer = vec![(3, vec![addr(1), addr(2)]), (0, vec![]), (9, vec![addr(3)])];
        assert_eq!(decode(&encode(&answer)).unwrap(), answer);
    }

    #[test]
    fn what_does_not_fit_into_an_answer_is_left_out() {
        let long: Multiaddr = format!("/dns4/{}/tcp/1", "x".repeat(500)).parse().unwrap();
        let answer: Answer = (0..256).map(|place| (place, vec![long.clone(); 16])).collect();
        let bytes = encode(&answer);
        assert!(bytes.len() <= MAX_ANSWER);
        assert_eq!(decode(&bytes).unwrap(), answer[..8]);
    }

    #[test]
    fn an_answer_cut_short_or_with_too_much_is_refused() {
        let bytes = encode(&vec![(3, vec![addr(1), addr(2)])]);
        for len in 1..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
        }
        assert!(decode(&[0, 0, 17]).unwrap_err().to_string().contains("too many addresses"));
        assert!(decode(&[0; 3 * 257]).unwrap_err().to_string().contains("more peers"));
        assert!(decode(&[0, 0, 1, 1, 0, 255]).unwrap_err().to_string().contains("no address"));
    }

    #[tokio::test]
    async fn a_question_that_is_too_long_or_no_list_of_keys_is_refused() {
        let question = |len: usize| {
            let mut bytes = (len as u32).to_le_bytes().to_vec();
            bytes.resize(4 + len, 7);
            Cursor::new(bytes)
        };
        assert_eq!(read_question(&mut question(64)).await.unwrap(), [NodeId([7; 32]); 2]);
        assert!(read_question(&mut question(65)).await.is_err());
        assert!(read_question(&mut question(32 * 257)).await.is_err());
    }
}
