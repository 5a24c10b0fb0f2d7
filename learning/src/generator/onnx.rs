//! Generators from ONNX files, run by `tract`: so that weights trained anywhere can be hosted.
//!
//! Either one graph that takes `w`, or two: a mapping from `z` to `w` and a synthesis from `w` to an image. Each has one input
//! `[n, numbers]` and one output, in `f32`; the image is `[n, channels, height, width]` and meant to be in -1..1, beyond which
//! it is cut. `n` may be fixed in the file or free.
//!
//! Bounds hold for what a file declares and what it gives out, not for what its layers do between: open files of people
//! whom you trust with your memory.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use fedswarm_protocol::hash::{Digest, Stream, hash};
use tract_onnx::prelude::{
    DatumType, Framework as _, InferenceFact, InferenceModelExt as _, IntoRunnable as _, Tensor, TypedRunnableModel,
    tvec,
};
use tract_onnx::tract_hir::infer::Factoid as _;

use super::files::{read_bounded, refuse};
use super::{Generator, gaussian};
use crate::Error;
use crate::data::ImageShape;

/// Largest file. Too low refuses large generators; it bounds what is read.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// Longest noise or latent vector. Too low refuses generators with feature maps as latents, such as Stable Diffusion's 16,384.
pub const MAX_VECTOR: usize = 1 << 16;
/// Most values of an image. Too low refuses images beyond 1024 x 1024 in colour.
pub const MAX_PIXELS: usize = 3 << 20;
/// Most vectors that a graph may want at a time.
const MAX_BATCH: usize = 256;
/// Vectors at a time where the file leaves it free. Too low and many images take long; too high and they take much memory.
const BATCH: usize = 16;

/// One graph, planned for batches of a fixed size.
struct Graph {
    plan: Arc<TypedRunnableModel>,
    batch: usize,
    input: usize,
    /// Extents of one row of the output.
    output: Vec<usize>,
}

/// A generator from one or two ONNX files.
pub struct Onnx {
    id: Digest,
    mapping: Option<Graph>,
    synthesis: Graph,
    image: ImageShape,
}

impl fmt::Debug for Onnx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Onnx").field("id", &self.id).field("image", &self.image).finish_non_exhaustive()
    }
}

impl Onnx {
    /// Reads a synthesis and, if there is one, the mapping that makes its `w`; without one `w` is noise itself.
    ///
    /// # Errors
    /// [`Error::Generator`] with the file, if it cannot be read, is no graph that `tract` can run, or has inputs and outputs
    /// of other forms than these.
    pub fn load(synthesis: &Path, mapping: Option<&Path>) -> Result<Self, Error> {
        let bytes = read_bounded(synthesis, MAX_FILE_BYTES)?;
        let mut contents = bytes.clone();
        let graph = Graph::new(&bytes).map_err(|reason| refuse(synthesis, reason))?;
        let image = match graph.output[..] {
            [channels @ (1 | 3), height, width] => ImageShape { channels, height, width },
            ref found => {
                let text =
                    format!("its output is {found:?} for each w, expected [channels, height, width], channels 1 or 3");
                return Err(refuse(synthesis, text));
            }
        };
        if image.len() > MAX_PIXELS {
            return Err(refuse(synthesis, format!("an image of {image}: at most {MAX_PIXELS} values are accepted")));
        }
        let mapping = match mapping {
            None => None,
            Some(path) => {
                let bytes = read_bounded(path, MAX_FILE_BYTES)?;
                contents.extend_from_slice(&bytes);
                let mapping = Graph::new(&bytes).map_err(|reason| refuse(path, reason))?;
                if mapping.output != [graph.input] {
                    let (found, expected) = (&mapping.output, graph.input);
                    return Err(refuse(
                        path,
                        format!("it makes {found:?} numbers for each z, the synthesis takes [{expected}]"),
                    ));
                }
                Some(mapping)
            }
        };
        // The length of the first keeps two files apart from the same bytes cut elsewhere.
        contents.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        Ok(Self { id: hash("generator onnx", &contents), mapping, synthesis: graph, image })
    }
}

impl Onnx {
    /// Latent vectors of given noise, flat; without a mapping, the noise itself.
    ///
    /// # Errors
    /// [`Error::Length`] if it is no whole number of vectors, [`Error::Generator`] if the graph fails.
    pub fn map(&self, noise: &[f32]) -> Result<Vec<f32>, Error> {
        match &self.mapping {
            None => Ok(noise.to_vec()),
            Some(mapping) => mapping.run("noise of a generator", noise),
        }
    }
}

impl Graph {
    fn new(bytes: &[u8]) -> Result<Self, String> {
        let unreadable = |e| format!("not a graph that can be run: {e:#}");
        let model = tract_onnx::onnx().model_for_read(&mut &*bytes).map_err(unreadable)?;
        let [input] = model.inputs[..] else {
            return Err(format!("it has {} inputs, expected one", model.inputs.len()));
        };
        if model.outputs.len() != 1 {
            return Err(format!("it has {} outputs, expected one", model.outputs.len()));
        }
        let fact = model.outlet_fact(input).map_err(unreadable)?;
        // What is no number, such as `n`, is free.
        let number = |dim: i64| usize::try_from(dim).ok();
        let declared: Vec<Option<usize>> =
            fact.shape.dims().map(|d| d.concretize().and_then(|d| d.to_i64().ok()).and_then(number)).collect();
        if fact.shape.is_open() || declared.len() != 2 {
            return Err(format!("its input has the shape {:?}, expected [n, numbers]", fact.shape));
        }
        let batch = declared[0].unwrap_or(BATCH);
        let Some(width) = declared[1] else {
            return Err("its input does not say how many numbers a vector has".to_owned());
        };
        if !(1..=MAX_VECTOR).contains(&width) || !(1..=MAX_BATCH).contains(&batch) {
            return Err(format!("its input is [{batch}, {width}], at most [{MAX_BATCH}, {MAX_VECTOR}] is accepted"));
        }
        let model = model
            .with_input_fact(0, InferenceFact::dt_shape(DatumType::F32, [batch, width]))
            .and_then(|m| m.with_output_fact(0, InferenceFact::default()))
            .and_then(|m| m.into_optimized())
            .map_err(unreadable)?;
        let fact = model.output_fact(0).map_err(unreadable)?;
        let shape = fact.shape.as_concrete().ok_or_else(|| format!("its output has the shape {:?}", fact.shape))?;
        if fact.datum_type != DatumType::F32 || shape.first() != Some(&batch) {
            let kind = fact.datum_type;
            return Err(format!("its output is {kind:?} {shape:?}, expected F32 with {batch} rows, as its input"));
        }
        let output = shape[1..].to_vec();
        let plan = model.into_runnable().map_err(unreadable)?;
        Ok(Self { plan, batch, input: width, output })
    }

    /// Runs flat rows through the graph.
    fn run(&self, what: &'static str, rows: &[f32]) -> Result<Vec<f32>, Error> {
        if !rows.len().is_multiple_of(self.input) {
            let expected = rows.len().div_ceil(self.input) * self.input;
            return Err(Error::Length { what, expected, found: rows.len() });
        }
        let fail = |e| Error::Generator(format!("the graph failed: {e:#}"));
        let size: usize = self.output.iter().product();
        let mut out: Vec<f32> = Vec::with_capacity(rows.len() / self.input * size);
        for batch in rows.chunks(self.batch * self.input) {
            let mut padded = batch.to_vec();
            padded.resize(self.batch * self.input, 0.0);
            let input = Tensor::from_shape(&[self.batch, self.input], &padded).map_err(fail)?;
            let outputs = self.plan.run(tvec!(input.into())).map_err(fail)?;
            let first = outputs.into_iter().next().ok_or_else(|| Error::Generator("the graph gave nothing".into()))?;
            let view = first.to_plain_array_view::<f32>().map_err(fail)?;
            out.extend(view.iter().take(batch.len() / self.input * size));
        }
        match out.iter().position(|v| !v.is_finite()) {
            None => Ok(out),
            Some(at) => Err(Error::Generator(format!("the graph gave {} at flat position {at}", out[at]))),
        }
    }
}

impl Generator for Onnx {
    fn latent(&self) -> usize {
        self.synthesis.input
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn id(&self) -> Digest {
        self.id
    }

    fn sample(&self, n: usize, stream: &mut Stream) -> Result<Vec<f32>, Error> {
        let width = self.mapping.as_ref().map_or(self.synthesis.input, |m| m.input);
        self.map(&gaussian(stream, n * width))
    }

    fn synthesise(&self, latents: &[f32]) -> Result<Vec<f32>, Error> {
        let images = self.synthesis.run("latent vectors", latents)?;
        Ok(images.into_iter().map(|v| v.clamp(-1.0, 1.0)).collect())
    }
}
