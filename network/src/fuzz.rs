//! Whatever bytes a peer writes to a stream: no decoder panics, and none allocates more than one frame.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, dead_code)]

use std::io;

use fedswarm_protocol::blob::{BlobId, CHUNK_BYTES, MAX_CHUNKS};
use fedswarm_protocol::hash::Digest;
use futures::executor::block_on;
use futures::io::Cursor;
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

use self::harness::{iterations, mutate, within};
use crate::MAX_DIRECT_BYTES;
use crate::NodeId;
use crate::blobs::codec::{Answer, BlobCodec, Question};
use crate::direct::Ack;
use crate::direct::incoming::take_message;
use crate::frame::Inbound;
use crate::whereabouts::codec::WhereCodec;

// The harness is that of the fuzz tests of `protocol`.
#[path = "../../protocol/tests/fuzz/harness.rs"]
mod harness;

/// Mutants for each decoder in a plain `cargo test`; `FEDSWARM_FUZZ_ITERATIONS` takes its place.
const ITERATIONS: u64 = 20_000;

/// What a frame may allocate beside its bytes: an error's text.
const SMALL: u64 = 1024;

/// The largest direct message, with the buffer that it is taken out of.
const DIRECT_LIMIT: u64 = 4 * MAX_DIRECT_BYTES as u64 + SMALL;

/// The largest chunk, or a list of the most hashes, read and taken apart.
const ANSWER_LIMIT: u64 = CHUNK_BYTES as u64 + 64 * MAX_CHUNKS as u64 + SMALL;

/// A question or an answer, read and taken apart: an address has its bytes and a pointer to them.
const WHERE_LIMIT: u64 = 1 << 20;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fedswarm/fuzz/1");

/// What `write` puts on a stream.
fn written(write: impl AsyncFnOnce(&mut Cursor<Vec<u8>>) -> io::Result<()>) -> Vec<u8> {
    let mut stream = Cursor::new(Vec::new());
    block_on(write(&mut stream)).unwrap();
    stream.into_inner()
}

/// What is wrong with a request is a value; here it is an error again.
fn good<T>(read: io::Result<Inbound<T>>) -> io::Result<T> {
    match read? {
        Inbound::Good(request) => Ok(request),
        Inbound::Bad(fault) => Err(io::Error::other(fault.name())),
    }
}

/// What is read from mutants of `valid` means what it is written as: nothing is spelt twice.
fn check<T>(
    name: &str,
    limit: u64,
    valid: &[Vec<u8>],
    read: impl Fn(&mut Cursor<&[u8]>) -> io::Result<T>,
    write: impl Fn(T) -> Vec<u8>,
) {
    for bytes in valid {
        assert_eq!(write(read(&mut Cursor::new(bytes)).unwrap()), *bytes, "{name}");
    }
    mutate(name, iterations(ITERATIONS), valid, |bytes| {
        let mut stream = Cursor::new(bytes);
        if let Ok(value) = within(limit, || read(&mut stream)) {
            let taken = stream.position() as usize;
            assert_eq!(write(value), bytes[..taken], "{name} is spelt in two ways");
        }
    });
}

#[test]
fn blob_questions() {
    let write = |question| {
        let question = Inbound::Good(question);
        written(async move |io| BlobCodec::default().write_request(&PROTOCOL, io, question).await)
    };
    let id = BlobId(Digest([7; 32]));
    let valid = [Question::List(id), Question::Chunk(id, 3)].map(write);
    check(
        "blob_questions",
        SMALL,
        &valid,
        |io| good(block_on(BlobCodec::default().read_request(&PROTOCOL, io))),
        write,
    );
}

#[test]
fn blob_answers() {
    let write = |answer| written(async move |io| BlobCodec::default().write_response(&PROTOCOL, io, answer).await);
    let list = Answer::List((0..9).map(|i| Digest([i; 32])).collect());
    let valid = [Answer::Absent, Answer::Refused, Answer::Busy, list, Answer::Chunk(vec![5; 900])].map(write);
    check(
        "blob_answers",
        ANSWER_LIMIT,
        &valid,
        |io| block_on(BlobCodec::default().read_response(&PROTOCOL, io)),
        write,
    );
}

#[test]
fn direct_messages() {
    let write = |message: Vec<u8>| [&(message.len() as u32).to_le_bytes()[..], &message].concat();
    let valid = [vec![], vec![1; 40], vec![2; 3_000]].map(write);
    let read = |io: &mut Cursor<&[u8]>| {
        let mut buffer = io.get_ref().to_vec();
        let message = take_message(&mut buffer).map_err(|fault| io::Error::other(fault.name()))?;
        io.set_position((io.get_ref().len() - buffer.len()) as u64);
        message.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    };
    check("direct_messages", DIRECT_LIMIT, &valid, read, write);
}

#[test]
fn acknowledgements() {
    let known = (0..=u8::MAX).filter_map(|byte| Some((byte, Ack::of(byte)?)));
    assert!(known.clone().all(|(byte, ack)| ack.byte() == byte));
    assert_eq!(known.count(), 3);
}

#[test]
fn questions_where_peers_are() {
    let write = |keys| {
        let keys = Inbound::Good(keys);
        written(async move |io| WhereCodec::default().write_request(&PROTOCOL, io, keys).await)
    };
    let valid = [vec![], vec![NodeId([3; 32]); 2]].map(write);
    let read = |io: &mut Cursor<&[u8]>| good(block_on(WhereCodec::default().read_request(&PROTOCOL, io)));
    check("questions_where_peers_are", WHERE_LIMIT, &valid, read, write);
}

#[test]
fn answers_where_peers_are() {
    let write = |answer| written(async move |io| WhereCodec::default().write_response(&PROTOCOL, io, answer).await);
    let addr = |port: u16| format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
    let valid = [vec![], vec![(1, vec![addr(1), addr(2)]), (0, vec![])]].map(write);
    let read = |io: &mut Cursor<&[u8]>| block_on(WhereCodec::default().read_response(&PROTOCOL, io));
    check("answers_where_peers_are", WHERE_LIMIT, &valid, read, write);
}
