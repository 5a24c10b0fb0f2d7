//! Generators as safetensors files that describe themselves.
//!
//! The metadata entry `fedswarm-generator` holds the [`Card`] as JSON; every weight is F16 or F32, as the card says, under
//! the name and in the shape of [`Card::specs`].

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::Native;
use super::card::{Card, MAX_PARAMETERS};
use crate::Error;
use crate::generator::files::{inner, read_bounded, refuse, write_whole};

/// Name of the metadata entry.
const ENTRY: &str = "fedswarm-generator";

/// Longest header. Too low refuses generators of very many layers.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Largest generator file: [`MAX_PARAMETERS`] and a header. It bounds what is read before anything is looked at.
pub const MAX_FILE_BYTES: u64 = 4 * MAX_PARAMETERS as u64 + MAX_HEADER_BYTES + 8;

impl Native {
    /// Writes it. The file appears whole or not at all: it is written beside its place and then moved there.
    ///
    /// # Errors
    /// [`Error::Generator`] if it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.to_bytes()?;
        write_whole(path, &bytes)
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Generator`] with what is wrong where, if it is missing, too large, damaged or not a generator.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = read_bounded(path, MAX_FILE_BYTES)?;
        Self::from_bytes(&bytes).map_err(|e| refuse(path, inner(e)))
    }

    /// The contents of its file.
    ///
    /// # Errors
    /// [`Error::Generator`] or [`Error::Device`] if its weights or its card cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let fail = |e: String| Error::Generator(e);
        let json = serde_json::to_string(&self.card).map_err(|e| fail(e.to_string()))?;
        let precision = self.card.precision;
        let data = precision.bytes(&self.weights()?);
        let mut rest = data.as_slice();
        let mut views = Vec::new();
        for spec in self.card.specs() {
            let (head, tail) = rest.split_at(precision.size() * spec.len());
            rest = tail;
            let view = TensorView::new(precision.dtype(), spec.shape, head).map_err(|e| fail(e.to_string()))?;
            views.push((spec.name, view));
        }
        // One entry, because the map's order is not fixed and equal generators should give equal files.
        let metadata = HashMap::from([(ENTRY.to_owned(), json)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| fail(e.to_string()))
    }

    /// Reads the contents of a file.
    ///
    /// # Errors
    /// [`Error::Generator`] with what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let fail = |e: String| Error::Generator(e);
        check_header(bytes).map_err(fail)?;
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| fail(format!("not a sound safetensors file: {e}")))?;
        let json = header.metadata().as_ref().and_then(|m| m.get(ENTRY));
        let json = json.ok_or_else(|| {
            fail(format!("its metadata has no entry {ENTRY:?}: `fedswarm generator train` did not write it"))
        })?;
        let card: Card = serde_json::from_str(json).map_err(|e| fail(format!("its card: {e}")))?;
        card.check()?;
        let needed = card.precision.size() * card.parameters();
        if bytes.len() < needed {
            return Err(fail(format!(
                "its card asks for {needed} bytes of weights, the whole file has {}",
                bytes.len()
            )));
        }
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|e| fail(format!("not a sound safetensors file: {e}")))?;
        let specs = card.specs();
        let mut weights = Vec::with_capacity(card.parameters());
        for spec in &specs {
            let name = &spec.name;
            let view = tensors
                .tensor(name)
                .map_err(|_| fail(format!("tensor {name} is missing; its card asks for {} tensors", specs.len())))?;
            let expected = card.precision.dtype();
            if view.dtype() != expected || view.shape() != spec.shape.as_slice() {
                let (found, shape) = (view.dtype(), view.shape());
                return Err(fail(format!(
                    "tensor {name} is {found:?} {shape:?}, expected {expected:?} {:?}",
                    spec.shape
                )));
            }
            weights.extend(card.precision.values(view.data()));
        }
        if let Some((name, _)) = tensors.iter().find(|(name, _)| specs.iter().all(|s| s.name != *name)) {
            return Err(fail(format!("tensor {name} is not one that its card asks for")));
        }
        Self::new(card, &weights)
    }
}

/// Refuses a header beyond the bound before it is parsed.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let Some(length) = bytes.first_chunk::<8>() else {
        return Err(format!("{} bytes are too few for a safetensors file", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(format!("it declares a header of {length} bytes, at most {MAX_HEADER_BYTES} are read"));
    }
    Ok(())
}
