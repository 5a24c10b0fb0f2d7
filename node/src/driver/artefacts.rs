//! Artefacts of generator hosts: candidates are fetched and checked for the receipts, the one in force is fetched for the
//! member. All in the background: no round waits for any of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use fedswarm_learning::generator::Generator;
use fedswarm_learning::transfer::Pairs;
use fedswarm_network::{BlobId, NodeId};
use fedswarm_protocol::artefact::{ArtefactRef, ArtefactShape, Contents, MAX_ARTEFACT_LAG};
use fedswarm_protocol::envelope::Verified;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{Artefact, Committed, Message};
use fedswarm_protocol::record::Record;
use fedswarm_protocol::round::{ArtefactVerdict, Input};
use tokio::sync::watch;

use super::lockstep::{InStep, Lockstep};
use super::tasks::{HeldBy, Holders, fetch_while_wanted};
use super::{Driver, Report};
use crate::NodeEvent;
use crate::artefacts::{can_compare, check, pairs_of};

/// Where the pairs of the artefact in force are left for the next training, with what it is.
pub(super) type Slot = Arc<Mutex<Option<(ArtefactRef, Arc<Pairs>)>>>;

/// The prototypes of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// The list's root.
    pub(super) root: Digest,
    /// The list's length in bytes.
    pub(super) len: u64,
}

/// What the driver knows of artefacts.
#[derive(Debug, Default)]
pub(super) struct Artefacts {
    /// Those that are being fetched and checked for the receipts: who holds each, and who its job's prototypes.
    checking: HashMap<ArtefactRef, [Holders; 2]>,
    /// Those that were found to be valid: a receipt promises to serve them.
    pub(super) valid: Vec<ArtefactRef>,
    /// The one that is being fetched for the member.
    wanted: Option<(ArtefactRef, Holders)>,
    /// What was last fetched for the member.
    pub(super) slot: Slot,
    /// Records of which artefacts may still be made.
    pub(super) jobs: BTreeMap<u64, Job>,
    /// Who waits for whom where results must repeat.
    pub(super) lockstep: Lockstep,
}

impl Artefacts {
    pub(super) fn new(step: Option<Arc<InStep>>) -> Self {
        Self { lockstep: Lockstep::new(step), ..Self::default() }
    }

    /// What is certified, whether it is here or not.
    pub(super) fn in_force(&self) -> Option<ArtefactRef> {
        self.wanted.as_ref().map(|(reference, _)| *reference)
    }
}

impl Driver {
    /// The head is what the next artefacts are made of, and its own artefact is in force. `inputs` are the record's signed
    /// inputs, if they are here.
    pub(super) fn on_head(&mut self, record: &Record, in_force: Option<ArtefactRef>, inputs: &[Verified]) {
        let (Some(spec), true) = (self.manifest.prototypes, self.manifest.generator.is_some()) else { return };
        let round = record.round;
        let open = |job: u64| job.saturating_add(MAX_ARTEFACT_LAG) > round;
        self.artefacts.jobs.insert(round, Job { root: record.protos_root, len: spec.list_len(record.prototypes) });
        let newer = |job: u64| in_force.is_none_or(|artefact| job > artefact.job_round);
        self.artefacts.jobs.retain(|job, _| open(*job) && newer(*job) || *job == round);
        self.artefacts.valid.retain(|r| open(r.job_round) && newer(r.job_round));
        self.artefacts.checking.retain(|r, _| open(r.job_round) && newer(r.job_round));
        // What others may still ask for outlives the rounds that made it.
        let lists = self.artefacts.jobs.values().map(|job| job.root);
        let blobs = self.artefacts.valid.iter().map(|r| r.blob_root);
        for root in lists.chain(blobs).chain(in_force.map(|r| r.blob_root)) {
            self.blobs.keep(&BlobId(root), round);
        }
        let known = self.artefacts.in_force();
        if let Some(reference) = in_force.filter(|reference| known != Some(*reference)) {
            self.take_in_force(reference, inputs);
        }
    }

    /// What a commit changes.
    pub(super) fn on_committed_artefact(&mut self, committed: &Committed, inputs: &[Verified]) {
        self.on_head(&committed.record, committed.body.artefact, inputs);
    }

    /// Gets the artefact in force: from those who list it in their receipts, then from everybody.
    fn take_in_force(&mut self, reference: ArtefactRef, inputs: &[Verified]) {
        let Some(shape) = ArtefactShape::of(&self.manifest) else { return };
        let lists = |m: &&Verified| matches!(m.message(), Message::Receipt(r) if r.artefacts.contains(&reference));
        let listed = inputs.iter().filter(lists).filter_map(|m| self.members.get(usize::from(m.author())));
        let mut holders: Vec<NodeId> = listed.copied().collect();
        holders.extend(self.members.iter().filter(|m| !holders.contains(m)).copied().collect::<Vec<_>>());
        let (told, holders) = watch::channel(holders);
        self.artefacts.wanted = Some((reference, told));
        let (network, blobs, manifest) = (self.network.clone(), Arc::clone(&self.blobs), Arc::clone(&self.manifest));
        let (reports, slot, mine) = (self.reports.clone(), Arc::clone(&self.artefacts.slot), *self.round.borrow());
        let here = Arc::clone(&self.artefacts.lockstep.here);
        tokio::spawn(async move {
            let id = BlobId(reference.blob_root);
            let bytes = match blobs.get(&id) {
                Some(blob) => blob.bytes.clone(),
                None => match fetch_while_wanted(&network, id, reference.blob_len.into(), &holders).await {
                    Some(bytes) => bytes,
                    None => return,
                },
            };
            let read = tokio::task::spawn_blocking(move || {
                let contents = Contents::from_bytes(&shape, &bytes).map_err(|fault| fault.to_string())?;
                blobs.insert(bytes, mine).map_err(|e| e.to_string())?;
                Ok::<_, String>(pairs_of(&manifest, &contents))
            });
            let event = match read.await {
                Ok(Ok(pairs)) => {
                    let pairs = Arc::new(pairs);
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((reference, Arc::clone(&pairs)));
                    here.send_replace(Some(reference));
                    let (job_round, host) = (reference.job_round, NodeId(reference.host.0));
                    NodeEvent::ArtefactReceived { job_round, host, pairs }
                }
                Ok(Err(reason)) => refused(&reference, reason),
                Err(error) => return super::tasks::lost(&error, "reading an artefact"),
            };
            drop(reports.send(Report::Event(event)).await);
        });
    }

    /// Fetches and checks an artefact for the next receipt; asked again, only the list of holders grows.
    pub(super) fn check_artefact(&mut self, reference: ArtefactRef, artefact: Artefact, holders: &[u16]) {
        let holders = self.node_ids(holders);
        if let Some(known) = self.artefacts.checking.get(&reference) {
            known[0].send_replace(holders);
            return;
        }
        let (Some(shape), Some(job)) =
            (ArtefactShape::of(&self.manifest), self.artefacts.jobs.get(&reference.job_round).copied())
        else {
            return;
        };
        let (told, holders) = watch::channel(holders);
        // Members that did not merge the job's round themselves fetch its prototypes; those are no secret of the host.
        let (all_told, everybody) = watch::channel(self.members.clone());
        self.artefacts.checking.insert(reference, [told, all_told]);
        let (network, blobs, manifest) = (self.network.clone(), Arc::clone(&self.blobs), Arc::clone(&self.manifest));
        let (reports, trainers, mine) = (self.reports.clone(), self.trainers.clone(), *self.round.borrow());
        let generator = self.generator_for_checks();
        tokio::spawn(async move {
            let get = async |id: BlobId, len: u64, holders: &HeldBy| match blobs.get(&id) {
                Some(blob) => Some(blob.bytes.clone()),
                None => fetch_while_wanted(&network, id, len, holders).await,
            };
            let Some(bytes) = get(BlobId(artefact.blob_root), artefact.blob_len.into(), &holders).await else { return };
            let Some(list) = get(BlobId(job.root), job.len, &everybody).await else { return };
            trainers.run_later(move || {
                let outcome = match check(&manifest, &shape, &bytes, &list, generator.as_deref()) {
                    Ok(()) => blobs.insert(bytes, mine).map(|_| (ArtefactVerdict::Valid, String::new())),
                    Err(verdict) => Ok(verdict),
                };
                let report = match outcome {
                    Ok((verdict, reason)) => Report::Artefact { reference, verdict, reason },
                    Err(error) => Report::Fatal(error),
                };
                drop(reports.blocking_send(report));
            });
        });
    }

    /// A candidate was checked.
    pub(super) async fn on_artefact_checked(
        &mut self,
        reference: ArtefactRef,
        verdict: ArtefactVerdict,
        reason: String,
    ) {
        self.artefacts.checking.remove(&reference);
        if verdict == ArtefactVerdict::Valid {
            self.artefacts.valid.push(reference);
        } else {
            tracing::warn!(host = %reference.host, round = reference.job_round, reason, "an artefact was refused");
            self.tell(refused(&reference, reason)).await;
        }
        self.inputs.push_back(Input::Artefact { reference, verdict });
        if verdict == ArtefactVerdict::Valid {
            self.release_for_artefact(reference.job_round);
        }
    }

    /// This node's own generator, if it is the network's and makes images of the members' extents.
    fn generator_for_checks(&self) -> Option<Arc<dyn Generator>> {
        let generator = Arc::clone(&self.hosting.as_ref()?.generator);
        can_compare(generator.as_ref(), &self.manifest).then_some(generator)
    }
}

fn refused(reference: &ArtefactRef, reason: String) -> NodeEvent {
    NodeEvent::ArtefactRefused { job_round: reference.job_round, host: NodeId(reference.host.0), reason }
}
