//! What a native generator is: its extents and layers, and where its weights come from.

use serde::{Deserialize, Serialize};

use super::mapping::Mapping;
use super::precision::Precision;
use super::synthesis::Synthesis;
use crate::Error;
use crate::data::ImageShape;
use crate::parameters::{ParamSpec, count};

/// Version of the card's form.
pub(super) const FORMAT: u32 = 1;

/// Longest latent vector. Too low refuses wide generators; it bounds what a file can make a reader allocate, as do the
/// next three.
pub const MAX_LATENT: usize = 4096;
/// Most rows or columns of an image. Too low refuses generators of photographs.
pub const MAX_SIDE: usize = 512;
/// Most channels or units of a layer. Too low refuses wide generators.
pub const MAX_WIDTH: usize = 4096;
/// Most parameters. Too low refuses large generators; 32 Mi of them are 64 or 128 MiB in a file and 128 MiB in memory.
pub const MAX_PARAMETERS: usize = 32 << 20;

/// Where a generator's weights come from: for people, and not part of its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Name of the data set.
    pub data: String,
    /// Images that it was trained on.
    pub images: usize,
    /// Images of the data set that it was not shown, because somebody's partition uses them.
    pub excluded: usize,
    /// The command that made it.
    pub command: String,
}

/// What a generator file says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    format: u32,
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    /// Length of a latent vector `w`.
    pub latent: usize,
    /// From noise to `w`.
    pub mapping: Mapping,
    /// From `w` to an image.
    pub synthesis: Synthesis,
    /// How exact its weights are.
    pub precision: Precision,
    /// Where the weights come from.
    pub origin: Origin,
}

/// The part of a card that a generator's identity covers, in the order in which it is hashed.
#[derive(Serialize)]
struct Identity<'a> {
    image: [usize; 3],
    latent: usize,
    mapping: &'a Mapping,
    synthesis: &'a Synthesis,
    precision: Precision,
}

impl Card {
    /// A card whose extents are within bounds.
    ///
    /// # Errors
    /// [`Error::Generator`] with the extent that is not.
    pub fn new(
        image: ImageShape,
        latent: usize,
        mapping: Mapping,
        synthesis: Synthesis,
        precision: Precision,
        origin: Origin,
    ) -> Result<Self, Error> {
        let image = [image.channels, image.height, image.width];
        let card = Self { format: FORMAT, image, latent, mapping, synthesis, precision, origin };
        card.check()?;
        Ok(card)
    }

    /// Refuses extents beyond the bounds, before anything is allocated for them.
    ///
    /// # Errors
    /// [`Error::Generator`] with the extent, what it is and what it may be.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.format != FORMAT {
            let found = self.format;
            return Err(Error::Generator(format!("its card is of version {found}, this program reads {FORMAT}")));
        }
        let [channels, height, width] = self.image;
        within("channels of an image", channels, 1, 4)?;
        within("rows of an image", height, 4, MAX_SIDE)?;
        within("columns of an image", width, 4, MAX_SIDE)?;
        within("length of a latent vector", self.latent, 2, MAX_LATENT)?;
        self.mapping.check(self.latent)?;
        self.synthesis.check()?;
        within("number of parameters", self.parameters(), 1, MAX_PARAMETERS)
    }

    /// Extents of an image.
    #[must_use]
    pub const fn shape(&self) -> ImageShape {
        let [channels, height, width] = self.image;
        ImageShape { channels, height, width }
    }

    /// The parameters of both halves, mapping first, in the order in which files and hashes have them.
    #[must_use]
    pub fn specs(&self) -> Vec<ParamSpec> {
        let mut specs = self.mapping.specs(self.latent);
        specs.extend(self.synthesis.specs(self.latent, self.shape()));
        specs
    }

    /// Number of parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        count(&self.specs())
    }

    /// The bytes that stand for extents and layers in a generator's identity.
    pub(super) fn identity(&self) -> Result<Vec<u8>, Error> {
        let Self { image, latent, mapping, synthesis, precision, .. } = self;
        serde_json::to_vec(&Identity { image: *image, latent: *latent, mapping, synthesis, precision: *precision })
            .map_err(|e| Error::Generator(format!("its card cannot be written: {e}")))
    }
}

/// Refuses a number outside of `least..=most`.
pub(super) fn within(what: &str, found: usize, least: usize, most: usize) -> Result<(), Error> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(Error::Generator(format!("{what}: {found}, expected {least} to {most}")))
}
