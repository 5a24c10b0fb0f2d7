//! A method of your own: `FedPer` (Arivazhagan et al. 2019, arXiv 1912.00818), a shared extractor under personal heads.
//!
//! ```text
//! cargo run --release --example own_method
//! ```
//!
//! A method says what its peers share and of which parts a member is made; a network says what those parts do with images. First
//! weights, batches, gradients, merging, checkpoints and files follow.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Tensor;
use fedswarm_learning::Error;
use fedswarm_learning::architectures::{Architecture, architecture, layers};
use fedswarm_learning::certified::Certified;
use fedswarm_learning::data::{ImageShape, PeerData, Split};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::methods::{Member, MemberSetup, Method, MethodInfo, Task, init_digest};
use fedswarm_learning::parameters::{ParamSpec, Parameters, initial, schema};
use fedswarm_learning::training::{Learner, Lookahead, Network, Part, Parts, Sgd, TrainConfig};
use fedswarm_protocol::tensor::Schema;

// ANCHOR: method
/// ```text
/// each round: every peer i starts from the certified f, with its own h_i
///             (f_i, h_i) <- E epochs of SGD on CE(h_i(f_i(x)), y)
///             f          <- sum_i n_i / n f_i
/// evaluated:  h_i(f(x)) with the certified f
/// ```
struct FedPer;

/// All peers' architecture.
fn extractor() -> Result<Arc<dyn Architecture>, Error> {
    architecture("mlp")
}

impl Method for FedPer {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedper",
            shares: "the extractor",
            heterogeneous: false,
            needs: "one architecture",
            paper: "Arivazhagan et al. 2019, arXiv 1912.00818",
        }
    }

    fn spelling(&self) -> String {
        "fedper".to_owned()
    }

    /// What updates are of, and what is merged: the parts below that are shared, in their order.
    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        schema([("extractor", extractor()?.parameters(task.input)?.as_slice())])
    }

    fn default_architectures(&self, _: &Task) -> Vec<&'static str> {
        vec!["mlp"]
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = extractor()?;
        let head = ParamSpec::linear("head", model.features(), setup.task.classes).to_vec();
        let parts = vec![
            part("extractor", model.parameters(setup.task.input)?, true, &setup)?,
            part("head", head, false, &setup)?,
        ];
        Ok(Box::new(Learner::new(&self.spelling(), Personal(model), parts, setup)?))
    }
}

/// The forward pass. The loss is cross entropy unless a network says otherwise.
struct Personal(Arc<dyn Architecture>);

impl Network for Personal {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let features = self.0.forward(&mut parts.part("extractor", self.0.name())?, images)?;
        layers::linear(&mut parts.part("head", "head")?, features)
    }
}

/// A part with fresh weights: equal seeds and names give equal weights at every peer.
fn part(name: &'static str, specs: Vec<ParamSpec>, shared: bool, setup: &MemberSetup) -> Result<Part, Error> {
    let first = initial(name, &specs, &init_digest(setup.init_seed))?;
    Ok(Part {
        name,
        shared,
        derived: false,
        parameters: Parameters::from_flat(specs, &first, &setup.device.open()?)?,
        sgd: Sgd::new(setup.train.lr, setup.train.momentum, setup.train.clip),
        fresh: shared,
        lookahead: Lookahead::default(),
        module: name,
        fixed: false,
    })
}
// ANCHOR_END: method

/// Images whose bright half tells their class; odd peers call the halves the other way round, which no shared head could learn.
fn halves(n: usize, input: ImageShape, swapped: bool) -> Split {
    let mut split = Split { images: Vec::new(), labels: Vec::new() };
    for i in 0..n {
        let left = i % 2 == 0;
        for y in 0..input.height {
            for x in 0..input.width {
                let noise = ((i * 7919 + y * 31 + x * 17) % 97) as f32 / 97.0 - 0.5;
                split.images.push(if (x < input.width / 2) == left { 0.6 } else { -0.6 } + 0.5 * noise);
            }
        }
        split.labels.push(u16::from(left != swapped));
    }
    split
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let input = ImageShape { channels: 1, height: 12, width: 12 };
    let task = Task { input, classes: 2 };
    let method = FedPer;
    let mut certified = Certified::genesis(&method, &task, &init_digest(1))?;
    let mut members = Vec::new();
    for peer in 0..4u64 {
        let swapped = peer % 2 == 1;
        members.push(method.member(MemberSetup {
            task,
            architecture: extractor()?,
            data: Arc::new(PeerData { train: halves(40, input, swapped), test: halves(20, input, swapped) }),
            train: TrainConfig { lr: 0.05, ..TrainConfig::default() },
            seed: peer,
            init_seed: 1,
            common: init_digest(1),
            device: DeviceKind::Flex,
        })?);
    }
    let mut right = 0.0;
    for round in 0..=8 {
        let state = certified.floats()?;
        let (mut correct, mut total, mut updates) = (0, 0, Vec::new());
        for member in &mut members {
            member.install(&state)?;
            let seen = member.evaluate()?;
            (correct, total) = (correct + seen.correct, total + seen.total);
            updates.push(member.train(&AtomicBool::new(false))?);
        }
        certified.round(&updates)?;
        right = f64::from(correct) / f64::from(total);
        println!("round {round}: {:.0} % of {total} images", 100.0 * right);
    }
    if right < 0.9 { Err("it did not learn".into()) } else { Ok(()) }
}
