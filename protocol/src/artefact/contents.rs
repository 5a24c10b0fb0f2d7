//! What is in an artefact, and the checks that every voter makes of it.

use std::collections::BTreeSet;

use super::ArtefactShape;
use crate::tensor::{MAX_COORDINATE, TensorError, fixed};

/// Fraction bits of a pixel: -1 to 1 is `-2^14` to `2^14`.
const PIXEL_BITS: u8 = 14;

/// Largest magnitude of a pixel in fixed point.
const MAX_PIXEL: i16 = 1 << PIXEL_BITS;

/// Fraction bits of latent values and of the transformer: up to 1024 in steps of a millionth. Weights are far smaller, running
/// variances may be larger than a model's coordinates.
const VALUE_BITS: u8 = 20;

/// How far apart two classes' mean latents must at least be, as a part of the largest such distance: 1/32. Aligned prototypes
/// of an equiangular frame are nearly equidistant; a host that gives several classes one latent vector, or vectors that differ by
/// noise only, would have peers draw these classes together.
pub const MIN_SEPARATION: u32 = 32;

/// Why a blob is not an acceptable artefact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtefactFault {
    /// No artefact of this network is that long.
    #[error("{found} bytes: expected {pair} for each of 1 to {most} pairs and {transformer} for the transformer")]
    Length {
        /// Bytes of a pair.
        pair: u64,
        /// Most pairs.
        most: u32,
        /// Bytes of the transformer.
        transformer: u64,
        /// What came.
        found: u64,
    },
    /// A value that is not finite or does not fit.
    #[error("{part}: {error}")]
    Value {
        /// Where.
        part: &'static str,
        /// What is wrong.
        error: TensorError,
    },
    /// A class that is unknown, out of order, or has too many pairs.
    #[error("pair {pair}: class {class} is unknown, out of order, or has more than {per_class} pairs")]
    Class {
        /// Which pair.
        pair: usize,
        /// Its class.
        class: u16,
        /// Most pairs of one class.
        per_class: u16,
    },
    /// A class that nobody has sent a prototype of.
    #[error("class {0} has pairs, but no certified prototype")]
    NoPrototype(u16),
    /// Two classes whose latents are the same, or nearly.
    #[error("the latents of classes {0} and {1} are nearly the same")]
    Inseparable(u16, u16),
}

/// An artefact's contents in fixed point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The class of each pair, ascending.
    pub classes: Vec<u16>,
    /// Images, one after the other.
    pub images: Vec<i16>,
    /// Latent vectors, one after the other.
    pub latents: Vec<i32>,
    /// The feature transformer.
    pub transformer: Vec<i32>,
}

fn values(part: &'static str, floats: &[f32], bits: u8, most: i32) -> Result<Vec<i32>, ArtefactFault> {
    let one = |(index, x): (usize, &f32)| fixed(*x, bits, most, index);
    floats.iter().enumerate().map(one).collect::<Result<_, _>>().map_err(|error| ArtefactFault::Value { part, error })
}

fn check_range(part: &'static str, q: i32, most: u32, bits: u8, index: usize) -> Result<(), ArtefactFault> {
    if q.unsigned_abs() <= most {
        return Ok(());
    }
    Err(ArtefactFault::Value { part, error: TensorError::OutOfRange { index, limit: most >> bits } })
}

impl Contents {
    /// Turns what a host made into fixed point, rounding half to even, and checks its form.
    ///
    /// # Errors
    /// [`ArtefactFault`]; nothing is clamped.
    pub fn from_floats(
        shape: &ArtefactShape,
        classes: &[u16],
        images: &[f32],
        latents: &[f32],
        transformer: &[f32],
    ) -> Result<Self, ArtefactFault> {
        let pixels = values("images", images, PIXEL_BITS, i32::from(MAX_PIXEL))?;
        let contents = Self {
            classes: classes.to_vec(),
            // At most MAX_PIXEL.
            images: pixels.into_iter().map(|q| q as i16).collect(),
            latents: values("latents", latents, VALUE_BITS, MAX_COORDINATE)?,
            transformer: values("transformer", transformer, VALUE_BITS, MAX_COORDINATE)?,
        };
        let n = classes.len();
        let lengths = [
            (images.len(), n * shape.image as usize),
            (latents.len(), n * shape.latent as usize),
            (transformer.len(), shape.transformer as usize),
        ];
        if n == 0 || n > shape.most_pairs() as usize || lengths.iter().any(|(found, expected)| found != expected) {
            let found = 2 * (n + images.len()) + 4 * (latents.len() + transformer.len());
            return Err(length_fault(shape, found as u64));
        }
        contents.check_classes(shape)?;
        Ok(contents)
    }

    /// The blob.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let n = self.classes.len().max(1);
        let (image, latent) = (self.images.len() / n, self.latents.len() / n);
        let mut out =
            Vec::with_capacity(2 * (n + self.images.len()) + 4 * (self.latents.len() + self.transformer.len()));
        for (i, class) in self.classes.iter().enumerate() {
            out.extend_from_slice(&class.to_le_bytes());
            out.extend(self.images[i * image..(i + 1) * image].iter().flat_map(|q| q.to_le_bytes()));
            out.extend(self.latents[i * latent..(i + 1) * latent].iter().flat_map(|q| q.to_le_bytes()));
        }
        out.extend(self.transformer.iter().flat_map(|q| q.to_le_bytes()));
        out
    }

    /// Reads a blob and checks its form: exact lengths, ranges, classes in order. One spelling of each value.
    ///
    /// # Errors
    /// [`ArtefactFault`], saying what is wrong.
    pub fn from_bytes(shape: &ArtefactShape, bytes: &[u8]) -> Result<Self, ArtefactFault> {
        let found = bytes.len() as u64;
        let n = shape.pairs(found).ok_or_else(|| length_fault(shape, found))? as usize;
        let (image, latent) = (shape.image as usize, shape.latent as usize);
        let (pairs, rest) = bytes.split_at(bytes.len() - 4 * shape.transformer as usize);
        let mut contents = Self {
            classes: Vec::with_capacity(n),
            images: Vec::with_capacity(n * image),
            latents: Vec::with_capacity(n * latent),
            transformer: words(rest).collect(),
        };
        for pair in pairs.chunks_exact(2 + 2 * image + 4 * latent) {
            let (head, vector) = pair.split_at(2 + 2 * image);
            let mut halves = head.chunks_exact(2).map(|b| [b[0], b[1]]);
            contents.classes.extend(halves.next().map(u16::from_le_bytes));
            contents.images.extend(halves.map(i16::from_le_bytes));
            contents.latents.extend(words(vector));
        }
        for (index, q) in contents.images.iter().enumerate() {
            check_range("images", i32::from(*q), MAX_PIXEL as u32, PIXEL_BITS, index)?;
        }
        for (part, values) in [("latents", &contents.latents), ("transformer", &contents.transformer)] {
            for (index, q) in values.iter().enumerate() {
                check_range(part, *q, MAX_COORDINATE as u32, VALUE_BITS, index)?;
            }
        }
        contents.check_classes(shape)?;
        Ok(contents)
    }

    fn check_classes(&self, shape: &ArtefactShape) -> Result<(), ArtefactFault> {
        let per_class = shape.per_class;
        for (pair, class) in self.classes.iter().copied().enumerate() {
            let before = pair.checked_sub(1).map(|before| self.classes[before]);
            // In ascending order, the one so many places before must be of another class.
            let crowd = pair.checked_sub(usize::from(per_class)).is_some_and(|first| self.classes[first] == class);
            if class >= shape.classes || before.is_some_and(|before| before > class) || crowd {
                return Err(ArtefactFault::Class { pair, class, per_class });
            }
        }
        Ok(())
    }

    /// The checks that need more than the blob itself: every class has a certified prototype, and no two classes have nearly
    /// the same latents ([`MIN_SEPARATION`]). In integers, so that all come to the same verdict.
    ///
    /// # Errors
    /// [`ArtefactFault::NoPrototype`], [`ArtefactFault::Inseparable`].
    pub fn check(&self, certified: &BTreeSet<u16>) -> Result<(), ArtefactFault> {
        if let Some(class) = self.classes.iter().find(|class| !certified.contains(class)) {
            return Err(ArtefactFault::NoPrototype(*class));
        }
        let means = self.mean_latents();
        let (mut nearest, mut farthest): (Option<(u128, u16, u16)>, u128) = (None, 0);
        for (i, (a, x)) in means.iter().enumerate() {
            for (b, y) in &means[i + 1..] {
                let distance = distance2(x, y);
                farthest = distance.max(farthest);
                if nearest.is_none_or(|(least, ..)| distance < least) {
                    nearest = Some((distance, *a, *b));
                }
            }
        }
        match nearest {
            // At most 2^62 times 2^16 values, so there is room for the factor.
            Some((least, a, b)) if least == 0 || least * u128::from(MIN_SEPARATION).pow(2) < farthest => {
                Err(ArtefactFault::Inseparable(a, b))
            }
            _ => Ok(()),
        }
    }

    /// The same without the classes whose latents are nearly those of another one, for which no voter would accept it; of two
    /// the later goes. Says which went. With all alike, one class would be left: then nothing goes, and the fault stays.
    #[must_use]
    pub fn without_doubles(&self, certified: &BTreeSet<u16>) -> (Self, Vec<u16>) {
        let (mut rest, mut gone) = (self.clone(), Vec::new());
        while let Err(ArtefactFault::Inseparable(_, class)) = rest.check(certified) {
            rest = rest.without(class);
            gone.push(class);
        }
        if rest.classes.first() == rest.classes.last() { (self.clone(), Vec::new()) } else { (rest, gone) }
    }

    fn without(&self, class: u16) -> Self {
        Self {
            classes: self.classes.iter().copied().filter(|own| *own != class).collect(),
            images: self.of_others(&self.images, class),
            latents: self.of_others(&self.latents, class),
            transformer: self.transformer.clone(),
        }
    }

    /// What pairs of other classes have of these values, of which each pair has as many.
    fn of_others<T: Copy>(&self, values: &[T], class: u16) -> Vec<T> {
        let each = values.chunks((values.len() / self.classes.len().max(1)).max(1));
        let others = each.zip(&self.classes).filter(|(_, own)| **own != class);
        others.flat_map(|(values, _)| values).copied().collect()
    }

    /// Classes with the means of their latent vectors, rounded towards zero.
    fn mean_latents(&self) -> Vec<(u16, Vec<i64>)> {
        let len = self.latents.len() / self.classes.len().max(1);
        let mut out: Vec<(u16, Vec<i64>)> = Vec::new();
        let mut at = 0;
        for same in self.classes.chunk_by(|a, b| a == b) {
            let mut sums = vec![0i64; len];
            for vector in self.latents[at * len..(at + same.len()) * len].chunks_exact(len.max(1)) {
                for (sum, q) in sums.iter_mut().zip(vector) {
                    *sum += i64::from(*q);
                }
            }
            sums.iter_mut().for_each(|sum| *sum /= same.len() as i64);
            out.push((same[0], sums));
            at += same.len();
        }
        out
    }

    /// Images as floats in -1..1.
    #[must_use]
    pub fn float_images(&self) -> Vec<f32> {
        let step = 1.0 / f32::from(MAX_PIXEL);
        self.images.iter().map(|&q| f32::from(q) * step).collect()
    }

    /// Latent vectors as floats.
    #[must_use]
    pub fn float_latents(&self) -> Vec<f32> {
        floats(&self.latents)
    }

    /// The transformer as floats.
    #[must_use]
    pub fn float_transformer(&self) -> Vec<f32> {
        floats(&self.transformer)
    }
}

fn length_fault(shape: &ArtefactShape, found: u64) -> ArtefactFault {
    let (pair, most, transformer) = (shape.pair_len(), shape.most_pairs(), 4 * u64::from(shape.transformer));
    ArtefactFault::Length { pair, most, transformer, found }
}

fn distance2(a: &[i64], b: &[i64]) -> u128 {
    a.iter().zip(b).map(|(x, y)| u128::from(x.abs_diff(*y)).pow(2)).sum()
}

fn words(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
    bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn floats(values: &[i32]) -> Vec<f32> {
    let step = 1.0 / (1u32 << VALUE_BITS) as f32;
    values.iter().map(|&q| q as f32 * step).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHAPE: ArtefactShape = ArtefactShape { classes: 3, per_class: 2, image: 2, latent: 2, transformer: 1 };

    /// One pair for each of these classes, with these latents.
    fn of(classes: &[u16], latents: &[f32]) -> Result<Contents, ArtefactFault> {
        let images: Vec<f32> = classes.iter().flat_map(|c| [f32::from(*c) / 4.0, -1.0]).collect();
        Contents::from_floats(&SHAPE, classes, &images, latents, &[0.25])
    }

    fn good() -> Contents {
        of(&[0, 1, 1, 2], &[0.0, 0.0, 1.0, 0.0, 1.0, 0.25, 0.0, 1.0]).unwrap()
    }

    fn all() -> BTreeSet<u16> {
        (0..3).collect()
    }

    #[test]
    fn of_two_classes_that_are_nearly_the_same_the_later_goes() {
        let contents = of(&[0, 1, 1, 2], &[0.0, 0.0, 1.0, 0.0, 1.0, 0.25, 1.0, 0.125]).unwrap();
        assert_eq!(contents.check(&all()), Err(ArtefactFault::Inseparable(1, 2)));
        let (rest, gone) = contents.without_doubles(&all());
        assert_eq!((rest.classes.as_slice(), gone.as_slice()), (&[0, 1, 1][..], &[2][..]));
        assert_eq!(rest.check(&all()), Ok(()));
        let expected = of(&[0, 1, 1], &[0.0, 0.0, 1.0, 0.0, 1.0, 0.25]).unwrap();
        assert_eq!(rest, expected);
        let alike = of(&[0, 1, 2], &[0.5; 6]).unwrap();
        assert_eq!(alike.without_doubles(&all()), (alike, Vec::new()), "one class alone teaches nothing");
        assert_eq!(good().without_doubles(&all()), (good(), Vec::new()));
    }

    #[test]
    fn contents_survive_their_blob_to_the_last_bit() {
        let contents = good();
        let bytes = contents.to_bytes();
        assert_eq!(SHAPE.pairs(bytes.len() as u64), Some(4));
        assert_eq!(Contents::from_bytes(&SHAPE, &bytes).unwrap(), contents);
        assert_eq!(contents.check(&all()), Ok(()));
        assert_eq!(contents.float_images()[..4], [0.0, -1.0, 0.25, -1.0]);
        assert_eq!(contents.float_latents()[4..6], [1.0, 0.25]);
        assert_eq!(contents.float_transformer(), [0.25]);
    }

    #[test]
    fn only_whole_artefacts_of_at_least_one_pair_have_the_right_length() {
        let bytes = good().to_bytes();
        for len in 0..=bytes.len() {
            let fits = SHAPE.pairs(len as u64).is_some();
            assert_eq!(fits, len > 4 && (len - 4).is_multiple_of(14), "{len}");
            let read = Contents::from_bytes(&SHAPE, &bytes[..len]);
            assert!(if fits { read.is_ok_and(|c| c.to_bytes() == bytes[..len]) } else { read.is_err() }, "{len}");
        }
        assert_eq!(SHAPE.pairs(SHAPE.len(6)), Some(6));
        assert_eq!(SHAPE.pairs(SHAPE.len(7)), None, "three classes of two pairs");
        let ten_times = bytes.repeat(10);
        assert!(matches!(Contents::from_bytes(&SHAPE, &ten_times), Err(ArtefactFault::Length { .. })));
    }

    #[test]
    fn values_out_of_range_or_not_finite_are_refused_by_part() {
        let part = |alter: fn(&mut Contents)| {
            let mut contents = good();
            alter(&mut contents);
            match Contents::from_bytes(&SHAPE, &contents.to_bytes()) {
                Err(ArtefactFault::Value { part, .. }) => part,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(part(|c| c.images[3] = MAX_PIXEL + 1), "images");
        assert_eq!(part(|c| c.images[3] = i16::MIN), "images");
        assert_eq!(part(|c| c.latents[3] = MAX_COORDINATE + 1), "latents");
        // The bits of a NaN.
        assert_eq!(part(|c| c.latents[0] = f32::NAN.to_bits() as i32), "latents");
        assert_eq!(part(|c| c.transformer[0] = i32::MIN), "transformer");
        let made = |image: f32| Contents::from_floats(&SHAPE, &[0], &[image, 0.0], &[0.0, 0.0], &[0.0]);
        assert!(made(1.0).is_ok());
        assert!(matches!(made(1.001), Err(ArtefactFault::Value { part: "images", .. })));
        assert!(matches!(made(f32::NAN), Err(ArtefactFault::Value { part: "images", .. })));
    }

    #[test]
    fn classes_are_known_in_order_and_not_too_many() {
        let bad =
            |classes: &[u16]| matches!(of(classes, &vec![0.5; 2 * classes.len()]), Err(ArtefactFault::Class { .. }));
        assert!(bad(&[1, 0]) && bad(&[3]) && bad(&[1, 1, 1]));
        assert!(!bad(&[1, 1]) && !bad(&[0, 2, 2]));
        assert_eq!(good().check(&BTreeSet::from([0, 2])), Err(ArtefactFault::NoPrototype(1)));
    }

    #[test]
    fn classes_with_nearly_the_same_latents_are_refused() {
        let check = |latents: &[f32]| of(&[0, 1, 2], latents).unwrap().check(&all());
        assert_eq!(check(&[0.0, 0.0, 8.0, 0.0, 8.0, 0.0]), Err(ArtefactFault::Inseparable(1, 2)));
        assert_eq!(check(&[3.0; 6]), Err(ArtefactFault::Inseparable(0, 1)));
        // The bound itself, 1/32 of the largest distance, and just below it.
        assert_eq!(check(&[0.0, 0.0, 8.0, 0.0, 0.25, 0.0]), Ok(()));
        assert_eq!(check(&[0.0, 0.0, 8.0, 0.0, 0.2499, 0.0]), Err(ArtefactFault::Inseparable(0, 2)));
        assert_eq!(of(&[1, 1], &[0.0; 4]).unwrap().check(&all()), Ok(()), "within a class they may be the same");
        // The largest values do not overflow.
        assert_eq!(check(&[1024.0, 1024.0, -1024.0, -1024.0, -1024.0, 1024.0]), Ok(()));
    }
}
