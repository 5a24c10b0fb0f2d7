//! Training and merging: abstract here, real in a swarm that learns.

use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::blob;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::{Artefact, UpdateHeader};
use fedswarm_protocol::round::{ArtefactVerdict, MergeInput, Rules};

use super::blobs::Blob;
use super::hosting;

/// Finds a blob that is here by its root.
pub type Find<'a> = &'a dyn Fn(&Digest) -> Option<Blob>;

/// What a certified state is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To train from it.
    Train,
    /// To derive the next one.
    Merge,
}

/// A certified state: its root, its own blob, and the way to the blobs that it names.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// Its root.
    pub root: &'a Digest,
    /// Its own blob.
    pub blob: &'a Blob,
    /// Where the others are.
    pub find: Find<'a>,
}

impl std::fmt::Debug for Base<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").field("root", self.root).finish_non_exhaustive()
    }
}

/// What a node's learner does. Called at the virtual moment at which the work is done.
pub trait Work {
    /// A blob that the certified state names, that is needed for this, and that is not here.
    fn lacks(&self, _what: Use, _base: &Base<'_>) -> Option<Digest> {
        None
    }

    /// The blobs that a certified state names and that are kept with it.
    fn kept_with(&self, _base: &Base<'_>) -> Vec<Digest> {
        Vec::new()
    }

    /// Trains from a certified state: the header to sign and the payload behind it. Nothing if training failed.
    fn train(&mut self, round: u64, base: Digest, state: &Base<'_>) -> Option<(UpdateHeader, Blob)>;

    /// Whether a payload is what its header says.
    fn check(&self, header: &UpdateHeader, payload: &Blob) -> bool;

    /// Merges payloads of a round with these members, by place, onto a base: what a record says of the result, and the blobs that it names. Nothing if the result leaves
    /// its range.
    fn merge(
        &self,
        base: &Base<'_>,
        inputs: &[(MergeInput, Blob)],
        members: &[PublicKey],
    ) -> Option<(Merged, Vec<(Digest, Blob)>)>;

    /// Whether it makes anything of artefacts. If so, prototypes and artefacts are fetched for it.
    fn has_generator(&self) -> bool {
        false
    }

    /// As a host: makes an artefact of a round's certified prototypes; `carried` is the artefact in force, if it is here.
    /// Nothing if that fails.
    fn generate(
        &mut self,
        _round: u64,
        _list: &Blob,
        _carried: Option<(&ArtefactRef, &Blob)>,
    ) -> Option<(Artefact, Blob)> {
        None
    }

    /// As a voter: checks an artefact against its job's certified prototypes.
    fn check_artefact(&mut self, _reference: &ArtefactRef, _list: &Blob, _blob: &Blob) -> ArtefactVerdict {
        ArtefactVerdict::Invalid
    }

    /// Takes in the artefact in force, for the next training.
    fn receive(&mut self, _reference: &ArtefactRef, _blob: &Blob) {}

    /// The private state behind the last training.
    fn checkpoint(&self) -> Option<Blob> {
        None
    }

    /// The node was restarted: all that is not in the checkpoint is gone.
    fn restart(&mut self, _checkpoint: Option<&Blob>) {}

    /// The last round's state is certified and here.
    fn finish(&mut self, _round: u64, _state: &Base<'_>) {}
}

/// The model that abstract payloads merge to: a list of what went into it, and its root.
#[must_use]
pub fn abstract_model(base: &Digest, inputs: impl Iterator<Item = (u16, Digest, u32)>) -> (Digest, Blob) {
    let mut bytes = base.as_bytes().to_vec();
    for (author, payload, weight) in inputs {
        bytes.extend_from_slice(&author.to_le_bytes());
        bytes.extend_from_slice(payload.as_bytes());
        bytes.extend_from_slice(&weight.to_le_bytes());
    }
    (blob::root(&bytes), bytes.into())
}

/// The payload root that marks a payload as not what its header says.
#[must_use]
pub fn is_bad(header: &UpdateHeader) -> bool {
    header.payload_root != header.wire_root
}

/// Training that takes time and learns nothing.
#[derive(Debug)]
pub struct Abstract {
    me: u16,
    variant: u64,
    schema: Digest,
    codec: fedswarm_protocol::update::UpdateCodec,
    wire_len: u32,
    prototypes: bool,
}

impl Abstract {
    /// For a member; two variants of one member train to different payloads.
    #[must_use]
    pub const fn new(rules: &Rules, me: u16, variant: u64) -> Self {
        let (schema, codec, wire_len) = (rules.schema, rules.codec, rules.wire_len.least());
        Self { me, variant, schema, codec, wire_len, prototypes: rules.generator.is_some() }
    }
}

impl Work for Abstract {
    fn train(&mut self, round: u64, base: Digest, _state: &Base<'_>) -> Option<(UpdateHeader, Blob)> {
        let payload =
            [self.me.to_le_bytes().as_slice(), &self.variant.to_le_bytes(), &round.to_le_bytes(), &base.0].concat();
        let root = blob::root(&payload);
        let header = UpdateHeader {
            base,
            schema: self.schema,
            payload_root: root,
            wire_root: root,
            wire_len: self.wire_len,
            codec: self.codec,
            samples: 10 + u32::from(self.me),
            norm2_q: 0,
        };
        Some((header, payload.into()))
    }

    fn check(&self, header: &UpdateHeader, _payload: &Blob) -> bool {
        !is_bad(header)
    }

    fn merge(
        &self,
        base: &Base<'_>,
        inputs: &[(MergeInput, Blob)],
        _members: &[PublicKey],
    ) -> Option<(Merged, Vec<(Digest, Blob)>)> {
        let parts = inputs.iter().map(|(input, _)| (input.author, input.payload_root, input.weight));
        let (root, model) = abstract_model(base.root, parts);
        let mut merged = Merged::model(root);
        let mut blobs = vec![(root, model)];
        if self.prototypes {
            let list = hosting::list(inputs.iter().map(|(input, _)| (input.author, input.payload_root)));
            merged.prototypes = hosting::PROTOTYPES.name(&list);
            blobs.push((merged.prototypes.root, list.into()));
        }
        Some((merged, blobs))
    }
}
