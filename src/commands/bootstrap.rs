//! `fedswarm bootstrap`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fedswarm_bootstrap::{Bootstrap, RelayLimits};
use fedswarm_network::Multiaddr;
use fedswarm_node::run_config::ListsConfig;

use super::metrics::EntrySource;
use crate::failure::Failure;
use crate::signals::{Hangups, Stops};

/// Runs an entry point: a Kademlia server with a key on disk, that tells members where the others are, relays between those
/// that cannot reach each other, and tells guests whether they can be reached. It trains nothing, holds no data, and serves any
/// network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm bootstrap --key bootstrap.key --listen /ip4/0.0.0.0/tcp/4001 --listen /ip4/0.0.0.0/udp/4001/quic-v1 \\
    --external /dns4/entry.example.org/tcp/4001 --external /dns4/entry.example.org/udp/4001/quic-v1 \\
    --lists lists.toml --metrics 127.0.0.1:9464")]
pub(crate) struct Args {
    /// The key file, made if it is not there. Members know the entry point by this key.
    #[arg(long, value_name = "FILE", default_value = "bootstrap.key", env = "FEDSWARM_KEY")]
    key: PathBuf,
    /// Where to listen.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "/ip4/0.0.0.0/tcp/4001",
        env = "FEDSWARM_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<Multiaddr>,
    /// Under which address others reach it, if not those where it listens, such as /dns4/entry.example.org/tcp/4001.
    #[arg(long, value_name = "ADDRESS", env = "FEDSWARM_EXTERNAL", value_delimiter = ',')]
    external: Vec<Multiaddr>,
    /// Do not relay: members behind NATs will meet only where they can be reached without help.
    #[arg(long, env = "FEDSWARM_NO_RELAY")]
    no_relay: bool,
    /// Pairs of guests that are relayed at once.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().circuits, env = "FEDSWARM_RELAY_CIRCUITS")]
    relay_circuits: usize,
    /// Bytes of one pair, in MiB, before it has to begin anew.
    #[arg(long, value_name = "MIB", default_value_t = RelayLimits::default().circuit_bytes >> 20, env = "FEDSWARM_RELAY_MIB")]
    relay_mib: u64,
    /// Minutes of one pair before it has to begin anew.
    #[arg(long, value_name = "MINUTES", default_value_t = RelayLimits::default().circuit_time.as_secs() / 60, env = "FEDSWARM_RELAY_MINUTES")]
    relay_minutes: u64,
    /// Guests at once.
    #[arg(long, value_name = "N", default_value_t = 1024, env = "FEDSWARM_MAX_GUESTS")]
    max_guests: u32,
    /// Guests at once from one place: a /24 of IPv4 or a /48 of IPv6, private networks excepted.
    #[arg(long, value_name = "N", default_value_t = 128, env = "FEDSWARM_MAX_PER_PLACE")]
    max_per_place: usize,
    /// A file with the lists `allow` and `block` (TOML): public keys, peer ids, addresses, ranges such as 203.0.113.0/24. It is read
    /// again at SIGHUP.
    #[arg(long, value_name = "FILE", env = "FEDSWARM_LISTS")]
    lists: Option<PathBuf>,
    /// Serve metrics and health at this loopback address, such as 127.0.0.1:9464; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", env = "FEDSWARM_METRICS")]
    metrics: Option<SocketAddr>,
}

impl Args {
    fn config(&self) -> Result<fedswarm_bootstrap::Config, Failure> {
        let relay = RelayLimits {
            circuits: self.relay_circuits,
            circuit_bytes: self.relay_mib.saturating_mul(1 << 20),
            circuit_time: Duration::from_secs(self.relay_minutes.saturating_mul(60)),
            ..RelayLimits::default()
        };
        let lists = self.lists.as_deref().map(ListsConfig::load).transpose()?.unwrap_or_default();
        Ok(fedswarm_bootstrap::Config {
            external: self.external.clone(),
            relay: (!self.no_relay).then_some(relay),
            max_guests: self.max_guests,
            max_per_place: self.max_per_place,
            lists,
            ..fedswarm_bootstrap::Config::new(self.key.clone(), self.listen.clone())
        })
    }
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let runtime = crate::runtime()?;
    runtime.block_on(async {
        let started = fedswarm_bootstrap::start(args.config()?).await;
        let bootstrap = Arc::new(started.map_err(|e| Failure::input(e.to_string()))?);
        let server = match args.metrics {
            None => None,
            Some(addr) => {
                let source = EntrySource(Arc::clone(&bootstrap));
                Some(fedswarm_metrics::serve(addr, source).await.map_err(|e| Failure::input(e.to_string()))?)
            }
        };
        let metrics = server.as_ref().map(|server| server.addr().to_string());
        if json {
            let addrs: Vec<String> = bootstrap.addrs().iter().map(ToString::to_string).collect();
            super::events::print(&serde_json::json!({ "addresses": addrs, "metrics": metrics }));
        } else {
            bootstrap.addrs().iter().for_each(|addr| println!("{addr}"));
        }
        let (mut stops, mut hangups) = (Stops::new(), Hangups::new());
        loop {
            tokio::select! {
                () = stops.next() => break,
                () = hangups.next() => {
                    if let Some(path) = &args.lists {
                        reload(path, &bootstrap).await;
                    }
                }
            }
        }
        let (stats, traffic) = (bootstrap.stats().await, bootstrap.traffic());
        tracing::info!(?stats, received = traffic.received, sent = traffic.sent, "stopping");
        if json {
            super::events::print(&serde_json::json!({
                "guests": stats.guests,
                "places": stats.places,
                "places_denied": stats.places_denied,
                "circuits": stats.circuits,
                "circuits_opened": stats.circuits_opened,
                "circuits_denied": stats.circuits_denied,
                "probes": stats.probes.0,
                "probes_broken_off": stats.probes.1,
                "received": traffic.received,
                "sent": traffic.sent,
            }));
        }
        Ok(())
    })
}

/// Puts the lists of the file in force; if anything is wrong with it, those that are in force stay.
async fn reload(path: &Path, bootstrap: &Bootstrap) {
    let lists = match ListsConfig::load(path) {
        Ok(lists) => lists,
        Err(error) => return tracing::warn!(%error, "the lists that were in force stay"),
    };
    let (allow, block) = lists.len();
    match bootstrap.set_lists(lists).await {
        Ok(()) => tracing::info!(allow, block, "lists are in force"),
        Err(error) => tracing::warn!(%error, "the lists that were in force stay"),
    }
}
