//! What a node of a world does for a generator: as a host it makes artefacts, as a voter it checks those of others.

use fedswarm_protocol::artefact::{ArtefactRef, ArtefactShape};
use fedswarm_protocol::blob;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{Artefact, Committed};
use fedswarm_protocol::round::{ArtefactVerdict, Input};

use super::Node;
use crate::world::core::Core;
use crate::world::event::What;
use crate::world::fetch::{Fetch, Purpose};
use crate::world::hosting;

impl Node {
    /// What artefacts look like, and the generator's hash; nothing if the network has none.
    #[must_use]
    pub fn generator(&self) -> Option<(ArtefactShape, Digest)> {
        self.rules.generator.as_ref().map(|rules| (rules.shape, rules.spec.id))
    }

    /// A record is final: a host that is not at work begins to make something of it.
    pub(super) fn host(&mut self, committed: &Committed, core: &mut Core) {
        let record = &committed.record;
        let hosts = core.options.hosts.contains(&self.me) && !core.monitor.is_liar(self.me);
        if record.prototypes > 0 && hosts && self.job.is_none() && !self.state.has_artefact_of(record.round) {
            self.job = Some(Box::new(record.clone()));
            let range = core.options.work.generate_us;
            let delay = core.draw(range).saturating_mul(self.slowdown);
            core.after(delay, self.id, self.life, What::Generated(record.round));
        }
    }

    /// It is made. By now others may have been faster.
    pub(super) fn generated(&mut self, round: u64, core: &mut Core) {
        let Some(((shape, generator), record)) = self.generator().zip(self.job.take()) else { return };
        if self.state.has_artefact_of(round) {
            return;
        }
        let blob = hosting::make(&shape, &record).to_bytes();
        let (blob_root, blob_len) = (blob::root(&blob), blob.len() as u32);
        core.blobs[self.id].insert(blob_root, round, blob.into());
        let previous = record.artefact_root;
        let artefact = Artefact { protos_root: record.protos_root, generator, previous, blob_root, blob_len };
        self.inbox.push_back(Input::Generated { job_round: round, artefact });
    }

    pub(super) fn fetch_artefact(&mut self, reference: ArtefactRef, holders: &[u16], core: &mut Core) {
        let holders = self.members(holders, core);
        if let Some(fetch) = self.artefacts.get(&reference).and_then(|n| self.fetches.get_mut(n)) {
            fetch.holders = holders;
            return;
        }
        let (bytes, purpose) = (u64::from(reference.blob_len), Purpose::Artefact(Box::new(reference)));
        let number = self.start_fetch(Fetch::new(reference.blob_root, bytes, holders, purpose), core);
        self.artefacts.insert(reference, number);
    }

    pub(super) fn check_artefact(&self, blob: &[u8]) -> ArtefactVerdict {
        self.generator().map_or(ArtefactVerdict::Invalid, |(shape, _)| hosting::check(&shape, blob))
    }
}
