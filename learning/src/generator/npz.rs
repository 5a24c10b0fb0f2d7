//! The small decoder that the reference measurements used in place of StyleGAN, read from `NumPy`'s `.npz`.
//!
//! ```text
//! z -> Linear - LeakyReLU(0.2) - Linear = w          w -> Linear - LeakyReLU(0.2) - Linear - tanh = image
//! ```
//!
//! The file holds `m1`, `m2`, `s1`, `s2`, each with `.weight [outputs, inputs]` and `.bias`, as PyTorch has them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use fedswarm_protocol::hash::{Digest, Stream, hash};
use npyz::npz::NpzArchive;

use super::Generator;
use crate::Error;
use crate::data::ImageShape;

/// Largest file that is read, 64 MiB; it bounds what a file can allocate. Too low and larger decoders are refused.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Slope of the activation below zero.
const LEAK: f32 = 0.2;

type Archive = NpzArchive<BufReader<File>>;

/// A generator of square grey images with two layers on each side.
#[derive(Debug)]
pub struct NpzGenerator {
    mapping: [Layer; 2],
    synthesis: [Layer; 2],
    image: ImageShape,
    id: Digest,
}

#[derive(Debug)]
struct Layer {
    inputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl NpzGenerator {
    /// Reads a generator.
    ///
    /// # Errors
    /// [`Error::File`] if the file is missing, too large, or not of that form.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let refuse = |reason: String| Error::File { path: path.to_path_buf(), reason };
        let len = std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?.len();
        if len > MAX_FILE_BYTES {
            return Err(refuse(format!("{len} bytes, at most {MAX_FILE_BYTES} are read")));
        }
        let id = hash("generator", &std::fs::read(path).map_err(|e| refuse(e.to_string()))?);
        let mut archive = NpzArchive::open(path).map_err(|e| refuse(e.to_string()))?;
        let mut layer = |name: &str| Layer::read(&mut archive, name).map_err(refuse);
        let (mapping, synthesis) = ([layer("m1")?, layer("m2")?], [layer("s1")?, layer("s2")?]);
        let pixels = synthesis[1].bias.len();
        let side = pixels.isqrt();
        let layers = [&mapping[0], &mapping[1], &synthesis[0], &synthesis[1]];
        if side * side != pixels || layers.windows(2).any(|pair| pair[0].bias.len() != pair[1].inputs) {
            return Err(refuse("its layers do not follow on one another to a square image".to_owned()));
        }
        Ok(Self { mapping, synthesis, image: ImageShape { channels: 1, height: side, width: side }, id })
    }
}

impl Layer {
    fn read(archive: &mut Archive, name: &str) -> Result<Self, String> {
        let (shape, weight) = array(archive, &format!("{name}.weight"))?;
        let (_, bias) = array(archive, &format!("{name}.bias"))?;
        match shape.as_slice() {
            [outputs, inputs] if *outputs == bias.len() && *inputs > 0 && *outputs > 0 => {
                Ok(Self { inputs: *inputs, weight, bias })
            }
            _ => Err(format!("{name}.weight has shape {shape:?}, {name}.bias has {} values", bias.len())),
        }
    }

    /// Rows through the layer, in the order of the inputs.
    fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows.len() / self.inputs * self.bias.len());
        for row in rows.chunks_exact(self.inputs) {
            let outputs = self.weight.chunks_exact(self.inputs).zip(&self.bias);
            out.extend(outputs.map(|(line, bias)| bias + line.iter().zip(row).map(|(w, x)| w * x).sum::<f32>()));
        }
        out
    }
}

fn array(archive: &mut Archive, name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
    let file = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?.ok_or(format!("{name} is not there"))?;
    let shape: Vec<usize> = file.shape().iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
    let bound = usize::try_from(MAX_FILE_BYTES).unwrap_or(usize::MAX) / 4;
    if shape.iter().fold(1usize, |n, &d| n.saturating_mul(d)) > bound {
        return Err(format!("{name} has shape {shape:?}, at most {bound} values are read"));
    }
    Ok((shape, file.into_vec::<f32>().map_err(|e| format!("{name}: {e}"))?))
}

fn pass(layers: &[Layer; 2], rows: &[f32]) -> Vec<f32> {
    let hidden = layers[0].apply(rows).into_iter().map(|x| if x < 0.0 { LEAK * x } else { x }).collect::<Vec<_>>();
    layers[1].apply(&hidden)
}

impl Generator for NpzGenerator {
    fn latent(&self) -> usize {
        self.synthesis[0].inputs
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn id(&self) -> Digest {
        self.id
    }

    fn sample(&self, n: usize, stream: &mut Stream) -> Result<Vec<f32>, Error> {
        let noise: Vec<f32> = (0..n * self.mapping[0].inputs).map(|_| normal(stream)).collect();
        Ok(pass(&self.mapping, &noise))
    }

    fn synthesise(&self, latents: &[f32]) -> Result<Vec<f32>, Error> {
        let width = self.latent();
        if !latents.len().is_multiple_of(width) {
            let expected = latents.len().div_ceil(width) * width;
            return Err(Error::Length { what: "latent vectors", expected, found: latents.len() });
        }
        Ok(pass(&self.synthesis, latents).into_iter().map(f32::tanh).collect())
    }
}

/// A standard normal number (Box and Muller).
fn normal(stream: &mut Stream) -> f32 {
    let (radius, angle) = (1.0 - stream.unit(), std::f64::consts::TAU * stream.unit());
    ((-2.0 * radius.ln()).sqrt() * angle.cos()) as f32
}
