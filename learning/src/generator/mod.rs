//! Pretrained generators: from a latent vector to an image.
//!
//! A generator has two halves, as in `StyleGAN`: a *mapping* from noise `z` to a latent vector `w`, and a *synthesis* from `w`
//! to an image. Knowledge transfer (FedKTL, arXiv 2403.15760) needs both: samples of `w` to align prototypes with, and images
//! of aligned prototypes.

mod bundled;
pub mod files;
mod gaussian;
mod grid;
pub mod native;
#[cfg(feature = "onnx")]
pub mod onnx;
mod open;
mod statistics;
pub mod train;

use fedswarm_protocol::hash::{Digest, Stream};

pub use bundled::{BUNDLED, bundled};
pub use gaussian::gaussian;
pub use grid::{png, save_grid};
pub use native::Native;
#[cfg(feature = "onnx")]
pub use onnx::Onnx;
pub use open::{Opened, open};
pub use statistics::{BANDWIDTHS, Statistics};

use crate::Error;
use crate::data::ImageShape;

/// A pretrained generator. Vectors are flat, row-major and on the host, so that a generator may run on whatever it likes.
pub trait Generator: Send + Sync {
    /// Length of a latent vector `w`.
    fn latent(&self) -> usize;

    /// Extents of an image that it makes.
    fn image(&self) -> ImageShape;

    /// Hash of its weights: what a manifest names it by.
    fn id(&self) -> Digest;

    /// Draws `n` latent vectors, flat `[n, latent]`; equal streams give equal vectors on equal machines.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::Generator`] if it cannot run.
    fn sample(&self, n: usize, stream: &mut Stream) -> Result<Vec<f32>, Error>;

    /// Images of latent vectors: flat `[n, latent]` to flat `[n, channels, height, width]` in -1..1.
    ///
    /// # Errors
    /// [`Error::Length`] if the latents are no whole number of vectors, else as [`sample`](Self::sample).
    fn synthesise(&self, latents: &[f32]) -> Result<Vec<f32>, Error>;
}
