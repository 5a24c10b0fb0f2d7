//! The machine that every gradient-trained method shares: parts of a model, a network that runs them, and a [`Member`].

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor};
use fedswarm_protocol::hash::Digest;

use super::batches::{self, Resident};
use super::checkpoint::{fingerprint, floats, number, put, take};
use super::network::{Network, Part, Parts};
use super::tally::Tally;
use super::transfer::Transfer;
use super::{Course, TransferPlan};
use crate::Error;
use crate::methods::{Evaluation, LocalUpdate, Member, MemberSetup, NamedTensor, Trial};
use crate::parameters::{Parameters, download, to_vec, upload};
use crate::transfer::{Pairs, Prototype, class_directions, class_means};

/// Images per evaluation step. Too low and evaluation is slow; too high and it needs much memory.
pub const EVAL_BATCH: usize = 256;

/// Of flat features, their labels, and their width.
type ClassMeans = fn(&[f32], &[u16], usize) -> Vec<Prototype>;

/// A [`Member`] that trains a [`Network`]'s parts by gradient descent.
pub struct Learner<N> {
    pub(super) network: N,
    pub(super) setup: MemberSetup,
    pub(super) device: Device,
    fingerprint: Digest,
    pub(super) parts: Vec<Part>,
    pub(super) train: Option<Resident>,
    test: Option<Resident>,
    /// Epochs trained so far; with the seed it fixes the order of the data.
    pub(super) epoch: u64,
    /// The installed state: what an update is the difference to.
    base: Vec<f32>,
    /// Learning from a generator's pairs, and publishing prototypes.
    pub(super) transfer: Option<Transfer>,
    pub(super) course: Course,
    /// The phase of the round that is being trained.
    pub(super) phase: usize,
    /// Where the parts start each round that are forgotten at its end.
    first: Vec<(usize, Parameters)>,
}

impl<N> std::fmt::Debug for Learner<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("parts", &self.parts.len()).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl<N: Network> Learner<N> {
    /// A member with these parts; `spelling` is the method's name and options, so that no other method's checkpoint fits.
    ///
    /// # Errors
    /// [`Error::Setup`] or [`Error::Length`] if the configuration or the data make no sense.
    pub fn new(spelling: &str, network: N, parts: Vec<Part>, setup: MemberSetup) -> Result<Self, Error> {
        if setup.train.batch == 0 || setup.train.epochs == 0 {
            return Err(Error::Setup("batch size and epochs must be at least 1".to_owned()));
        }
        let rates = parts.iter().map(|p| p.sgd.lr).chain([setup.train.lr]);
        if rates.into_iter().any(|lr| !lr.is_finite() || lr < 0.0) || !(0.0..1.0).contains(&setup.train.momentum) {
            return Err(Error::Setup("learning rates must be at least 0, momentum must be in 0..1".to_owned()));
        }
        if setup.train.clip.is_some_and(|clip| !clip.is_finite() || clip <= 0.0) {
            return Err(Error::Setup("a gradient clip must be above 0; leave it out for none".to_owned()));
        }
        let device = setup.device.open()?;
        let (input, classes) = (setup.task.input, setup.task.classes);
        let train = Resident::upload(&setup.data.train, input, classes, &device)?;
        let test = Resident::upload(&setup.data.test, input, classes, &device)?;
        let fingerprint = fingerprint(spelling, &parts);
        let (base, transfer, course) = (Vec::new(), None, Course::default());
        let (epoch, phase, first) = (0, 0, Vec::new());
        let mut learner = Self {
            network,
            setup,
            device,
            fingerprint,
            parts,
            train,
            test,
            epoch,
            base,
            transfer,
            course,
            phase,
            first,
        };
        learner.base = learner.shared()?;
        Ok(learner)
    }

    /// The same member, whose rounds go otherwise than one pass of descent over everything.
    #[must_use]
    pub fn with_course(mut self, course: Course) -> Self {
        let forgotten = |part: &Part| course.forgotten.contains(&part.name);
        let first = self.parts.iter().enumerate().filter(|(_, part)| forgotten(part));
        self.first = first.map(|(i, part)| (i, part.parameters.clone())).collect();
        self.course = course;
        self
    }

    /// The same member, which publishes prototypes and learns from a generator's pairs.
    #[must_use]
    pub fn with_transfer(mut self, plan: TransferPlan) -> Self {
        self.transfer = Some(Transfer::new(plan, &self.setup));
        self
    }

    fn shared(&self) -> Result<Vec<f32>, Error> {
        let mut flat = Vec::new();
        for part in self.parts.iter().filter(|p| p.shared) {
            flat.extend(part.parameters.to_flat()?);
        }
        Ok(flat)
    }

    pub(super) fn plain(&self) -> Parts<'_> {
        let list = self.parts.iter().map(|p| (p.name, p.parameters.specs(), p.parameters.values()));
        Parts { list: list.collect(), phase: 0, draw: 0 }
    }

    /// Moves every part to where its round starts.
    fn look_ahead(&mut self) -> Result<(), Error> {
        for part in &mut self.parts {
            part.lookahead.step(&mut part.parameters, &self.device)?;
        }
        Ok(())
    }

    /// The rows of the next epoch.
    pub(super) fn order(&self) -> Vec<i32> {
        let len = self.train.as_ref().map_or(0, Resident::len);
        batches::order(len, self.setup.train.shuffle, self.setup.seed, self.epoch)
    }

    /// All phases of a round: the mean loss of the last one's steps, and the steps of all.
    fn epochs(&mut self, cancel: &AtomicBool) -> Result<(f32, u32), Error> {
        let (mut total, mut counted, mut steps) = (None::<Tensor<1>>, 0, 0);
        for phase in 0..self.course.phases.len() {
            self.phase = phase;
            (total, counted) = (None, 0);
            for _ in 0..self.course.phases[phase].epochs(self.setup.train.epochs) {
                let rows = self.order();
                for batch in rows.chunks_exact(self.course.rows(self.setup.train.batch)) {
                    if cancel.load(Ordering::Relaxed) {
                        return Err(Error::Cancelled);
                    }
                    let loss = self.step(batch)?;
                    total = match (total, loss) {
                        (Some(a), Some(b)) => Some(a + b),
                        (a, b) => a.or(b),
                    };
                    counted += 1;
                }
                self.epoch += 1;
            }
            steps += counted;
        }
        self.phase = 0;
        let total = total.map(to_vec).transpose()?.and_then(|v| v.first().copied()).unwrap_or(0.0);
        let loss = total / f64::from(counted.max(1)) as f32;
        if loss.is_finite() { Ok((loss, steps)) } else { Err(Error::Diverged { loss, steps }) }
    }

    /// The peer's class prototypes, as its model is now.
    fn prototypes(&self) -> Result<Vec<Prototype>, Error> {
        let Some(train) = &self.train else { return Ok(Vec::new()) };
        if self.course.counts {
            let mut counts = std::collections::BTreeMap::<u16, u32>::new();
            self.setup.data.train.labels.iter().for_each(|label| *counts.entry(*label).or_default() += 1);
            let one = |(class, count)| Prototype { class, values: vec![count as f32] };
            return Ok(counts.into_iter().map(one).collect());
        }
        let (len, means): (usize, ClassMeans) = match &self.transfer {
            Some(transfer) => (transfer.seen(train.len(), self.setup.train.batch), class_directions),
            None if self.course.publishes => (train.len(), class_means),
            None => return Ok(Vec::new()),
        };
        let parts = self.plain();
        let (mut features, mut width) = (Vec::new(), 0);
        for start in (0..len).step_by(EVAL_BATCH) {
            let images = train.images.clone().narrow(0, start, EVAL_BATCH.min(len - start));
            let Some(embedded) = self.network.embedding(&parts, images)? else { return Ok(Vec::new()) };
            width = embedded.dims()[1];
            features.extend(to_vec(embedded)?);
        }
        Ok(means(&features, &self.setup.data.train.labels[..len], width))
    }

    /// Measures the model as it is now.
    fn measure(&self) -> Result<Evaluation, Error> {
        let Some(test) = &self.test else { return Ok(Evaluation::default()) };
        let labels = &self.setup.data.test.labels;
        let parts = self.plain();
        let mut tally = Tally::default();
        for start in (0..test.len()).step_by(EVAL_BATCH) {
            let n = EVAL_BATCH.min(test.len() - start);
            let seen = self.network.examine(&parts, test.images.clone().narrow(0, start, n))?;
            tally.add(seen, &labels[start..start + n])?;
        }
        Ok(tally.finish())
    }

    /// Class probabilities of whole images, by the model as it is now.
    fn probabilities(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        let input = self.setup.task.input;
        let parts = self.plain();
        let mut rows = Vec::new();
        for chunk in images.chunks(EVAL_BATCH * input.len()) {
            let logits = self.network.logits(&parts, batches::images(chunk, input, &self.device))?;
            let flat = to_vec(burn::tensor::activation::softmax(logits, 1))?;
            rows.extend(flat.chunks_exact(self.setup.task.classes).map(<[f32]>::to_vec));
        }
        Ok(rows)
    }

    /// A round of training, which may leave traces if it fails.
    fn round(&mut self, cancel: &AtomicBool) -> Result<LocalUpdate, Error> {
        self.look_ahead()?;
        let round = self.epoch / self.course.epochs(self.setup.train.epochs);
        if let Some(transfer) = &mut self.transfer {
            transfer.begin(round, &self.setup, &self.device)?;
        }
        self.try_pairs(round, &self.order(), cancel)?;
        let (loss, steps) = self.epochs(cancel)?;
        let prototypes = self.prototypes()?;
        if prototypes.iter().flat_map(|p| &p.values).any(|x| !x.is_finite()) {
            return Err(Error::Diverged { loss, steps });
        }
        let shared = self.shared()?;
        let delta = match self.course.whole {
            true => shared,
            false => shared.iter().zip(&self.base).map(|(new, old)| new - old).collect(),
        };
        for (i, first) in &self.first {
            self.parts[*i].parameters = first.clone();
        }
        let samples =
            if self.course.uniform { 1 } else { u32::try_from(self.setup.data.train.labels.len()).unwrap_or(u32::MAX) };
        Ok(LocalUpdate { delta, prototypes, samples, loss, steps })
    }
}

impl<N: Network> Member for Learner<N> {
    fn install(&mut self, state: &[f32]) -> Result<(), Error> {
        let derived = self.parts.iter().filter(|p| p.derived).map(|p| p.parameters.count()).sum::<usize>();
        let merged = if self.course.whole { 0 } else { self.base.len() };
        let expected = merged + derived;
        if state.len() != expected {
            return Err(Error::Length { what: "certified state", expected, found: state.len() });
        }
        let mut rest = state;
        for derived in [false, true] {
            let whole = self.course.whole;
            for part in self.parts.iter_mut().filter(|p| if derived { p.derived } else { p.shared && !whole }) {
                let (head, tail) = rest.split_at(part.parameters.count());
                part.parameters.set_flat(head, &self.device)?;
                rest = tail;
            }
        }
        self.parts.iter_mut().filter(|p| p.fresh).for_each(|p| p.sgd.reset());
        let mut rest = state;
        for part in self.parts.iter_mut().filter(|p| p.shared && self.course.whole && self.epoch == 0) {
            let (head, tail) = rest.split_at_checked(part.parameters.count()).unwrap_or_default();
            part.parameters.set_flat(head, &self.device)?;
            rest = tail;
        }
        if !self.course.whole {
            self.base = state[..merged].to_vec();
        }
        Ok(())
    }

    fn receive(&mut self, pairs: Option<&Pairs>) -> Result<(), Error> {
        match &mut self.transfer {
            Some(transfer) => transfer.receive(pairs, &self.setup.task, &self.device),
            None => Ok(()),
        }
    }

    fn trial(&self) -> Option<Trial> {
        self.transfer.as_ref().and_then(Transfer::trial)
    }

    fn train(&mut self, cancel: &AtomicBool) -> Result<LocalUpdate, Error> {
        // Tensors are reference-counted: keeping the old ones costs one copy of the weights in the first step.
        let before = (self.parts.clone(), self.epoch, self.transfer.clone());
        let trained = self.round(cancel);
        if trained.is_err() {
            (self.parts, self.epoch, self.transfer) = before;
            self.phase = 0;
        }
        trained
    }

    fn evaluate(&mut self) -> Result<Evaluation, Error> {
        self.adapted(Self::measure)
    }

    fn predict(&mut self, images: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        let input = self.setup.task.input;
        if !images.len().is_multiple_of(input.len()) {
            let expected = images.len().div_ceil(input.len()) * input.len();
            return Err(Error::Length { what: "pixels", expected, found: images.len() });
        }
        self.adapted(|learner| learner.probabilities(images))
    }

    fn parameters(&self) -> usize {
        self.parts.iter().filter(|p| !p.fixed).map(|p| p.parameters.count()).sum()
    }

    fn export(&self) -> Result<Vec<NamedTensor>, Error> {
        let mut tensors = Vec::new();
        for part in &self.parts {
            for (spec, value) in part.parameters.specs().iter().zip(part.parameters.values()) {
                let name = format!("{}.{}", part.name, spec.name);
                tensors.push(NamedTensor { name, shape: spec.shape.clone(), values: to_vec(value.clone())? });
            }
        }
        Ok(tensors)
    }

    fn import(&mut self, tensors: &[NamedTensor]) -> Result<(), Error> {
        let mut flats = Vec::new();
        let mut used = 0;
        for part in &self.parts {
            let mut flat = Vec::with_capacity(part.parameters.count());
            for spec in part.parameters.specs() {
                let name = format!("{}.{}", part.name, spec.name);
                flat.extend_from_slice(NamedTensor::values_of(tensors, &name, &spec.shape)?);
                used += 1;
            }
            flats.push(flat);
        }
        if used != tensors.len() {
            return Err(Error::Tensors(format!("{} given, the model has {used}", tensors.len())));
        }
        for (part, flat) in self.parts.iter_mut().zip(flats) {
            part.parameters.set_flat(&flat, &self.device)?;
            part.sgd.reset();
            part.lookahead.reset();
        }
        self.base = self.shared()?;
        Ok(())
    }

    fn checkpoint(&self) -> Result<Vec<u8>, Error> {
        let mut out = self.fingerprint.as_bytes().to_vec();
        out.extend_from_slice(&self.epoch.to_le_bytes());
        put(&mut out, &self.base);
        for part in &self.parts {
            put(&mut out, &part.parameters.to_flat()?);
            match part.sgd.velocity() {
                None => out.push(0),
                Some(velocity) => {
                    out.push(1);
                    put(&mut out, &download(velocity)?);
                }
            }
            match part.lookahead.anchor() {
                None => out.push(0),
                Some(anchor) => {
                    out.push(1);
                    put(&mut out, anchor);
                }
            }
        }
        if let Some(transfer) = &self.transfer {
            transfer.write(&mut out);
        }
        Ok(out)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), Error> {
        let mut rest = checkpoint;
        if take(&mut rest, 32)? != self.fingerprint.as_bytes() {
            let text = "it belongs to another method, architecture or version".to_owned();
            return Err(Error::Checkpoint(text));
        }
        let epoch = number(&mut rest)?;
        let base = floats(&mut rest, self.base.len())?;
        let mut parts = self.parts.clone();
        for part in &mut parts {
            let count = part.parameters.count();
            part.parameters.set_flat(&floats(&mut rest, count)?, &self.device)?;
            let velocity = match take(&mut rest, 1)? {
                [0] => None,
                _ => Some(upload(part.parameters.specs(), &floats(&mut rest, count)?, &self.device)?),
            };
            part.sgd.set_velocity(velocity);
            let anchor = match take(&mut rest, 1)? {
                [0] => None,
                _ => Some(floats(&mut rest, count)?),
            };
            part.lookahead.set_anchor(anchor);
        }
        let transfer = match &self.transfer {
            Some(transfer) => Some(transfer.read(&mut rest, &self.setup.task, &self.device)?),
            None => None,
        };
        if !rest.is_empty() {
            return Err(Error::Checkpoint(format!("{} bytes too many", rest.len())));
        }
        (self.parts, self.base, self.epoch, self.transfer) = (parts, base, epoch, transfer);
        Ok(())
    }
}
