//! The manifest: everything that all members of a network must have in common before the first message.

use serde::{Deserialize, Serialize};

use crate::artefact::GeneratorSpec;
use crate::blob::MAX_BLOB_BYTES;
use crate::codec::{self, CodecError};
use crate::hash::{Digest, hash};
use crate::keys::PublicKey;
use crate::membership::{Admission, MAX_INPUTS};
use crate::payload::WireLen;
use crate::prototypes::PrototypeSpec;
use crate::summary::Derivation;
use crate::tensor::{Schema, TensorError};
use crate::update::UpdateCodec;

/// Version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// Most voters of a network: certificates and all-to-all votes stay small. Too low and larger groups cannot vote.
pub const MAX_VOTERS: usize = 64;

/// Most sample-count weight that one update may claim; keeps every sum of the merge inside 62 bits. Too low and large
/// data sets count as if they were smaller.
pub const MAX_WEIGHT: u32 = 1 << 24;

/// Largest manifest in bytes.
pub const MAX_MANIFEST_BYTES: usize = 128 * 1024;

/// Longest name of a network, member, method or class, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// Why a manifest is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not an encoding of a manifest.
    #[error("manifest: {0}")]
    Codec(#[from] CodecError),
    /// The schema is not acceptable, or the genesis does not follow from it.
    #[error("manifest: {0}")]
    Schema(#[from] TensorError),
    /// A rule of the manifest is broken.
    #[error("manifest: {0}")]
    Rule(String),
}

/// What the images of a network look like, and how many classes there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Channels of an image.
    pub channels: u16,
    /// Rows of an image.
    pub height: u16,
    /// Columns of an image.
    pub width: u16,
    /// Names of the classes; a label is an index into them.
    pub classes: Vec<String>,
}

/// A founding member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Founder {
    /// Public key.
    pub key: PublicKey,
    /// Name for people; carries no rights.
    pub name: String,
}

/// Durations, in milliseconds, that all members agree on. They affect liveness only, never safety.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timers {
    /// How long a member waits, after a quorum of updates has arrived, for the rest.
    pub collect_ms: u64,
    /// Longest training phase: after it, members sign receipts for what there is, even if that is nothing.
    pub round_ms: u64,
    /// How long the aggregator of view 0 has for its proposal; doubles with each view, up to 64-fold.
    pub leader_ms: u64,
    /// First interval at which a stalled member repeats what it said; doubles up to 16-fold.
    pub resend_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self { collect_ms: 2_000, round_ms: 600_000, leader_ms: 1_500, resend_ms: 500 }
    }
}

/// The manifest. Its hash is the network's id, so changing anything in it founds another network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Manifest {
    /// [`PROTOCOL_VERSION`] at founding.
    pub version: u16,
    /// Name for people.
    pub name: String,
    /// The method and its options, such as `fedmoe:mix=residual`.
    pub method: String,
    /// What is learnt from what.
    pub task: TaskSpec,
    /// What updates are of and what is merged. Batch size, epochs per round and so on are each peer's own.
    pub schema: Schema,
    /// How payloads travel.
    pub codec: UpdateCodec,
    /// Seed of the first certified state.
    pub genesis_seed: Digest,
    /// Root of the first certified state; it must follow from the seed and [`Manifest::derivation`].
    pub genesis_root: Digest,
    /// Founding voters, in ascending order of their keys; a member's index is its place here.
    pub founders: Vec<Founder>,
    /// Rounds per epoch: the order of aggregators is drawn anew for each.
    pub epoch_length: u32,
    /// Most weight that one update may have (at most [`MAX_WEIGHT`]).
    pub max_weight: u32,
    /// Fewest updates that make a merge; with fewer the round is certified empty. 0 means half of the voters, rounded up.
    pub min_inputs: u16,
    /// Members that one voter may have invited at a time. A corrupt voter can bring in as many liars, and each of them, if a
    /// voter, as many again.
    pub sponsor_cap: u16,
    /// Who decides on newcomers.
    pub admission: Admission,
    /// Rounds after which the network is done; 0 means never.
    pub rounds: u64,
    /// Durations.
    pub timers: Timers,
    /// What peers publish of their classes beside an update; nothing if the method has no prototypes.
    pub prototypes: Option<PrototypeSpec>,
    /// The generator that the network learns from; nothing if there is none.
    pub generator: Option<GeneratorSpec>,
}

impl Manifest {
    /// Canonical bytes.
    ///
    /// # Errors
    /// None for a manifest that passes [`Manifest::check`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        Ok(codec::encode(self)?)
    }

    /// Reads and checks canonical bytes.
    ///
    /// # Errors
    /// [`ManifestError`] with what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = codec::decode(bytes, MAX_MANIFEST_BYTES)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The network's id.
    ///
    /// # Errors
    /// None for a manifest that passes [`Manifest::check`].
    pub fn network_id(&self) -> Result<Digest, ManifestError> {
        Ok(hash("manifest", &self.to_bytes()?))
    }

    /// Puts founders into their canonical order; call it before the manifest is written.
    pub fn sort_founders(&mut self) {
        self.founders.sort_by_key(|f| f.key);
    }

    /// What the certified state is made of, and how it goes on.
    #[must_use]
    pub fn derivation(&self) -> Derivation {
        Derivation {
            schema: self.schema.clone(),
            prototypes: self.prototypes,
            classes: self.task.classes.len(),
            seed: self.genesis_seed,
        }
    }

    /// The first certified state's own blob.
    #[must_use]
    pub fn genesis(&self) -> Vec<u8> {
        self.derivation().genesis().to_blobs().swap_remove(0)
    }

    /// Checks every rule that a reader relies on.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn check(&self) -> Result<(), ManifestError> {
        let rule = |ok: bool, text: &str| if ok { Ok(()) } else { Err(ManifestError::Rule(text.to_owned())) };
        rule(self.version == PROTOCOL_VERSION, "made for another version of the protocol")?;
        rule(!self.founders.is_empty(), "a network needs at least one founder")?;
        rule(self.founders.len() <= MAX_VOTERS, "more than 64 voters")?;
        rule(
            self.founders.is_sorted_by(|a, b| a.key < b.key),
            "founders are not in ascending order, or one occurs twice",
        )?;
        rule(self.founders.iter().all(|f| f.key.is_valid()), "a founder's key is not a valid ed25519 key")?;
        let names = self.founders.iter().map(|f| &f.name).chain(&self.task.classes).chain([&self.name, &self.method]);
        rule(names.map(String::len).all(|len| len <= MAX_NAME_BYTES), "a name is longer than 256 bytes")?;
        rule(self.task.classes.len() >= 2, "fewer than two classes")?;
        rule(self.task.channels > 0 && self.task.height > 0 && self.task.width > 0, "images without pixels")?;
        rule(self.epoch_length > 0, "epochs must have at least one round")?;
        rule((1..=MAX_WEIGHT).contains(&self.max_weight), "max_weight must be 1 to 2^24")?;
        rule(usize::from(self.min_inputs) <= MAX_INPUTS, "min_inputs is more than a round takes")?;
        rule(self.timers.leader_ms > 0 && self.timers.resend_ms > 0, "timers must not be zero")?;
        let prototypes_fit = self.prototypes.is_none_or(|spec| spec.fits(self.task.classes.len()));
        rule(
            prototypes_fit,
            "prototypes of no values, at no scale from 8 to 30, more than a blob of 64 MiB can hold, or learnt from in no steps",
        )?;
        if let Some(generator) = &self.generator {
            generator.check(self).map_err(|text| ManifestError::Rule(text.to_owned()))?;
        }
        self.schema.check()?;
        self.derivation().check()?;
        rule(WireLen::of(self).most() <= MAX_BLOB_BYTES, "an update can be larger than 64 MiB")?;
        let genesis = crate::blob::root(&self.genesis());
        rule(genesis == self.genesis_root, "the genesis root does not follow from the seed and the schema")
    }
}
