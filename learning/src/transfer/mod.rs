//! Knowledge transfer through a generator: what peers say of their classes, and what a host makes of it (FedKTL, arXiv
//! 2403.15760).
//!
//! ```text
//! every peer: class prototypes -> certified -> host: align with the latent space, generate -> image-vector pairs -> every peer
//! ```

mod adam;
mod align;
pub mod arcface;
mod fit;
#[cfg(test)]
mod golden;
mod host;
mod matrix;
mod mmd;
mod prototypes;
mod transformer;

use std::sync::atomic::AtomicBool;

use fedswarm_protocol::hash::Digest;

use crate::Error;
use crate::data::ImageShape;

pub use host::{Aligning, Alignment, Scope};
pub use prototypes::{class_directions, class_means};

/// The mean of a peer's features of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Prototype {
    /// The class, an index.
    pub class: u16,
    /// The mean, of the length that the method says ([`crate::methods::Method::prototypes`]).
    pub values: Vec<f32>,
}

/// A prototype with its author's place among the members.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// Whose it is.
    pub author: u16,
    /// The prototype.
    pub prototype: Prototype,
}

/// Images with the latent vectors that made them: what a peer's extractor learns from a generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    /// Extents of an image: those of the members' own images.
    pub image: ImageShape,
    /// Length of a latent vector.
    pub latent: usize,
    /// The class that each pair stands for.
    pub classes: Vec<u16>,
    /// Flat `[n, channels, height, width]` in -1..1.
    pub images: Vec<f32>,
    /// Flat `[n, latent]`.
    pub latents: Vec<f32>,
}

/// What a host makes of a round's prototypes.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The pairs.
    pub pairs: Pairs,
    /// The feature transformer after alignment: weights and running statistics, for the next host to carry on from. Flat, and
    /// of the length that [`Host::transformer_len`] says.
    pub transformer: Vec<f32>,
    /// Alignment loss by epoch.
    pub loss: Vec<f32>,
}

/// The generator's side of a method.
pub trait Host: Send {
    /// Hash of the generator's weights.
    fn generator(&self) -> Digest;

    /// Values in [`Generation::transformer`].
    fn transformer_len(&self) -> usize;

    /// Where a transformer of [`transformer_len`](Self::transformer_len) values puts prototypes in the latent space, one vector
    /// each, for people to look at; nothing if it is no sound one.
    fn aligned(&self, prototypes: &[Prototype], transformer: &[f32]) -> Vec<Vec<f32>> {
        let _ = (prototypes, transformer);
        Vec::new()
    }

    /// Aligns the certified prototypes of a round with the generator's latent space, and generates. `carried` is the
    /// transformer of the last certified generation; without one it starts afresh. Equal inputs give equal results on equal
    /// machines. `cancel` is looked at between epochs.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Diverged`]; [`Error::Length`] if `carried` is of another length.
    fn generate(
        &mut self,
        prototypes: &[Contribution],
        carried: Option<&[f32]>,
        seed: &Digest,
        cancel: &AtomicBool,
    ) -> Result<Generation, Error>;
}
