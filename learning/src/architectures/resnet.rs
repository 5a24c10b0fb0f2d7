//! A small residual network (He et al. 2016) with group normalisation (Wu and He 2018).

use burn::tensor::Tensor;

use super::{Architecture, layers};
use crate::Error;
use crate::data::ImageShape;
use crate::parameters::{ParamSpec, Weights};

/// Channels of each stage; every stage after the first halves the image.
const STAGES: [usize; 3] = [16, 32, 64];
/// Channels that share their statistics come in this many groups.
const GROUPS: usize = 8;
/// Smallest side: two halvings leave 2x2.
const MIN_SIDE: usize = 8;

/// Stem, one residual block per stage, mean over the image, one fully connected layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResNet {
    features: usize,
}

impl Default for ResNet {
    /// 128 features.
    fn default() -> Self {
        Self { features: 128 }
    }
}

impl Architecture for ResNet {
    fn name(&self) -> &str {
        "resnet"
    }

    fn parameters(&self, input: ImageShape) -> Result<Vec<ParamSpec>, Error> {
        if input.height.min(input.width) < MIN_SIDE {
            let reason = format!("input {input} is too small: at least {MIN_SIDE}x{MIN_SIDE} is needed");
            return Err(Error::Architecture { name: self.name().to_owned(), reason });
        }
        let mut specs = ParamSpec::conv("stem", input.channels, STAGES[0], 3).to_vec();
        specs.extend(ParamSpec::norm("stem.norm", STAGES[0]));
        let mut inputs = STAGES[0];
        for (i, out) in STAGES.into_iter().enumerate() {
            let name = format!("stage{}", i + 1);
            specs.extend(ParamSpec::conv(&format!("{name}.conv1"), inputs, out, 3));
            specs.extend(ParamSpec::norm(&format!("{name}.norm1"), out));
            specs.extend(ParamSpec::conv(&format!("{name}.conv2"), out, out, 3));
            specs.extend(ParamSpec::norm(&format!("{name}.norm2"), out));
            if i > 0 {
                specs.extend(ParamSpec::conv(&format!("{name}.shortcut"), inputs, out, 1));
            }
            inputs = out;
        }
        specs.extend(ParamSpec::linear("fc", inputs, self.features));
        Ok(specs)
    }

    fn features(&self) -> usize {
        self.features
    }

    fn forward(&self, weights: &mut Weights<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let stem = layers::conv(weights, images, 1, 1)?;
        let mut x = layers::group_norm_relu(weights, stem, GROUPS)?;
        for i in 0..STAGES.len() {
            let stride = if i == 0 { 1 } else { 2 };
            let [main, shortcut] = layers::branches(x);
            let y = layers::conv(weights, main, stride, 1)?;
            let y = layers::group_norm_relu(weights, y, GROUPS)?;
            let y = layers::conv(weights, y, 1, 1)?;
            let y = layers::group_norm(weights, y, GROUPS)?;
            let shortcut = if i == 0 { shortcut } else { layers::conv(weights, shortcut, stride, 0)? };
            x = layers::add_relu(y, shortcut);
        }
        let [n, c, height, width] = x.dims();
        let mean = x.reshape([n, c, height * width]).mean_dim(2).reshape([n, c]);
        layers::linear_relu(weights, mean)
    }
}
