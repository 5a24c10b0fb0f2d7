//! A member with a linear model that is trained in the dual, beside those of related tasks ([`crate::methods::Mocha`]).

use std::sync::atomic::{AtomicBool, Ordering};

use fedswarm_protocol::hash::Digest;

use super::batches;
use super::checkpoint::{fingerprint, floats, number, put, take};
use super::tally::{correct, row_loss};
use crate::Error;
use crate::data::Split;
use crate::methods::{Evaluation, LocalUpdate, Member, MemberSetup, NamedTensor};

/// Updates are counted up to here and then from 0 again, as in the certified state.
const COUNTED: u32 = 1 << 16;

/// Name of the weights in files.
const WEIGHTS: &str = "linear.weights";

/// A class-by-class linear model with its dual variables.
#[derive(Debug)]
pub struct DualMember {
    setup: MemberSetup,
    fingerprint: Digest,
    /// Numbers of an image: its pixels and a constant.
    width: usize,
    /// Of unit length, flat.
    images: Vec<f64>,
    test: Vec<f64>,
    /// Of each class and image, 0 to 1: those behind the sums that were merged last.
    merged: Vec<f64>,
    /// Those behind the sums that were published last.
    duals: Vec<f64>,
    /// How many of this member's updates have been merged.
    counted: u32,
    /// The certified weights, class by class.
    weights: Vec<f32>,
    /// The bound on the subproblem's curvature.
    curvature: f32,
    epoch: u64,
}

impl DualMember {
    /// A member whose duals are zero.
    ///
    /// # Errors
    /// [`Error::Setup`] and [`Error::Length`] if the configuration or the data make no sense.
    pub fn new(spelling: &str, setup: MemberSetup) -> Result<Self, Error> {
        if setup.train.epochs == 0 {
            return Err(Error::Setup("epochs must be at least 1".to_owned()));
        }
        let (classes, width) = (setup.task.classes, setup.task.input.len() + 1);
        let images = unit(&setup.data.train, &setup)?;
        let test = unit(&setup.data.test, &setup)?;
        let count = setup.data.train.labels.len();
        Ok(Self {
            // The shapes that a checkpoint must agree with.
            fingerprint: fingerprint(&format!("{spelling} {classes} {width} {count}"), &[]),
            width,
            images,
            test,
            merged: vec![0.0; classes * count],
            duals: vec![0.0; classes * count],
            counted: 0,
            weights: vec![0.0; classes * width],
            curvature: 0.0,
            epoch: 0,
            setup,
        })
    }

    /// `v = 1/n sum_i a_i y_i x_i` of each class.
    fn sums(&self) -> Vec<f64> {
        let labels = &self.setup.data.train.labels;
        let mut sums = vec![0.0; self.weights.len()];
        for (class, sum) in sums.chunks_exact_mut(self.width).enumerate() {
            let duals = &self.duals[class * labels.len()..(class + 1) * labels.len()];
            for ((image, dual), label) in self.images.chunks_exact(self.width).zip(duals).zip(labels) {
                add(sum, sign(*label, class) * dual / labels.len() as f64, image);
            }
        }
        sums
    }

    /// Passes of coordinate ascent on the subproblem: the mean loss before each step, summed over classes, and the steps.
    ///
    /// A dual's best move is where its slope is zero, `1 - y <w + q dv, x> = q |x|^2 move / n`, or the end of its range.
    fn ascend(&mut self, cancel: &AtomicBool) -> Result<(f64, u32), Error> {
        let labels = self.setup.data.train.labels.clone();
        let (count, width) = (labels.len(), self.width);
        // Before anything was merged there is no bound, and no weights: any finite one gives a start.
        let curvature = if self.curvature > 0.0 { f64::from(self.curvature) } else { count as f64 };
        let mut weights: Vec<f64> = self.weights.iter().map(|&w| f64::from(w)).collect();
        let (mut loss, mut steps) = (0.0, 0u32);
        for _ in 0..self.setup.train.epochs {
            for row in batches::order(count, self.setup.train.shuffle, self.setup.seed, self.epoch) {
                if cancel.load(Ordering::Relaxed) {
                    return Err(Error::Cancelled);
                }
                let row = row as usize;
                let image = &self.images[row * width..(row + 1) * width];
                for (class, weights) in weights.chunks_exact_mut(width).enumerate() {
                    let sign = sign(labels[row], class);
                    let miss = 1.0 - sign * dot(weights, image);
                    loss += miss.max(0.0);
                    let dual = &mut self.duals[class * count + row];
                    let moved = (*dual + miss * count as f64 / curvature).clamp(0.0, 1.0);
                    add(weights, sign * (moved - *dual) * curvature / count as f64, image);
                    *dual = moved;
                }
                steps += 1;
            }
            self.epoch += 1;
        }
        Ok((loss / f64::from(steps.max(1)), steps))
    }

    /// Logits of images of unit length, row by row.
    fn logits(&self, images: &[f64]) -> Vec<f32> {
        let weights: Vec<f64> = self.weights.iter().map(|&w| f64::from(w)).collect();
        let row = |image| weights.chunks_exact(self.width).map(|w| dot(w, image) as f32).collect::<Vec<f32>>();
        images.chunks_exact(self.width).flat_map(row).collect()
    }
}

impl Member for DualMember {
    fn install(&mut self, state: &[f32]) -> Result<(), Error> {
        let expected = self.weights.len() + 2;
        if state.len() != expected {
            return Err(Error::Length { what: "certified state", expected, found: state.len() });
        }
        let (weights, rest) = state.split_at(self.weights.len());
        self.weights = weights.to_vec();
        // A whole number below 2^16.
        let counted = rest[1] as u32;
        if counted == (self.counted + 1) % COUNTED {
            self.merged.clone_from(&self.duals);
        } else if counted == self.counted {
            // What was published last was not merged.
            self.duals.clone_from(&self.merged);
        } else {
            // Another history than this member's, as after it left and came back: it begins anew.
            self.duals.fill(0.0);
            self.merged.fill(0.0);
        }
        (self.curvature, self.counted) = (rest[0], counted);
        Ok(())
    }

    fn train(&mut self, cancel: &AtomicBool) -> Result<LocalUpdate, Error> {
        let before = (self.duals.clone(), self.epoch);
        self.duals.clone_from(&self.merged);
        let (loss, steps) = match self.ascend(cancel) {
            Ok(done) => done,
            Err(error) => {
                (self.duals, self.epoch) = before;
                return Err(error);
            }
        };
        let delta = self.sums().iter().map(|&x| x as f32).collect();
        let samples = u32::try_from(self.setup.data.train.labels.len()).unwrap_or(u32::MAX);
        Ok(LocalUpdate { delta, prototypes: Vec::new(), samples, loss: loss as f32, steps })
    }

    fn evaluate(&mut self) -> Result<Evaluation, Error> {
        let labels = &self.setup.data.test.labels;
        let logits = self.logits(&self.test);
        let rows = logits.chunks_exact(self.setup.task.classes).zip(labels);
        let loss: f64 = rows.map(|(row, &label)| row_loss(row, label)).sum();
        let loss = (loss / labels.len().max(1) as f64) as f32;
        let correct = correct(&logits, labels);
        Ok(Evaluation { correct, total: labels.len() as u32, loss, ..Evaluation::default() })
    }

    fn predict(&mut self, images: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        let input = self.setup.task.input;
        if !images.len().is_multiple_of(input.len()) {
            let expected = images.len().div_ceil(input.len()) * input.len();
            return Err(Error::Length { what: "pixels", expected, found: images.len() });
        }
        let logits = self.logits(&flat_unit(images, input.len()));
        Ok(logits.chunks_exact(self.setup.task.classes).map(softmax).collect())
    }

    fn parameters(&self) -> usize {
        self.weights.len()
    }

    fn export(&self) -> Result<Vec<NamedTensor>, Error> {
        let shape = vec![self.setup.task.classes, self.width];
        Ok(vec![NamedTensor { name: WEIGHTS.to_owned(), shape, values: self.weights.clone() }])
    }

    /// Weights alone have no duals: training begins anew beside them.
    fn import(&mut self, tensors: &[NamedTensor]) -> Result<(), Error> {
        let [tensor] = tensors else {
            return Err(Error::Tensors(format!("{} given, the model has 1", tensors.len())));
        };
        let shape = [self.setup.task.classes, self.width];
        if tensor.name != WEIGHTS {
            return Err(Error::Tensors(format!("{WEIGHTS} is missing")));
        }
        if tensor.shape != shape || tensor.values.len() != self.weights.len() {
            return Err(Error::Tensors(format!("{WEIGHTS} has shape {:?}, not {shape:?}", tensor.shape)));
        }
        self.weights.clone_from(&tensor.values);
        self.duals.fill(0.0);
        self.merged.fill(0.0);
        Ok(())
    }

    fn checkpoint(&self) -> Result<Vec<u8>, Error> {
        let mut out = self.fingerprint.as_bytes().to_vec();
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&u64::from(self.counted).to_le_bytes());
        put(&mut out, &[self.curvature]);
        put(&mut out, &self.weights);
        out.extend(self.duals.iter().chain(&self.merged).flat_map(|x| x.to_le_bytes()));
        Ok(out)
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), Error> {
        let mut rest = checkpoint;
        if take(&mut rest, 32)? != self.fingerprint.as_bytes() {
            let text = "it belongs to another method, data set or version".to_owned();
            return Err(Error::Checkpoint(text));
        }
        let (epoch, counted) = (number(&mut rest)?, number(&mut rest)?);
        let curvature = floats(&mut rest, 1)?[0];
        let weights = floats(&mut rest, self.weights.len())?;
        let mut doubles = |count: usize| -> Result<Vec<f64>, Error> {
            (0..count).map(|_| Ok(f64::from_bits(number(&mut rest)?))).collect()
        };
        let (duals, merged) = (doubles(self.duals.len())?, doubles(self.merged.len())?);
        if !rest.is_empty() {
            return Err(Error::Checkpoint(format!("{} bytes too many", rest.len())));
        }
        (self.epoch, self.curvature, self.weights) = (epoch, curvature, weights);
        (self.duals, self.merged) = (duals, merged);
        self.counted = u32::try_from(counted).unwrap_or_default();
        Ok(())
    }
}

/// A split's images of unit length, checked against the task.
fn unit(split: &Split, setup: &MemberSetup) -> Result<Vec<f64>, Error> {
    let pixels = setup.task.input.len();
    let (expected, found) = (split.labels.len() * pixels, split.images.len());
    if expected != found {
        return Err(Error::Length { what: "pixels", expected, found });
    }
    if let Some(label) = split.labels.iter().find(|&&label| usize::from(label) >= setup.task.classes) {
        let classes = setup.task.classes;
        return Err(Error::Setup(format!("label {label} found where there are {classes} classes")));
    }
    Ok(flat_unit(&split.images, pixels))
}

/// Images with a constant behind them, of unit length.
fn flat_unit(images: &[f32], pixels: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(images.len() + images.len() / pixels);
    for image in images.chunks_exact(pixels) {
        let squares: f64 = image.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let scale = 1.0 / (squares + 1.0).sqrt();
        out.extend(image.iter().map(|&x| f64::from(x) * scale));
        out.push(scale);
    }
    out
}

fn sign(label: u16, class: usize) -> f64 {
    if usize::from(label) == class { 1.0 } else { -1.0 }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], by: f64, x: &[f64]) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += by * x);
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|x| (x - top).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|x| x / sum).collect()
}
