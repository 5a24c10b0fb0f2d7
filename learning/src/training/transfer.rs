//! Learning from a generator's pairs: the second task of FedKTL, beside the peer's own images.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use fedswarm_protocol::hash::{Digest, Stream};

use super::trial::Verdict;
use super::{Sgd, batches, checkpoint};
use crate::Error;
use crate::architectures::layers;
use crate::methods::{MemberSetup, Task, Trial};
use crate::parameters::{ParamSpec, Parameters, Weights, initial};
use crate::transfer::Pairs;

/// Most pairs that a member takes in. Too low and hosts that send several pairs per class are refused; it bounds memory and
/// checkpoints.
pub const MAX_PAIRS: usize = 4096;

/// Longest latent vector that a member takes in: that of Stable Diffusion's autoencoder. It bounds the projection.
pub const MAX_LATENT: usize = 16_384;

/// Largest norm of the projection's gradient (the released code's).
const CLIP: f32 = 100.0;

/// How a member learns from a generator's pairs.
///
/// In every step a batch of generated images goes through the model's [`transferred`](super::Network::transferred) features
/// and a linear projection, and `weight x MSE(projection, latent vectors)` is added to the loss. The projection starts each
/// round from the same first weights, alike for all peers, and is forgotten at the end: only the features keep what was learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferPlan {
    /// Weight of the loss on pairs in a member's first round; 0 takes no pairs in at all.
    pub mu: f32,
    /// What the weight is multiplied with after each of the member's rounds.
    pub decay: f32,
    /// A control: latent vectors are dealt to other pairs' images, anew in each round.
    pub shuffled: bool,
    /// Leaves the images that fill no batch out of the prototypes, as the released code does.
    pub drop_last: bool,
    /// Tries pairs before learning from them, and refuses those that raise the member's own loss.
    pub gate: bool,
    /// Width of the features that are projected.
    pub features: usize,
}

/// What a member keeps of pairs, from one round to the next and within one.
#[derive(Clone)]
pub(super) struct Transfer {
    plan: TransferPlan,
    batch: usize,
    sgd: Sgd,
    common: Digest,
    held: Option<Arc<Held>>,
    verdict: Option<Arc<Verdict>>,
    round: Option<Round>,
}

/// Pairs, in memory and on the device.
struct Held {
    pairs: Pairs,
    images: Tensor<4>,
    latents: Tensor<2>,
}

/// The second task in one round.
#[derive(Clone)]
struct Round {
    number: u64,
    seed: u64,
    weight: f32,
    latents: Tensor<2>,
    projection: Parameters,
    sgd: Sgd,
    /// Rows of the current pass that are still to come.
    left: Vec<i32>,
    passes: u64,
}

/// One step's part of the second task.
pub(super) struct Lesson {
    pub(super) images: Tensor<4>,
    latents: Tensor<2>,
    weight: f32,
    specs: Vec<ParamSpec>,
    /// The projection's tensors, recording.
    pub(super) projection: Vec<Tensor<1>>,
}

impl Lesson {
    /// `weight x MSE(projection(features), latents)`.
    pub(super) fn loss(&self, features: Tensor<2>) -> Result<Tensor<1>, Error> {
        let mut weights = Weights::new("projection", &self.specs, &self.projection);
        let difference = layers::linear(&mut weights, features)? - self.latents.clone();
        Ok((difference.clone() * difference).mean() * self.weight)
    }
}

impl Transfer {
    pub(super) fn new(plan: TransferPlan, setup: &MemberSetup) -> Self {
        let sgd = Sgd::new(setup.train.lr, setup.train.momentum, Some(CLIP));
        Self { plan, batch: setup.train.batch, sgd, common: setup.common, held: None, verdict: None, round: None }
    }

    /// Images that count in prototypes, of so many.
    pub(super) const fn seen(&self, len: usize, batch: usize) -> usize {
        if self.plan.drop_last { len / batch * batch } else { len }
    }

    /// Replaces the pairs.
    pub(super) fn receive(&mut self, pairs: Option<&Pairs>, task: &Task, device: &Device) -> Result<(), Error> {
        self.held = match pairs {
            Some(pairs) if self.plan.mu > 0.0 && !pairs.classes.is_empty() => {
                check(pairs, task)?;
                Some(Arc::new(Held::upload(pairs.clone(), device)))
            }
            _ => None,
        };
        Ok(())
    }

    /// Starts the member's round of this number.
    pub(super) fn begin(&mut self, number: u64, setup: &MemberSetup, device: &Device) -> Result<(), Error> {
        self.round = None;
        let Some(held) = &self.held else { return Ok(()) };
        if self.verdict.as_ref().is_some_and(|v| v.refused && v.covers(&held.pairs, number)) {
            return Ok(());
        }
        let specs = ParamSpec::linear("projection", self.plan.features, held.pairs.latent).to_vec();
        let flat = initial("projection", &specs, &self.common)?;
        let latents =
            if self.plan.shuffled { held.dealt_anew(&self.common, number, device) } else { held.latents.clone() };
        self.round = Some(Round {
            number,
            seed: setup.seed,
            weight: self.plan.mu * self.plan.decay.powf(number as f32),
            latents,
            projection: Parameters::from_flat(specs, &flat, device)?,
            sgd: self.sgd.clone(),
            left: Vec::new(),
            passes: 0,
        });
        Ok(())
    }

    /// The pairs of the round that has begun, if no verdict holds for them.
    pub(super) fn untried(&self, round: u64) -> Option<Pairs> {
        let (true, Some(held), Some(_)) = (self.plan.gate, &self.held, &self.round) else { return None };
        let known = self.verdict.as_ref().is_some_and(|v| v.covers(&held.pairs, round));
        (!known).then(|| held.pairs.clone())
    }

    /// Does without pairs in the round that has begun.
    pub(super) fn leave(&mut self) {
        self.round = None;
    }

    /// Takes a trial's verdict.
    pub(super) fn rule(&mut self, verdict: Verdict) {
        if verdict.refused {
            self.leave();
        }
        self.verdict = Some(Arc::new(verdict));
    }

    /// The verdict by which the pairs were taken in or refused.
    pub(super) fn trial(&self) -> Option<Trial> {
        let (held, verdict) = (self.held.as_ref()?, self.verdict.as_ref()?);
        let (with, without) = verdict.losses;
        let trial = Trial { round: verdict.round, refused: verdict.refused, with, without };
        verdict.covers(&held.pairs, verdict.round).then_some(trial)
    }

    /// The next batch of pairs; nothing if there are none.
    pub(super) fn lesson(&mut self, device: &Device) -> Option<Lesson> {
        let (Some(held), Some(round)) = (&self.held, &mut self.round) else { return None };
        if round.left.is_empty() {
            round.left = (0..i32::try_from(held.pairs.classes.len()).unwrap_or(i32::MAX)).collect();
            let parts = [round.seed, round.number, round.passes].map(u64::to_le_bytes);
            Stream::new("pair order", &parts.each_ref().map(<[u8; 8]>::as_slice)).shuffle(&mut round.left);
            round.passes += 1;
        }
        // The last batch of a pass may be smaller.
        let rows = round.left.split_off(round.left.len().saturating_sub(self.batch));
        let index = batches::index(&rows, device);
        Some(Lesson {
            images: held.images.clone().select(0, index.clone()),
            latents: round.latents.clone().select(0, index),
            weight: round.weight,
            specs: round.projection.specs().to_vec(),
            projection: round.projection.tracked(),
        })
    }

    /// One step of the projection.
    pub(super) fn step(&mut self, grads: Vec<Tensor<1>>) {
        if let Some(round) = &mut self.round {
            round.sgd.step(&mut round.projection, grads);
        }
    }

    /// Adds pairs and verdict to a checkpoint. A round's own state is not part of it: checkpoints are taken between rounds.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_pairs(self.held.as_ref().map(|held| &held.pairs), out);
        write_pairs(self.verdict.as_ref().map(|verdict| &verdict.pairs), out);
        if let Some(verdict) = &self.verdict {
            out.extend_from_slice(&verdict.round.to_le_bytes());
            out.push(u8::from(verdict.refused));
            checkpoint::put(out, &[verdict.losses.0, verdict.losses.1]);
        }
    }

    /// The same plan with a checkpoint's pairs and verdict.
    pub(super) fn read(&self, rest: &mut &[u8], task: &Task, device: &Device) -> Result<Self, Error> {
        let held = read_pairs(rest, task)?.map(|pairs| Arc::new(Held::upload(pairs, device)));
        let verdict = match read_pairs(rest, task)? {
            Some(pairs) => {
                let round = checkpoint::number(rest)?;
                let refused = checkpoint::take(rest, 1)? != [0];
                let losses = checkpoint::floats(rest, 2)?;
                Some(Arc::new(Verdict { round, refused, losses: (losses[0], losses[1]), pairs }))
            }
            None => None,
        };
        Ok(Self { held, verdict, round: None, ..self.clone() })
    }
}

fn write_pairs(pairs: Option<&Pairs>, out: &mut Vec<u8>) {
    let Some(pairs) = pairs else { return out.extend_from_slice(&0u64.to_le_bytes()) };
    out.extend_from_slice(&(pairs.classes.len() as u64).to_le_bytes());
    out.extend_from_slice(&(pairs.latent as u64).to_le_bytes());
    out.extend(pairs.classes.iter().flat_map(|c| c.to_le_bytes()));
    checkpoint::put(out, &pairs.images);
    checkpoint::put(out, &pairs.latents);
}

fn read_pairs(rest: &mut &[u8], task: &Task) -> Result<Option<Pairs>, Error> {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let n = size(checkpoint::number(rest)?);
    if n == 0 {
        return Ok(None);
    }
    let latent = size(checkpoint::number(rest)?);
    let classes = checkpoint::take(rest, n.saturating_mul(2))?;
    let classes = classes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
    let images = checkpoint::floats(rest, n.saturating_mul(task.input.len()))?;
    let latents = checkpoint::floats(rest, n.saturating_mul(latent))?;
    let pairs = Pairs { image: task.input, latent, classes, images, latents };
    check(&pairs, task).map_err(|e| Error::Checkpoint(format!("its pairs: {e}")))?;
    Ok(Some(pairs))
}

impl Held {
    /// The caller has checked the pairs.
    fn upload(pairs: Pairs, device: &Device) -> Self {
        let n = pairs.classes.len();
        let images = batches::images(&pairs.images, pairs.image, device);
        let latents = Tensor::from_data(TensorData::new(pairs.latents.clone(), [n, pairs.latent]), device);
        Self { pairs, images, latents }
    }

    /// The latent vectors in an order in which none keeps its place: one random cycle (Sattolo).
    fn dealt_anew(&self, common: &Digest, round: u64, device: &Device) -> Tensor<2> {
        let mut order: Vec<i32> = (0..i32::try_from(self.pairs.classes.len()).unwrap_or(i32::MAX)).collect();
        let mut stream = Stream::new("pairs dealt anew", &[common.as_bytes(), &round.to_le_bytes()]);
        for i in (1..order.len()).rev() {
            let j = stream.below(i as u64) as usize;
            order.swap(i, j);
        }
        self.latents.clone().select(0, batches::index(&order, device))
    }
}

/// Refuses pairs that do not fit the task or each other.
fn check(pairs: &Pairs, task: &Task) -> Result<(), Error> {
    let n = pairs.classes.len();
    let (input, latent) = (task.input, pairs.latent);
    if pairs.image != input {
        return Err(Error::Setup(format!("pairs hold images of {}, this task's are {input}", pairs.image)));
    }
    if n > MAX_PAIRS || !(1..=MAX_LATENT).contains(&latent) {
        return Err(Error::Setup(format!(
            "{n} pairs with latent vectors of {latent} numbers: at most {MAX_PAIRS} pairs and 1 to {MAX_LATENT} numbers"
        )));
    }
    for (what, found, expected) in [
        ("pixels of the pairs", pairs.images.len(), n * input.len()),
        ("latent vectors of the pairs", pairs.latents.len(), n * latent),
    ] {
        if found != expected {
            return Err(Error::Length { what, expected, found });
        }
    }
    if let Some(class) = pairs.classes.iter().find(|&&c| usize::from(c) >= task.classes) {
        return Err(Error::Setup(format!("a pair stands for class {class} where there are {}", task.classes)));
    }
    if pairs.images.iter().chain(&pairs.latents).any(|x| !x.is_finite()) {
        return Err(Error::Setup("pairs hold values that are not finite".to_owned()));
    }
    Ok(())
}
