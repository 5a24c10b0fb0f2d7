//! Methods: what a member holds, how it trains, what it shares.
//!
//! A [`Method`] is what a network agrees on, a [`Member`] is one peer's side of it. Methods are found by name, with
//! options in the same text: `fedmoe:mix=convex,gate_lr=0.05`.

mod class_means;
mod classifier;
mod ditto;
mod fedamp;
mod fedavg;
mod feddistill;
mod fedgen;
mod fedgh;
mod fedkd;
mod fedktl;
mod fedmoe;
mod fedmrl;
mod fedproto;
mod fedrep;
mod fedtgp;
mod fml;
mod head;
mod ktl;
mod lg_fedavg;
mod local;
mod mocha;
mod moe_ktl;
mod near;
mod one_model;
mod options;
mod per_fedavg;
mod pfedhn;
mod small_model;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::Summary;
use fedswarm_protocol::tensor::{DEFAULT_SCALE_BITS, Schema};

use crate::Error;
use crate::architectures::{self, Architecture};
use crate::data::{ImageShape, PeerData};
use crate::device::DeviceKind;
use crate::generator::Generator;
use crate::parameters::{ParamSpec, Parameters, initial};
use crate::training::{Lookahead, Part, Sgd, TrainConfig};
use crate::transfer::{Host, Pairs, Prototype};

pub use ditto::Ditto;
pub use fedamp::FedAmp;
pub use fedavg::FedAvg;
pub use feddistill::FedDistill;
pub use fedgen::FedGen;
pub use fedgh::FedGh;
pub use fedkd::FedKd;
pub use fedktl::FedKtl;
pub use fedmoe::{FedMoe, Mix, Rates, Recipe};
pub use fedmrl::FedMrl;
pub use fedproto::FedProto;
pub use fedrep::FedRep;
pub use fedtgp::FedTgp;
pub use fml::Fml;
pub use head::Heads;
pub use ktl::Transfer;
pub use lg_fedavg::LgFedAvg;
pub use local::Local;
pub use mocha::Mocha;
pub use moe_ktl::{Branch, MoeKtl};
pub use per_fedavg::PerFedAvg;
pub use pfedhn::PFedHn;

/// What is learnt: which images, how many classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Extents of one image.
    pub input: ImageShape,
    /// Number of classes, at least 2.
    pub classes: usize,
}

/// What a method is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodInfo {
    /// Name, as the command line has it.
    pub name: &'static str,
    /// What leaves a peer.
    pub shares: &'static str,
    /// True if peers may have different architectures.
    pub heterogeneous: bool,
    /// What peers must have in common.
    pub needs: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
}

/// One peer's ingredients.
#[derive(Clone)]
pub struct MemberSetup {
    /// What is learnt.
    pub task: Task,
    /// The peer's own extractor.
    pub architecture: Arc<dyn Architecture>,
    /// The peer's own images.
    pub data: Arc<PeerData>,
    /// How it trains.
    pub train: TrainConfig,
    /// Fixes what is this peer's own: the order of its data.
    pub seed: u64,
    /// Fixes first weights; the same for all peers, so that equal architectures start equal (as in the reference code).
    pub init_seed: u64,
    /// From what all peers must have alike without asking is drawn, such as a fixed classifier: a network's genesis seed.
    pub common: Digest,
    /// Where it trains.
    pub device: DeviceKind,
}

impl std::fmt::Debug for MemberSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberSetup")
            .field("task", &self.task)
            .field("architecture", &self.architecture.name())
            .field("train", &self.train)
            .field("seed", &self.seed)
            .field("init_seed", &self.init_seed)
            .field("common", &self.common)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// What a network trains by.
pub trait Method: Send + Sync {
    /// What it is.
    fn info(&self) -> MethodInfo;

    /// With which heads its models can be; the option `head` chooses.
    fn heads(&self) -> Heads {
        Heads::Linear("it has no choice of heads")
    }

    /// Name and options, such that [`method`] gives the same method back.
    fn spelling(&self) -> String;

    /// The tensors that peers publish and that are merged, in the order of [`LocalUpdate::delta`]; empty if there are none.
    ///
    /// # Errors
    /// [`Error::Architecture`] if a shared model does not fit the task.
    fn schema(&self, task: &Task) -> Result<Schema, Error>;

    /// Architectures to deal out to peers that did not choose one.
    fn default_architectures(&self, task: &Task) -> Vec<&'static str>;

    /// What class prototypes peers publish beside their update, and what all make of them; nothing if they publish none.
    ///
    /// # Errors
    /// [`Error::Setup`] if they would be too long.
    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        let _ = task;
        Ok(None)
    }

    /// Whether its prototypes are there for a generator's host, and its members learn from a generator's pairs.
    fn takes_pairs(&self, task: &Task) -> bool {
        matches!(self.prototypes(task), Ok(Some(PrototypeSpec { summary: None, .. })))
    }

    /// The side of a peer that hosts this generator; nothing if the method has no use for one. `common` is what
    /// [`MemberSetup::common`] is.
    ///
    /// # Errors
    /// [`Error::Setup`] if the generator does not fit the task.
    fn host(
        &self,
        task: &Task,
        generator: Arc<dyn Generator>,
        common: &Digest,
    ) -> Result<Option<Box<dyn Host>>, Error> {
        let _ = (task, generator, common);
        Ok(None)
    }

    /// One peer's side.
    ///
    /// # Errors
    /// [`Error::Setup`] and [`Error::Architecture`] if the ingredients do not fit the method.
    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error>;
}

/// One peer's side of a method: its models, data and optimiser.
pub trait Member: Send {
    /// Takes in a certified state, flat: merged tensors in schema order, then what follows from the prototypes
    /// ([`fedswarm_protocol::summary`]). Called at the start of each round.
    ///
    /// # Errors
    /// [`Error::Length`] if it is not as long as both.
    fn install(&mut self, state: &[f32]) -> Result<(), Error>;

    /// Takes in a generator's certified pairs, or that there are none (any more); called before
    /// [`install`](Self::install) of the same round. A peer may decline them.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Setup`] if they do not fit the task or are not finite; the member keeps what it had.
    fn receive(&mut self, pairs: Option<&Pairs>) -> Result<(), Error> {
        let _ = pairs;
        Ok(())
    }

    /// What the member found when it tried the pairs that it has, and by which it took them in or refused them in its last
    /// round; nothing if it has none, or tries none.
    fn trial(&self) -> Option<Trial> {
        None
    }

    /// Trains for one round. `cancel` is looked at before every step. If it fails, the member is as it was before.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Diverged`].
    fn train(&mut self, cancel: &AtomicBool) -> Result<LocalUpdate, Error>;

    /// Measures the peer's model on its own test images, in all classes.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn evaluate(&mut self) -> Result<Evaluation, Error>;

    /// Class probabilities of images, flat `[n, channels, height, width]`, normalised to -1..1.
    ///
    /// # Errors
    /// [`Error::Length`] if the pixels are no whole number of images.
    fn predict(&mut self, images: &[f32]) -> Result<Vec<Vec<f32>>, Error>;

    /// Number of weights, private and shared.
    fn parameters(&self) -> usize;

    /// All weights by name.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn export(&self) -> Result<Vec<NamedTensor>, Error>;

    /// Replaces all weights; names and shapes must be exactly those of [`export`](Self::export).
    ///
    /// # Errors
    /// [`Error::Tensors`] with what is missing or different; the member is then unchanged.
    fn import(&mut self, tensors: &[NamedTensor]) -> Result<(), Error>;

    /// All that changes in training, data order and optimiser included: a member that is restored from it goes on bit for
    /// bit as if it had never stopped.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn checkpoint(&self) -> Result<Vec<u8>, Error>;

    /// Goes back to a checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is damaged or another model's; the member is then unchanged.
    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), Error>;
}

/// What a round of local training gives.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalUpdate {
    /// The shared parts after training minus the installed state, flat in schema order.
    pub delta: Vec<f32>,
    /// Class prototypes, by ascending class, of the classes that the peer has; empty if the method has none.
    pub prototypes: Vec<Prototype>,
    /// Training images, those that fill no batch included.
    pub samples: u32,
    /// Mean training loss over the steps; 0 if there were none.
    pub loss: f32,
    /// Optimiser steps; 0 if the peer has fewer images than a batch.
    pub steps: u32,
}

/// A peer's trial of a generator's pairs.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Trial {
    /// The peer's round of the trial, counted from 0; later rounds with nearly the same pairs have its verdict.
    pub round: u64,
    /// Whether the pairs were refused.
    pub refused: bool,
    /// Mean loss on the peer's own images after a few steps with the pairs.
    pub with: f32,
    /// The same after as many steps without them.
    pub without: f32,
}

/// A measurement on a peer's own test images.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Images classified correctly.
    pub correct: u32,
    /// Images.
    pub total: u32,
    /// Mean cross entropy.
    pub loss: f32,
    /// Mean weight of the shared expert, if there is one.
    pub gate: Option<f32>,
    /// Correct with the shared expert alone: through its own head, or where it has none through the private one.
    pub shared_only: Option<u32>,
    /// Correct with the local expert alone, through the private head.
    pub local_only: Option<u32>,
}

/// A tensor with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Part and parameter, such as `head.weight`.
    pub name: String,
    /// Extent of each axis, outermost first.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Vec<f32>,
}

impl NamedTensor {
    /// The values of the tensor of this name among some.
    ///
    /// # Errors
    /// [`Error::Tensors`]: it is missing, or has another shape or length.
    pub(crate) fn values_of<'a>(tensors: &'a [Self], name: &str, shape: &[usize]) -> Result<&'a [f32], Error> {
        let Some(tensor) = tensors.iter().find(|tensor| tensor.name == name) else {
            return Err(Error::Tensors(format!("{name} is missing")));
        };
        if tensor.shape != shape || tensor.values.len() != shape.iter().product::<usize>() {
            return Err(Error::Tensors(format!("{name} has shape {:?}, not {shape:?}", tensor.shape)));
        }
        Ok(&tensor.values)
    }
}

/// Names of all methods.
pub const NAMES: [&str; 21] = [
    "local",
    "fedavg",
    "fedrep",
    "per-fedavg",
    "ditto",
    "fedamp",
    "mocha",
    "pfedhn",
    "lg-fedavg",
    "fedproto",
    "fedgh",
    "fedtgp",
    "fedgen",
    "feddistill",
    "fedkd",
    "fml",
    "fedmrl",
    "fedmoe",
    "moe-local",
    "fedktl",
    "moe-ktl",
];

/// The method with this name and these options, such as `fedmoe:mix=residual,gate_lr=0.05`.
///
/// # Errors
/// [`Error::Unknown`] with the known names, [`Error::Option`] with what is wrong.
pub fn method(text: &str) -> Result<Arc<dyn Method>, Error> {
    let mut options = options::Options::parse(text)?;
    let method: Arc<dyn Method> = match options.method() {
        "local" => Arc::new(Local::from_options(&mut options)?),
        "fedavg" => Arc::new(FedAvg::from_options(&mut options)?),
        "fedrep" => Arc::new(FedRep::from_options(&mut options)?),
        "per-fedavg" => Arc::new(PerFedAvg::from_options(&mut options)?),
        "ditto" => Arc::new(Ditto::from_options(&mut options)?),
        "fedamp" => Arc::new(FedAmp::from_options(&mut options)?),
        "mocha" => Arc::new(Mocha::from_options(&mut options)?),
        "pfedhn" => Arc::new(PFedHn::from_options(&mut options)?),
        "fedgen" => Arc::new(FedGen::from_options(&mut options)?),
        "lg-fedavg" => Arc::new(LgFedAvg::from_options(&mut options)?),
        "fedproto" => Arc::new(FedProto::from_options(&mut options)?),
        "fedgh" => Arc::new(FedGh::from_options(&mut options)?),
        "fedtgp" => Arc::new(FedTgp::from_options(&mut options)?),
        "fedkd" => Arc::new(FedKd::from_options(&mut options)?),
        "feddistill" => Arc::new(FedDistill::from_options(&mut options)?),
        "fml" => Arc::new(Fml::from_options(&mut options)?),
        "fedmrl" => Arc::new(FedMrl::from_options(&mut options)?),
        "fedmoe" => Arc::new(FedMoe::from_options(&mut options, true, Recipe::default())?.with_head(&mut options)?),
        "moe-local" => Arc::new(FedMoe::from_options(&mut options, false, Recipe::default())?.with_head(&mut options)?),
        "fedktl" => Arc::new(FedKtl::from_options(&mut options)?),
        "moe-ktl" => Arc::new(MoeKtl::from_options(&mut options)?),
        name => {
            return Err(Error::Unknown { kind: "method", name: name.to_owned(), known: NAMES.join(", ") });
        }
    };
    options.finish(method.heads())?;
    Ok(method)
}

/// The digest from which first weights are drawn in a run with this seed. A network's genesis has its own, from its
/// manifest; a loop without a network uses this one.
#[must_use]
pub fn init_digest(init_seed: u64) -> Digest {
    hash("initial weights", &init_seed.to_le_bytes())
}

/// A part with fresh weights. The law depends on `law`, the part's name in it and the seed: equal names, equal weights.
fn part(
    name: &'static str,
    law: &str,
    specs: Vec<ParamSpec>,
    shared: bool,
    setup: &MemberSetup,
    lr: Option<f32>,
) -> Result<Part, Error> {
    let flat = initial(law, &specs, &init_digest(setup.init_seed))?;
    let parameters = Parameters::from_flat(specs, &flat, &setup.device.open()?)?;
    let sgd = Sgd::new(lr.unwrap_or(setup.train.lr), setup.train.momentum, setup.train.clip);
    let lookahead = Lookahead::default();
    let derived = false;
    Ok(Part { name, shared, derived, parameters, sgd, fresh: shared, lookahead, module: name, fixed: false })
}

/// Shares the parts with these names; merged anew every round, they begin it without velocity.
fn share(parts: &mut [Part], names: &[&str]) {
    for part in parts.iter_mut().filter(|part| names.contains(&part.name)) {
        (part.shared, part.fresh) = (true, true);
    }
}

/// A private part with the peer's own extractor, checked by a blank run.
fn own_extractor(name: &'static str, setup: &MemberSetup, lr: Option<f32>) -> Result<Part, Error> {
    let specs = architectures::check(setup.architecture.as_ref(), setup.task.input, &setup.device.open()?)?;
    part(name, &format!("extractor {}", setup.architecture.name()), specs, false, setup, lr)
}

/// The classifier, `Linear(features, classes)`.
fn head_specs(features: usize, task: &Task) -> Vec<ParamSpec> {
    let [weight, bias] = ParamSpec::linear("head", features, task.classes);
    vec![ParamSpec { name: "weight".to_owned(), ..weight }, ParamSpec { name: "bias".to_owned(), ..bias }]
}

/// The number that was meant: 0.01 and not the `f32` nearest to it.
fn exact(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}

/// Prototypes of this length, and what all make of them.
fn prototypes(len: usize, summary: Option<Summary>) -> Result<PrototypeSpec, Error> {
    let len = u16::try_from(len).map_err(|_| Error::Setup(format!("prototypes of {len} values are too long")))?;
    Ok(PrototypeSpec { len, scale_bits: DEFAULT_SCALE_BITS, summary })
}

/// The width of the features of a task's usual architectures: that of what unlike peers have in common.
fn common_width(task: &Task) -> Result<usize, Error> {
    check_task(task)?;
    Ok(architectures::architecture(family(task).first().copied().unwrap_or("mlp"))?.features())
}

/// That width, if this peer's extractor has it.
fn checked_width(method: &str, setup: &MemberSetup) -> Result<usize, Error> {
    let (width, own) = (common_width(&setup.task)?, setup.architecture.features());
    if width != own {
        let name = setup.architecture.name();
        let text = format!("{method}: peers have {width} features in common, this one's {name} has {own}");
        return Err(Error::Setup(format!("{text}; choose another architecture")));
    }
    Ok(width)
}

/// Checks what no method can work with.
fn check_task(task: &Task) -> Result<(), Error> {
    if task.classes < 2 || task.classes > usize::from(u16::MAX) || task.input.len() == 0 {
        let Task { input, classes } = task;
        return Err(Error::Setup(format!(
            "images of {input} in {classes} classes: give a real size and 2 to 65535 classes"
        )));
    }
    Ok(())
}

/// Architectures that fit a task and have the same width, smallest task first.
fn family(task: &Task) -> Vec<&'static str> {
    let ImageShape { channels, height, width } = task.input;
    match (channels, height.min(width)) {
        (_, ..16) => vec!["mlp"],
        (3, 32) => vec!["cnn-1", "cnn-2", "cnn-3", "cnn-4", "cnn-5"],
        _ => vec!["cnn1", "cnn2", "cnn1-fc128", "cnn2-fc128"],
    }
}
