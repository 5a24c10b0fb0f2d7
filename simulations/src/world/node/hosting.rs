//! What a node of a world does for a generator: as a host it makes artefacts, as a voter it checks those of others, as a
//! member it takes in what is in force.

use fedswarm_protocol::artefact::{ArtefactRef, ArtefactShape, artefact_root};
use fedswarm_protocol::blob;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{Artefact, Committed};
use fedswarm_protocol::record::Record;
use fedswarm_protocol::round::{ArtefactVerdict, Input};

use super::Node;
use crate::world::blobs::Blob;
use crate::world::core::Core;
use crate::world::deeds::{Deed, Plan};
use crate::world::event::What;
use crate::world::fetch::{Fetch, Purpose};
use crate::world::hosting;

/// What a host makes an artefact of.
#[derive(Debug)]
pub(super) struct Job {
    record: Record,
    /// The artefact in force.
    in_force: Option<ArtefactRef>,
    /// What a learner needs: the prototypes, and the artefact in force to carry on from, if it is here.
    material: Option<(Blob, Option<(ArtefactRef, Blob)>)>,
}

impl Node {
    /// What artefacts look like, and the generator's hash; nothing if the network has none.
    #[must_use]
    pub fn generator(&self) -> Option<(ArtefactShape, Digest)> {
        self.rules.generator.as_ref().map(|rules| (rules.shape, rules.spec.id))
    }

    /// Whether it is making an artefact.
    #[must_use]
    pub const fn is_making(&self) -> bool {
        self.job.is_some()
    }

    /// What it does instead of its work, in the round after this record.
    fn deed(&self, record: u64, core: &Core) -> Option<Deed> {
        Plan::deed(&core.options.plans, self.me, record + 1)
    }

    /// A record is final: a host that is not at work begins to make something of it.
    pub(super) fn host(&mut self, committed: &Committed, core: &mut Core) {
        let record = &committed.record;
        let honest = !core.monitor.is_liar(self.me) || core.options.lies(self.me);
        let hosts = core.options.hosts.contains(&self.me) && honest;
        let rests = self.deed(record.round, core) == Some(Deed::Rests);
        if record.prototypes > 0 && hosts && !rests && self.job.is_none() && !self.state.has_artefact_of(record.round) {
            let in_force = committed.body.artefact;
            self.job = Some(Box::new(Job { record: record.clone(), in_force, material: None }));
            self.begin_job(record.round, core);
        }
    }

    /// Begins to make an artefact, once there is what it is made of.
    pub(super) fn begin_job(&mut self, round: u64, core: &mut Core) {
        let Some(mut job) = self.job.take_if(|job| job.record.round == round) else { return };
        let root = job.record.protos_root;
        if self.work.has_generator() {
            let Some(list) = core.read(self.id, &root) else {
                // A host that did not merge the round itself.
                self.job = Some(job);
                let (bytes, holders) = (core.options.work.payload_bytes, self.everybody(core));
                self.start_fetch(Fetch::new(root, bytes, holders, Purpose::Job(round)), core);
                return;
            };
            let carried = job.in_force.and_then(|known| Some((known, core.read(self.id, &known.blob_root)?)));
            job.material = Some((list, carried));
        }
        self.job = Some(job);
        let range = core.options.work.generate_us;
        let delay = core.draw(range).saturating_mul(self.slowdown);
        core.after(delay, self.id, self.life, What::Generated(round));
    }

    /// What is still waited for when a round ends is not waited for any more: there are newer prototypes.
    pub(super) fn forget_job(&mut self) {
        let waits = self.work.has_generator();
        self.job.take_if(|job| waits && job.material.is_none());
    }

    /// It is made. By now others may have been faster.
    pub(super) fn generated(&mut self, round: u64, core: &mut Core) {
        let Some(((shape, generator), job)) = self.generator().zip(self.job.take()) else { return };
        if self.state.has_artefact_of(round) {
            return;
        }
        let made = match &job.material {
            Some((list, carried)) => {
                let carried = carried.as_ref().map(|(reference, blob)| (reference, blob));
                self.work.generate(round, list, carried)
            }
            None => {
                let blob: Blob = hosting::make(&shape, &job.record).to_bytes().into();
                let (blob_root, blob_len) = (blob::root(&blob), blob.len() as u32);
                let previous = artefact_root(job.in_force.as_ref());
                let protos_root = job.record.protos_root;
                Some((Artefact { protos_root, generator, previous, blob_root, blob_len }, blob))
            }
        };
        let Some((mut artefact, mut blob)) = made else { return };
        if let Some(deed) = self.deed(round, core).filter(|deed| deed.is_lie()) {
            blob = deed.alter(&shape, blob.to_vec(), round).into();
            (artefact.blob_root, artefact.blob_len) = (blob::root(&blob), blob.len() as u32);
            core.tally.lies += 1;
            if deed.is_obvious() {
                core.monitor.no_artefact(artefact.blob_root);
            }
        }
        core.blobs[self.id].insert(artefact.blob_root, round, blob);
        self.inbox.push_back(Input::Generated { job_round: round, artefact });
    }

    pub(super) fn fetch_artefact(&mut self, reference: ArtefactRef, holders: &[u16], core: &mut Core) {
        let holders = self.members(holders, core);
        if let Some(fetch) = self.artefacts.get(&reference).and_then(|n| self.fetches.get_mut(n)) {
            // While its prototypes are fetched they may come from anybody.
            if matches!(fetch.purpose, Purpose::Artefact(_)) {
                fetch.holders = holders;
            }
            return;
        }
        let list = self.work.has_generator().then(|| core.monitor.record(reference.job_round)).flatten();
        match list.map(|(_, record)| record.protos_root).filter(|root| !core.blobs[self.id].holds(root)) {
            Some(root) => {
                let purpose = Purpose::Prototypes(Box::new(reference), holders);
                let fetch = Fetch::new(root, core.options.work.payload_bytes, self.everybody(core), purpose);
                let number = self.start_fetch(fetch, core);
                self.artefacts.insert(reference, number);
            }
            None => self.fetch_contents(reference, holders, core),
        }
    }

    pub(super) fn fetch_contents(&mut self, reference: ArtefactRef, holders: Vec<u16>, core: &mut Core) {
        let (bytes, purpose) = (u64::from(reference.blob_len), Purpose::Artefact(Box::new(reference)));
        let number = self.start_fetch(Fetch::new(reference.blob_root, bytes, holders, purpose), core);
        self.artefacts.insert(reference, number);
    }

    pub(super) fn check_artefact(&mut self, reference: &ArtefactRef, blob: &Blob, core: &mut Core) -> ArtefactVerdict {
        if !self.work.has_generator() {
            return self.generator().map_or(ArtefactVerdict::Invalid, |(shape, _)| hosting::check(&shape, blob));
        }
        let root = core.monitor.record(reference.job_round).map(|(_, record)| record.protos_root);
        match root.and_then(|root| core.read(self.id, &root)) {
            Some(list) => self.work.check_artefact(reference, &list, blob),
            // Without them it cannot tell: it does not vouch for it.
            None => ArtefactVerdict::Doubtful,
        }
    }

    /// Gives its learner the artefact in force, once it is here.
    pub(super) fn take_in_force(&mut self, core: &mut Core) {
        let Some(reference) = self.state.artefact().copied().filter(|_| self.work.has_generator()) else { return };
        core.blobs[self.id].keep(&reference.blob_root, self.state.head().round);
        if self.taken == Some(reference) {
            return;
        }
        match core.read(self.id, &reference.blob_root) {
            Some(blob) => {
                self.taken = Some(reference);
                self.work.receive(&reference, &blob);
            }
            None => {
                let bytes = reference.blob_len.into();
                let fetch = Fetch::new(reference.blob_root, bytes, self.everybody(core), Purpose::InForce);
                self.start_fetch(fetch, core);
            }
        }
    }
}
