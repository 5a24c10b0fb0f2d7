//! `fedswarm bootstrap`.

use std::path::PathBuf;
use std::time::Duration;

use fedswarm_bootstrap::RelayLimits;
use fedswarm_network::Multiaddr;

use crate::failure::Failure;

/// Runs an entry point: a Kademlia server with a key on disk, that tells members where the others are, relays between those
/// that cannot reach each other, and tells guests whether they can be reached. It trains nothing, holds no data, and serves any
/// network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm bootstrap --key bootstrap.key --listen /ip4/0.0.0.0/tcp/4001 --listen /ip4/0.0.0.0/udp/4001/quic-v1 \\
    --external /dns4/entry.example.org/tcp/4001 --external /dns4/entry.example.org/udp/4001/quic-v1")]
pub(crate) struct Args {
    /// The key file, made if it is not there. Members know the entry point by this key.
    #[arg(long, value_name = "FILE", default_value = "bootstrap.key")]
    key: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "/ip4/0.0.0.0/tcp/4001")]
    listen: Vec<Multiaddr>,
    /// Under which address others reach it, if not those where it listens, such as /dns4/entry.example.org/tcp/4001.
    #[arg(long, value_name = "ADDRESS")]
    external: Vec<Multiaddr>,
    /// Do not relay: members behind NATs will meet only where they can be reached without help.
    #[arg(long)]
    no_relay: bool,
    /// Pairs of guests that are relayed at once.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().circuits)]
    relay_circuits: usize,
    /// Bytes of one pair, in MiB, before it has to begin anew.
    #[arg(long, value_name = "MIB", default_value_t = RelayLimits::default().circuit_bytes >> 20)]
    relay_mib: u64,
    /// Minutes of one pair before it has to begin anew.
    #[arg(long, value_name = "MINUTES", default_value_t = RelayLimits::default().circuit_time.as_secs() / 60)]
    relay_minutes: u64,
    /// Guests at once.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_guests: u32,
}

impl Args {
    fn config(&self) -> fedswarm_bootstrap::Config {
        let relay = RelayLimits {
            circuits: self.relay_circuits,
            circuit_bytes: self.relay_mib.saturating_mul(1 << 20),
            circuit_time: Duration::from_secs(self.relay_minutes.saturating_mul(60)),
            ..RelayLimits::default()
        };
        fedswarm_bootstrap::Config {
            external: self.external.clone(),
            relay: (!self.no_relay).then_some(relay),
            max_guests: self.max_guests,
            ..fedswarm_bootstrap::Config::new(self.key.clone(), self.listen.clone())
        }
    }
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let runtime = crate::runtime()?;
    runtime.block_on(async {
        let bootstrap = fedswarm_bootstrap::start(args.config()).await.map_err(|e| Failure::input(e.to_string()))?;
        if json {
            let addrs: Vec<String> = bootstrap.addrs().iter().map(ToString::to_string).collect();
            super::events::print(&serde_json::json!({ "addresses": addrs }));
        } else {
            bootstrap.addrs().iter().for_each(|addr| println!("{addr}"));
        }
        super::stop_signal().await;
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
