//! Trained models as safetensors files that describe themselves.
//!
//! The metadata entry `fedswarm` holds a [`Card`] as JSON: method with options, architecture, image shape, class names. So a
//! file alone is enough to rebuild the member that wrote it; tensor names are those of [`Member::export`].

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use fedswarm_protocol::hash::Digest;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::architectures::{Architecture, architecture};
use crate::data::{ImageShape, PeerData, Split};
use crate::device::DeviceKind;
use crate::methods::{Member, MemberSetup, Method, NamedTensor, Task, method};
use crate::training::TrainConfig;

/// Name of the metadata entry.
const ENTRY: &str = "fedswarm";

/// Version of the card's form.
const FORMAT: u32 = 1;

/// Largest model file that is read, 1 GiB. Too low and large models cannot be loaded; it bounds what a file can allocate.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// What a model file says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Version of this form.
    format: u32,
    /// Method and options, as [`method`] reads them.
    pub method: String,
    /// Name of the peer's architecture.
    pub architecture: String,
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
}

impl Card {
    /// The card of a member of `method` with this architecture.
    #[must_use]
    pub fn new(method: &dyn Method, architecture: &dyn Architecture, input: ImageShape, classes: &[String]) -> Self {
        Self {
            format: FORMAT,
            method: method.spelling(),
            architecture: architecture.name().to_owned(),
            input: [input.channels, input.height, input.width],
            classes: classes.to_vec(),
        }
    }

    /// What the model was trained to do.
    #[must_use]
    pub fn task(&self) -> Task {
        let [channels, height, width] = self.input;
        Task { input: ImageShape { channels, height, width }, classes: self.classes.len() }
    }
}

/// Writes a model. The file appears whole or not at all: it is written beside its place and then moved there.
///
/// # Errors
/// [`Error::File`] if it cannot be written.
pub fn save(path: &Path, card: &Card, tensors: &[NamedTensor]) -> Result<(), Error> {
    let bytes = to_bytes(card, tensors).map_err(|reason| file(path, reason))?;
    let partial = path.with_extension("partial");
    let write = || {
        let mut out = fs::File::create(&partial)?;
        out.write_all(&bytes)?;
        out.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|e| file(path, e))
}

fn to_bytes(card: &Card, tensors: &[NamedTensor]) -> Result<Vec<u8>, String> {
    let json = serde_json::to_string(card).map_err(|e| e.to_string())?;
    let data: Vec<Vec<u8>> = tensors.iter().map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for (tensor, bytes) in tensors.iter().zip(&data) {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(|e| e.to_string())?;
        views.push((tensor.name.as_str(), view));
    }
    // One entry, because the map's order is not fixed and equal models should give equal files.
    let metadata = HashMap::from([(ENTRY.to_owned(), json)]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())
}

/// Reads a model.
///
/// # Errors
/// [`Error::File`] if it is missing, too large, damaged, or not written by this program.
pub fn load(path: &Path) -> Result<(Card, Vec<NamedTensor>), Error> {
    let len = fs::metadata(path).map_err(|e| file(path, e))?.len();
    if len > MAX_FILE_BYTES {
        return Err(file(path, format!("{len} bytes, at most {MAX_FILE_BYTES} are read")));
    }
    let bytes = fs::read(path).map_err(|e| file(path, e))?;
    from_bytes(&bytes).map_err(|reason| file(path, reason))
}

fn from_bytes(bytes: &[u8]) -> Result<(Card, Vec<NamedTensor>), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    let json = header.metadata().as_ref().and_then(|m| m.get(ENTRY));
    let json = json.ok_or_else(|| format!("its metadata has no entry {ENTRY:?}: it was not written by fedswarm"))?;
    let card: Card = serde_json::from_str(json).map_err(|e| format!("metadata: {e}"))?;
    if card.format != FORMAT {
        return Err(format!("its form is version {}, this program reads {FORMAT}", card.format));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("tensor {name} is {:?}, expected F32", view.dtype()));
        }
        let values = view.data().chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), values });
    }
    Ok((card, tensors))
}

/// Reads a model and rebuilds the member that wrote it, without data: for prediction. Method and architecture are found by
/// name; for one of your own use [`open_with`].
///
/// # Errors
/// As [`load`], and [`Error::Unknown`] if the file names something that this build does not have.
pub fn open(path: &Path, device: DeviceKind) -> Result<(Card, Box<dyn Member>), Error> {
    let (card, tensors) = load(path)?;
    let (method, architecture) = (method(&card.method)?, architecture(&card.architecture)?);
    let member = rebuild(&card, &tensors, method.as_ref(), architecture, device)?;
    Ok((card, member))
}

/// As [`open`], with a method and an architecture that are not in the registries.
///
/// # Errors
/// As [`load`], and [`Error::Tensors`] if the file's weights are not theirs.
pub fn open_with(
    path: &Path,
    method: &dyn Method,
    architecture: Arc<dyn Architecture>,
    device: DeviceKind,
) -> Result<(Card, Box<dyn Member>), Error> {
    let (card, tensors) = load(path)?;
    let member = rebuild(&card, &tensors, method, architecture, device)?;
    Ok((card, member))
}

fn rebuild(
    card: &Card,
    tensors: &[NamedTensor],
    method: &dyn Method,
    architecture: Arc<dyn Architecture>,
    device: DeviceKind,
) -> Result<Box<dyn Member>, Error> {
    let none = || Split { images: Vec::new(), labels: Vec::new() };
    let mut member = method.member(MemberSetup {
        task: card.task(),
        architecture,
        data: Arc::new(PeerData { train: none(), test: none() }),
        train: TrainConfig::default(),
        seed: 0,
        init_seed: 0,
        common: Digest::ZERO,
        device,
    })?;
    member.import(tensors)?;
    Ok(member)
}

fn file(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::File { path: path.to_path_buf(), reason: reason.to_string() }
}
