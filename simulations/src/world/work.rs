//! Training and merging: abstract here, real in a swarm that learns.

use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::blob;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::{Artefact, UpdateHeader};
use fedswarm_protocol::round::{ArtefactVerdict, MergeInput, Rules};

use super::blobs::Blob;
use super::hosting;

/// What a node's learner does. Called at the virtual moment at which the work is done.
pub trait Work {
    /// Trains from a certified state: the header to sign and the payload behind it. Nothing if training failed.
    fn train(&mut self, round: u64, base: Digest, model: &Blob) -> Option<(UpdateHeader, Blob)>;

    /// Whether a payload is what its header says.
    fn check(&self, header: &UpdateHeader, payload: &Blob) -> bool;

    /// Merges payloads onto a base: what a record says of the result, and the blobs that it names. Nothing if the result leaves
    /// its range.
    fn merge(&self, base: (&Digest, &Blob), inputs: &[(MergeInput, Blob)]) -> Option<(Merged, Vec<(Digest, Blob)>)>;

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
    fn finish(&mut self, _round: u64, _model: &Blob) {}
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
    fn train(&mut self, round: u64, base: Digest, _model: &Blob) -> Option<(UpdateHeader, Blob)> {
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

    fn merge(&self, base: (&Digest, &Blob), inputs: &[(MergeInput, Blob)]) -> Option<(Merged, Vec<(Digest, Blob)>)> {
        let parts = inputs.iter().map(|(input, _)| (input.author, input.payload_root, input.weight));
        let (root, model) = abstract_model(base.0, parts);
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
