//! From a scenario to everything that its nodes need; all bad input is found here, before anything is started.

use std::sync::Arc;

use fedswarm_learning::architectures::architecture;
use fedswarm_learning::data::Dataset;
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::methods::{MemberSetup, Method, Task, init_digest, method};
use fedswarm_learning::partition::{Partition, Scheme};
use fedswarm_learning::training::TrainConfig;
use fedswarm_node::founding::{Plan, found};
use fedswarm_protocol::artefact::GeneratorSpec;
use fedswarm_protocol::hash::Stream;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::{Founder, Manifest, Timers};
use fedswarm_protocol::membership::Admission;

use super::hosting::{self, Chosen};
use crate::Error;
use crate::scenario::{self, Cap, Data, PartitionFacts, Scenario};

/// A scenario with its data dealt out and its network founded.
pub struct Prepared {
    /// The scenario, with nothing left open.
    pub scenario: Scenario,
    /// The method.
    pub method: Arc<dyn Method>,
    /// The network.
    pub manifest: Arc<Manifest>,
    /// One key per node, in the order of the manifest.
    pub secrets: Vec<SecretKey>,
    /// One per node.
    pub setups: Vec<MemberSetup>,
    /// Training images of each node by class.
    pub label_counts: Vec<Vec<u32>>,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// The generator that some of them host.
    pub(super) generator: Option<Chosen>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("scenario", &self.scenario).finish_non_exhaustive()
    }
}

impl Prepared {
    /// Loads the data, deals it out, and founds the network. The seed fixes partition, first weights, keys and data order.
    ///
    /// # Errors
    /// [`Error`] for any bad input; nothing is written.
    pub fn new(scenario: &Scenario) -> Result<Self, Error> {
        let method = method(&scenario.method).map_err(Error::learning)?;
        let device: DeviceKind = scenario.device.to_string().parse().map_err(Error::learning)?;
        device.open().map_err(Error::learning)?;
        let dataset = match &scenario.data {
            Data::Bundled => Dataset::bundled(),
            Data::Path(path) => Dataset::load(path),
        }
        .map_err(Error::learning)?;
        let (scenario, partition) = deal(scenario, &dataset)?;
        let nodes = partition.peers.len();
        let task = Task { input: dataset.shape, classes: dataset.classes() };
        let names: Vec<String> = if scenario.models.is_empty() {
            method.default_architectures(&task).into_iter().map(str::to_owned).collect()
        } else {
            scenario.models.clone()
        };
        let train = TrainConfig {
            batch: scenario.batch,
            lr: scenario.lr as f32,
            epochs: scenario.epochs,
            shuffle: scenario.shuffle,
            ..TrainConfig::default()
        };
        let data = partition.peer_data(&dataset).map_err(Error::learning)?;
        let mut setups = Vec::with_capacity(nodes);
        for (i, data) in data.into_iter().enumerate() {
            setups.push(MemberSetup {
                task,
                architecture: architecture(&names[i % names.len()]).map_err(Error::learning)?,
                data,
                train: train.clone(),
                seed: Stream::new("peer", &[&scenario.seed.to_le_bytes(), &(i as u64).to_le_bytes()]).next_u64(),
                init_seed: scenario.seed,
                common: init_digest(scenario.seed),
                device,
            });
        }
        // What does not fit together is found now, not when half of the nodes are up.
        for setup in setups.iter().take(names.len()) {
            method.member(setup.clone()).map_err(Error::learning)?;
        }
        let generator = hosting::choose(&scenario, method.as_ref(), &task)?;
        let spec = generator.as_ref().map(|chosen| chosen.spec.clone());
        let (manifest, secrets) = network(&scenario, method.as_ref(), &task, &dataset.class_names, nodes, spec)?;
        Ok(Self {
            label_counts: partition.label_counts(&dataset),
            class_names: dataset.class_names,
            generator,
            manifest: Arc::new(manifest),
            scenario,
            method,
            secrets,
            setups,
        })
    }
}

fn deal(scenario: &Scenario, dataset: &Dataset) -> Result<(Scenario, Partition), Error> {
    let file = match &scenario.partition {
        scenario::Partition::File(path) => Some(Partition::load(path, dataset).map_err(Error::learning)?),
        _ => None,
    };
    let facts = file.as_ref().map(|loaded| PartitionFacts {
        clients: loaded.peers.len(),
        cap: loaded.default_cap.map(|(train, test)| Cap::At { train, test }),
    });
    let scenario = scenario.resolved(facts)?;
    let nodes = scenario.nodes.unwrap_or(scenario::DEFAULT_NODES);
    let scheme = match &scenario.partition {
        scenario::Partition::File(path) => Scheme::File(path.clone()),
        scenario::Partition::Dirichlet(alpha) => Scheme::Dirichlet { alpha: *alpha },
        scenario::Partition::ClassesPerNode(classes) => Scheme::Pathological { classes_per_peer: *classes },
        scenario::Partition::Iid => Scheme::Iid,
    };
    let mut partition = match file {
        Some(mut loaded) => {
            loaded.peers.truncate(nodes);
            loaded
        }
        None => Partition::make(dataset, &scheme, nodes, scenario.seed, scenario.batch).map_err(Error::learning)?,
    };
    if let Some(Cap::At { train, test }) = scenario.cap {
        partition = partition.cap(train, test);
    }
    if let Some(most) = scenario.cap_per_class {
        partition = partition.cap_per_class(dataset, most).map_err(Error::learning)?;
    }
    Ok((scenario, partition))
}

fn network(
    scenario: &Scenario,
    method: &dyn Method,
    task: &Task,
    classes: &[String],
    nodes: usize,
    generator: Option<GeneratorSpec>,
) -> Result<(Manifest, Vec<SecretKey>), Error> {
    let mut stream = Stream::new("simulated keys", &[&scenario.seed.to_le_bytes()]);
    let mut secrets: Vec<SecretKey> = (0..nodes)
        .map(|_| {
            let mut bytes = [0; 32];
            bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&stream.next_u64().to_le_bytes()));
            SecretKey::from_bytes(&bytes)
        })
        .collect();
    // A member's index is its key's place in the manifest; peers are numbered the same way.
    secrets.sort_by_key(SecretKey::public);
    let founders = secrets.iter().enumerate().map(|(i, s)| Founder { key: s.public(), name: peer_name(i) }).collect();
    let timers = &scenario.timers;
    let plan = Plan {
        name: "simulation".to_owned(),
        classes: classes.to_vec(),
        codec: scenario.codec.to_string().parse().map_err(Error::Run)?,
        genesis_seed: init_digest(scenario.seed),
        rounds: scenario.rounds,
        sponsor_cap: fedswarm_node::founding::SPONSOR_CAP,
        admission: Admission::Sponsor,
        min_inputs: scenario.virtual_time.as_ref().map_or(0, |world| world.min_inputs),
        timers: Timers {
            collect_ms: timers.t_collect_ms,
            round_ms: timers.t_round_ms,
            leader_ms: timers.t_propose_ms,
            resend_ms: timers.t_resend_ms,
        },
        generator,
    };
    let mut manifest = found(plan, method, task, founders)?;
    match scenario.virtual_time.as_ref().map(|world| world.epoch_length) {
        None | Some(0) => {}
        Some(length) => manifest.epoch_length = length,
    }
    Ok((manifest, secrets))
}

/// A peer's name in tables and plots.
pub(super) fn peer_name(index: usize) -> String {
    format!("peer-{index}")
}
