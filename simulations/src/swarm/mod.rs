//! A swarm of real nodes in one process: each with its own key, store and sockets, found through a bootstrap node by
//! Kademlia, not wired by hand.

mod artefacts;
mod baseline;
#[cfg(test)]
mod every_method;
#[cfg(test)]
mod formulas;
mod hosting;
mod inputs;
mod observe;
mod prepare;
mod resume;
mod virtual_learner;
#[cfg(test)]
mod virtual_tests;
mod virtual_time;
mod without;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fedswarm_bootstrap::Bootstrap;
use fedswarm_learning::export;
use fedswarm_network::{Tempo, TransportKind};
use fedswarm_node::audit::layout;
use fedswarm_node::blobs::Interner;
use fedswarm_node::trainers::Trainers;
use fedswarm_node::{InStep, Keep, NodeConfig, NodeEvent, NodeHandle, Storage};
use fedswarm_protocol::codec;
use tokio::sync::mpsc;

use crate::progress::{Progress, RunStart};
use crate::results::{Accuracy, Bytes, Results, write_atomically};
use crate::scenario::Scenario;
use crate::{Error, rss};

use inputs::Inputs;
pub use inputs::MAX_INPUT_BYTES;
pub use prepare::Prepared;
use resume::{Found, Unfinished};

/// Events of all nodes waiting for the observer. Full, nodes wait.
const EVENTS: usize = 4096;

/// How long nodes wait for a generator's host at a time, so that a run repeats.
const HOST_WAIT: Duration = Duration::from_secs(10);

/// How a run is carried out, beside what it is.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The command that people would type to repeat the run.
    pub command: String,
    /// Write every peer's trained model beside the results.
    pub keep_models: bool,
    /// Keep the signed inputs of the newest rounds beside the results, up to this many bytes, so that the run can be verified.
    pub keep_inputs: Option<u64>,
    /// Keep the nodes' state in the run's folder, and go on with a run that was stopped there.
    pub resume: bool,
    /// Set from outside to stop the run.
    pub stop: Arc<AtomicBool>,
    /// When the process began, for the time to the mesh.
    pub began: Option<Instant>,
}

/// A swarm that is up.
struct Swarm {
    nodes: Vec<NodeHandle>,
    _bootstrap: Bootstrap,
    _keys: tempfile::TempDir,
    events: mpsc::Receiver<(usize, NodeEvent)>,
}

/// Runs a scenario to its end and writes its folder.
///
/// # Errors
/// [`Error`]: bad input before anything is started or written, [`Error::Interrupted`] when `options.stop` was set,
/// [`Error::Run`] when the swarm does not get through a round in time.
pub async fn run(scenario: &Scenario, options: &Options, progress: &mut dyn Progress) -> Result<Results, Error> {
    // On the heap: a run holds much while it waits.
    Box::pin(carry_out(scenario, options, progress)).await
}

async fn carry_out(scenario: &Scenario, options: &Options, progress: &mut dyn Progress) -> Result<Results, Error> {
    let began = options.began.unwrap_or_else(Instant::now);
    let prepared = Prepared::new(scenario)?;
    let scenario = &prepared.scenario;
    let out = scenario.out_dir();
    let (count, rounds) = (prepared.setups.len(), scenario.rounds);
    progress.started(&RunStart { label: scenario.method.clone(), nodes: count, rounds });
    let mut unfinished = match options.resume.then(|| find(scenario, &out)).transpose()? {
        Some(Found::Finished(results)) => {
            progress.note("this run is finished; these are its results");
            progress.finished(&results.summary);
            return Ok(*results);
        }
        Some(Found::Begun(unfinished)) => Some(unfinished),
        None => None,
    };
    let before = unfinished.as_mut().and_then(|u| u.before.take());
    let threads = scenario.threads.unwrap_or_else(cores);
    let trainers = Trainers::start(threads).map_err(|e| Error::Run(format!("no training threads: {e}")))?;
    let alone = if before.is_none() && scenario.local_baseline && scenario.method != "local" {
        progress.note("training every peer alone first, for comparison");
        Some(baseline::run(&prepared, &trainers, &options.stop).await?)
    } else {
        None
    };
    let without = if scenario.generator_baseline && prepared.generator.is_some() {
        progress.note("running the same swarm without its generator first, for comparison");
        Some(without::run(&prepared, options)?)
    } else {
        None
    };
    let mut seen = observe::Observer::new(&prepared, alone, began);
    if scenario.transport == crate::scenario::Transport::Virtual {
        let (mut results, stores) = virtual_time::run(&prepared, seen, options, progress)?;
        beside(&mut results, without);
        virtual_time::write(&results, &stores, &prepared)?;
        progress.finished(&results.summary);
        return Ok(results);
    }
    let mut earlier = Bytes::default();
    if let Some((memory, bytes)) = before {
        seen.resume(memory);
        earlier = bytes;
        progress.note(&format!("going on after round {}", seen.rounds_done()));
    }
    let kept = options.keep_inputs.map(|limit| Inputs::begin(&out, limit)).transpose()?;
    let mut swarm = start(&prepared, &trainers, kept.as_ref(), unfinished.as_deref()).await?;
    if unfinished.is_some() {
        for node in &swarm.nodes {
            seen.catch_up(&node.records()?);
        }
    }
    let keep = |seen: &observe::Observer, nodes: &[NodeHandle]| match &unfinished {
        Some(unfinished) => unfinished.save(seen.memory(), traffic(nodes, &earlier)),
        None => Ok(()),
    };
    let watched = watch(&mut swarm, &mut seen, scenario, options, progress, &keep).await;
    // What they sent and certified can still be read.
    fedswarm_node::shutdown_all(&swarm.nodes).await;
    if let Err(error) = watched {
        // Until the last node has ended: what it had still to tell belongs to what it has kept.
        while let Some((node, event)) = swarm.events.recv().await {
            seen.take(node, event);
        }
        keep(&seen, &swarm.nodes)?;
        return Err(error);
    }
    let mut results = collect(&swarm, seen, &prepared, options, &earlier)?;
    beside(&mut results, without);
    inputs::clear(&out)?;
    if let Some(note) = kept.map(|kept| kept.end(rounds, &out)).transpose()?.flatten() {
        progress.note(&note);
    }
    write(&results, &swarm.nodes, &prepared, options, &out)?;
    if let Some(unfinished) = unfinished {
        unfinished.remove()?;
    }
    progress.finished(&results.summary);
    Ok(results)
}

/// Puts the run without a generator beside the one with it.
fn beside(results: &mut Results, without: Option<Accuracy>) {
    if let Some(generated) = &mut results.generated {
        generated.without = without;
    }
}

/// What there is of a run that may be gone on with.
fn find(scenario: &Scenario, out: &Path) -> Result<Found, Error> {
    if scenario.transport == crate::scenario::Transport::Virtual {
        let text = "--resume: a virtual run is not kept; its seed repeats it";
        return Err(Error::Input(text.to_owned()));
    }
    Unfinished::find(scenario, out)
}

/// Training threads when nobody says otherwise.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

async fn start(
    prepared: &Prepared,
    trainers: &Trainers,
    kept: Option<&Inputs>,
    unfinished: Option<&Unfinished>,
) -> Result<Swarm, Error> {
    let transport = match prepared.scenario.transport {
        crate::scenario::Transport::Memory => TransportKind::Memory,
        crate::scenario::Transport::Tcp => TransportKind::Tcp,
        crate::scenario::Transport::Quic => TransportKind::Quic,
        crate::scenario::Transport::Virtual => {
            return Err(Error::Run("nothing real carries the bytes of a virtual swarm".to_owned()));
        }
    };
    let keys = tempfile::tempdir().map_err(|e| Error::Run(format!("no temporary folder: {e}")))?;
    let config = fedswarm_bootstrap::Config::new(keys.path().join("bootstrap.key"), vec![transport.any_port()]);
    let bootstrap = fedswarm_bootstrap::start(config).await.map_err(|e| Error::Run(e.to_string()))?;
    let (sender, events) = mpsc::channel(EVENTS);
    let interner = Interner::default();
    let step = InStep::new(HOST_WAIT);
    let mut nodes = Vec::new();
    for (i, setup) in prepared.setups.iter().enumerate() {
        let member = prepared.method.member(setup.clone()).map_err(Error::learning)?;
        let hosting = match &prepared.generator {
            Some(chosen) if i < prepared.scenario.hosts => chosen.hosting(prepared.method.as_ref(), setup)?,
            _ => None,
        };
        let config = NodeConfig {
            secret: prepared.secrets[i].clone(),
            key_file: None,
            manifest: Arc::clone(&prepared.manifest),
            transport,
            listen: Vec::new(),
            bootstraps: bootstrap.addrs().to_vec(),
            mdns: false,
            reach: fedswarm_network::Reach::default(),
            lists: fedswarm_network::AccessLists::default(),
            tempo: Tempo::local(),
            storage: match unfinished {
                Some(run) => Storage::SharedFolder(run.node(&prepare::peer_name(i)), interner.clone()),
                None => Storage::Memory(interner.clone()),
            },
            min_peers: prepared.setups.len(),
            request: None,
            checkpoint: None,
            keep: Keep::LastRounds,
            archive: kept.map(Inputs::archive),
            adaptive_timers: false,
            in_step: Some(Arc::clone(&step)),
            hosting,
            crash_before: None,
            hold: None,
        };
        let (node, mut queue) = fedswarm_node::start(config, member, trainers.clone()).await?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(event) = queue.recv().await {
                if sender.send((i, event)).await.is_err() {
                    return;
                }
            }
        });
        nodes.push(node);
    }
    Ok(Swarm { nodes, _bootstrap: bootstrap, _keys: keys, events })
}

/// Follows the nodes until all have finished.
async fn watch(
    swarm: &mut Swarm,
    seen: &mut observe::Observer,
    scenario: &Scenario,
    options: &Options,
    progress: &mut dyn Progress,
    keep: &impl Fn(&observe::Observer, &[NodeHandle]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut last = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    while !seen.is_finished() {
        tokio::select! {
            event = swarm.events.recv() => {
                let Some((node, event)) = event else {
                    return Err(Error::Run("all nodes stopped before the last round".to_owned()));
                };
                if let NodeEvent::Failed { reason } = &event {
                    return Err(Error::Run(format!("{} stopped: {reason}", seen.name(node))));
                }
                let measured = matches!(event, NodeEvent::Measured(_));
                if seen.take(node, event) {
                    last = Instant::now();
                }
                while let Some(round) = seen.next_round() {
                    progress.round(&round);
                }
                // A node that has gone on measures a round no more.
                if measured {
                    keep(seen, &swarm.nodes)?;
                }
            }
            _ = tick.tick() => {
                if options.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted { done: seen.rounds_done(), rounds: scenario.rounds, kept: options.resume });
                }
                let limit = if seen.is_connected() { scenario.timers.t_round_ms } else { scenario.timers.t_start_ms };
                if last.elapsed() > Duration::from_millis(limit) {
                    return Err(Error::Run(seen.stuck(limit)));
                }
            }
        }
    }
    Ok(())
}

/// Reads records and traffic from the nodes themselves.
fn collect(
    swarm: &Swarm,
    seen: observe::Observer,
    prepared: &Prepared,
    options: &Options,
    earlier: &Bytes,
) -> Result<Results, Error> {
    let bytes = traffic(&swarm.nodes, earlier);
    let stores: Result<Vec<_>, _> = swarm.nodes.iter().map(NodeHandle::records).collect();
    let stores = stores?;
    let projected = match (&prepared.generator, swarm.nodes.first(), prepared.setups.first(), stores.first()) {
        (Some(chosen), Some(node), Some(setup), Some(records)) => {
            chosen.projected(prepared.method.as_ref(), setup, &prepared.manifest, node, records)?
        }
        _ => Vec::new(),
    };
    Ok(seen.results(prepared, &stores, bytes, rss::peak_rss_bytes(), &options.command, projected))
}

/// What the nodes sent and received, with what they did before the run was stopped.
fn traffic(nodes: &[NodeHandle], earlier: &Bytes) -> Bytes {
    let mut bytes = earlier.clone();
    bytes.by_kind.remove("overhead");
    for node in nodes {
        let traffic = node.network().traffic();
        bytes.sent += traffic.sent;
        bytes.received += traffic.received;
        let kinds = [("gossip", traffic.gossip.sent), ("direct", traffic.direct.sent), ("blobs", traffic.blobs.sent)];
        for (kind, sent) in kinds {
            *bytes.by_kind.entry(kind.to_owned()).or_default() += sent;
        }
    }
    // What is left: copies of gossip, acknowledgements, discovery, framing.
    let payload: u64 = bytes.by_kind.values().sum();
    bytes.by_kind.insert("overhead".to_owned(), bytes.sent.saturating_sub(payload));
    bytes
}

/// Writes results, certified records, the manifest and, if wanted, the models.
fn write(
    results: &Results,
    nodes: &[NodeHandle],
    prepared: &Prepared,
    options: &Options,
    out: &Path,
) -> Result<(), Error> {
    let records = out.join(layout::RECORDS);
    let make = |folder: &PathBuf| std::fs::create_dir_all(folder).map_err(Error::io("create", folder));
    make(&records)?;
    write_atomically(
        &out.join(layout::MANIFEST),
        &prepared.manifest.to_bytes().map_err(|e| Error::Run(e.to_string()))?,
    )?;
    if let Some(node) = nodes.first() {
        for committed in node.records()? {
            let bytes = codec::encode(&committed).map_err(|e| Error::Run(e.to_string()))?;
            write_atomically(&out.join(layout::record_file(committed.record.round)), &bytes)?;
        }
    }
    if options.keep_models {
        let models = out.join("models");
        make(&models)?;
        for ((node, setup), peer) in nodes.iter().zip(&prepared.setups).zip(&results.peers) {
            let card = export::Card::new(
                prepared.method.as_ref(),
                setup.architecture.as_ref(),
                setup.task.input,
                &prepared.class_names,
            );
            let tensors = node.with_member(|member| member.export()).map_err(Error::learning)?;
            export::save(&models.join(format!("{}.safetensors", peer.name)), &card, &tensors)
                .map_err(Error::learning)?;
        }
    }
    results.write(out)
}
