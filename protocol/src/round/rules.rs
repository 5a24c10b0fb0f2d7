//! What a machine knows from the manifest, in the form in which it uses it.

use crate::certificate::Quorum;
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::manifest::{Manifest, ManifestError, Timers};
use crate::record::{Record, members_root};
use crate::update::UpdateCodec;

/// The constants of a network, and who this member is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The network's id.
    pub network: Digest,
    /// This member's index; nothing for an observer, which follows the chain but signs nothing.
    pub me: Option<u16>,
    /// Number of voters.
    pub voters: u16,
    /// Votes that decide.
    pub quorum: Quorum,
    /// The genesis record.
    pub genesis: Record,
    /// Its hash.
    pub genesis_hash: Digest,
    /// Root of the voters' keys.
    pub members_root: Digest,
    /// Hash of the schema.
    pub schema: Digest,
    /// How payloads travel.
    pub codec: UpdateCodec,
    /// Bytes of a payload as it travels.
    pub wire_len: u32,
    /// Rounds per epoch.
    pub epoch_length: u32,
    /// Cap on an update's weight.
    pub max_weight: u32,
    /// Fewest updates that make a merge.
    pub fewest_inputs: usize,
    /// Last round; 0 means none.
    pub rounds: u64,
    /// Durations.
    pub timers: Timers,
}

impl Rules {
    /// Reads a checked manifest for the member with this key.
    ///
    /// # Errors
    /// [`ManifestError`] if the manifest cannot be encoded.
    pub fn new(manifest: &Manifest, me: &PublicKey) -> Result<Self, ManifestError> {
        let me = manifest.founders.iter().position(|f| f.key == *me).map(|i| i as u16);
        Ok(Self { me, ..Self::observer(manifest)? })
    }

    /// Reads a checked manifest for someone who looks on and signs nothing.
    ///
    /// # Errors
    /// As [`Rules::new`].
    pub fn observer(manifest: &Manifest) -> Result<Self, ManifestError> {
        let network = manifest.network_id()?;
        let genesis = Record::genesis(manifest, network);
        let voters = manifest.founders.len();
        Ok(Self {
            network,
            me: None,
            voters: voters as u16,
            quorum: Quorum::of(voters),
            genesis_hash: genesis.hash()?,
            genesis,
            members_root: members_root(manifest),
            schema: manifest.schema.digest(),
            codec: manifest.codec,
            wire_len: manifest.codec.encoded_len(&manifest.schema) as u32,
            epoch_length: manifest.epoch_length,
            max_weight: manifest.max_weight,
            fewest_inputs: manifest.fewest_inputs(),
            rounds: manifest.rounds,
            timers: manifest.timers.clone(),
        })
    }

    /// True if this many inputs make a merge; with fewer the state is carried over.
    #[must_use]
    pub const fn is_enough(&self, inputs: usize) -> bool {
        inputs > 0 && inputs >= self.fewest_inputs
    }

    /// The weight in the mean of an update with this many samples behind it.
    #[must_use]
    pub fn weight(&self, samples: u32) -> u32 {
        samples.min(self.max_weight)
    }

    /// How long the aggregator of a view has: doubles with each view, up to 64-fold.
    #[must_use]
    pub fn view_ms(&self, view: u32) -> u64 {
        self.timers.leader_ms.saturating_mul(1 << view.min(6))
    }
}
