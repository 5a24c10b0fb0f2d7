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
use crate::blobs::codec::{Answer, BlobCodec, Question};
use crate::direct::{Ack, DirectCodec};
use crate::frame::Inbound;

// The harness is that of the fuzz tests of `protocol`.
#[path = "../../protocol/tests/fuzz/harness.rs"]
mod harness;

/// Mutants for each decoder in a plain `cargo test`; `FEDSWARM_FUZZ_ITERATIONS` takes its place.
const ITERATIONS: u64 = 20_000;

/// What a frame may allocate beside its bytes: an error's text.
const SMALL: u64 = 1024;

/// The largest direct message.
const DIRECT_LIMIT: u64 = MAX_DIRECT_BYTES as u64 + SMALL;

/// The largest chunk, or a list of the most hashes, read and taken apart.
const ANSWER_LIMIT: u64 = CHUNK_BYTES as u64 + 64 * MAX_CHUNKS as u64 + SMALL;

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
    let write = |message| {
        let message = Inbound::Good(message);
        written(async move |io| DirectCodec::default().write_request(&PROTOCOL, io, message).await)
    };
    let valid = [vec![], vec![1; 40], vec![2; 3_000]].map(write);
    check(
        "direct_messages",
        DIRECT_LIMIT,
        &valid,
        |io| good(block_on(DirectCodec::default().read_request(&PROTOCOL, io))),
        write,
    );
}

#[test]
fn acknowledgements() {
    let write = |ack| written(async move |io| DirectCodec::default().write_response(&PROTOCOL, io, ack).await);
    let valid = [Ack::Taken, Ack::Refused, Ack::Busy].map(write);
    check("acknowledgements", SMALL, &valid, |io| block_on(DirectCodec::default().read_response(&PROTOCOL, io)), write);
}
