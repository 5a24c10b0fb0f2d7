//! Feature extractors, by name.
//!
//! An architecture turns images into `features()` numbers each; the method adds the classifier. Peers of one network may
//! have different ones as long as their widths agree. A user brings their own by implementing [`Architecture`]: see
//! `examples/own_model.rs`.

mod cnn;
pub mod layers;
mod mlp;
mod resnet;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use crate::Error;
use crate::data::ImageShape;
use crate::parameters::{ParamSpec, Parameters, Weights, count};

pub use cnn::Cnn;
pub use mlp::Mlp;
pub use resnet::ResNet;

/// A feature extractor.
pub trait Architecture: Send + Sync {
    /// Name: what files and manifests call it. Peers with equal names start from equal weights.
    fn name(&self) -> &str;

    /// The parameters it needs for this input, in the order in which [`forward`](Self::forward) takes them.
    ///
    /// # Errors
    /// [`Error::Architecture`] if the input is too small or of the wrong kind.
    fn parameters(&self, input: ImageShape) -> Result<Vec<ParamSpec>, Error>;

    /// Width of its output.
    fn features(&self) -> usize;

    /// Images `[n, channels, height, width]`, normalised to -1..1, to features `[n, features]`.
    ///
    /// # Errors
    /// [`Error::Architecture`] if declaration and code disagree.
    fn forward(&self, weights: &mut Weights<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error>;
}

/// Names of all built-in architectures.
pub const NAMES: [&str; 13] = [
    "cnn1",
    "cnn2",
    "cnn1-fc128",
    "cnn2-fc128",
    "fedavg-cnn",
    "lenet",
    "cnn-1",
    "cnn-2",
    "cnn-3",
    "cnn-4",
    "cnn-5",
    "resnet",
    "mlp",
];

/// The built-in architecture with this name.
///
/// # Errors
/// [`Error::Unknown`] with the list of names.
pub fn architecture(name: &str) -> Result<Arc<dyn Architecture>, Error> {
    if let Some(cnn) = Cnn::named(name) {
        return Ok(Arc::new(cnn));
    }
    match name {
        "resnet" => Ok(Arc::new(ResNet::default())),
        "mlp" => Ok(Arc::new(Mlp::default())),
        _ => Err(Error::Unknown { kind: "architecture", name: name.to_owned(), known: NAMES.join(", ") }),
    }
}

/// Runs an architecture once on a blank image: declaration and forward pass must agree before a network relies on them.
/// Layers whose shapes do not go together make burn panic; here that happens at set-up and not in a round.
///
/// # Errors
/// [`Error::Architecture`] with what does not fit.
pub fn check(architecture: &dyn Architecture, input: ImageShape, device: &Device) -> Result<Vec<ParamSpec>, Error> {
    let specs = architecture.parameters(input)?;
    let zeros = Parameters::from_flat(specs.clone(), &vec![0.0; count(&specs)], device)?;
    let mut weights = Weights::new(architecture.name(), &specs, zeros.values());
    let image = Tensor::zeros([1, input.channels, input.height, input.width], device);
    let found = architecture.forward(&mut weights, image)?.dims();
    let refuse = |reason| Err(Error::Architecture { name: architecture.name().to_owned(), reason });
    if weights.left() > 0 {
        return refuse(format!("its forward pass leaves {} of {} parameters unused", weights.left(), specs.len()));
    }
    if found != [1, architecture.features()] {
        return refuse(format!("one image gives {found:?}, not [1, {}]", architecture.features()));
    }
    Ok(specs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FASHION: ImageShape = ImageShape { channels: 1, height: 28, width: 28 };
    const CIFAR: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };

    #[test]
    fn parameter_counts_are_those_of_the_reference_code() {
        // The design text `algorithms.md`, section 0.8; computed there from the authors' models.
        for (name, input, expected) in [
            ("cnn1", FASHION, 590_784),
            ("cnn2", FASHION, 183_296),
            ("cnn1-fc128", FASHION, 607_296),
            ("cnn2-fc128", FASHION, 199_808),
            ("fedavg-cnn", FASHION, 576_896),
            ("fedavg-cnn", CIFAR, 873_408),
            ("lenet", CIFAR, 121_182 - 850),
            ("cnn-1", CIFAR, 2_616_548),
            ("cnn-5", CIFAR, 665_048),
        ] {
            assert_eq!(count(&architecture(name).unwrap().parameters(input).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn every_architecture_in_the_registry_runs_on_the_inputs_it_accepts() {
        let device = Device::flex();
        let tiny = ImageShape { channels: 1, height: 8, width: 8 };
        for name in NAMES {
            let architecture = architecture(name).unwrap();
            assert_eq!(architecture.name(), name);
            for input in [FASHION, CIFAR] {
                check(architecture.as_ref(), input, &device).unwrap();
            }
            let fits = matches!(name, "mlp" | "resnet") || architecture.parameters(tiny).is_ok();
            assert_eq!(check(architecture.as_ref(), tiny, &device).is_ok(), fits, "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let text = architecture("vgg").err().unwrap().to_string();
        assert!(text.contains("vgg") && text.contains("cnn2-fc128") && text.contains("resnet"), "{text}");
    }
}
