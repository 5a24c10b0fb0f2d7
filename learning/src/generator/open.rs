//! Generators by name or file.

use std::path::Path;

use fedswarm_protocol::hash::{Digest, Stream};

use super::native::Card;
use super::{BUNDLED, Generator, Native, bundled, files::refuse};
use crate::Error;
use crate::data::ImageShape;

/// A generator of one of the kinds that this build knows.
#[derive(Debug)]
pub enum Opened {
    /// One of this project's.
    Native(Box<Native>),
    /// From ONNX files.
    #[cfg(feature = "onnx")]
    Onnx(Box<super::Onnx>),
}

impl Opened {
    /// What it says about itself, if it is one of this project's.
    #[must_use]
    pub fn card(&self) -> Option<&Card> {
        match self {
            Self::Native(native) => Some(native.card()),
            #[cfg(feature = "onnx")]
            Self::Onnx(_) => None,
        }
    }

    fn inner(&self) -> &dyn Generator {
        match self {
            Self::Native(native) => native.as_ref(),
            #[cfg(feature = "onnx")]
            Self::Onnx(onnx) => onnx.as_ref(),
        }
    }
}

impl Generator for Opened {
    fn latent(&self) -> usize {
        self.inner().latent()
    }

    fn image(&self) -> ImageShape {
        self.inner().image()
    }

    fn id(&self) -> Digest {
        self.inner().id()
    }

    fn sample(&self, n: usize, stream: &mut Stream) -> Result<Vec<f32>, Error> {
        self.inner().sample(n, stream)
    }

    fn synthesise(&self, latents: &[f32]) -> Result<Vec<f32>, Error> {
        self.inner().synthesise(latents)
    }
}

/// Opens a generator: a bundled one by its name, else a file by its ending: `.safetensors` as `fedswarm generator train` writes
/// it, `.npz` with the dense layers of the reference experiments, or `.onnx`, of which `mapping` is the other half if there is
/// one.
///
/// # Errors
/// [`Error::Generator`] with the file and what is wrong with it.
pub fn open(source: &Path, mapping: Option<&Path>) -> Result<Opened, Error> {
    let name = BUNDLED.into_iter().find(|name| source.as_os_str() == *name);
    let ending = source.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if name.is_none() && ending == "onnx" {
        return onnx(source, mapping);
    }
    if mapping.is_some() {
        return Err(refuse(source, "only an .onnx graph is given another as its mapping"));
    }
    let native = match (name, ending.as_str()) {
        (Some(name), _) => bundled(name)?,
        (None, "npz") => Native::load_npz(source)?,
        (None, "safetensors") => Native::load(source)?,
        _ => {
            let known = BUNDLED.join(", ");
            return Err(refuse(
                source,
                format!("no generator; known are {known}, and files .safetensors, .npz, .onnx"),
            ));
        }
    };
    Ok(Opened::Native(Box::new(native)))
}

#[cfg(feature = "onnx")]
fn onnx(source: &Path, mapping: Option<&Path>) -> Result<Opened, Error> {
    Ok(Opened::Onnx(Box::new(super::Onnx::load(source, mapping)?)))
}

#[cfg(not(feature = "onnx"))]
fn onnx(source: &Path, _: Option<&Path>) -> Result<Opened, Error> {
    Err(refuse(source, "this build does not read ONNX: rebuild with `--features onnx`"))
}
