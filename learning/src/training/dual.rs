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

/// Names in files: of the weights, and of the class vectors that their outputs are compared with.
const NAMES: [&str; 2] = ["linear.weights", "etf.vectors"];

/// What the outputs of a linear model are compared with.
#[derive(Clone, Debug)]
enum Codes {
    /// One output is one class's.
    Own,
    /// Class vectors of unit length, one per column, row-major; the inner product of any two is the same.
    Vectors(Vec<f32>),
}

impl Codes {
    /// `<v_c, o>`.
    fn score(&self, outputs: &[f64], class: usize) -> f64 {
        match self {
            Self::Own => outputs[class],
            Self::Vectors(vectors) => {
                let rows = vectors.chunks_exact(outputs.len()).zip(outputs);
                rows.map(|(row, output)| f64::from(row[class]) * output).sum()
            }
        }
    }

    /// `o += by v_c`.
    fn add(&self, outputs: &mut [f64], by: f64, class: usize) {
        match self {
            Self::Own => outputs[class] += by,
            Self::Vectors(vectors) => {
                let rows = vectors.chunks_exact(outputs.len()).zip(outputs);
                rows.for_each(|(row, output)| *output += by * f64::from(row[class]));
            }
        }
    }

    /// How far a score is to be on the class's side.
    fn margin(&self, is_own: bool, classes: usize) -> f64 {
        match self {
            Self::Vectors(_) if !is_own => 1.0 / (classes as f64 - 1.0),
            _ => 1.0,
        }
    }
}

/// A class-by-class linear model with its dual variables.
#[derive(Debug)]
pub struct DualMember {
    setup: MemberSetup,
    codes: Codes,
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
    /// A member whose duals are zero; its outputs are compared with these vectors, `[classes, classes]` with one per column, if there are any.
    ///
    /// # Errors
    /// [`Error::Setup`] and [`Error::Length`] if the configuration or the data make no sense.
    pub fn new(spelling: &str, setup: MemberSetup, vectors: Option<Vec<f32>>) -> Result<Self, Error> {
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
            codes: vectors.map_or(Codes::Own, Codes::Vectors),
            setup,
        })
    }

    /// `V = 1/n sum_ic a_ic y_ic v_c x_i^T`.
    fn sums(&self) -> Vec<f64> {
        let labels = &self.setup.data.train.labels;
        let (count, classes) = (labels.len(), self.setup.task.classes);
        let mut sums = vec![0.0; self.weights.len()];
        for (i, (image, label)) in self.images.chunks_exact(self.width).zip(labels).enumerate() {
            let mut outputs = vec![0.0; classes];
            for class in 0..classes {
                let by = sign(*label, class) * self.duals[class * count + i] / count as f64;
                self.codes.add(&mut outputs, by, class);
            }
            self.add_outer(&mut sums, &outputs, image);
        }
        sums
    }

    /// Adds `o x^T`.
    fn add_outer(&self, weights: &mut [f64], outputs: &[f64], image: &[f64]) {
        weights.chunks_exact_mut(self.width).zip(outputs).for_each(|(row, output)| add(row, *output, image));
    }

    /// `W x`.
    fn outputs(&self, weights: &[f64], image: &[f64]) -> Vec<f64> {
        weights.chunks_exact(self.width).map(|row| dot(row, image)).collect()
    }

    /// Passes of coordinate ascent on the subproblem: the mean loss before each step, summed over classes, and the steps.
    ///
    /// A dual's best move is where its slope is zero, `margin - y <v_c, (W + q dV) x> = q |x|^2 move / n`, or the end of its range.
    fn ascend(&mut self, cancel: &AtomicBool) -> Result<(f64, u32), Error> {
        let labels = self.setup.data.train.labels.clone();
        let (count, width, classes) = (labels.len(), self.width, self.setup.task.classes);
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
                // Images are of unit length: what is added to the weights shows in the outputs as it is.
                let (mut outputs, mut moves) = (self.outputs(&weights, image), vec![0.0; classes]);
                for class in 0..classes {
                    let sign = sign(labels[row], class);
                    let miss = self.codes.margin(sign > 0.0, classes) - sign * self.codes.score(&outputs, class);
                    loss += miss.max(0.0);
                    let dual = &mut self.duals[class * count + row];
                    let moved = (*dual + miss * count as f64 / curvature).clamp(0.0, 1.0);
                    let by = sign * (moved - *dual) * curvature / count as f64;
                    *dual = moved;
                    self.codes.add(&mut outputs, by, class);
                    self.codes.add(&mut moves, by, class);
                }
                self.add_outer(&mut weights, &moves, image);
                steps += 1;
            }
            self.epoch += 1;
        }
        Ok((loss / f64::from(steps.max(1)), steps))
    }

    /// Logits of images of unit length, row by row.
    fn logits(&self, images: &[f64]) -> Vec<f32> {
        let weights: Vec<f64> = self.weights.iter().map(|&w| f64::from(w)).collect();
        let row = |image| {
            let outputs = self.outputs(&weights, image);
            (0..outputs.len()).map(|class| self.codes.score(&outputs, class) as f32).collect::<Vec<f32>>()
        };
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
        let tensor = |name: &str, shape: &[usize], values: &[f32]| NamedTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values: values.to_vec(),
        };
        let classes = self.setup.task.classes;
        let mut tensors = vec![tensor(NAMES[0], &[classes, self.width], &self.weights)];
        if let Codes::Vectors(vectors) = &self.codes {
            tensors.push(tensor(NAMES[1], &[classes, classes], vectors));
        }
        Ok(tensors)
    }

    /// Weights alone have no duals: training begins anew beside them.
    fn import(&mut self, tensors: &[NamedTensor]) -> Result<(), Error> {
        let own = self.export()?;
        if tensors.len() != own.len() {
            return Err(Error::Tensors(format!("{} given, the model has {}", tensors.len(), own.len())));
        }
        let taken = own.iter().map(|own| NamedTensor::values_of(tensors, &own.name, &own.shape));
        let taken = taken.collect::<Result<Vec<_>, _>>()?;
        if let (Codes::Vectors(vectors), Some(values)) = (&mut self.codes, taken.get(1)) {
            vectors.copy_from_slice(values);
        }
        self.weights.copy_from_slice(taken[0]);
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
