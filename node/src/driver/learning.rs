//! Training jobs: take in a certified state, measure it, train from it, make an update of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use fedswarm_network::{BlobId, NodeId};
use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::UpdateHeader;
use fedswarm_protocol::round::Input;
use tokio::sync::{mpsc, watch};

use super::tasks::{Find, obtain_state};
use super::{Driver, Report, SharedMember};
use crate::blobs::Blobs;
use crate::{Error, Measured, NodeEvent, payload};

impl Driver {
    /// Phase 0: gets the certified state if it is not here, then trains from it.
    pub(super) fn train(&mut self, round: u64, base: Digest, model_root: Digest, holders: Vec<NodeId>) {
        let cancel = Arc::new(AtomicBool::new(false));
        self.training = Arc::clone(&cancel);
        let job = self.job(round - 1, model_root);
        let reports = self.reports.clone();
        let ready = self.artefact_in_force_is_here();
        self.with_state(model_root, holders, ready, move |state| {
            let outcome = job.take_in(&state).and_then(|()| job.train(round, base, &cancel));
            match outcome {
                Ok(Some(header)) => send(&reports, Report::Input(Input::Trained { round, header })),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, round, "training failed; this round goes on without this peer's update");
                }
            }
        });
    }

    /// The last round is final: take its state in and measure it.
    pub(super) fn finish(&self) {
        let head = self.state.head();
        let (round, record, state_hash) = (head.round, self.state.head_hash(), head.state_hash());
        let job = self.job(round, head.model_root);
        let reports = self.reports.clone();
        self.with_state(head.model_root, Vec::new(), std::future::ready(()), move |state| {
            if let Err(error) = job.take_in(&state) {
                tracing::error!(%error, "the last state could not be taken in");
            }
            send(&reports, Report::Event(NodeEvent::Finished { record, state: state_hash }));
        });
    }

    fn job(&self, round: u64, model_root: Digest) -> Job {
        Job {
            round,
            model_root,
            member: Arc::clone(&self.member),
            blobs: Arc::clone(&self.blobs),
            manifest: Arc::clone(&self.manifest),
            in_force: Arc::clone(&self.artefacts.slot),
            given: Mutex::default(),
            reports: self.reports.clone(),
            checkpoint: self.store.keeps_checkpoints().then(|| Arc::clone(&self.checkpoint)),
        }
    }

    /// Runs a job on a training thread once the certified state is here and `ready` has come.
    fn with_state(
        &self,
        root: Digest,
        holders: Vec<NodeId>,
        ready: impl Future<Output = ()> + Send + 'static,
        job: impl FnOnce(Vec<f32>) + Send + 'static,
    ) {
        // Those who certified it first, then everybody else: they may have gone meanwhile.
        let mut holders = holders;
        holders.extend(self.members.iter().filter(|m| !holders.contains(m)).copied().collect::<Vec<_>>());
        let (network, blobs, manifest) = (self.network.clone(), Arc::clone(&self.blobs), Arc::clone(&self.manifest));
        let (trainers, round, reports) = (self.trainers.clone(), self.round.subscribe(), self.reports.clone());
        let me = self.secret.public();
        tokio::spawn(async move {
            let derivation = manifest.derivation();
            let (_, holders) = watch::channel(holders);
            let load = |bytes: &[u8], find: Find<'_>| derivation.take_in(bytes, &me, find);
            let obtained = obtain_state(&network, &blobs, &derivation, BlobId(root), &holders, round, load).await;
            ready.await;
            match obtained {
                Ok(None) => {}
                // The job holds the state itself: by the time that a thread is free, the round may be over and its blobs gone.
                Ok(Some((_, state))) => trainers.run(move || job(state)),
                Err(error) => drop(reports.send(Report::Fatal(error)).await),
            }
        });
    }
}

struct Job {
    /// The round whose state is taken in.
    round: u64,
    model_root: Digest,
    member: SharedMember,
    blobs: Arc<Blobs>,
    manifest: Arc<fedswarm_protocol::manifest::Manifest>,
    /// The generator's pairs that are in force, if there are any and they are here.
    in_force: super::artefacts::Slot,
    /// Whose pairs the member was given.
    given: Mutex<Option<ArtefactRef>>,
    reports: mpsc::Sender<Report>,
    /// Where to leave the private state behind an update, if it is to be kept.
    checkpoint: Option<Arc<Mutex<Option<Vec<u8>>>>>,
}

impl Job {
    fn take_in(&self, state: &[f32]) -> Result<(), Error> {
        // A state that is used again must outlive this round.
        self.keep_state();
        let evaluation = {
            let mut member = self.member.0.lock().unwrap_or_else(PoisonError::into_inner);
            if self.manifest.generator.is_some() {
                // What is here by now: training never waits for a generator.
                let in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let in_force = in_force.filter(|(reference, _)| reference.in_time(self.round));
                member.receive(in_force.as_ref().map(|(_, pairs)| pairs.as_ref()))?;
                *self.given.lock().unwrap_or_else(PoisonError::into_inner) = in_force.map(|(reference, _)| reference);
            }
            member.install(state)?;
            member.evaluate()?
        };
        send(&self.reports, Report::Event(NodeEvent::Measured(Measured { round: self.round, evaluation })));
        Ok(())
    }

    fn keep_state(&self) {
        let id = BlobId(self.model_root);
        self.blobs.keep(&id, self.round);
        let derivation = self.manifest.derivation();
        if derivation.row().is_none() {
            return;
        }
        let Some(state) = self.blobs.get(&id) else { return };
        let mut find = |root: &Digest| self.blobs.get(&BlobId(*root)).map(|blob| blob.bytes.clone());
        for part in derivation.parts_of(&state.bytes, &mut find) {
            self.blobs.keep(&BlobId(part), self.round);
        }
    }

    /// Nothing if the round was decided meanwhile.
    fn train(&self, round: u64, base: Digest, cancel: &AtomicBool) -> Result<Option<UpdateHeader>, Error> {
        let began = Instant::now();
        let mut member = self.member.0.lock().unwrap_or_else(PoisonError::into_inner);
        let update = match member.train(cancel) {
            Ok(update) => update,
            Err(fedswarm_learning::Error::Cancelled) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if let Some(slot) = &self.checkpoint {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(member.checkpoint()?);
        }
        let trial = member.trial();
        drop(member);
        let given = *self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((ArtefactRef { job_round, host, .. }, trial)) = given.zip(trial) {
            send(&self.reports, Report::Event(NodeEvent::Tried { round, job_round, host: NodeId(host.0), trial }));
        }
        let millis = began.elapsed().as_millis() as u64;
        send(&self.reports, Report::Event(NodeEvent::Trained { round, loss: update.loss, millis }));
        if cancel.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (header, wire) = payload::make(&self.manifest, base, &update)?;
        self.blobs.insert(wire, round)?;
        Ok(Some(header))
    }
}

/// From a training thread; a driver that is gone does not want to know.
fn send(reports: &mpsc::Sender<Report>, report: Report) {
    drop(reports.blocking_send(report));
}
