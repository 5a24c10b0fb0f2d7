//! `fedswarm bootstrap`.

use std::path::PathBuf;

use fedswarm_network::Multiaddr;

use crate::failure::Failure;

/// Runs an entry point: a Kademlia server with a key on disk, that tells members where the others are. It trains nothing, holds
/// no data, and serves any network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm bootstrap --key bootstrap.key --listen /ip4/0.0.0.0/tcp/4001 --listen /ip4/0.0.0.0/udp/4001/quic-v1")]
pub(crate) struct Args {
    /// The key file, made if it is not there. Members know the entry point by this key.
    #[arg(long, value_name = "FILE", default_value = "bootstrap.key")]
    key: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "/ip4/0.0.0.0/tcp/4001")]
    listen: Vec<Multiaddr>,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let runtime = crate::runtime()?;
    runtime.block_on(async {
        let config = fedswarm_bootstrap::Config::new(args.key.clone(), args.listen.clone());
        let bootstrap = fedswarm_bootstrap::start(config).await.map_err(|e| Failure::input(e.to_string()))?;
        if json {
            let addrs: Vec<String> = bootstrap.addrs().iter().map(ToString::to_string).collect();
            println!("{}", serde_json::json!({ "addresses": addrs }));
        } else {
            bootstrap.addrs().iter().for_each(|addr| println!("{addr}"));
        }
        super::stop_signal().await;
        Ok(())
    })
}
