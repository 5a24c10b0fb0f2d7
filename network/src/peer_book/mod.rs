//! Where members were last found, kept on disk: a network whose entry points are all gone finds itself again.
//!
//! What a member says of itself comes over a connection that proves its key, and its peer record is signed besides. On disk the
//! signature is checked again when the book is read; an address without one is a hint like any other, since whoever answers
//! there must prove the member's key. Nothing in the book is trusted for more than a dial.

mod keeper;
mod text;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use libp2p::core::{PeerRecord, SignedEnvelope};
use libp2p::{Multiaddr, PeerId};

pub(crate) use self::keeper::Keeper;
use crate::behaviour::MAX_ADDRS;
use crate::{MAX_MEMBERS, NodeId};

/// How long a member is remembered that was not met. Shorter, and a network that rested over a holiday needs an entry point.
const EXPIRES: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest signed record that is kept; identify carries no longer ones.
const MAX_RECORD_BYTES: usize = 4096;

/// The longest address that is kept. Shorter, and one through a relay with a long name is lost.
const MAX_ADDR_BYTES: usize = 256;

/// Ports of its own that a node remembers. Fewer, and a node with more listeners gets new ports at every start.
const MAX_PORTS: usize = 16;

/// What is known of one member.
#[derive(Clone, Debug, Default, PartialEq)]
struct Page {
    /// When it was last met, in seconds since 1970.
    seen: u64,
    /// What it signed, if it did, with the record's own count: an older one does not replace it.
    record: Option<(u64, Vec<u8>)>,
    /// Where it was, what worked last first.
    addrs: Vec<Multiaddr>,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PeerBook {
    pages: HashMap<PeerId, Page>,
    /// By the address that was asked for, with port 0, the port that it got.
    ports: HashMap<Multiaddr, u16>,
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl PeerBook {
    /// Where a member was last found.
    pub(crate) fn addrs(&self, peer: &PeerId) -> &[Multiaddr] {
        self.pages.get(peer).map_or(&[], |page| &page.addrs)
    }

    /// How many members it says an address of.
    pub(crate) fn found(&self) -> usize {
        self.pages.values().filter(|page| !page.addrs.is_empty()).count()
    }

    /// A member, over a connection of its own, said where it is. True if that is worth writing down.
    pub(crate) fn told(&mut self, peer: PeerId, record: Option<&SignedEnvelope>, addrs: &[Multiaddr]) -> bool {
        let before = self.pages.get(&peer).cloned();
        let page = self.page(peer);
        page.seen = now();
        if let Some((count, bytes)) = record.and_then(|envelope| checked(peer, envelope.clone()))
            && page.record.as_ref().is_none_or(|(known, _)| *known <= count)
        {
            page.record = Some((count, bytes));
        }
        let fits = |addr: &&Multiaddr| addr.len() <= MAX_ADDR_BYTES;
        // It says all of them each time: what is not among them any more is kept only while it has room.
        let known = std::mem::take(&mut page.addrs);
        let (mut still, gone): (Vec<_>, Vec<_>) = known.into_iter().partition(|addr| addrs.contains(addr));
        still.extend(addrs.iter().filter(fits).cloned());
        still.extend(gone);
        page.addrs = first_of(still);
        before.as_ref() != Some(page)
    }

    /// A member was reached at this address. True if that is worth writing down.
    pub(crate) fn worked(&mut self, peer: PeerId, addr: &Multiaddr) -> bool {
        let page = self.page(peer);
        if addr.len() > MAX_ADDR_BYTES || page.addrs.first() == Some(addr) {
            return false;
        }
        let mut addrs = vec![addr.clone()];
        addrs.append(&mut page.addrs);
        page.addrs = first_of(addrs);
        page.seen = now();
        true
    }

    /// The port that a listener with port 0 got the last time.
    pub(crate) fn port(&self, wanted: &Multiaddr) -> Option<u16> {
        self.ports.get(wanted).copied()
    }

    /// A listener with port 0 got this port. True if that is news.
    pub(crate) fn got_port(&mut self, wanted: &Multiaddr, port: u16) -> bool {
        if self.ports.len() >= MAX_PORTS && !self.ports.contains_key(wanted) {
            return false;
        }
        self.ports.insert(wanted.clone(), port) != Some(port)
    }

    /// The page of a member; when the book is full, whoever was not met for longest gives way.
    fn page(&mut self, peer: PeerId) -> &mut Page {
        if self.pages.len() >= MAX_MEMBERS && !self.pages.contains_key(&peer) {
            let oldest = self.pages.iter().min_by_key(|(_, page)| page.seen).map(|(peer, _)| *peer);
            oldest.and_then(|peer| self.pages.remove(&peer));
        }
        self.pages.entry(peer).or_default()
    }
}

/// The count and the bytes of a record, if this peer signed it about itself.
fn checked(peer: PeerId, envelope: SignedEnvelope) -> Option<(u64, Vec<u8>)> {
    let bytes = envelope.clone().into_protobuf_encoding();
    let record = PeerRecord::from_signed_envelope(envelope).ok()?;
    let own = record.peer_id() == peer && bytes.len() <= MAX_RECORD_BYTES;
    own.then(|| (record.seq(), bytes))
}

/// No address twice, and no more than are kept of one peer.
fn first_of(addrs: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut kept: Vec<Multiaddr> = Vec::new();
    for addr in addrs {
        if kept.len() < MAX_ADDRS && !kept.contains(&addr) {
            kept.push(addr);
        }
    }
    kept
}

/// The peer id of a member's key, as the book writes it.
fn peer_of(hex: &str) -> Option<PeerId> {
    let key = fedswarm_protocol::hash::Digest::from_hex(hex)?;
    NodeId(key.0).peer_id().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::identity::Keypair;

    use super::*;
    use crate::id::keypair;

    fn key(index: u16) -> Keypair {
        let mut secret = [7; 32];
        secret[..2].copy_from_slice(&index.to_le_bytes());
        keypair(&secret).unwrap()
    }

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn signed(key: &Keypair, addrs: &[Multiaddr]) -> SignedEnvelope {
        PeerRecord::new(key, addrs.to_vec()).unwrap().into_signed_envelope()
    }

    #[test]
    fn a_book_that_is_written_and_read_says_the_same() {
        let (ana, ben) = (key(1), key(2));
        let mut book = PeerBook::default();
        let addrs = [addr("/ip4/192.0.2.1/tcp/4001"), addr("/ip6/2001:db8::1/udp/4001/quic-v1")];
        assert!(book.told(ana.public().to_peer_id(), Some(&signed(&ana, &addrs)), &addrs));
        assert!(book.told(ben.public().to_peer_id(), None, &addrs[..1]));
        assert!(book.worked(ana.public().to_peer_id(), &addrs[1]));
        assert!(book.got_port(&addr("/ip4/0.0.0.0/tcp/0"), 40_123));
        let (read, complaints) = text::read(&text::write(&book), now());
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!(read, book);
        assert_eq!(read.addrs(&ana.public().to_peer_id()), [addrs[1].clone(), addrs[0].clone()]);
        assert_eq!(read.port(&addr("/ip4/0.0.0.0/tcp/0")), Some(40_123));
    }

    #[test]
    fn a_record_that_somebody_else_signed_or_that_was_changed_is_not_kept() {
        let (ana, ben) = (key(1), key(2));
        let at = [addr("/ip4/192.0.2.1/tcp/4001")];
        let mut book = PeerBook::default();
        book.told(ana.public().to_peer_id(), Some(&signed(&ben, &at)), &at);
        assert!(!text::write(&book).contains("record"), "{}", text::write(&book));

        book.told(ana.public().to_peer_id(), Some(&signed(&ana, &at)), &at);
        let honest = text::write(&book);
        let line = honest.lines().find(|line| line.starts_with("record")).unwrap();
        let last = if line.ends_with('0') { "1" } else { "0" };
        let changed = honest.replace(line, &format!("{}{last}", &line[..line.len() - 1]));
        let (read, complaints) = text::read(&changed, now());
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("signature"), "{complaints:?}");
        assert_eq!(read.pages[&ana.public().to_peer_id()].record, None);
    }

    #[test]
    fn an_older_record_does_not_replace_a_newer_one() {
        let ana = key(1);
        let peer = ana.public().to_peer_id();
        let mut book = PeerBook::default();
        book.told(peer, Some(&signed(&ana, &[addr("/ip4/192.0.2.1/tcp/1")])), &[]);
        let (count, bytes) = book.pages[&peer].record.clone().unwrap();
        book.pages.get_mut(&peer).unwrap().record = Some((count + 10, bytes.clone()));
        book.told(peer, Some(&signed(&ana, &[addr("/ip4/192.0.2.2/tcp/2")])), &[]);
        assert_eq!(book.pages[&peer].record, Some((count + 10, bytes)));
    }

    #[test]
    fn whoever_was_not_met_for_a_month_is_forgotten() {
        let ana = key(1).public().to_peer_id();
        let mut book = PeerBook::default();
        book.told(ana, None, &[addr("/ip4/192.0.2.1/tcp/4001")]);
        let text = text::write(&book);
        let (before, _) = text::read(&text, now() + EXPIRES.as_secs() - 60);
        assert_eq!(before.addrs(&ana).len(), 1);
        let (after, complaints) = text::read(&text, now() + EXPIRES.as_secs() + 60);
        assert!(after.pages.is_empty() && complaints.is_empty());
    }

    #[test]
    fn a_book_is_bounded_in_members_and_addresses() {
        let mut book = PeerBook::default();
        let first = key(0).public().to_peer_id();
        book.told(first, None, &[addr("/ip4/192.0.2.1/tcp/1")]);
        book.pages.get_mut(&first).unwrap().seen -= 100;
        for index in 1..=MAX_MEMBERS as u16 {
            let many: Vec<_> = (1..40).map(|port| addr(&format!("/ip4/192.0.2.1/tcp/{port}"))).collect();
            book.told(key(index).public().to_peer_id(), None, &many);
        }
        assert_eq!(book.pages.len(), MAX_MEMBERS);
        assert!(!book.pages.contains_key(&first), "the one not met for longest gives way");
        assert!(book.pages.values().all(|page| page.addrs.len() <= MAX_ADDRS));
        assert!(text::write(&book).len() <= text::MAX_BOOK_BYTES);
    }

    #[test]
    fn what_a_member_says_no_more_gives_way_to_what_it_says() {
        let ana = key(1).public().to_peer_id();
        let mut book = PeerBook::default();
        let old: Vec<_> = (1..=MAX_ADDRS).map(|port| addr(&format!("/ip4/192.0.2.1/tcp/{port}"))).collect();
        book.told(ana, None, &old);
        book.told(ana, None, &[addr("/ip4/192.0.2.9/tcp/9")]);
        assert_eq!(book.addrs(&ana)[0], addr("/ip4/192.0.2.9/tcp/9"));
        assert_eq!(book.addrs(&ana).len(), MAX_ADDRS);
    }

    #[test]
    fn lines_that_make_no_sense_are_told_and_the_rest_is_used() {
        let ana = key(1).public().to_peer_id();
        let mut book = PeerBook::default();
        book.told(ana, None, &[addr("/ip4/192.0.2.1/tcp/4001")]);
        let text =
            format!("{}addr nonsense\nwhat is this\npeer abc 5\nport /ip4/0.0.0.0/tcp/0 99999\n", text::write(&book));
        let (read, complaints) = text::read(&text, now());
        assert_eq!(read.addrs(&ana), [addr("/ip4/192.0.2.1/tcp/4001")]);
        assert_eq!(complaints.len(), 4, "{complaints:?}");
        assert!(complaints[0].starts_with("line 4:"), "{complaints:?}");
    }
}
