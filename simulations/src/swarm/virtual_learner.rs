//! A node's learner in virtual time: a real member, real payload bytes, and, if it hosts one, a real generator.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fedswarm_learning::methods::{Member, MemberSetup, Method};
use fedswarm_learning::transfer::Pairs;
use fedswarm_network::NodeId;
use fedswarm_node::{Hosting, Made, Measured, NodeEvent, artefacts, payload};
use fedswarm_protocol::artefact::{ArtefactRef, ArtefactShape, Contents};
use fedswarm_protocol::blob;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::merge::{Merge, Merged};
use fedswarm_protocol::message::{Artefact, UpdateHeader};
use fedswarm_protocol::payload as wire_payload;
use fedswarm_protocol::round::{ArtefactVerdict, MergeInput};
use fedswarm_protocol::summary::{Derivation, LoadError};

use super::prepare::peer_name;
use crate::world::blobs::Blob;
use crate::world::work::{Base, Use, Work};

/// What learners tell while a world runs.
pub(super) type Told = Rc<RefCell<Vec<(usize, NodeEvent)>>>;

/// A node's learner: a real member.
pub(super) struct Learner {
    place: usize,
    method: Arc<dyn Method>,
    setup: MemberSetup,
    manifest: Arc<Manifest>,
    derivation: Derivation,
    key: PublicKey,
    member: Option<Box<dyn Member>>,
    hosting: Option<Hosting>,
    /// The artefact in force and its pairs, once they are here.
    in_force: Option<(ArtefactRef, Pairs)>,
    told: Told,
}

impl Learner {
    pub(super) fn new(
        place: usize,
        method: Arc<dyn Method>,
        setup: MemberSetup,
        (manifest, key): (Arc<Manifest>, PublicKey),
        hosting: Option<Hosting>,
        told: Told,
    ) -> Self {
        let derivation = manifest.derivation();
        Self { place, method, setup, manifest, derivation, key, member: None, hosting, in_force: None, told }
    }

    fn tell(&self, event: NodeEvent) {
        self.told.borrow_mut().push((self.place, event));
    }

    fn take_in(&mut self, round: u64, state: &Base<'_>) -> Option<()> {
        let state = self.derivation.take_in(state.blob, &self.key, &mut bytes(state)).ok()?;
        let member = self.member.as_mut()?;
        if self.manifest.generator.is_some() {
            let in_time = self.in_force.as_ref().filter(|(reference, _)| reference.in_time(round));
            member.receive(in_time.map(|(_, pairs)| pairs)).ok()?;
        }
        member.install(&state).ok()?;
        let evaluation = member.evaluate().ok()?;
        self.tell(NodeEvent::Measured(Measured { round, evaluation }));
        Some(())
    }
}

/// The way to the blobs that a state names.
fn bytes<'a>(state: &Base<'a>) -> impl FnMut(&Digest) -> Option<Vec<u8>> + 'a {
    let find = state.find;
    move |root| find(root).map(|blob| blob.to_vec())
}

impl Work for Learner {
    fn lacks(&self, what: Use, base: &Base<'_>) -> Option<Digest> {
        let lacking = match what {
            Use::Train => self.derivation.take_in(base.blob, &self.key, &mut bytes(base)).err(),
            Use::Merge => self.derivation.load(base.blob, &mut bytes(base)).err(),
        };
        match lacking {
            Some(LoadError::Missing { root, .. }) => Some(root),
            _ => None,
        }
    }

    fn kept_with(&self, base: &Base<'_>) -> Vec<Digest> {
        self.derivation.parts_of(base.blob, &mut bytes(base))
    }

    fn train(&mut self, round: u64, base: Digest, state: &Base<'_>) -> Option<(UpdateHeader, Blob)> {
        self.take_in(round - 1, state)?;
        let update = self.member.as_mut()?.train(&AtomicBool::new(false)).ok()?;
        self.tell(NodeEvent::Trained { round, loss: update.loss, millis: 0 });
        let trial = self.member.as_ref().and_then(|member| member.trial());
        if let Some(((ArtefactRef { job_round, host, .. }, _), trial)) = self.in_force.as_ref().zip(trial) {
            self.tell(NodeEvent::Tried { round, job_round: *job_round, host: NodeId(host.0), trial });
        }
        let (header, wire) = payload::make(&self.manifest, base, &update).ok()?;
        Some((header, wire.into()))
    }

    fn check(&self, header: &UpdateHeader, wire: &Blob) -> bool {
        payload::check(&self.manifest, header, wire).is_ok()
    }

    fn merge(
        &self,
        base: &Base<'_>,
        inputs: &[(MergeInput, Blob)],
        members: &[PublicKey],
    ) -> Option<(Merged, Vec<(Digest, Blob)>)> {
        let base = self.derivation.load(base.blob, &mut bytes(base)).ok()?;
        let mut merge = Merge::new(&self.manifest);
        for (input, wire) in inputs {
            merge.add(input.author, &wire_payload::decode(&self.manifest, wire).ok()?, input.weight).ok()?;
        }
        let result = merge.finish(&base, members).ok()?;
        let mut blobs: Vec<(Digest, Blob)> =
            result.state.to_blobs().into_iter().map(|bytes| (blob::root(&bytes), bytes.into())).collect();
        let merged = result.named(blobs.first()?.0);
        blobs.push((merged.prototypes.root, result.prototypes.into()));
        Some((merged, blobs))
    }

    fn checkpoint(&self) -> Option<Blob> {
        Some(self.member.as_ref()?.checkpoint().ok()?.into())
    }

    fn restart(&mut self, checkpoint: Option<&Blob>) {
        self.in_force = None;
        self.member = self.method.member(self.setup.clone()).ok();
        if let (Some(member), Some(checkpoint)) = (&mut self.member, checkpoint) {
            // A member without its private state would train something else: better none.
            if member.restore(checkpoint).is_err() {
                self.member = None;
            }
        }
    }

    fn finish(&mut self, round: u64, state: &Base<'_>) {
        self.take_in(round, state);
    }

    fn has_generator(&self) -> bool {
        self.manifest.generator.is_some()
    }

    fn generate(
        &mut self,
        round: u64,
        list: &Blob,
        carried: Option<(&ArtefactRef, &Blob)>,
    ) -> Option<(Artefact, Blob)> {
        let carried = carried.map(|(reference, blob)| (reference, blob.as_ref()));
        match self.hosting.as_ref()?.make(&self.manifest, round, list, carried, &AtomicBool::new(false)) {
            Ok(Made { artefact, bytes, loss }) => {
                self.tell(NodeEvent::Generated { job_round: round, millis: 0, loss, bytes: artefact.blob_len });
                Some((artefact, bytes.into()))
            }
            Err(error) => {
                tracing::warn!(node = peer_name(self.place), round, %error, "no artefact could be made");
                None
            }
        }
    }

    fn check_artefact(&mut self, reference: &ArtefactRef, list: &Blob, blob: &Blob) -> ArtefactVerdict {
        let Some(shape) = ArtefactShape::of(&self.manifest) else { return ArtefactVerdict::Invalid };
        let own = self.hosting.as_ref().map(Hosting::generator);
        let own = own.filter(|generator| artefacts::can_compare(*generator, &self.manifest));
        match artefacts::check(&self.manifest, &shape, blob, list, own) {
            Ok(()) => ArtefactVerdict::Valid,
            Err((verdict, reason)) => {
                let (job_round, host) = (reference.job_round, NodeId(reference.host.0));
                tracing::warn!(node = peer_name(self.place), job_round, %host, reason, "an artefact was refused");
                self.tell(NodeEvent::ArtefactRefused { job_round, host, reason });
                verdict
            }
        }
    }

    fn receive(&mut self, reference: &ArtefactRef, blob: &Blob) {
        let Some(shape) = ArtefactShape::of(&self.manifest) else { return };
        // A quorum's receipts say that it is one.
        let Ok(contents) = Contents::from_bytes(&shape, blob) else { return };
        let pairs = artefacts::pairs_of(&self.manifest, &contents);
        let (job_round, host) = (reference.job_round, NodeId(reference.host.0));
        self.tell(NodeEvent::ArtefactReceived { job_round, host, pairs: Arc::new(pairs.clone()) });
        self.in_force = Some((*reference, pairs));
    }
}
