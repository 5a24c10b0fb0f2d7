//! A generator's artefact: the image-latent pairs that a host makes of a round's prototypes, and its feature transformer, for
//! the next host to carry on from.
//!
//! It is attested, not agreed: a host signs it, every voter checks its form, and those checks are all that is certified
//! ([`Contents::from_bytes`], [`Contents::check`]). Numbers are fixed point, so they are finite by construction.
//!
//! ```text
//! blob: (class 2 | value 2 x image | value 4 x latent)* | value 4 x transformer      pairs by ascending class
//! ```
//!
//! The number of pairs follows from the length, which the manifest bounds.

mod contents;

use serde::{Deserialize, Serialize};

pub use contents::{ArtefactFault, Contents, MIN_SEPARATION};

use crate::blob::MAX_BLOB_BYTES;
use crate::hash::{Digest, hash};
use crate::keys::PublicKey;
use crate::manifest::{MAX_VOTERS, Manifest};

/// Rounds after a job's own in which its artefact may still be certified. Too low and the work of a host that takes several
/// rounds is thrown away; it bounds how many records a member remembers, and how old the pairs are that peers learn from.
pub const MAX_ARTEFACT_LAG: u64 = 8;

/// Artefacts that one receipt lists, and that a voter fetches at a time. Too low and a few hosts that withhold what they
/// signed for keep others waiting for a round; it bounds what liars make a voter fetch.
pub const MAX_ARTEFACTS: usize = 3;

/// Pairs in one artefact. Too low and tasks with many classes cannot have a generator; it bounds the time of the check.
pub const MAX_PAIRS: u32 = 1024;

/// Length of a latent vector. Too low and generators with large latent spaces do not fit.
pub const MAX_LATENT: u32 = 1 << 16;

/// The generator of a network, and who may host it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GeneratorSpec {
    /// Hash of its weights.
    pub id: Digest,
    /// Length of a latent vector.
    pub latent: u32,
    /// Values of a host's feature transformer.
    pub transformer: u32,
    /// Most pairs of one class.
    pub per_class: u16,
    /// Who may host it, ascending; empty for any member.
    pub hosts: Vec<PublicKey>,
    /// How long a host waits for the artefact of another that comes before it, in milliseconds.
    pub wait_ms: u64,
}

impl GeneratorSpec {
    /// Whether this member may host the generator.
    #[must_use]
    pub fn may_host(&self, key: &PublicKey) -> bool {
        self.hosts.is_empty() || self.hosts.binary_search(key).is_ok()
    }

    /// Checks what a manifest says of it; the text says what is wrong.
    pub(crate) fn check(&self, manifest: &Manifest) -> Result<(), &'static str> {
        let rule = |ok: bool, text| if ok { Ok(()) } else { Err(text) };
        rule(manifest.prototypes.is_some(), "a generator needs prototypes to start from")?;
        rule((1..=MAX_LATENT).contains(&self.latent), "a latent vector must have 1 to 65536 values")?;
        rule(self.per_class > 0, "a generator must make at least one pair of a class")?;
        rule(self.hosts.len() <= MAX_VOTERS, "more than 64 hosts")?;
        rule(self.hosts.is_sorted_by(|a, b| a < b), "hosts are not in ascending order, or one occurs twice")?;
        rule(self.hosts.iter().all(PublicKey::is_valid), "a host's key is not a valid ed25519 key")?;
        let shape = ArtefactShape::new(manifest, self);
        rule(shape.most_pairs() <= MAX_PAIRS, "classes times pairs of a class are more than 1024")?;
        rule(shape.len(shape.most_pairs()) <= MAX_BLOB_BYTES, "an artefact can be larger than 64 MiB")
    }
}

/// What the artefacts of a network look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArtefactShape {
    /// Classes of the task.
    pub classes: u16,
    /// Most pairs of one class.
    pub per_class: u16,
    /// Values of an image.
    pub image: u32,
    /// Values of a latent vector.
    pub latent: u32,
    /// Values of the feature transformer.
    pub transformer: u32,
}

impl ArtefactShape {
    /// What a manifest says; nothing if its network has no generator.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Option<Self> {
        manifest.generator.as_ref().map(|generator| Self::new(manifest, generator))
    }

    fn new(manifest: &Manifest, generator: &GeneratorSpec) -> Self {
        let task = &manifest.task;
        let image = u64::from(task.channels) * u64::from(task.height) * u64::from(task.width);
        Self {
            // A manifest's bytes bound the number of their names.
            classes: u16::try_from(task.classes.len()).unwrap_or(u16::MAX),
            per_class: generator.per_class,
            image: u32::try_from(image).unwrap_or(u32::MAX),
            latent: generator.latent,
            transformer: generator.transformer,
        }
    }

    /// Most pairs of an artefact.
    #[must_use]
    pub const fn most_pairs(&self) -> u32 {
        self.classes as u32 * self.per_class as u32
    }

    const fn pair_len(&self) -> u64 {
        2 + 2 * self.image as u64 + 4 * self.latent as u64
    }

    /// Bytes of an artefact with so many pairs.
    #[must_use]
    pub const fn len(&self, pairs: u32) -> u64 {
        (pairs as u64).saturating_mul(self.pair_len()).saturating_add(4 * self.transformer as u64)
    }

    /// Pairs of an artefact of so many bytes; nothing if no artefact is that long. At least one.
    #[must_use]
    pub fn pairs(&self, len: u64) -> Option<u32> {
        let pairs = len.checked_sub(4 * u64::from(self.transformer))?;
        let count = u32::try_from(pairs / self.pair_len()).ok()?;
        (self.len(count) == len && (1..=self.most_pairs()).contains(&count)).then_some(count)
    }
}

/// An artefact that a voter holds and has checked, and all that is needed to find it and to check it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArtefactRef {
    /// The round whose prototypes it was made of.
    pub job_round: u64,
    /// Who made it.
    pub host: PublicKey,
    /// Its statement's hash.
    pub statement: Digest,
    /// Root of its blob.
    pub blob_root: Digest,
    /// Bytes of its blob.
    pub blob_len: u32,
}

impl ArtefactRef {
    /// Whether it is of late enough a job for this round: to be certified in it, and for members to learn from it after it.
    /// What is older stays in force, so that the next host carries on from it, but no one vouches for it any more.
    #[must_use]
    pub const fn in_time(&self, round: u64) -> bool {
        self.job_round.saturating_add(MAX_ARTEFACT_LAG) >= round
    }
}

/// What a record says of its artefact; zero if there is none.
#[must_use]
pub fn artefact_root(artefact: Option<&ArtefactRef>) -> Digest {
    let encoded = artefact.and_then(|artefact| crate::codec::encode(artefact).ok());
    encoded.map_or(Digest::ZERO, |bytes| hash("artefact ref", &bytes))
}

/// A host's rank in an epoch with this seed: the smaller, the sooner it is its turn. It depends on nobody else, so it is the
/// same whoever offers to host.
#[must_use]
pub fn host_rank(seed: &Digest, host: &PublicKey) -> Digest {
    hash("host rank", &[seed.0, host.0].concat())
}

/// From what a host draws chance: the same for every host of a job.
#[must_use]
pub fn generator_seed(protos_root: &Digest, job_round: u64) -> Digest {
    hash("gen", &[protos_root.as_bytes().as_slice(), &job_round.to_le_bytes()].concat())
}
