//! What carries the bytes: authenticated and multiplexed in every case, so that a peer is always its key.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, dns, noise, quic, relay, tcp, yamux};

use crate::socket::tuned;
use crate::traffic::{Counted, Counters, Road};
use crate::{Error, TransportKind};

/// How long a connection may take to be encrypted. Lower, and a machine that is busy training drops its guests.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a host may take to answer a call over TCP: the system repeats it after 1, 3 and 7 s. Shorter, and hosts far away behind a
/// bad link are not reached; longer, and after a break of the network, or with a hole that was not punched at the first attempt,
/// the next attempt comes later.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

type Carrier = Boxed<(PeerId, StreamMuxerBox)>;

/// A transport that speaks all of `kinds`, and through relays if it is given their transport.
pub(crate) fn build(
    key: &Keypair,
    kinds: &[TransportKind],
    counters: &Arc<Counters>,
    relays: Option<relay::client::Transport>,
) -> Result<Carrier, Error> {
    let numeric = || joined(key, kinds);
    let internet = kinds.iter().any(|kind| *kind != TransportKind::Memory);
    // Around all of them at once: a transport that resolves names takes every address for its own, also those that the one
    // inside it cannot dial, and what is joined behind it is never tried.
    let carrier = if internet { named(numeric)? } else { numeric()? };
    let carrier = counted(carrier, counters, Road::Own);
    Ok(match relays {
        None => carrier,
        Some(relays) => counted(secured(key, relays)?, counters, Road::Relayed)
            .or_transport(carrier)
            .map(|either, _| either.into_inner())
            .boxed(),
    })
}

fn counted(carrier: Carrier, counters: &Arc<Counters>, road: Road) -> Carrier {
    let counters = Arc::clone(counters);
    let count = move |inner| StreamMuxerBox::new(Counted { inner, counters: Arc::clone(&counters), road });
    carrier.map(move |(peer, inner), _| (peer, count(inner))).boxed()
}

fn joined(key: &Keypair, kinds: &[TransportKind]) -> Result<Carrier, Error> {
    let mut all: Option<Carrier> = None;
    for kind in kinds.iter().flat_map(|kind| kind.single()) {
        let one = single(key, *kind)?;
        all = Some(match all {
            None => one,
            Some(rest) => rest.or_transport(one).map(|either, _| either.into_inner()).boxed(),
        });
    }
    all.ok_or_else(|| Error::Setting("no transport was chosen".into()))
}

fn single(key: &Keypair, kind: TransportKind) -> Result<Carrier, Error> {
    match kind {
        TransportKind::Memory => secured(key, MemoryTransport::default()),
        TransportKind::Quic => Ok(quic::tokio::Transport::new(quic::Config::new(key))
            .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
            .boxed()),
        TransportKind::Tcp | TransportKind::TcpAndQuic => {
            let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)).map(|stream, _| tuned(stream));
            secured(key, TransportTimeout::with_outgoing_timeout(tcp, ANSWER_TIMEOUT))
        }
    }
}

fn secured<T>(key: &Keypair, raw: T) -> Result<Carrier, Error>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
{
    let noise = noise::Config::new(key).map_err(|e| Error::Key(e.to_string()))?;
    Ok(raw
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(UPGRADE_TIMEOUT)
        .boxed())
}

/// Lets addresses have host names, where the system can resolve them.
fn named(make: impl Fn() -> Result<Carrier, Error>) -> Result<Carrier, Error> {
    match dns::tokio::Transport::system(make()?) {
        Ok(named) => Ok(named.boxed()),
        Err(error) => {
            tracing::warn!(%error, "host names cannot be resolved here; only numeric addresses will work");
            make()
        }
    }
}
