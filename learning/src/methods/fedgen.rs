//! `FedGen` (Zhu et al. 2021, arXiv 2105.10056, algorithm 1) as `HtFLlib` has it: private extractors, one shared head, and a generator of features.
//!
//! ```text
//! each round: every peer i starts from the certified h and G, with its own f_i
//!             (f_i, h_i) <- E epochs of SGD on CE(h_i(f_i(x)), y) + CE(h_i(G(e, c)), c),  e uniform, c as often as all peers have it
//!             publishes h_i and how many images of each class it has
//!             h <- sum_i n_i / n h_i
//!             G <- steps of Adam on CE(sum_i n_i / n h_i(G(e, c)), c)      (equation 4; derived by all in exact arithmetic: ADR 021)
//! evaluated:  h(f_i(x)) with the certified h
//! ```
//!
//! `noise` = 32, `hidden` = 128, `generator_lr` = 0.1, `generator_steps` = 100 and `generator_batch` = 10 are those of the reference's runs. The
//! released code trains its generator and then forgets it, so that peers learn from the untrained one; `as-released=true` does that.
//! Before the first merge nobody knows all peers' classes, and nothing is learnt from the generator. With `head=etf` each CE is `ArcFace`.

use burn::tensor::{Tensor, TensorData};
use fedswarm_protocol::hash::Stream;
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::{Generator, RATE_BITS, Summary, quantised};
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::options::{Options, spelling};
use super::{
    Heads, Member, MemberSetup, Method, MethodInfo, Task, checked_width, common_width, exact, family, head_specs, part,
    share,
};
use crate::Error;
use crate::architectures::layers;
use crate::parameters::{ParamSpec, schema, to_vec};
use crate::training::{Course, Learner, Network, Part, Parts};

/// The part's name, as the protocol names the derived tensors.
const NAME: &str = "generator";

/// Keeps the division by a batch's deviation finite, as the protocol does.
const EPSILON: f32 = 1e-5;

/// Fraction bits of a number of images: up to four million of a class.
const COUNT_BITS: u8 = 8;

/// Private extractors, one shared head, a generator of features.
#[derive(Clone, Copy, Debug)]
pub struct FedGen {
    noise: u16,
    hidden: u16,
    lr: f32,
    steps: u16,
    batch: u16,
    as_released: bool,
    head: Head,
}

/// The reference's settings.
const USUAL: FedGen =
    FedGen { noise: 32, hidden: 128, lr: 0.1, steps: 100, batch: 10, as_released: false, head: Head::Linear };

impl FedGen {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        let form = "a whole number of at least 1";
        Ok(Self {
            noise: options.value("noise", form)?.unwrap_or(USUAL.noise),
            hidden: options.value("hidden", form)?.unwrap_or(USUAL.hidden),
            lr: options.rate("generator_lr")?.unwrap_or(USUAL.lr),
            steps: options.value("generator_steps", "a whole number from 0 to 1000")?.unwrap_or(USUAL.steps),
            batch: options.value("generator_batch", "a whole number of at least 2")?.unwrap_or(USUAL.batch),
            as_released: options.flag("as-released")?.unwrap_or(false),
            head: Head::from_options(options)?,
        })
    }

    fn generator(&self, task: &Task) -> Result<Generator, Error> {
        let width = common_width(task)?;
        let features =
            u16::try_from(width).map_err(|_| Error::Setup(format!("features of {width} values are too many")))?;
        let rate_q = quantised(exact(self.lr), RATE_BITS);
        let steps = if self.as_released { 0 } else { self.steps };
        let loss = self.head.certified_loss();
        Ok(Generator { noise: self.noise, hidden: self.hidden, features, steps, batch: self.batch, rate_q, loss })
    }
}

impl Method for FedGen {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedgen",
            shares: "the head up, with a generator down",
            heterogeneous: true,
            needs: "equal feature widths",
            paper: "Zhu et al. 2021, arXiv 2105.10056",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let whole = |name: &str, value: u16, usual: u16| (value != usual).then(|| format!("{name}={value}"));
        spelling(
            "fedgen",
            [
                whole("noise", self.noise, USUAL.noise),
                whole("hidden", self.hidden, USUAL.hidden),
                (self.lr != USUAL.lr).then(|| format!("generator_lr={}", self.lr)),
                whole("generator_steps", self.steps, USUAL.steps),
                whole("generator_batch", self.batch, USUAL.batch),
                self.as_released.then(|| "as-released=true".to_owned()),
                self.head.option(),
            ],
        )
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        schema([("head", head_specs(common_width(task)?, task).as_slice())])
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        let summary = Some(Summary::Generator(self.generator(task)?));
        Ok(Some(PrototypeSpec { len: 1, scale_bits: COUNT_BITS, summary }))
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let width = checked_width("fedgen", &setup)?;
        let (noise, hidden, classes) = (usize::from(self.noise), usize::from(self.hidden), setup.task.classes);
        let mut specs = ParamSpec::linear("first", noise + classes, hidden).to_vec();
        specs.extend([ParamSpec::new("norm.gain", &[hidden], 0), ParamSpec::new("norm.shift", &[hidden], 0)]);
        specs.extend(ParamSpec::linear("second", hidden, width));
        specs.push(ParamSpec::new("classes", &[classes], 0));
        let generator = part(NAME, NAME, specs, false, &setup, None)?;
        let mut parts = Classifier::parts(&setup)?;
        share(&mut parts, &OWN[1..]);
        parts.push(Part { derived: true, fixed: true, ..generator });
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let network = Generated { model: Classifier::new(setup.architecture.clone(), self.head), noise, classes };
        let learner = Learner::new(&self.spelling(), network, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { counts: true, ..Course::default() })))
    }
}

/// A classifier whose head also learns from generated features.
struct Generated {
    model: Classifier,
    noise: usize,
    classes: usize,
}

impl Generated {
    /// Inputs of the generator, noise and one-hot class, and the classes again; nothing if nobody knows how frequent they are.
    fn inputs(&self, shares: &[f32], count: usize, draw: u64) -> Option<(Vec<f32>, Vec<f32>)> {
        let total: f64 = shares.iter().map(|share| f64::from(*share)).sum();
        if total <= 0.0 {
            return None;
        }
        let mut stream = Stream::new("generated features", &[&draw.to_le_bytes()]);
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..count {
            inputs.extend((0..self.noise).map(|_| stream.unit() as f32));
            let mut left = stream.unit() * total;
            let class = shares.iter().position(|share| {
                left -= f64::from(*share);
                left < 0.0
            });
            let class = class.unwrap_or(self.classes - 1);
            let one_hot = (0..self.classes).map(|c| f32::from(u8::from(c == class)));
            inputs.extend(one_hot.clone());
            targets.extend(one_hot);
        }
        Some((inputs, targets))
    }
}

impl Network for Generated {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.model.logits(parts, images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let (count, device) = (images.dims()[0], images.device());
        let loss = self.model.loss(parts, images, targets)?;
        let mut generator = parts.part(NAME, NAME)?;
        let (first, first_bias) = (generator.take::<2>()?, generator.take::<1>()?);
        let (gain, shift) = (generator.take::<1>()? + 1.0, generator.take::<1>()?);
        let (second, second_bias) = (generator.take::<2>()?, generator.take::<1>()?);
        let shares = to_vec(generator.take::<1>()?)?;
        let Some((inputs, classes)) = self.inputs(&shares, count, parts.draw()) else { return Ok(loss) };
        let inputs = Tensor::<2>::from_data(TensorData::new(inputs, [count, self.noise + self.classes]), &device);
        let classes = Tensor::<2>::from_data(TensorData::new(classes, [count, self.classes]), &device);
        let x = inputs.matmul(first) + first_bias.unsqueeze::<2>();
        let centred = x.clone() - x.mean_dim(0);
        let variance = (centred.clone() * centred.clone()).mean_dim(0);
        let x = centred / (variance + EPSILON).sqrt() * gain.unsqueeze::<2>() + shift.unsqueeze::<2>();
        let features = layers::relu(x).matmul(second) + second_bias.unsqueeze::<2>();
        let output = self.model.output(parts, features)?;
        Ok(loss + self.model.head.loss(parts, output, classes)?)
    }
}
