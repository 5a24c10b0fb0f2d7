//! The book as a text that people can read, and mend.
//!
//! ```text
//! fedswarm peer book 1
//! port /ip4/0.0.0.0/tcp/0 40123
//! peer 3f0c...                 1790000000     (key, last met, in seconds since 1970)
//! record 0a24...                              (what it signed)
//! addr /ip4/192.0.2.1/tcp/4001                (what worked last comes first)
//! ```

use std::fmt::Write as _;

use libp2p::core::SignedEnvelope;
use libp2p::{Multiaddr, PeerId};

use super::{EXPIRES, MAX_ADDR_BYTES, MAX_ADDRS, MAX_RECORD_BYTES, Page, PeerBook, checked, first_of, peer_of};
use crate::{MAX_MEMBERS, NodeId};

/// The first line; another version would say another number.
const TITLE: &str = "fedswarm peer book 1";

/// The longest book that is read: all its bounds together. A book as long as that is not one of ours.
pub(super) const MAX_BOOK_BYTES: usize = MAX_MEMBERS * (2 * MAX_RECORD_BYTES + MAX_ADDRS * 4 * MAX_ADDR_BYTES + 256);

/// Complaints about one book. Fewer, and the reader of a log does not see how bad it is.
const MAX_COMPLAINTS: usize = 16;

pub(super) fn write(book: &PeerBook) -> String {
    let mut text = format!("{TITLE}\n");
    let mut ports: Vec<_> = book.ports.iter().map(|(addr, port)| (addr.to_string(), port)).collect();
    ports.sort();
    for (addr, port) in ports {
        _ = writeln!(text, "port {addr} {port}");
    }
    let mut pages: Vec<_> =
        book.pages.iter().filter_map(|(peer, page)| Some((NodeId::from_peer_id(peer)?, page))).collect();
    pages.sort_by_key(|(id, _)| *id);
    for (id, page) in pages {
        _ = writeln!(text, "peer {id} {}", page.seen);
        if let Some((_, bytes)) = &page.record {
            text.push_str("record ");
            bytes.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
            text.push('\n');
        }
        for addr in &page.addrs {
            _ = writeln!(text, "addr {addr}");
        }
    }
    text
}

/// Reads a book, at this time in seconds since 1970. What makes no sense is left out and complained about.
pub(super) fn read(text: &str, now: u64) -> (PeerBook, Vec<String>) {
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return (PeerBook::default(), vec![format!("line 1: expected {TITLE:?}")]);
    }
    let mut book = PeerBook::default();
    let mut complaints = Vec::new();
    let mut page: Option<(PeerId, Page)> = None;
    for (number, line) in (2..).zip(lines) {
        if let Some(next) = line.strip_prefix("peer ").map(peer) {
            keep(&mut book, page.take(), now);
            match next {
                Ok((peer, seen)) => page = Some((peer, Page { seen: seen.min(now), ..Page::default() })),
                Err(reason) => complain(&mut complaints, number, reason),
            }
        } else if let Err(reason) = detail(&mut book, page.as_mut(), line) {
            complain(&mut complaints, number, reason);
        }
    }
    keep(&mut book, page, now);
    (book, complaints)
}

fn complain(complaints: &mut Vec<String>, number: usize, reason: &str) {
    if complaints.len() < MAX_COMPLAINTS {
        complaints.push(format!("line {number}: {reason}"));
    }
}

fn keep(book: &mut PeerBook, page: Option<(PeerId, Page)>, now: u64) {
    if let Some((peer, mut page)) = page.filter(|(_, page)| now - page.seen <= EXPIRES.as_secs()) {
        page.addrs = first_of(page.addrs);
        *book.page(peer) = page;
    }
}

fn peer(rest: &str) -> Result<(PeerId, u64), &'static str> {
    let (key, seen) = rest.split_once(' ').ok_or("expected a key and a time")?;
    let peer = peer_of(key).ok_or("this is no member's key")?;
    Ok((peer, seen.parse().map_err(|_| "this is no time in seconds since 1970")?))
}

/// A line that is not the first of a page.
fn detail(book: &mut PeerBook, page: Option<&mut (PeerId, Page)>, line: &str) -> Result<(), &'static str> {
    let (word, rest) = line.split_once(' ').ok_or("expected port, peer, record or addr")?;
    match (word, page) {
        ("port", _) => {
            let (addr, port) = rest.split_once(' ').ok_or("expected an address and a port")?;
            let port = port.parse().ok().filter(|port| *port != 0).ok_or("a port is a number from 1 to 65535")?;
            book.got_port(&address(addr)?, port);
        }
        ("record", Some((peer, page))) => page.record = Some(record(*peer, rest)?),
        ("addr", Some((_, page))) if page.addrs.len() < MAX_ADDRS => page.addrs.push(address(rest)?),
        ("addr", Some(_)) => return Err("a member has too many addresses"),
        ("record" | "addr", None) => return Err("it belongs to no member"),
        _ => return Err("expected port, peer, record or addr"),
    }
    Ok(())
}

fn address(text: &str) -> Result<Multiaddr, &'static str> {
    text.parse().ok().filter(|addr: &Multiaddr| addr.len() <= MAX_ADDR_BYTES).ok_or("this is no address")
}

fn record(peer: PeerId, hex: &str) -> Result<(u64, Vec<u8>), &'static str> {
    let bytes =
        unhex(hex).filter(|bytes| bytes.len() <= MAX_RECORD_BYTES).ok_or("a record is hexadecimal, and short")?;
    let envelope = SignedEnvelope::from_protobuf_encoding(&bytes).map_err(|_| "this is no signed record")?;
    checked(peer, envelope).ok_or("the record's signature is not this member's")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<Vec<u8>>>()?;
    rest.is_empty().then_some(bytes)
}
