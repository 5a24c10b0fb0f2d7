//! Opening listeners: all of them, or an error that names the one that failed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, TransportError};
use tokio::time::Instant;

use crate::Error;
use crate::peer_book::PeerBook;

/// How long listeners may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listeners that have no address yet.
pub(crate) struct Listeners {
    waiting: HashMap<ListenerId, Multiaddr>,
    /// By the address that was asked for, with port 0: its listener, and the port that this got.
    given: Vec<(Multiaddr, ListenerId, Option<u16>)>,
    deadline: Instant,
}

/// The port of an address, and the same address with another one.
fn port_of(addr: &Multiaddr) -> Option<u16> {
    addr.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })
}

fn at_port(addr: &Multiaddr, port: u16) -> Multiaddr {
    let part = |part| match part {
        Protocol::Tcp(_) => Protocol::Tcp(port),
        Protocol::Udp(_) => Protocol::Udp(port),
        other => other,
    };
    addr.iter().map(part).collect()
}

/// A port that was free the last time and is free now: others may have written it down.
fn usual(wanted: &Multiaddr, book: &PeerBook) -> Option<Multiaddr> {
    let addr = at_port(wanted, book.port(wanted)?);
    check_free(&addr).is_ok().then_some(addr)
}

impl Listeners {
    /// Opens listeners. One that wants any port gets the one it had the last time, if that is free.
    pub(crate) fn open<B: NetworkBehaviour>(
        swarm: &mut Swarm<B>,
        wanted: &[Multiaddr],
        book: &PeerBook,
    ) -> Result<Self, Error> {
        let (mut waiting, mut given) = (HashMap::new(), Vec::new());
        for wanted in wanted {
            let any = port_of(wanted) == Some(0);
            let addr =
                Some(wanted).filter(|_| any).and_then(|wanted| usual(wanted, book)).unwrap_or_else(|| wanted.clone());
            check_free(&addr)?;
            let id = swarm.listen_on(addr.clone()).map_err(|e| refused(addr.clone(), e))?;
            waiting.insert(id, addr);
            if any {
                given.push((wanted.clone(), id, None));
            }
        }
        Ok(Self { waiting, given, deadline: Instant::now() + PATIENCE })
    }

    /// The ports that listeners got which wanted any.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (&Multiaddr, u16)> {
        self.given.iter().filter_map(|(wanted, _, port)| Some((wanted, (*port)?)))
    }

    pub(crate) fn are_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The swarm's next event, which may be about a listener.
    pub(crate) async fn next<B: NetworkBehaviour>(
        &mut self,
        swarm: &mut Swarm<B>,
    ) -> Result<SwarmEvent<B::ToSwarm>, Error> {
        let Ok(event) = tokio::time::timeout_at(self.deadline, swarm.select_next_some()).await else {
            let addr = self.waiting.values().next().cloned().unwrap_or_else(Multiaddr::empty);
            return Err(Error::Listen { addr, reason: format!("no listener after {PATIENCE:?}") });
        };
        match &event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.waiting.remove(listener_id);
                if let Some((_, _, port)) = self.given.iter_mut().find(|(_, id, _)| id == listener_id) {
                    *port = port_of(address);
                }
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                if let Some(addr) = self.waiting.remove(listener_id) {
                    let reason = reason.as_ref().err().map_or_else(|| "closed".to_owned(), ToString::to_string);
                    return Err(Error::Listen { addr, reason });
                }
            }
            _ => {}
        }
        Ok(event)
    }
}

/// libp2p's TCP listeners share a port with any other that allows it, and then each gets some of the connections. Two nodes on one
/// port is never what was meant, so the port is tried without sharing first. QUIC buries the reason in errors of its own.
fn check_free(addr: &Multiaddr) -> Result<(), Error> {
    let mut parts = addr.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    let tried = match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => UdpSocket::bind((ip, port)).map(drop),
        _ => return Ok(()),
    };
    match tried {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Error::PortInUse { addr: addr.clone() }),
        // Anything else is for the real attempt to say.
        _ => Ok(()),
    }
}

/// Names the address; the most frequent trouble gets a variant of its own.
fn refused(addr: Multiaddr, error: TransportError<io::Error>) -> Error {
    // The memory transport has one error for everything, and a taken port is all that can be wrong with a well-formed address.
    let in_memory = addr.iter().any(|part| matches!(part, Protocol::Memory(_)));
    match error {
        TransportError::MultiaddrNotSupported(_) => {
            Error::Listen { addr, reason: "the transport does not know such addresses".into() }
        }
        TransportError::Other(error) if in_memory || error.kind() == io::ErrorKind::AddrInUse => {
            Error::PortInUse { addr }
        }
        TransportError::Other(error) => Error::Listen { addr, reason: error.to_string() },
    }
}

/// Whether an address is of use on this machine only.
pub(crate) fn is_local(addr: &Multiaddr) -> bool {
    addr.iter().next().is_some_and(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
        Protocol::Memory(_) => true,
        _ => false,
    })
}

/// What others say of where they listen, without what leads to their own machine; if all of it does, they may be on this one.
pub(crate) fn outward(addrs: &[Multiaddr]) -> impl Iterator<Item = &Multiaddr> {
    let all_local = addrs.iter().all(is_local);
    addrs.iter().filter(move |addr| all_local || !is_local(addr))
}
