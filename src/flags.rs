//! The flags that `simulate` and `compare` share; each overrides the scenario file.

use std::path::PathBuf;

use clap::Args;
use fedswarm_simulations::scenario::{Cap, Codec, Data, Device, Overrides, Partition, Scenario, Transport};

use crate::failure::Failure;

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct ScenarioFlags {
    /// A scenario file (TOML); flags override what it says.
    scenario: Option<PathBuf>,
    /// Peers, 1 to 64; up to 16384 in a virtual world without training [default: 8, or as many as the partition file has].
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// Rounds [default: 10].
    #[arg(long, value_name = "R")]
    rounds: Option<u64>,
    /// The generator that peers learn from, for methods that have a use for one: digits, fashion, a file (.safetensors, .onnx,
    /// .npz), or none [default: digits].
    #[arg(long, value_name = "G")]
    generator: Option<String>,
    /// Peers that host the generator [default: 1].
    #[arg(long, value_name = "N")]
    hosts: Option<usize>,
    /// Architectures, dealt out in turn, such as cnn1,cnn2 [default: the method's].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// A file or folder with images (IDX, CIFAR, folders of PNG/JPEG, .npz), or `bundled` [default: bundled].
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// A partition file: who holds which image.
    #[arg(long, value_name = "FILE", group = "scheme")]
    partition: Option<PathBuf>,
    /// Deal each class out by a Dirichlet draw; small is very unlike peers [default: 0.1].
    #[arg(long, value_name = "ALPHA", group = "scheme")]
    dirichlet: Option<f64>,
    /// Give each peer this many classes.
    #[arg(long, value_name = "K", group = "scheme")]
    classes_per_node: Option<usize>,
    /// Give every peer all classes.
    #[arg(long, group = "scheme")]
    iid: bool,
    /// Most images per peer, or `none` [default: 200/100, or the partition file's].
    #[arg(long, value_name = "TRAIN/TEST")]
    cap: Option<Cap>,
    /// Most training images per class and peer.
    #[arg(long, value_name = "K")]
    cap_per_class: Option<usize>,
    /// Images per training step [default: 10].
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// Learning rate [default: 0.01].
    #[arg(long, value_name = "L")]
    lr: Option<f64>,
    /// Passes over a peer's images per round [default: 1].
    #[arg(long, value_name = "E")]
    epochs: Option<usize>,
    /// Keep the order of the images instead of shuffling each epoch.
    #[arg(long)]
    no_shuffle: bool,
    /// Also run the same swarm without its generator, for comparison.
    #[arg(long)]
    generator_baseline: bool,
    /// Do not train every peer alone for comparison.
    #[arg(long)]
    no_local_baseline: bool,
    /// How bytes travel: tcp, quic, memory, or virtual for simulated nodes, network and time [default: tcp].
    #[arg(long, value_name = "KIND")]
    transport: Option<Transport>,
    /// How updates are packed: i32, f16 or int8 [default: i32].
    #[arg(long, value_name = "CODEC")]
    codec: Option<Codec>,
    /// What computes: flex, ndarray, wgpu or cuda [default: flex].
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,
    /// Training threads [default: all cores].
    #[arg(long, value_name = "T")]
    threads: Option<usize>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ScenarioFlags {
    /// The scenario file, or the defaults, with the flags on top.
    pub(crate) fn scenario(&self, method: Option<String>, seed: Option<u64>) -> Result<Scenario, Failure> {
        let base = match &self.scenario {
            Some(path) => Scenario::load(path)?,
            None => Scenario::default(),
        };
        let partition = match (&self.partition, self.dirichlet, self.classes_per_node, self.iid) {
            (Some(path), ..) => Some(Partition::File(path.clone())),
            (_, Some(alpha), ..) => Some(Partition::Dirichlet(alpha)),
            (_, _, Some(classes), _) => Some(Partition::ClassesPerNode(classes)),
            (_, _, _, true) => Some(Partition::Iid),
            _ => None,
        };
        Ok(base.apply(Overrides {
            nodes: self.nodes,
            rounds: self.rounds,
            method,
            generator: self.generator.clone(),
            hosts: self.hosts,
            models: self.models.clone(),
            data: self.data.clone().map(Data::from),
            partition,
            cap: self.cap,
            cap_per_class: self.cap_per_class,
            batch: self.batch,
            lr: self.lr,
            epochs: self.epochs,
            seed,
            shuffle: self.no_shuffle.then_some(false),
            generator_baseline: self.generator_baseline.then_some(true),
            local_baseline: self.no_local_baseline.then_some(false),
            transport: self.transport,
            codec: self.codec,
            device: self.device,
            threads: self.threads,
            out: self.out.clone(),
        }))
    }
}
