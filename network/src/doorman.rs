//! Who is let in: before a word is exchanged by address, afterwards by key.
//!
//! Members, entry points and peers on the operator's list always find room. All others are guests: so many in all, and so many
//! from one place (`Subnet::place`), so that whoever has a thousand keys and one address is as one. When all places for
//! guests are taken, the one that has been here longest gives way, if it has been here for a while: those who came to stay
//! cannot keep out those who come to ask.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use tokio::time::Instant;

use crate::arrivals::Arrivals;
use crate::direct_only::is_relayed;
use crate::subnet::ip_of;
use crate::{AccessLists, Limits, Subnet};

/// How long a guest stays at least. Shorter, and one that follows a long history is cut off in the middle; longer, and newcomers
/// wait at a door that others hold.
const STAY: Duration = Duration::from_secs(30);

/// Why somebody was not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("on the operator's block list")]
    Listed,
    #[error("banned for what it did")]
    Banned,
    #[error("too many connections from its place are being set up")]
    HalfOpen,
    #[error("connections come too often from its place")]
    Often,
    #[error("too many guests")]
    Guests,
    #[error("too many guests from its place")]
    Place,
}

#[derive(Debug)]
struct Guest {
    peer: PeerId,
    place: Option<Subnet>,
    since: Instant,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Doorman {
    guests_most: usize,
    per_place: usize,
    half_open_per_place: usize,
    arrivals: Arrivals,
    /// Whether the guest that came first makes room for the next one. Not at an entry point, whose guests rely on it.
    give_way: bool,
    lists: AccessLists,
    known: HashSet<PeerId>,
    banned: HashSet<PeerId>,
    half_open: HashMap<ConnectionId, Option<Subnet>>,
    guests: HashMap<ConnectionId, Guest>,
    /// Everybody's connections, with the address on the other side: lists may change.
    open: HashMap<ConnectionId, (PeerId, Option<IpAddr>)>,
    denied: u64,
    opened: u64,
    close: VecDeque<(PeerId, CloseConnection)>,
    waker: Option<Waker>,
}

impl Doorman {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            guests_most: limits.strangers,
            per_place: limits.strangers_per_place,
            half_open_per_place: limits.half_open_per_place,
            arrivals: Arrivals::new(limits.arrivals_per_place, limits.arrivals_at_once),
            give_way: true,
            lists: AccessLists::default(),
            known: HashSet::new(),
            banned: HashSet::new(),
            half_open: HashMap::new(),
            guests: HashMap::new(),
            open: HashMap::new(),
            denied: 0,
            opened: 0,
            close: VecDeque::new(),
            waker: None,
        }
    }

    /// As an entry point has it: all are guests, and nobody gives way.
    pub(crate) const fn for_guests_only(&mut self, most: usize) {
        self.guests_most = most;
        self.give_way = false;
    }

    /// Says who is no guest. Whoever was one and is none any more frees its place, and the other way round.
    pub(crate) fn set_known(&mut self, known: HashSet<PeerId>) {
        self.known = known;
        self.guests.retain(|_, guest| !self.known.contains(&guest.peer));
        let open: Vec<_> = self.open.iter().map(|(id, (peer, addr))| (*id, *peer, *addr)).collect();
        for (id, peer, addr) in open {
            self.admit(id, peer, addr);
        }
    }

    /// Puts other lists in force; whom they block is disconnected.
    pub(crate) fn set_lists(&mut self, lists: AccessLists) {
        self.lists = lists;
        let blocked: HashSet<PeerId> =
            self.open.values().filter(|(peer, addr)| self.lists.blocks(peer, *addr)).map(|(peer, _)| *peer).collect();
        blocked.into_iter().for_each(|peer| self.send_away(peer, CloseConnection::All));
    }

    /// Whether the operator says that this peer is to be let in whatever it does.
    pub(crate) fn is_allowed(&self, peer: &PeerId) -> bool {
        let addr = self.open.values().find(|(open, _)| open == peer).and_then(|(_, addr)| *addr);
        self.lists.allows(peer, addr)
    }

    pub(crate) fn ban(&mut self, peer: PeerId) {
        if self.banned.insert(peer) {
            self.send_away(peer, CloseConnection::All);
        }
    }

    pub(crate) fn unban(&mut self, peer: &PeerId) {
        self.banned.remove(peer);
    }

    pub(crate) fn guests(&self) -> usize {
        self.guests.len()
    }

    pub(crate) fn half_open(&self) -> usize {
        self.half_open.len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.open.len()
    }

    /// Connections since the start, those that were closed again among them.
    pub(crate) const fn opened(&self) -> u64 {
        self.opened
    }

    /// Connections that were not let in, since the start.
    pub(crate) const fn denied(&self) -> u64 {
        self.denied
    }

    fn send_away(&mut self, peer: PeerId, which: CloseConnection) {
        self.close.push_back((peer, which));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn deny<T>(&mut self, why: Denied) -> Result<T, ConnectionDenied> {
        self.denied += 1;
        Err(ConnectionDenied::new(why))
    }

    /// Whether this key may come at all.
    fn turned_away(&self, peer: &PeerId, addr: Option<IpAddr>) -> Option<Denied> {
        if self.lists.blocks(peer, addr) {
            Some(Denied::Listed)
        } else {
            self.banned.contains(peer).then_some(Denied::Banned)
        }
    }

    fn is_guest(&self, peer: &PeerId, addr: Option<IpAddr>) -> bool {
        !self.known.contains(peer) && !self.lists.allows(peer, addr)
    }

    /// Whether there is room for one more guest; makes some, if that is possible.
    fn room(&mut self, addr: Option<IpAddr>) -> Result<(), Denied> {
        // Public places only: in a local network one host may be many peers' router, and the total holds there as well.
        let place = addr.filter(|addr| !crate::subnet::is_private(*addr)).and_then(Subnet::place);
        let neighbours = self.guests.values().filter(|guest| place.is_some() && guest.place == place).count();
        let crowded = neighbours >= self.per_place;
        if !crowded && self.guests.len() < self.guests_most {
            return Ok(());
        }
        let candidates = self.guests.iter().filter(|(_, guest)| !crowded || guest.place == place);
        let oldest = candidates.min_by_key(|(_, guest)| guest.since).map(|(id, guest)| (*id, guest.peer, guest.since));
        match oldest {
            Some((id, peer, since)) if self.give_way && since.elapsed() >= STAY => {
                self.guests.remove(&id);
                self.send_away(peer, CloseConnection::One(id));
                Ok(())
            }
            _ if crowded => Err(Denied::Place),
            _ => Err(Denied::Guests),
        }
    }

    fn admit(&mut self, id: ConnectionId, peer: PeerId, addr: Option<IpAddr>) {
        if self.is_guest(&peer, addr) {
            let place = addr.and_then(Subnet::place);
            self.guests.entry(id).or_insert_with(|| Guest { peer, place, since: Instant::now() });
        }
    }
}

/// The other side's own address; none for what comes through a relay.
fn beyond(local: &Multiaddr, remote: &Multiaddr) -> Option<IpAddr> {
    if is_relayed(local) { None } else { ip_of(remote) }
}

impl NetworkBehaviour for Doorman {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let addr = beyond(local, remote);
        if addr.is_some_and(|addr| self.lists.blocks_unseen(addr)) {
            return self.deny(Denied::Listed);
        }
        let place = addr.and_then(Subnet::place);
        let same = self.half_open.values().filter(|open| place.is_some() && **open == place).count();
        if same >= self.half_open_per_place {
            return self.deny(Denied::HalfOpen);
        }
        let allowed = addr.is_some_and(|addr| self.lists.allows_unseen(addr));
        if !allowed && place.is_some_and(|place| !self.arrivals.admit(&place)) {
            return self.deny(Denied::Often);
        }
        self.half_open.insert(id, place);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.half_open.remove(&id);
        let addr = beyond(local, remote);
        if let Some(why) = self.turned_away(&peer, addr) {
            return self.deny(why);
        }
        if self.is_guest(&peer, addr)
            && let Err(why) = self.room(addr)
        {
            return self.deny(why);
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        match peer.and_then(|peer| self.turned_away(&peer, None)) {
            Some(why) => Err(ConnectionDenied::new(why)),
            None => Ok(Vec::new()),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        match self.turned_away(&peer, ip_of(addr)) {
            Some(why) => Err(ConnectionDenied::new(why)),
            None => Ok(dummy::ConnectionHandler),
        }
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let remote = event.endpoint.get_remote_address();
                let addr = if event.endpoint.is_relayed() { None } else { ip_of(remote) };
                self.opened += 1;
                self.open.insert(event.connection_id, (event.peer_id, addr));
                self.admit(event.connection_id, event.peer_id, addr);
            }
            FromSwarm::ConnectionClosed(event) => {
                self.open.remove(&event.connection_id);
                self.guests.remove(&event.connection_id);
            }
            FromSwarm::ListenFailure(event) => drop(self.half_open.remove(&event.connection_id)),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection)) = self.close.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::core::ConnectedPoint;
    use libp2p::swarm::behaviour::ConnectionEstablished;

    use super::*;

    /// A door at which connections knock that are never closed.
    struct Door {
        doorman: Doorman,
        next: usize,
    }

    fn door(give_way: bool) -> Door {
        let limits = Limits { strangers: 8, strangers_per_place: 3, half_open_per_place: 4, ..Limits::default() };
        let mut doorman = Doorman::new(&limits);
        doorman.give_way = give_way;
        Door { doorman, next: 0 }
    }

    fn address(ip: &str) -> Multiaddr {
        let kind = if ip.contains(':') { "ip6" } else { "ip4" };
        format!("/{kind}/{ip}/tcp/4001").parse().unwrap()
    }

    impl Door {
        fn knock(&mut self, ip: &str) -> Result<ConnectionId, ConnectionDenied> {
            self.next += 1;
            let id = ConnectionId::new_unchecked(self.next);
            self.doorman.handle_pending_inbound_connection(id, &address("198.51.100.1"), &address(ip))?;
            Ok(id)
        }

        fn enter(&mut self, peer: PeerId, ip: &str) -> Result<(), String> {
            let (local, remote) = (address("198.51.100.1"), address(ip));
            let said = |denied: ConnectionDenied| denied.downcast::<Denied>().unwrap().to_string();
            let id = self.knock(ip).map_err(said)?;
            self.doorman.handle_established_inbound_connection(id, peer, &local, &remote).map_err(said)?;
            let endpoint = ConnectedPoint::Listener { local_addr: local, send_back_addr: remote };
            let event = ConnectionEstablished {
                peer_id: peer,
                connection_id: id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            };
            self.doorman.on_swarm_event(FromSwarm::ConnectionEstablished(event));
            Ok(())
        }

        fn guest(&mut self, ip: &str) -> Result<(), String> {
            self.enter(PeerId::random(), ip)
        }
    }

    #[test]
    fn a_hundred_members_on_one_machine_or_in_one_network_find_room() {
        for ip in ["127.0.0.1", "192.168.0.7", "203.0.113.7", "2001:db8::1"] {
            let mut door = door(false);
            let members: Vec<PeerId> = (0..100).map(|_| PeerId::random()).collect();
            door.doorman.set_known(members.iter().copied().collect());
            for member in members {
                door.enter(member, ip).unwrap();
            }
            assert_eq!(door.doorman.guests(), 0);
        }
        let mut door = door(false);
        for _ in 0..100 {
            door.knock("127.0.0.1").unwrap();
        }
        for host in 1..=100 {
            door.knock(&format!("192.168.0.{host}")).unwrap();
        }
    }

    #[test]
    fn one_place_has_so_many_guests_and_no_more() {
        let mut door = door(true);
        for host in 1..=3 {
            door.guest(&format!("203.0.113.{host}")).unwrap();
        }
        assert_eq!(door.guest("203.0.113.9"), Err("too many guests from its place".to_owned()));
        door.guest("203.0.112.1").unwrap();
        let member = PeerId::random();
        door.doorman.set_known(HashSet::from([member]));
        door.enter(member, "203.0.113.9").unwrap();
        assert_eq!((door.doorman.guests(), door.doorman.denied()), (4, 1));
    }

    #[test]
    fn whoever_comes_again_and_again_is_turned_away_before_a_handshake() {
        let mut door = door(true);
        let often = Limits::default().arrivals_at_once;
        let (local, mut said) = (address("198.51.100.1"), None);
        for _ in 0..2 * often {
            match door.knock("203.0.113.1") {
                Ok(id) => drop(door.doorman.handle_established_inbound_connection(
                    id,
                    PeerId::random(),
                    &local,
                    &address("203.0.113.1"),
                )),
                Err(denied) => said = denied.downcast::<Denied>().ok(),
            }
        }
        assert_eq!(said, Some(Denied::Often));
        door.knock("203.0.112.1").unwrap();
    }

    #[test]
    fn connections_being_set_up_are_counted_by_place() {
        let mut door = door(true);
        let first = door.knock("203.0.113.1").unwrap();
        for _ in 0..3 {
            door.knock("203.0.113.2").unwrap();
        }
        assert!(door.knock("203.0.113.3").is_err());
        door.knock("203.0.112.1").unwrap();
        let local = address("198.51.100.1");
        let member = PeerId::random();
        drop(door.doorman.handle_established_inbound_connection(first, member, &local, &address("203.0.113.1")));
        door.knock("203.0.113.3").unwrap();
    }

    #[test]
    fn the_guest_that_came_first_gives_way_once_it_had_its_time() {
        let mut door = door(true);
        for _ in 0..8 {
            door.guest("127.0.0.1").unwrap();
        }
        assert_eq!(door.guest("127.0.0.1"), Err("too many guests".to_owned()));
        for guest in door.doorman.guests.values_mut() {
            guest.since = guest.since.checked_sub(STAY).unwrap();
        }
        door.guest("127.0.0.1").unwrap();
        assert_eq!((door.doorman.guests(), door.doorman.close.len()), (8, 1));
        door.doorman.give_way = false;
        assert!(door.guest("127.0.0.1").is_err(), "an entry point has nobody give way");
    }

    #[test]
    fn a_guest_that_becomes_a_member_frees_its_place() {
        let mut door = door(false);
        let newcomer = PeerId::random();
        door.enter(newcomer, "127.0.0.1").unwrap();
        assert_eq!(door.doorman.guests(), 1);
        door.doorman.set_known(HashSet::from([newcomer]));
        assert_eq!(door.doorman.guests(), 0);
        door.doorman.set_known(HashSet::new());
        assert_eq!(door.doorman.guests(), 1);
    }

    #[test]
    fn lists_and_bans_send_away_who_is_here_and_keep_out_who_comes() {
        let mut door = door(false);
        let [blocked, banned, friend] = [PeerId::random(), PeerId::random(), PeerId::random()];
        door.enter(blocked, "127.0.0.1").unwrap();
        door.enter(banned, "127.0.0.1").unwrap();
        let lists = AccessLists::parse(&[friend.to_string()], &[blocked.to_string(), "192.0.2.0/24".to_owned()]);
        door.doorman.set_lists(lists.unwrap());
        door.doorman.ban(banned);
        let away: Vec<PeerId> = door.doorman.close.iter().map(|(peer, _)| *peer).collect();
        assert_eq!(away, [blocked, banned]);
        assert!(door.enter(blocked, "127.0.0.1").unwrap_err().contains("block list"));
        assert!(door.enter(banned, "127.0.0.1").unwrap_err().contains("banned"));
        assert!(door.guest("192.0.2.8").unwrap_err().contains("block list"));
        door.enter(friend, "192.0.2.8").unwrap();
        door.doorman.unban(&banned);
        door.enter(banned, "127.0.0.1").unwrap();
    }
}
