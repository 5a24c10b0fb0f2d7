//! A swarm that learns in virtual time: real members, real payload bytes, the production machine, and a simulated world
//! around them.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fedswarm_learning::methods::{Member, MemberSetup, Method};
use fedswarm_network::NodeId;
use fedswarm_node::{Measured, NodeEvent, payload};
use fedswarm_protocol::blob;
use fedswarm_protocol::codec;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::merge::{Merge, Merged};
use fedswarm_protocol::message::UpdateHeader;
use fedswarm_protocol::payload as wire_payload;
use fedswarm_protocol::round::MergeInput;
use fedswarm_protocol::tensor::FixedVector;

use super::observe::Observer;
use super::{Options, Prepared};
use crate::progress::Progress;
use crate::results::{Bytes, Results, write_atomically};
use crate::world::blobs::Blob;
use crate::world::options::Waits;
use crate::world::work::Work;
use crate::world::{World, WorldError};
use crate::{Error, rss};

/// What learners tell while a world runs.
type Told = Rc<RefCell<Vec<(usize, NodeEvent)>>>;

/// A node's learner: a real member.
struct Learner {
    place: usize,
    method: Arc<dyn Method>,
    setup: MemberSetup,
    manifest: Arc<Manifest>,
    member: Option<Box<dyn Member>>,
    told: Told,
}

impl Learner {
    fn tell(&self, event: NodeEvent) {
        self.told.borrow_mut().push((self.place, event));
    }

    fn take_in(&mut self, round: u64, model: &Blob) -> Option<()> {
        let schema = &self.manifest.schema;
        let state = schema.dequantise(&FixedVector::from_bytes(model, schema).ok()?).ok()?;
        let member = self.member.as_mut()?;
        member.install(&state).ok()?;
        let evaluation = member.evaluate().ok()?;
        self.tell(NodeEvent::Measured(Measured { round, evaluation }));
        Some(())
    }
}

impl Work for Learner {
    fn train(&mut self, round: u64, base: Digest, model: &Blob) -> Option<(UpdateHeader, Blob)> {
        self.take_in(round - 1, model)?;
        let update = self.member.as_mut()?.train(&AtomicBool::new(false)).ok()?;
        self.tell(NodeEvent::Trained { round, loss: update.loss, millis: 0 });
        let (header, wire) = payload::make(&self.manifest, base, &update).ok()?;
        Some((header, wire.into()))
    }

    fn check(&self, header: &UpdateHeader, wire: &Blob) -> bool {
        payload::check(&self.manifest, header, wire).is_ok()
    }

    fn merge(&self, base: (&Digest, &Blob), inputs: &[(MergeInput, Blob)]) -> Option<(Merged, Vec<(Digest, Blob)>)> {
        let schema = &self.manifest.schema;
        let base = FixedVector::from_bytes(base.1, schema).ok()?;
        let mut merge = Merge::new(&self.manifest);
        for (input, wire) in inputs {
            merge.add(input.author, &wire_payload::decode(&self.manifest, wire).ok()?, input.weight).ok()?;
        }
        let result = merge.finish(&base).ok()?;
        let model = result.model.to_bytes();
        let merged = result.named(blob::root(&model));
        Some((merged, vec![(merged.model_root, model.into()), (merged.prototypes.root, result.prototypes.into())]))
    }

    fn checkpoint(&self) -> Option<Blob> {
        Some(self.member.as_ref()?.checkpoint().ok()?.into())
    }

    fn restart(&mut self, checkpoint: Option<&Blob>) {
        self.member = self.method.member(self.setup.clone()).ok();
        if let (Some(member), Some(checkpoint)) = (&mut self.member, checkpoint) {
            // A member without its private state would train something else: better none.
            if member.restore(checkpoint).is_err() {
                self.member = None;
            }
        }
    }

    fn finish(&mut self, round: u64, model: &Blob) {
        self.take_in(round, model);
    }
}

/// Runs the scenario in virtual time.
pub(super) fn run(
    prepared: &Prepared,
    mut seen: Observer,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Results, Error> {
    let told = Told::default();
    let mut world = found(prepared, &told)?;
    world.core.listening = true;
    seen.set_virtual_now(0.0);
    connect_all(prepared, &mut seen);
    let mut tell = |world: &mut World| {
        seen.set_virtual_now(world.core.now as f64 / 1e6);
        for (node, at_ms, event) in world.core.told.drain(..) {
            seen.take(node, NodeEvent::Round { at_ms, event });
        }
        for (node, event) in told.borrow_mut().drain(..) {
            seen.take(node, event);
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
    write(&results, &stores, prepared)?;
    Ok(results)
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
    world.work.payload_bytes = manifest.codec.encoded_len(&manifest.schema) as u64;
    let learner = |_: &fedswarm_protocol::round::Rules, member: u16, _copy: u64| -> Box<dyn Work> {
        Box::new(Learner {
            place: usize::from(member),
            method: Arc::clone(&prepared.method),
            setup: prepared.setups[usize::from(member)].clone(),
            manifest: Arc::clone(manifest),
            member: None,
            told: Rc::clone(told),
        })
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

fn write(
    results: &Results,
    stores: &[Vec<fedswarm_protocol::message::Committed>],
    prepared: &Prepared,
) -> Result<(), Error> {
    let out = prepared.scenario.out_dir();
    let records = out.join("records");
    std::fs::create_dir_all(&records).map_err(Error::io("create", &records))?;
    let manifest = prepared.manifest.to_bytes().map_err(|e| Error::Run(e.to_string()))?;
    write_atomically(&out.join("network.manifest"), &manifest)?;
    for committed in stores.first().into_iter().flatten() {
        let bytes = codec::encode(committed).map_err(|e| Error::Run(e.to_string()))?;
        write_atomically(&file(&records, committed.record.round), &bytes)?;
    }
    results.write(&out)
}

fn file(folder: &Path, round: u64) -> std::path::PathBuf {
    folder.join(format!("round-{round:05}.record"))
}
