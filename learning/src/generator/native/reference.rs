//! Generators of the reference experiments: dense networks as `NumPy` archives.
//!
//! The stand-in with which FedKTL's released code was measured is two layers each way, with `PyTorch`'s layout of weights
//! `[outputs, inputs]` in arrays `m1.weight` to `s2.bias`. Reading it here lets both sides run on the same weights.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use npyz::NpyFile;
use npyz::npz::NpzArchive;

use super::{Card, MAX_PARAMETERS, MAX_WIDTH, Mapping, Native, Origin, Precision, Synthesis};
use crate::Error;
use crate::data::{ImageShape, check_npz_header};
use crate::generator::files::refuse;

/// Most bytes of such a file. Too low refuses wide networks.
const MAX_ARCHIVE_BYTES: u64 = 4 * MAX_PARAMETERS as u64;

type Archive = NpzArchive<BufReader<File>>;

impl Native {
    /// Reads the arrays `m1`, `m2` (mapping), `s1`, `s2` (synthesis), each with `.weight` and `.bias` in `f32`, from an
    /// `.npz` file. The image is taken to be square and grey.
    ///
    /// # Errors
    /// [`Error::Generator`] with file and array, if one is missing or has another shape than its neighbours ask for.
    pub fn load_npz(path: &Path) -> Result<Self, Error> {
        let len = std::fs::metadata(path).map_err(|e| refuse(path, e))?.len();
        if len > MAX_ARCHIVE_BYTES {
            return Err(refuse(path, format!("{len} bytes, at most {MAX_ARCHIVE_BYTES} are read")));
        }
        let mut archive = NpzArchive::open(path).map_err(|e| refuse(path, e))?;
        let mut weights = Vec::new();
        let mut sides = Vec::new();
        for layer in ["m1", "m2", "s1", "s2"] {
            let (outputs, inputs, flat) = linear(&mut archive, path, layer)?;
            if sides.last().is_some_and(|&before| before != inputs) {
                return Err(refuse(
                    path,
                    format!("layer {layer} takes {inputs} numbers, the one before gives another number"),
                ));
            }
            if sides.is_empty() {
                sides.push(inputs);
            }
            sides.push(outputs);
            weights.extend(flat);
        }
        let [noise, hidden, latent, width, pixels] = sides[..] else {
            return Err(refuse(path, "four layers are expected"));
        };
        let side = pixels.isqrt();
        if side * side != pixels {
            return Err(refuse(path, format!("{pixels} pixels are no square grey image")));
        }
        let card = Card::new(
            ImageShape { channels: 1, height: side, width: side },
            latent,
            Mapping::Dense { noise, width: hidden },
            Synthesis::Dense { width },
            Precision::F32,
            Origin { data: format!("see {}", path.file_name().unwrap_or_default().display()), ..Origin::default() },
        )?;
        Self::new(card, &weights)
    }
}

/// Outputs, inputs, and the layer's weights as `[inputs, outputs]`, then its bias.
fn linear(archive: &mut Archive, path: &Path, layer: &str) -> Result<(usize, usize, Vec<f32>), Error> {
    let (shape, weight) = array(archive, path, &format!("{layer}.weight"))?;
    let [outputs, inputs] = shape[..] else {
        return Err(refuse(path, format!("array {layer}.weight has shape {shape:?}, expected two axes")));
    };
    let (shape, bias) = array(archive, path, &format!("{layer}.bias"))?;
    if shape != [outputs] {
        return Err(refuse(path, format!("array {layer}.bias has shape {shape:?}, expected [{outputs}]")));
    }
    let mut flat: Vec<f32> =
        (0..inputs).flat_map(|i| (0..outputs).map(move |o| o * inputs + i)).map(|at| weight[at]).collect();
    flat.extend(bias);
    Ok((outputs, inputs, flat))
}

fn array(archive: &mut Archive, path: &Path, name: &str) -> Result<(Vec<usize>, Vec<f32>), Error> {
    let fail = |reason: String| refuse(path, format!("array {name} {reason}"));
    check_npz_header(archive, name).map_err(|e| fail(format!("cannot be read: {e}")))?;
    let found = archive.by_name(name).map_err(|e| fail(format!("cannot be read: {e}")))?;
    let array: NpyFile<_> = found.ok_or_else(|| fail("is missing".into()))?;
    if array.header().order() != npyz::Order::C && array.shape().len() > 1 {
        return Err(fail("is in Fortran order, expected C order".into()));
    }
    let most = MAX_WIDTH * MAX_WIDTH;
    let shape: Vec<usize> = array.shape().iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
    let expected = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n)).filter(|&n| n <= most);
    let expected = expected.ok_or_else(|| fail(format!("has shape {shape:?}, at most {most} values are read")))?;
    let reader = array.data::<f32>().map_err(|e| fail(format!("is not f32: {e}")))?;
    // Grows with what is there: `collect` would reserve what the header declares.
    let mut values = Vec::new();
    for value in reader.take(expected) {
        values.push(value.map_err(|e| fail(format!("is cut short: {e}")))?);
    }
    if values.len() != expected {
        return Err(fail(format!("has {} values, its shape asks for {expected}", values.len())));
    }
    Ok((shape, values))
}
