//! Peers that were not invited and write to streams what no honest peer writes.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_debug_implementations)]

use std::io;

use fedswarm_protocol::hash::Digest;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, gossipsub, identify, kad, noise, tcp, yamux};

/// Bytes for a stream as they are.
#[derive(Clone, Debug)]
pub struct Raw {
    pub bytes: Vec<u8>,
    /// Whether to leave the stream open, and say no more.
    pub hold: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Garbage;

impl Codec for Garbage {
    type Protocol = StreamProtocol;
    type Request = Raw;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Raw> {
        Err(io::Error::other("it only talks"))
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 1];
        io.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        raw: Raw,
    ) -> io::Result<()> {
        io.write_all(&raw.bytes).await?;
        io.flush().await?;
        if raw.hold {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        _: Vec<u8>,
    ) -> io::Result<()> {
        Err(io::Error::other("it only talks"))
    }
}

/// Everything that a stranger can speak.
#[derive(NetworkBehaviour)]
pub struct Attack {
    pub kad: kad::Behaviour<MemoryStore>,
    pub gossip: gossipsub::Behaviour,
    pub direct: request_response::Behaviour<Garbage>,
    pub blobs: request_response::Behaviour<Garbage>,
    pub identify: identify::Behaviour,
}

/// The name of a topic, as members of a network know it.
pub fn topic(network: &Digest, name: &str) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(format!("/fedswarm/{network}/{name}/1"))
}

/// A peer with this key that claims to be of the network.
pub fn evil(secret: [u8; 32], network: &Digest) -> Swarm<Attack> {
    let key = Keypair::ed25519_from_bytes(secret).unwrap();
    let me = key.public().to_peer_id();
    let mut config = kad::Config::new(StreamProtocol::new("/fedswarm/kad/1"));
    config.set_periodic_bootstrap_interval(None);
    let mut kad = kad::Behaviour::with_config(me, MemoryStore::new(me), config);
    kad.set_mode(Some(kad::Mode::Server));
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message: &gossipsub::Message| {
            gossipsub::MessageId::from(fedswarm_protocol::hash::hash("evil", &message.data).0.to_vec())
        })
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).unwrap();
    for name in ["update", "receipt", "proposal", "vote"] {
        gossip.subscribe(&topic(network, name)).unwrap();
    }
    let talker = |name| {
        request_response::Behaviour::new(
            [(StreamProtocol::new(name), ProtocolSupport::Outbound)],
            request_response::Config::default(),
        )
    };
    let attack = Attack {
        kad,
        gossip,
        direct: talker("/fedswarm/direct/1"),
        blobs: talker("/fedswarm/blob/1"),
        identify: identify::Behaviour::new(identify::Config::new(format!("/fedswarm/1/{network}"), key.public())),
    };
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| attack)
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(std::time::Duration::from_secs(600)))
        .build()
}

/// A frame that announces more than is allowed.
pub fn oversized() -> Raw {
    Raw { bytes: [&u32::MAX.to_le_bytes()[..], &[0; 4096]].concat(), hold: false }
}

/// The beginning of a frame.
pub fn half_a_frame() -> Raw {
    Raw { bytes: [&1000_u32.to_le_bytes()[..], &[0; 10]].concat(), hold: true }
}

/// A whole frame.
pub fn frame(message: &[u8]) -> Raw {
    let len = u32::try_from(message.len()).unwrap();
    Raw { bytes: [&len.to_le_bytes()[..], message].concat(), hold: false }
}

/// A question for the list of some blob.
pub fn question() -> Raw {
    Raw { bytes: vec![0; 37], hold: false }
}

/// Whom an address leads to.
pub fn peer_of(addr: &Multiaddr) -> PeerId {
    addr.iter().find_map(|p| if let libp2p::multiaddr::Protocol::P2p(peer) = p { Some(peer) } else { None }).unwrap()
}
