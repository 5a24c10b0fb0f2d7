//! A swarm that learns in virtual time: real members, real payload bytes, the production machine, and a simulated world
//! around them.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fedswarm_network::NodeId;
use fedswarm_node::NodeEvent;
use fedswarm_protocol::codec;
use fedswarm_protocol::message::Committed;
use fedswarm_protocol::round::Event;

use super::observe::{Observer, longest};
use super::prepare::peer_name;
use super::virtual_learner::{Learner, Told};
use super::{Options, Prepared};
use crate::progress::Progress;
use crate::results::{Bytes, Results, write_atomically};
use crate::world::options::Waits;
use crate::world::work::Work;
use crate::world::{World, WorldError};
use crate::{Error, rss};

/// Certified records, by node.
pub(super) type Stores = Vec<Vec<Committed>>;

/// Runs the scenario in virtual time.
pub(super) fn run(
    prepared: &Prepared,
    mut seen: Observer,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<(Results, Stores), Error> {
    let told = Told::default();
    let mut world = found(prepared, &told)?;
    world.core.listening = true;
    seen.set_virtual_now(0.0);
    connect_all(prepared, &mut seen);
    let mut tell = |world: &mut World| {
        seen.set_virtual_now(world.core.now as f64 / 1e6);
        // What a learner says of an artefact comes before what its machine makes of that.
        for (node, event) in told.borrow_mut().drain(..) {
            seen.take(node, event);
        }
        for (node, at_ms, event) in world.core.told.drain(..) {
            if let Event::ArtefactRefused { job_round, host, reason } = &event {
                tracing::warn!(node = peer_name(node), job_round, %host, reason, "an artefact was refused");
            }
            seen.take(node, NodeEvent::Round { at_ms, event });
        }
        while let Some(round) = seen.next_round() {
            progress.round(&round);
        }
        !options.stop.load(Ordering::Relaxed)
    };
    let outcome = world.run_watched(&mut tell);
    if options.stop.load(Ordering::Relaxed) {
        let rounds = prepared.scenario.rounds;
        return Err(Error::Interrupted { done: seen.rounds_done(), rounds, kept: false });
    }
    if let Some(broken) = outcome.broken {
        return Err(Error::Run(format!("{broken} (to repeat it: {})", options.command)));
    }
    // The last state is taken in after the last record.
    world.settle();
    tell(&mut world);
    if outcome.rounds < prepared.scenario.rounds {
        return Err(Error::Run(format!(
            "only {} of {} rounds became final within {:.0} s of virtual time; give the faults an end with \
             virtual.rounds_after",
            outcome.rounds,
            prepared.scenario.rounds,
            outcome.virtual_ms as f64 / 1e3
        )));
    }
    let stores = world.core.records.clone();
    let mut bytes = Bytes { sent: world.core.traffic.1, received: world.core.traffic.1, ..Bytes::default() };
    bytes.by_kind.insert("messages".to_owned(), world.core.traffic.1);
    let results = seen.results(prepared, &stores, bytes, rss::peak_rss_bytes(), &options.command, Vec::new());
    Ok((results, stores))
}

fn found(prepared: &Prepared, told: &Told) -> Result<World, Error> {
    let (scenario, manifest) = (&prepared.scenario, &prepared.manifest);
    let described = scenario.virtual_time.clone().unwrap_or_default();
    let mut world = described.options(scenario.seed, prepared.setups.len() as u16, scenario.rounds);
    world.epoch_length = manifest.epoch_length;
    world.timers = Waits {
        collect_ms: manifest.timers.collect_ms,
        round_ms: manifest.timers.round_ms,
        leader_ms: manifest.timers.leader_ms,
        resend_ms: manifest.timers.resend_ms,
    };
    world.hosts = (0..scenario.hosts as u16).filter(|_| manifest.generator.is_some()).collect();
    world.work.payload_bytes = manifest.codec.encoded_len(&manifest.schema) as u64;
    // A host that does not fit is found before the first node starts.
    let mut hostings = Vec::new();
    for (i, setup) in prepared.setups.iter().enumerate() {
        hostings.push(match &prepared.generator {
            Some(chosen) if i < scenario.hosts => chosen.hosting(prepared.method.as_ref(), setup)?,
            _ => None,
        });
    }
    let learner = |rules: &fedswarm_protocol::round::Rules, member: u16, _copy: u64| -> Box<dyn Work> {
        let (place, told) = (usize::from(member), Rc::clone(told));
        let (method, setup) = (Arc::clone(&prepared.method), prepared.setups[place].clone());
        let network = (Arc::clone(manifest), rules.key);
        Box::new(Learner::new(place, method, setup, network, hostings[place].take(), told))
    };
    World::with(&world, prepared.secrets.clone(), manifest, learner, false).map_err(|error| match error {
        WorldError::Manifest(error) => Error::Run(error.to_string()),
        WorldError::Options(text) => Error::Input(text),
    })
}

/// In a virtual swarm everybody knows everybody from the beginning.
fn connect_all(prepared: &Prepared, seen: &mut Observer) {
    for node in 0..prepared.setups.len() {
        for (other, founder) in prepared.manifest.founders.iter().enumerate() {
            if other != node {
                seen.take(node, NodeEvent::Peer { id: NodeId(founder.key.0), connected: true });
            }
        }
    }
}

/// Writes the results' folder.
pub(super) fn write(results: &Results, stores: &Stores, prepared: &Prepared) -> Result<(), Error> {
    let out = prepared.scenario.out_dir();
    let records = out.join("records");
    std::fs::create_dir_all(&records).map_err(Error::io("create", &records))?;
    let manifest = prepared.manifest.to_bytes().map_err(|e| Error::Run(e.to_string()))?;
    write_atomically(&out.join("network.manifest"), &manifest)?;
    for committed in longest(stores).into_iter().flatten() {
        let bytes = codec::encode(committed).map_err(|e| Error::Run(e.to_string()))?;
        write_atomically(&file(&records, committed.record.round), &bytes)?;
    }
    results.write(&out)
}

fn file(folder: &Path, round: u64) -> std::path::PathBuf {
    folder.join(format!("round-{round:05}.record"))
}
