//! Artefacts of generators, by pure functions: the checks that a voter makes, and what a member and the next host read from
//! one. The driver and virtual runs use the same.

use fedswarm_learning::data::ImageShape;
use fedswarm_learning::generator::Generator;
use fedswarm_learning::transfer::Pairs;
use fedswarm_protocol::artefact::{ArtefactFault, ArtefactShape, Contents};
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::round::ArtefactVerdict;

/// Least peak signal-to-noise ratio, in decibels, of an artefact's images to what a voter's own generator makes of their
/// latents. Machines differ by rounding, which is far above it; another image is far below.
pub const LEAST_PSNR: f64 = 40.0;

/// Whether a voter's own generator is the network's and makes images of the members' extents.
#[must_use]
pub fn can_compare(generator: &dyn Generator, manifest: &Manifest) -> bool {
    let Some(spec) = &manifest.generator else { return false };
    generator.id() == spec.id && generator.latent() == spec.latent as usize && generator.image() == image_of(manifest)
}

/// All checks of an artefact's blob against the certified prototypes, that by the voter's own generator included if there is
/// one.
///
/// # Errors
/// What to tell the machine, and the reason for people.
pub fn check(
    manifest: &Manifest,
    shape: &ArtefactShape,
    bytes: &[u8],
    list: &[u8],
    generator: Option<&dyn Generator>,
) -> Result<(), (ArtefactVerdict, String)> {
    let invalid = |fault: ArtefactFault| (ArtefactVerdict::Invalid, fault.to_string());
    let contents = Contents::from_bytes(shape, bytes).map_err(invalid)?;
    let certified = manifest.prototypes.map(|spec| spec.classes(list)).unwrap_or_default();
    contents.check(&certified).map_err(invalid)?;
    let Some(generator) = generator else { return Ok(()) };
    let images = match generator.synthesise(&contents.float_latents()) {
        Ok(images) => images,
        // A generator that does not run says nothing of others.
        Err(error) => {
            tracing::warn!(%error, "an artefact could not be compared with this node's own generator");
            return Ok(());
        }
    };
    let found = psnr(&images, &contents.float_images());
    if found >= LEAST_PSNR {
        return Ok(());
    }
    let reason =
        format!("its images are {found:.1} dB from what this node's generator makes of its latents, not {LEAST_PSNR}");
    Err((ArtefactVerdict::Doubtful, reason))
}

/// Peak signal-to-noise ratio of images in -1..1, in decibels.
fn psnr(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() || a.is_empty() {
        return 0.0;
    }
    let squares: f64 = a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    // The peak is 2. A sum that is no number is no likeness.
    let ratio = 10.0 * (4.0 * a.len() as f64 / squares).log10();
    if ratio.is_nan() { 0.0 } else { ratio }
}

/// Extents of the members' images.
#[must_use]
pub fn image_of(manifest: &Manifest) -> ImageShape {
    let task = &manifest.task;
    ImageShape { channels: task.channels.into(), height: task.height.into(), width: task.width.into() }
}

/// An artefact's pairs, as members are given them.
#[must_use]
pub fn pairs_of(manifest: &Manifest, contents: &Contents) -> Pairs {
    Pairs {
        image: image_of(manifest),
        latent: manifest.generator.as_ref().map_or(0, |generator| generator.latent as usize),
        classes: contents.classes.clone(),
        images: contents.float_images(),
        latents: contents.float_latents(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_of_pixels_is_far_above_the_least_likeness_and_another_image_far_below() {
        let image: Vec<f32> = (0..784).map(|i| (i as f32 / 30.0).sin()).collect();
        let rounded: Vec<f32> = image.iter().map(|x| (x * 16384.0).round() / 16384.0).collect();
        assert!(psnr(&image, &rounded) > 80.0);
        let eight_bits: Vec<f32> = image.iter().map(|x| (x * 127.5).round() / 127.5).collect();
        assert!(psnr(&image, &eight_bits) > LEAST_PSNR);
        let other: Vec<f32> = (0..784).map(|i| (i as f32 / 29.0).cos()).collect();
        assert!(psnr(&image, &other) < 15.0);
        assert_eq!(psnr(&image, &image), f64::INFINITY);
        assert_eq!(psnr(&image, &image[1..]), 0.0);
        assert_eq!(psnr(&image, &vec![f32::NAN; 784]), 0.0);
    }
}
