//! `fedswarm bench`: the outer loops, measured on this machine.

use std::time::Duration;

use fedswarm_network::{Multiaddr, TransportKind};
use fedswarm_simulations::bench::network::Plan;
use fedswarm_simulations::bench::{bytes, memory, namespaces, peak, peer, rounds, scale, soak, start};
use serde::Serialize;

use crate::failure::Failure;

/// What to measure. Members train at no cost, so that what remains is agreement and the network.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  fedswarm bench start --nodes 100
  fedswarm bench rounds --nodes 10 --rounds 30
  fedswarm bench rounds --nodes 100 --voters 16 --json
  fedswarm bench memory --nodes 100
  fedswarm bench peak --nodes 4,8,16 --parameters 1000000
  fedswarm bench bytes --nodes 4,8,16 --parameters 1000000
  fedswarm bench scale --nodes 10,100,1000,10000
  fedswarm bench soak --nodes 16 --minutes 60")]
pub(crate) enum Command {
    /// From exec to the mesh: every voter connected to every voter, every node in the gossip mesh.
    Start(Crowd),
    /// How long rounds take without training.
    Rounds {
        #[command(flatten)]
        crowd: Crowd,
        /// Rounds that are measured.
        #[arg(long, value_name = "R", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
        rounds: u64,
    },
    /// What a node costs in memory, in this process and in one of its own.
    Memory {
        #[command(flatten)]
        crowd: Crowd,
        /// Voters that get a process of their own.
        #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
        processes: u16,
    },
    /// What merging takes at most in memory, by the number of inputs: voters in processes of their own, each with a folder.
    Peak {
        /// Numbers of voters, and of inputs.
        #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "4,8,16", value_parser = clap::value_parser!(u16).range(2..=64))]
        nodes: Vec<u16>,
        /// Numbers in the shared model.
        #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(64..=16_000_000))]
        parameters: u32,
        /// Rounds.
        #[arg(long, value_name = "R", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
        rounds: u64,
    },
    /// Bytes on the wire, counted by the kernel: each node on a host of its own (network namespaces; Linux, `ip`, `unshare`).
    Bytes {
        /// Numbers of voters.
        #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "4,8,16", value_parser = clap::value_parser!(u16).range(2..=64))]
        nodes: Vec<u16>,
        /// Numbers in the shared model.
        #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(64..=16_000_000))]
        parameters: u32,
        /// Rounds that are counted.
        #[arg(long, value_name = "R", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
        rounds: u64,
    },
    /// Member-rounds per second of virtual worlds of these sizes.
    Scale {
        /// Numbers of members, up to 64 of them voters.
        #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "10,100,1000,10000")]
        nodes: Vec<u16>,
    },
    /// Whether nodes that run for long take more and more memory or descriptors.
    Soak {
        /// Nodes, all of them voters, each with a folder.
        #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
        nodes: u16,
        /// Numbers in the shared model.
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
        parameters: u32,
        /// How long.
        #[arg(long, value_name = "M", default_value_t = 10.0)]
        minutes: f64,
    },
    /// One node of a bench, in a process that a bench starts.
    #[command(hide = true)]
    Peer {
        #[command(flatten)]
        crowd: Crowd,
        #[arg(long)]
        index: usize,
        #[arg(long)]
        listen: Multiaddr,
        #[arg(long)]
        entry: Multiaddr,
        #[arg(long)]
        folder: Option<std::path::PathBuf>,
    },
}

/// A swarm in one process.
#[derive(Debug, clap::Args)]
pub(crate) struct Crowd {
    /// Members.
    #[arg(long, value_name = "N", default_value_t = 100)]
    nodes: usize,
    /// Of them, those that vote; the others contribute [default: 16, or all of fewer].
    #[arg(long, value_name = "V")]
    voters: Option<u16>,
    /// Numbers in the shared model.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    parameters: u32,
    /// What carries the bytes: memory, tcp or quic.
    #[arg(long, value_name = "KIND", default_value = "tcp", value_parser = transport)]
    transport: TransportKind,
}

fn transport(text: &str) -> Result<TransportKind, String> {
    match text {
        "memory" => Ok(TransportKind::Memory),
        "tcp" => Ok(TransportKind::Tcp),
        "quic" => Ok(TransportKind::Quic),
        _ => Err("expected memory, tcp or quic".to_owned()),
    }
}

impl Crowd {
    fn plan(&self) -> Result<Plan, Failure> {
        Ok(Plan::of(self.nodes, self.voters, self.parameters, 0)?)
    }
}

impl Command {
    /// Whether it measures nodes, whose process is set up as theirs.
    pub(crate) fn is_of_nodes(&self) -> bool {
        !matches!(self, Self::Scale { .. })
    }
}

pub(crate) fn run(command: &Command, json: bool) -> Result<(), Failure> {
    let tell = &mut |text: &str| eprintln!("{text}");
    let runtime = crate::runtime()?;
    match command {
        Command::Start(crowd) => print(&runtime.block_on(start::run(&crowd.plan()?, crowd.transport, tell))?, json),
        Command::Rounds { crowd, rounds } => {
            print(&runtime.block_on(rounds::run(&crowd.plan()?, crowd.transport, *rounds, tell))?, json)
        }
        Command::Memory { crowd, processes } => {
            print(&runtime.block_on(memory::run(&crowd.plan()?, *processes, tell))?, json)
        }
        Command::Peak { nodes, parameters, rounds } => {
            print(&runtime.block_on(peak::run(nodes, *parameters, *rounds, tell))?, json)
        }
        Command::Bytes { nodes, parameters, rounds } => {
            if namespaces::enter()? {
                return print(&runtime.block_on(bytes::run(nodes, *parameters, *rounds, tell))?, json);
            }
            Ok(())
        }
        Command::Scale { nodes } => print(&scale::run(nodes, tell)?, json),
        Command::Soak { nodes, parameters, minutes } => {
            let time = Duration::try_from_secs_f64(minutes * 60.0)
                .map_err(|_| Failure::input(format!("--minutes is {minutes}; it must be a time, such as 10")))?;
            print(&runtime.block_on(soak::run(*nodes, *parameters, time, tell))?, json)
        }
        Command::Peer { crowd, index, listen, entry, folder } => {
            let (listen, entry, folder) = (listen.clone(), entry.clone(), folder.clone());
            let peer = peer::Peer { plan: crowd.plan()?, index: *index, listen, entry, folder };
            Ok(runtime.block_on(peer::run(peer))?)
        }
    }
}

fn print(figures: &(impl Serialize + std::fmt::Display), json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string(figures).map_err(|e| Failure::failed(e.to_string()))?);
    } else {
        println!("{figures}");
    }
    Ok(())
}
