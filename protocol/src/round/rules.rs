//! What a machine knows from the manifest, in the form in which it uses it.

use super::Shared;
use crate::artefact::{ArtefactShape, GeneratorSpec};
use crate::derive::Constants;
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::manifest::{Manifest, ManifestError, Timers};
use crate::payload::WireLen;
use crate::record::Record;
use crate::update::UpdateCodec;

/// What is known of a network's generator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GeneratorRules {
    /// What the manifest says.
    pub spec: GeneratorSpec,
    /// What artefacts look like.
    pub shape: ArtefactShape,
}

/// The constants of a network, and who this member is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// What records depend on.
    pub constants: Constants,
    /// This member's key. A key without a place in the committee follows the chain and signs nothing.
    pub key: PublicKey,
    /// The genesis record.
    pub genesis: Record,
    /// Its hash.
    pub genesis_hash: Digest,
    /// Hash of the schema.
    pub schema: Digest,
    /// How payloads travel.
    pub codec: UpdateCodec,
    /// Bytes of a payload as it travels.
    pub wire_len: WireLen,
    /// The generator; nothing if the network has none.
    pub generator: Option<GeneratorRules>,
    /// Last round; 0 means none.
    pub rounds: u64,
    /// Durations.
    pub timers: Timers,
    /// A record that must be on the chain, from an invitation: keys that left long ago cannot show a newcomer another
    /// history. It closes an epoch, so that nobody can be led past it.
    pub checkpoint: Option<(u64, Digest)>,
    /// What machines of one process work out together, if they do.
    pub shared: Shared,
}

impl Rules {
    /// Reads a checked manifest for the member with this key.
    ///
    /// # Errors
    /// [`ManifestError`] if the manifest cannot be encoded.
    pub fn new(manifest: &Manifest, key: &PublicKey) -> Result<Self, ManifestError> {
        let constants = Constants::new(manifest)?;
        let genesis = Record::genesis(manifest, constants.network);
        Ok(Self {
            key: *key,
            genesis_hash: genesis.hash()?,
            genesis,
            schema: manifest.schema.digest(),
            codec: manifest.codec,
            wire_len: WireLen::of(manifest),
            generator: manifest
                .generator
                .clone()
                .zip(ArtefactShape::of(manifest))
                .map(|(spec, shape)| GeneratorRules { spec, shape }),
            rounds: manifest.rounds,
            timers: manifest.timers.clone(),
            checkpoint: None,
            shared: Shared::default(),
            constants,
        })
    }
}
