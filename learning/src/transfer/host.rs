//! FedKTL's server: what a peer does that hosts a generator.
//!
//! ```text
//! carried: F, running statistics                                  (as released: the centroids too)
//! each round, with all accepted (class, prototype) pairs P of any author:
//!   centroid[c] <- mean of F(P_c)                                 (as released: left alone)
//!   E_S epochs, batches of B_S, a new Adam for F and one for the centroids:
//!     w ~ generator     L = MMD(F(P), w) + lambda MSE(F(P), centroid[y])
//!   vector[c] <- mean of F(P_c), for the classes that somebody has   (as released: centroid[c], for all classes)
//!   pairs (G(vector[c]), vector[c])
//! ```
//!
//! The paper says that vectors are class means. The released code means to set the centroids to them, before and after
//! training, but assigns to temporary views: what it sends are the trained centroids, and the first, random ones for
//! classes that nobody has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fedswarm_protocol::hash::{Digest, Stream};

use super::align::Aligner;
use super::fit::{fit, fits};
use super::matrix::{narrow, widen};
use super::transformer::Transformer;
use super::{Contribution, Generation, Host, Pairs, Prototype};
use crate::Error;
use crate::data::ImageShape;
use crate::generator::Generator;

/// What pairs stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// One pair per class, of the mean over its prototypes (FedKTL).
    #[default]
    Class,
    /// One pair per accepted prototype, so that a class has as many latent vectors as peers that own it.
    Prototype,
}

/// How a host aligns and generates. The default is the paper's setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alignment {
    /// Passes over the prototypes.
    pub epochs: u32,
    /// Prototypes per step, at least 2.
    pub batch: usize,
    /// Learning rate of both optimisers.
    pub lr: f64,
    /// Weight of the distance to the centroids.
    pub lambda: f64,
    /// What pairs stand for.
    pub scope: Scope,
    /// Does what the released code does where it differs from the paper.
    pub as_released: bool,
}

impl Default for Alignment {
    fn default() -> Self {
        Self { epochs: 100, batch: 100, lr: 0.01, lambda: 1.0, scope: Scope::Class, as_released: false }
    }
}

/// A peer that aligns prototypes with its generator.
pub struct Aligning {
    alignment: Alignment,
    generator: Arc<dyn Generator>,
    image: ImageShape,
    classes: usize,
    common: Digest,
}

impl std::fmt::Debug for Aligning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aligning").field("alignment", &self.alignment).finish_non_exhaustive()
    }
}

impl Aligning {
    /// A host of this generator for members with these images and classes; `common` fixes F's first weights.
    ///
    /// # Errors
    /// [`Error::Setup`] if the generator's images cannot be brought to the members' form, or the settings make no sense.
    pub fn new(
        alignment: Alignment,
        generator: Arc<dyn Generator>,
        image: ImageShape,
        classes: usize,
        common: &Digest,
    ) -> Result<Self, Error> {
        if !fits(generator.image(), image) || generator.latent() == 0 {
            let (made, latent) = (generator.image(), generator.latent());
            return Err(Error::Setup(format!(
                "a generator of {made} images from {latent} numbers does not fit members with {image} images: channels \
                 must be equal, or 1 and 3"
            )));
        }
        if alignment.batch < 2 || !alignment.lr.is_finite() || !alignment.lambda.is_finite() {
            return Err(Error::Setup("alignment needs batches of at least 2 and finite rates".to_owned()));
        }
        Ok(Self { alignment, generator, image, classes, common: *common })
    }

    /// F and the centroids as carried, or fresh.
    fn start(&self, carried: Option<&[f32]>) -> Result<Aligner, Error> {
        let latent = self.generator.latent();
        let Alignment { lr, lambda, .. } = self.alignment;
        let fresh = || -> Result<_, Error> {
            let mut stream = Stream::new("centroids", &[self.common.as_bytes()]);
            let centroids = (0..self.classes * latent).map(|_| normal(&mut stream)).collect();
            Ok((Transformer::fresh(self.classes, latent, &self.common)?, centroids))
        };
        let (transformer, centroids) = match carried {
            None => fresh()?,
            Some(flat) => {
                let expected = self.transformer_len();
                if flat.len() != expected {
                    return Err(Error::Length { what: "carried transformer", expected, found: flat.len() });
                }
                let (weights, centroids) = flat.split_at(Transformer::len(self.classes, latent));
                match Transformer::from_flat(self.classes, latent, weights) {
                    Some(f) if centroids.iter().all(|x| x.is_finite()) && !centroids.is_empty() => {
                        (f, widen(centroids))
                    }
                    Some(f) if !self.alignment.as_released => (f, fresh()?.1),
                    _ => {
                        tracing::warn!("the carried transformer is no sound one: alignment starts afresh");
                        fresh()?
                    }
                }
            }
        };
        Ok(Aligner::new(transformer, centroids, latent, lr, lambda))
    }

    fn check(&self, prototypes: &[Contribution]) -> Result<(), Error> {
        for Contribution { author, prototype } in prototypes {
            let (expected, found) = (self.classes, prototype.values.len());
            if found != expected {
                return Err(Error::Length { what: "prototype", expected, found });
            }
            let class = prototype.class;
            if usize::from(class) >= self.classes || prototype.values.iter().any(|x| !x.is_finite()) {
                return Err(Error::Setup(format!(
                    "member {author}'s prototype of class {class} is not finite, or there is no such class"
                )));
            }
        }
        Ok(())
    }

    /// Trains; the mean loss of each epoch.
    fn align(
        &self,
        aligner: &mut Aligner,
        prototypes: &[f64],
        classes: &[usize],
        stream: &mut Stream,
        cancel: &AtomicBool,
    ) -> Result<Vec<f32>, Error> {
        let latent = self.generator.latent();
        let mut order: Vec<usize> = (0..classes.len()).collect();
        let (mut losses, mut taken) = (Vec::new(), 0u32);
        for _ in 0..self.alignment.epochs {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            stream.shuffle(&mut order);
            let (mut total, mut steps) = (0.0, 0.0);
            // One row has no variance: a last batch of one is left out.
            for rows in order.chunks(self.alignment.batch).filter(|rows| rows.len() > 1) {
                let batch: Vec<f64> =
                    rows.iter().flat_map(|r| &prototypes[r * self.classes..(r + 1) * self.classes]).copied().collect();
                let own: Vec<usize> = rows.iter().map(|&r| classes[r]).collect();
                let samples = self.generator.sample(rows.len(), stream)?;
                if samples.len() != rows.len() * latent {
                    let (expected, found) = (rows.len() * latent, samples.len());
                    return Err(Error::Length { what: "samples of the generator", expected, found });
                }
                total += aligner.step(batch, &own, &widen(&samples));
                steps += 1.0;
                taken += 1;
            }
            if steps > 0.0 {
                let loss = (total / steps) as f32;
                if !loss.is_finite() {
                    return Err(Error::Diverged { loss, steps: taken });
                }
                losses.push(loss);
            }
        }
        Ok(losses)
    }

    /// The vectors and the classes that they stand for.
    fn vectors(&self, aligner: &Aligner, prototypes: &[f64], classes: &[usize]) -> (Vec<u16>, Vec<f32>) {
        let latent = self.generator.latent();
        let narrowed = |class: usize| u16::try_from(class).unwrap_or(u16::MAX); // Classes came as u16.
        if self.alignment.scope == Scope::Prototype {
            let vectors = narrow(&aligner.transformer.eval(prototypes)).collect();
            return (classes.iter().map(|&c| narrowed(c)).collect(), vectors);
        }
        let wanted = |class: &usize| self.alignment.as_released || classes.contains(class);
        let wanted: Vec<usize> = (0..self.classes).filter(wanted).collect();
        let rows = wanted.iter().flat_map(|c| narrow(&aligner.centroids[c * latent..(c + 1) * latent]));
        (wanted.iter().map(|&c| narrowed(c)).collect(), rows.collect())
    }

    fn images(&self, latents: &[f32]) -> Result<Vec<f32>, Error> {
        if latents.is_empty() {
            return Ok(Vec::new());
        }
        let made = self.generator.image();
        let images = self.generator.synthesise(latents)?;
        let expected = latents.len() / self.generator.latent() * made.len();
        if images.len() != expected {
            return Err(Error::Length { what: "pixels of the generator", expected, found: images.len() });
        }
        if images.iter().any(|x| !x.is_finite()) {
            return Err(Error::Generator("an image has values that are not finite".to_owned()));
        }
        // The released code rounds as for 8-bit images, (127.5 x + 128) / 255, which is brighter by 1/255.
        let offset = if self.alignment.as_released { 1.0 / 255.0 } else { 0.0 };
        let images = images.into_iter().map(|x| (x + offset).clamp(-1.0, 1.0)).collect();
        Ok(fit(images, made, self.image))
    }
}

impl Host for Aligning {
    fn generator(&self) -> Digest {
        self.generator.id()
    }

    /// F's weights and running statistics; as released, the centroids too, because there they are trained on from round to
    /// round. In the paper's form each round sets them anew from F.
    fn transformer_len(&self) -> usize {
        let latent = self.generator.latent();
        let centroids = if self.alignment.as_released { self.classes * latent } else { 0 };
        Transformer::len(self.classes, latent) + centroids
    }

    fn aligned(&self, prototypes: &[Prototype], transformer: &[f32]) -> Vec<Vec<f32>> {
        let (classes, latent) = (self.classes, self.generator.latent());
        let weights = transformer.get(..Transformer::len(classes, latent));
        let sound = weights.and_then(|flat| Transformer::from_flat(classes, latent, flat));
        let Some(transformer) = sound.filter(|_| prototypes.iter().all(|p| p.values.len() == classes)) else {
            return Vec::new();
        };
        let flat: Vec<f64> = prototypes.iter().flat_map(|p| widen(&p.values)).collect();
        transformer.eval(&flat).chunks_exact(latent).map(|row| narrow(row).collect()).collect()
    }

    fn generate(
        &mut self,
        prototypes: &[Contribution],
        carried: Option<&[f32]>,
        seed: &Digest,
        cancel: &AtomicBool,
    ) -> Result<Generation, Error> {
        self.check(prototypes)?;
        let classes: Vec<usize> = prototypes.iter().map(|c| usize::from(c.prototype.class)).collect();
        let flat: Vec<f64> = prototypes.iter().flat_map(|c| widen(&c.prototype.values)).collect();
        let mut aligner = self.start(carried)?;
        if !self.alignment.as_released {
            aligner.centre(&flat, &classes);
        }
        let mut stream = Stream::new("alignment", &[seed.as_bytes()]);
        let loss = self.align(&mut aligner, &flat, &classes, &mut stream, cancel)?;
        if !self.alignment.as_released {
            aligner.centre(&flat, &classes);
        }
        let (classes, latents) = self.vectors(&aligner, &flat, &classes);
        let images = self.images(&latents)?;
        let mut transformer = aligner.transformer.to_flat();
        if self.alignment.as_released {
            transformer.extend(narrow(&aligner.centroids));
        }
        let pairs = Pairs { image: self.image, latent: self.generator.latent(), classes, images, latents };
        Ok(Generation { pairs, transformer, loss })
    }
}

/// A standard normal number (Box and Muller).
fn normal(stream: &mut Stream) -> f64 {
    let (radius, angle) = (1.0 - stream.unit(), std::f64::consts::TAU * stream.unit());
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}
