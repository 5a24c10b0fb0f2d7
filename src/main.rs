//! The `fedswarm` command: argument parsing and printing. What it does is done by the workspace's crates.

mod allocator;
mod commands;
mod failure;
mod flags;
mod signals;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Peer-to-peer federated learning: peers with different models teach each other, without a server.
#[derive(Debug, Parser)]
#[command(name = "fedswarm", version, about, max_term_width = 110, propagate_version = true)]
#[command(after_help = "Examples:
  fedswarm simulate                                     a local swarm on bundled images, with a report
  fedswarm simulate --nodes 20 --rounds 60 --seed 3
  fedswarm compare --methods local,fedavg,fedmoe --seeds 1..5
  fedswarm network create --help                        found a network of real nodes

Every command prints one JSON object on its last line with --json; `run` tells before it what happens. Logs go to stderr; --log debug or FEDSWARM_LOG=debug shows more.
Exit codes: 0 done as asked, 1 failed, 2 bad usage or bad input.")]
struct Cli {
    /// Print one JSON object on the last line of stdout, and nothing else there; `run` prints one for every event before it.
    #[arg(long, global = true)]
    json: bool,
    /// What is logged: error, warn, info, debug or trace, also by crate, such as `warn,fedswarm=debug`.
    #[arg(long, global = true, value_name = "LEVEL", env = "FEDSWARM_LOG")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a local swarm of real nodes and write a report.
    Simulate(commands::simulate::Args),
    /// Run several methods over several seeds on the same partitions and first weights.
    Compare(commands::compare::Args),
    /// List the methods: what each shares, whether models may differ, its paper.
    Methods,
    /// Found a network, look at one, decide who belongs to it.
    #[command(subcommand)]
    Network(commands::network::Command),
    /// Run one real node.
    Run(commands::run::Args),
    /// Where a running node stands: round, members, how they are reached.
    Status(commands::status::Args),
    /// Why can't I reach them? Try every way, and say what came back and what to do.
    Doctor(commands::doctor::Args),
    /// Run an entry point for others: discovery, relay and probes; it trains nothing.
    Bootstrap(commands::bootstrap::Args),
    /// Write a node's trained model as safetensors.
    Export(commands::export::Args),
    /// Label images with an exported model.
    Predict(commands::predict::Args),
    /// Make a generator that a peer can host, or look at one.
    #[command(subcommand)]
    Generator(commands::generator::Command),
    /// Derive every record of a run again from its signed inputs, or check a proof that a member lied.
    Verify(commands::verify::Args),
    /// Measure this machine: start, rounds, memory, bytes, virtual scale.
    #[command(subcommand)]
    Bench(commands::bench::Command),
}

impl Command {
    /// Whether this process is a node, or measures some, and does not train many members side by side.
    fn is_of_nodes(&self) -> bool {
        match self {
            Self::Run(_) | Self::Bootstrap(_) => true,
            Self::Network(command) => command.starts_a_node(),
            Self::Bench(command) => command.is_of_nodes(),
            _ => false,
        }
    }
}

fn main() -> ExitCode {
    let began = Instant::now();
    let cli = Cli::parse();
    // A node's operator wants to see it work; a swarm has its progress bar.
    let quiet = match &cli.command {
        Command::Run(_) | Command::Bootstrap(_) => false,
        Command::Network(command) => !command.starts_a_node(),
        _ => true,
    };
    let default = if quiet { "error,fedswarm=warn" } else { "warn,libp2p_kad=error,fedswarm=info" };
    let filter = match tracing_subscriber::EnvFilter::try_new(cli.log.as_deref().unwrap_or(default)) {
        Ok(filter) => filter,
        Err(error) => {
            let text =
                format!("log level: {error}; expected error, warn, info, debug or trace, such as warn,fedswarm=debug");
            return Failure::input(text).report(cli.json);
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    if cli.command.is_of_nodes() {
        allocator::keep_small();
    }
    let done = match cli.command {
        Command::Simulate(args) => commands::simulate::run(&args, cli.json, began),
        Command::Compare(args) => commands::compare::run(&args, cli.json),
        Command::Methods => commands::methods::run(cli.json),
        Command::Network(command) => commands::network::run(&command, cli.json),
        Command::Run(args) => commands::run::run(&args, cli.json),
        Command::Status(args) => commands::status::run(&args, cli.json),
        Command::Doctor(args) => commands::doctor::run(&args, cli.json),
        Command::Bootstrap(args) => commands::bootstrap::run(&args, cli.json),
        Command::Export(args) => commands::export::run(&args, cli.json),
        Command::Predict(args) => commands::predict::run(&args, cli.json),
        Command::Generator(command) => commands::generator::run(&command, cli.json),
        Command::Verify(args) => commands::verify::run(&args, cli.json),
        Command::Bench(command) => commands::bench::run(&command, cli.json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.json),
    }
}

/// Threads that read, check and merge payloads. Each holds what it works on, so that more of them make a node larger; fewer, and one merge
/// holds up what is served.
const BLOCKING_THREADS: usize = 4;

/// The runtime of a command. Training has threads of its own, so the network needs few.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format!("cannot start the runtime: {e}")))
}
