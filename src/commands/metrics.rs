//! The pages of metrics of nodes and entry points.

use std::sync::Arc;

use fedswarm_bootstrap::Bootstrap;
use fedswarm_metrics::{Page, Source};
use fedswarm_network::{Path, PeerInfo, Traffic};
use fedswarm_node::NodeHandle;
use fedswarm_node::vitals::{Phase, Vitals};
use fedswarm_protocol::manifest::Manifest;

/// Below this gossipsub hears a peer no more (`network/src/gossip.rs`).
const UNHEARD: f64 = -80.0;

/// A node that is looked at.
pub(crate) struct NodeSource {
    pub(crate) node: NodeHandle,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) vitals: Vitals,
}

/// An entry point that is looked at.
pub(crate) struct EntrySource(pub(crate) Arc<Bootstrap>);

fn traffic(page: &mut Page, traffic: &Traffic) {
    let kinds = [
        ("all", traffic.sent, traffic.received),
        ("gossip", traffic.gossip.sent, traffic.gossip.received),
        ("direct", traffic.direct.sent, traffic.direct.received),
        ("blobs", traffic.blobs.sent, traffic.blobs.received),
        ("relayed", traffic.relayed.sent, traffic.relayed.received),
    ];
    let of = |pick: fn(&(&str, u64, u64)) -> u64| kinds.iter().map(|kind| (kind.0.to_owned(), pick(kind))).collect();
    let sent = "Bytes written to streams, before encryption: all of them, and payloads by kind";
    let received = "Bytes read from streams, before encryption: all of them, and payloads by kind";
    page.counters("sent_bytes", sent, "kind", of(|kind| kind.1));
    page.counters("received_bytes", received, "kind", of(|kind| kind.2));
}

impl NodeSource {
    fn peers(page: &mut Page, peers: &[PeerInfo]) {
        let members: Vec<&PeerInfo> = peers.iter().filter(|peer| peer.member).collect();
        let by = |path: Path| members.iter().filter(|peer| peer.path == path).count() as f64;
        let paths = [Path::Direct, Path::Punched, Path::Relayed].map(|path| (path.name().to_owned(), by(path)));
        page.gauges("members_connected", "Members that are connected, by how they are reached", "path", paths.to_vec());
        let unheard = members.iter().filter(|peer| peer.score < UNHEARD).count();
        page.gauge("members_unheard", "Connected members whose gossip is not heard", unheard as f64);
        let worst = members.iter().map(|peer| peer.demerits).fold(0.0, f64::max);
        page.gauge("member_demerits_most", "Most that a connected member has against it; with 95 it is banned", worst);
        let strangers = peers.len() - members.len();
        page.gauge("strangers_connected", "Connected peers that are not members", strangers as f64);
    }
}

impl Source for NodeSource {
    async fn page(&self) -> Page {
        let mut page = Page::default();
        let (round, view) = self.vitals.position();
        let phase = self.vitals.phase();
        page.gauge("round", "Round in progress", round as f64);
        page.gauge("view", "Aggregators of this round that did not manage", f64::from(view));
        let phases = Phase::ALL.map(|p| (p.name().to_owned(), f64::from(u8::from(p == phase))));
        page.gauges("phase", "What the node does: 1 at what it is", "phase", phases.to_vec());
        page.counter("rounds_certified", "Rounds that became final here since the start", self.vitals.rounds());
        if let Some(age) = self.vitals.certificate_age() {
            page.gauge("certificate_age_seconds", "Seconds since the last certificate", age.as_secs_f64());
        }
        if let Ok((committee, certified)) = self.node.membership(&self.manifest) {
            page.gauge("round_certified", "Last certified round", certified as f64);
            page.gauge("epoch", "Epoch in progress", f64::from(committee.epoch));
            page.gauge("members", "Members in this epoch", committee.members.len() as f64);
            page.gauge("voters", "Voters in this epoch", committee.voters() as f64);
        }
        let network = self.node.network();
        let peers = network.peers().await;
        Self::peers(&mut page, &peers);
        let banned =
            |id| self.node.membership(&self.manifest).is_ok_and(|(c, _)| c.members.iter().any(|m| m.key.0 == id));
        let gauges = network.gauges().await;
        let members_banned = gauges.banned.iter().filter(|id| banned(id.0)).count();
        page.gauge("peers_banned", "Peers that are banned", gauges.banned.len() as f64);
        page.gauge("members_banned", "Members among them", members_banned as f64);
        page.counter("bans", "Bans since the start", gauges.bans);
        let faults = gauges.faults.iter().map(|(fault, count)| (fault.name().to_owned(), *count)).collect();
        page.counters("faults", "What peers did wrong since the start", "fault", faults);
        page.gauge("connections", "Open connections", gauges.connections as f64);
        page.gauge("connections_half_open", "Connections that others are setting up", gauges.half_open as f64);
        page.gauge("guests", "Connections with peers that are no members", gauges.guests as f64);
        page.counter("connections_denied", "Connections that were not let in since the start", gauges.denied);
        let queues = [
            ("events", gauges.events_waiting),
            ("direct", gauges.direct_open),
            ("blobs_asked", gauges.blobs_asked),
            ("blobs_serving", gauges.blobs_serving),
            ("gossip_unsent", gauges.unsent_gossip),
        ];
        let queues = queues.map(|(name, depth)| (name.to_owned(), depth as f64));
        page.gauges("queue_depth", "What waits, by queue", "queue", queues.to_vec());
        let (blobs, bytes) = self.node.blobs_held();
        page.gauge("blobs", "Payloads and models that are held", blobs as f64);
        page.gauge("blob_bytes", "Bytes of them", bytes as f64);
        traffic(&mut page, &network.traffic());
        page.memory();
        page
    }

    async fn health(&self) -> Result<(), String> {
        let (here, quorum) = self.node.voters_here(&self.manifest).await.map_err(|e| e.to_string())?;
        self.vitals.health(here, quorum)
    }
}

impl Source for EntrySource {
    async fn page(&self) -> Page {
        let mut page = Page::default();
        let stats = self.0.stats().await;
        page.gauge("guests", "Connected peers", stats.guests as f64);
        page.gauge("connections_half_open", "Connections that others are setting up", stats.half_open as f64);
        page.counter("connections_denied", "Connections that were not let in since the start", stats.denied);
        page.gauge("peers_banned", "Guests that are banned", stats.banned as f64);
        page.counter("bans", "Bans since the start", stats.bans);
        page.counter("relay_places", "Places at the relay that were given since the start", stats.places);
        page.counter(
            "relay_places_denied",
            "Requests for a place that were denied since the start",
            stats.places_denied,
        );
        page.gauge("relay_circuits", "Pairs that talk through the relay", stats.circuits as f64);
        page.counter("relay_circuits_opened", "Such pairs since the start", stats.circuits_opened);
        page.counter(
            "relay_circuits_denied",
            "Requests for one that were denied since the start",
            stats.circuits_denied,
        );
        page.counter("probes", "Probes for guests since the start", stats.probes.0);
        page.counter("probes_broken_off", "Probes that broke off since the start", stats.probes.1);
        traffic(&mut page, &self.0.traffic());
        page.memory();
        page
    }

    async fn health(&self) -> Result<(), String> {
        // It has nothing to wait for: that it answers is all.
        let stats = self.0.stats().await;
        if stats.guests >= self.0.max_guests() { Err(format!("full: {} guests", stats.guests)) } else { Ok(()) }
    }
}
