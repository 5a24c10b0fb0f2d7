//! An architecture of your own, trained in a mixture with the network's shared extractor.
//!
//! ```text
//! cargo run --release --example own_model
//! ```
//!
//! An architecture says which parameters it needs and turns images into features. Nothing else is asked of it: first weights,
//! gradients, merging, checkpoints and files follow from the declaration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Tensor;
use fedswarm_learning::Error;
use fedswarm_learning::architectures::{Architecture, layers};
use fedswarm_learning::data::{ImageShape, PeerData, Split};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::methods::{MemberSetup, Task, init_digest, method};
use fedswarm_learning::parameters::{ParamSpec, Weights};
use fedswarm_learning::training::TrainConfig;

/// A wide convolution with stride 4 and one fully connected layer.
#[derive(Debug)]
struct Patches {
    channels: usize,
}

impl Architecture for Patches {
    fn name(&self) -> &str {
        "patches"
    }

    fn parameters(&self, input: ImageShape) -> Result<Vec<ParamSpec>, Error> {
        if input.height < 4 || input.width < 4 {
            let reason = format!("input {input} is too small: at least 4x4 is needed");
            return Err(Error::Architecture { name: self.name().to_owned(), reason });
        }
        let mut specs = ParamSpec::conv("patch", input.channels, self.channels, 4).to_vec();
        let patches = (input.height / 4) * (input.width / 4);
        specs.extend(ParamSpec::linear("fc", self.channels * patches, self.features()));
        Ok(specs)
    }

    /// All members of a mixture have the width of the shared extractor: 128 in networks of small grey images.
    fn features(&self) -> usize {
        128
    }

    /// Parameters are taken in the order in which they were declared.
    fn forward(&self, weights: &mut Weights<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let patches = layers::relu(layers::conv(weights, images, 4, 0)?);
        Ok(layers::relu(layers::linear(weights, layers::flatten(patches))?))
    }
}

/// Images whose bright half tells their class, so that there is something to learn.
fn stripes(n: usize, input: ImageShape) -> Split {
    let mut split = Split { images: Vec::new(), labels: Vec::new() };
    for i in 0..n {
        let class = i % 2;
        for pixel in 0..input.len() {
            let right = pixel % input.width >= input.width / 2;
            split.images.push(if right == (class == 1) { 0.9 } else { -0.9 });
        }
        split.labels.push(class as u16);
    }
    split
}

pub(crate) fn main() -> Result<(), Error> {
    let input = ImageShape { channels: 1, height: 28, width: 28 };
    let method = method("fedmoe:mix=residual")?;
    let mut member = method.member(MemberSetup {
        task: Task { input, classes: 2 },
        architecture: Arc::new(Patches { channels: 16 }),
        data: Arc::new(PeerData { train: stripes(40, input), test: stripes(20, input) }),
        train: TrainConfig::default(),
        seed: 1,
        init_seed: 1,
        common: init_digest(1),
        device: DeviceKind::Flex,
    })?;
    let before = member.evaluate()?;
    for _ in 0..3 {
        let update = member.train(&AtomicBool::new(false))?;
        println!("{} steps, loss {:.3}, {} values to share", update.steps, update.loss, update.delta.len());
    }
    let after = member.evaluate()?;
    println!("correct: {} of {} before, {} after", before.correct, before.total, after.correct);
    if after.correct != after.total {
        return Err(Error::Setup("two classes that differ this much should have been learnt".to_owned()));
    }
    Ok(())
}
