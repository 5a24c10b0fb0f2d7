//! The behaviours of a member, gates first: what they deny, the others never see.

use fedswarm_protocol::hash::Digest;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, connection_limits, dcutr, identify, kad, mdns, memory_connection_limits, ping, relay,
};

use crate::blobs::codec::{self, Blobs};
use crate::direct::Direct;
use crate::direct_only::DirectOnly;
use crate::doorman::Doorman;
use crate::gossip::{self, Gossip};
use crate::listen::outward;
use crate::probing::Probing;
use crate::whereabouts::Whereabouts;
use crate::{Config, Error, Limits, Tempo, Topic};

/// One name for all networks, so that any entry point serves them all; see `docs/adr/002`.
const KAD: StreamProtocol = StreamProtocol::new("/fedswarm/kad/1");

/// Whoever speaks our language, of any network.
const FAMILY: &str = "/fedswarm/1/";

/// The behaviours of a member.
#[derive(NetworkBehaviour)]
pub(crate) struct Member {
    pub(crate) common: Common,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) through: Toggle<Through>,
    #[cfg(feature = "upnp")]
    pub(crate) upnp: Toggle<libp2p::upnp::tokio::Behaviour>,
    pub(crate) gossip: Gossip,
    pub(crate) direct: Direct,
    pub(crate) blobs: DirectOnly<Blobs>,
}

/// Through a NAT: whether there is one, to be reached by a relay, and to punch holes.
#[derive(NetworkBehaviour)]
pub(crate) struct Through {
    pub(crate) relay: relay::client::Behaviour,
    pub(crate) dcutr: dcutr::Behaviour,
    pub(crate) probing: Probing,
}

impl Member {
    pub(crate) fn new(key: &Keypair, config: &Config, relay: Option<relay::client::Behaviour>) -> Result<Self, Error> {
        let me = key.public().to_peer_id();
        let mdns = if config.mdns {
            let behaviour = mdns::tokio::Behaviour::new(mdns::Config::default(), me)
                .map_err(|e| Error::Setting(format!("mDNS cannot be used here: {e}")))?;
            Some(behaviour)
        } else {
            None
        };
        let mut gossip = gossip::behaviour(&config.network, &config.tempo)?;
        for topic in Topic::ALL {
            gossip
                .subscribe(&topic.ident(&config.network))
                .map_err(|e| Error::Setting(format!("cannot subscribe to {topic:?}: {e}")))?;
        }
        let through =
            relay.map(|relay| Through { relay, dcutr: dcutr::Behaviour::new(me), probing: Probing::default() });
        Ok(Self {
            common: Common::new(
                key,
                &family_name(Some(&config.network)),
                &config.limits,
                &config.tempo,
                config.client_mode,
            ),
            mdns: Toggle::from(mdns),
            through: Toggle::from(through),
            #[cfg(feature = "upnp")]
            upnp: Toggle::from(config.reach.upnp.then(libp2p::upnp::tokio::Behaviour::default)),
            gossip,
            direct: Direct::new(&config.tempo),
            blobs: DirectOnly(codec::behaviour(&config.limits, &config.tempo)),
        })
    }
}

/// What members and entry points share: gates, identify, ping, discovery.
#[derive(NetworkBehaviour)]
pub(crate) struct Common {
    pub(crate) doorman: Doorman,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: memory_connection_limits::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<kad::store::MemoryStore>,
    pub(crate) whereabouts: Whereabouts,
}

impl Common {
    pub(crate) fn new(key: &Keypair, name: &str, limits: &Limits, tempo: &Tempo, client: bool) -> Self {
        let me = key.public().to_peer_id();
        let connections = connection_limits::ConnectionLimits::default()
            .with_max_pending_incoming(Some(limits.pending))
            .with_max_pending_outgoing(Some(limits.pending))
            .with_max_established(Some(limits.connections))
            .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER));
        let identify = identify::Config::new_with_signed_peer_record(name.to_owned(), key)
            .with_agent_version(concat!("fedswarm/", env!("CARGO_PKG_VERSION")).to_owned())
            .with_push_listen_addr_updates(true);
        let ping = ping::Config::new().with_interval(tempo.ping).with_timeout(tempo.ping);
        Self {
            doorman: Doorman::new(limits),
            limits: connection_limits::Behaviour::new(connections),
            memory: memory_connection_limits::Behaviour::with_max_bytes(limits.memory_bytes),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping),
            kad: kademlia(me, client),
            whereabouts: Whereabouts::new(tempo),
        }
    }

    /// Feeds discovery with what a peer says of itself, if it is one of ours.
    pub(crate) fn identified(
        &mut self,
        peer: PeerId,
        info: &identify::Info,
        useful: impl Fn(&libp2p::Multiaddr) -> bool,
    ) {
        if !info.protocol_version.starts_with(FAMILY) {
            tracing::debug!(%peer, version = %info.protocol_version, "none of ours");
            return;
        }
        let addrs = outward(&info.listen_addrs).filter(|a| useful(a)).take(MAX_ADDRS).cloned().collect();
        self.whereabouts.learn(peer, addrs, info.protocols.contains(&KAD));
    }

    /// Puts a connected peer that serves discovery into the routing table.
    pub(crate) fn route_through(&mut self, peer: &PeerId) {
        for addr in self.whereabouts.serving(peer).to_vec() {
            self.kad.add_address(peer, addr);
        }
    }
}

/// Addresses that are kept of one peer. Lower, and a host with many interfaces, two transports and three relays may be
/// unreachable.
pub(crate) const MAX_ADDRS: usize = 16;

/// Connections with one peer: one each way through a relay, and one each way once holes are punched. Lower, and of two that
/// dial each other at once, both through a relay, one denies what the other punched.
const CONNECTIONS_PER_PEER: u32 = 4;

/// What identify says of us: the family, and the network or that we are an entry point.
pub(crate) fn family_name(network: Option<&Digest>) -> String {
    network.map_or_else(|| format!("{FAMILY}entry"), |id| format!("{FAMILY}{id}"))
}

/// Kademlia for peers' addresses: whatever records others want to store here are dropped.
fn kademlia(me: PeerId, client: bool) -> kad::Behaviour<kad::store::MemoryStore> {
    let mut config = kad::Config::new(KAD);
    config
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_query_timeout(std::time::Duration::from_secs(10))
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_provider_publication_interval(None)
        .set_caching(kad::Caching::Disabled)
        // What a look round finds is not put into the table: it would only connect us with everybody.
        .set_periodic_bootstrap_interval(None);
    let mut kad = kad::Behaviour::with_config(me, kad::store::MemoryStore::new(me), config);
    // Without this nobody routes through us until an outside address is confirmed, which on a LAN never happens.
    kad.set_mode(Some(if client { kad::Mode::Client } else { kad::Mode::Server }));
    kad
}
