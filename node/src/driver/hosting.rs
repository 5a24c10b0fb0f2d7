//! The host's role: after a record, the first of the hosts makes an artefact of its prototypes, and the next ones only if
//! nothing comes of that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fedswarm_learning::generator::Generator;
use fedswarm_learning::transfer::{Contribution, Generation, Host, Prototype};
use fedswarm_network::{BlobId, NodeId};
use fedswarm_protocol::artefact::{
    ArtefactFault, ArtefactRef, ArtefactShape, Contents, MAX_ARTEFACT_LAG, artefact_root, generator_seed, host_rank,
};
use fedswarm_protocol::blob;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::message::Artefact;
use fedswarm_protocol::round::Input;
use tokio::sync::watch;

use super::tasks::{Holders, fetch_while_wanted};
use super::{Driver, Report};
use crate::blobs::Blobs;
use crate::{Error, NodeEvent};

/// Rounds for which a host counts as one after its last certified artefact, where any member may host. Too low and hosts that
/// are slow are not waited for.
const SEEN_ROUNDS: u64 = 16;

/// A generator, and what this node makes of prototypes with it.
#[derive(Clone)]
pub struct Hosting {
    host: Arc<Mutex<Box<dyn Host>>>,
    pub(super) generator: Arc<dyn Generator>,
}

impl std::fmt::Debug for Hosting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosting").field("generator", &self.generator.id()).finish_non_exhaustive()
    }
}

impl Hosting {
    /// For a node that hosts `generator` by `host`.
    #[must_use]
    pub fn new(host: Box<dyn Host>, generator: Arc<dyn Generator>) -> Self {
        Self { host: Arc::new(Mutex::new(host)), generator }
    }

    /// Makes an artefact of a round's certified prototypes, a list as the record names it; `carried` is the artefact that was in
    /// force then, if its contents are here.
    ///
    /// # Errors
    /// [`Error::Config`] if the network has no generator, [`Error::Learning`] if the host fails or is cancelled,
    /// [`Error::Corrupt`] if `carried` is no artefact, or if it made what no voter accepts.
    pub fn make(
        &self,
        manifest: &Manifest,
        job_round: u64,
        list: &[u8],
        carried: Option<(&ArtefactRef, &[u8])>,
        cancel: &AtomicBool,
    ) -> Result<Made, Error> {
        let (Some(spec), Some(shape), Some(generator)) =
            (manifest.prototypes, ArtefactShape::of(manifest), &manifest.generator)
        else {
            return Err(Error::Config("this network has no generator".to_owned()));
        };
        let contribution = |(author, p): (u16, fedswarm_protocol::prototypes::FixedPrototype)| Contribution {
            author,
            prototype: Prototype { class: p.class, values: spec.dequantise(&p.values) },
        };
        let prototypes: Vec<Contribution> = spec.read(list).map(contribution).collect();
        let corrupt = |what: &str, fault: ArtefactFault| Error::Corrupt(format!("{what}: {fault}"));
        let transformer = carried.map(|(_, bytes)| Contents::from_bytes(&shape, bytes)).transpose();
        let transformer = transformer.map_err(|fault| corrupt("the artefact in force", fault))?;
        let transformer = transformer.map(|contents| contents.float_transformer());
        let protos_root = spec.name(list).root;
        let seed = generator_seed(&protos_root, job_round);
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let made: Generation = host.generate(&prototypes, transformer.as_deref(), &seed, cancel)?;
        drop(host);
        let pairs = &made.pairs;
        let contents = Contents::from_floats(&shape, &pairs.classes, &pairs.images, &pairs.latents, &made.transformer);
        let certified = spec.classes(list);
        let contents = contents.and_then(|all| {
            let (contents, alike) = all.without_doubles(&certified);
            if !alike.is_empty() {
                tracing::info!(round = job_round, classes = ?alike, "left out: their latents are nearly those of other classes");
            }
            contents.check(&certified).map(|()| contents)
        });
        let bytes = contents.map_err(|fault| corrupt("the host made what no voter accepts", fault))?.to_bytes();
        let artefact = Artefact {
            protos_root,
            generator: generator.id,
            previous: carried.map_or(Digest::ZERO, |(reference, _)| artefact_root(Some(reference))),
            blob_root: blob::root(&bytes),
            blob_len: bytes.len() as u32,
        };
        Ok(Made { artefact, bytes, loss: made.loss })
    }

    /// The generator.
    #[must_use]
    pub fn generator(&self) -> &dyn Generator {
        self.generator.as_ref()
    }

    /// Checks that it is the generator of this network, and that this key may host it.
    pub(super) fn check(&self, manifest: &Manifest, key: &PublicKey) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Config(text));
        let Some(spec) = &manifest.generator else {
            return wrong(format!("network {:?} has no generator to host", manifest.name));
        };
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let found = (host.generator(), self.generator.latent(), host.transformer_len());
        drop(host);
        if found != (spec.id, spec.latent as usize, spec.transformer as usize) {
            return wrong(format!(
                "the generator is {} with latents of {} values and a transformer of {}; network {:?} has {} with {} and {}",
                found.0, found.1, found.2, manifest.name, spec.id, spec.latent, spec.transformer
            ));
        }
        if !spec.may_host(key) {
            return wrong(format!("key {key} is not among the hosts that network {:?} allows", manifest.name));
        }
        Ok(())
    }
}

/// What a host made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it signs for.
    pub artefact: Artefact,
    /// The artefact's blob.
    pub bytes: Vec<u8>,
    /// Alignment loss by epoch.
    pub loss: Vec<f32>,
}

/// What a host knows.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Who has made certified artefacts, and in which round the last one was.
    seen: Vec<(PublicKey, u64)>,
    /// The job in progress.
    busy: Option<Busy>,
}

#[derive(Debug)]
struct Busy {
    job_round: u64,
    cancel: Arc<AtomicBool>,
    /// Who may have its prototypes, as long as it goes on.
    _holders: Holders,
}

/// What an artefact is made of.
struct Task {
    job_round: u64,
    /// The artefact in force at the job's round.
    carried: Option<ArtefactRef>,
    hosting: Hosting,
    manifest: Arc<Manifest>,
    blobs: Arc<Blobs>,
    cancel: Arc<AtomicBool>,
}

impl Driver {
    /// Remembers who hosts, and takes this node's turn if there is one: at once if it comes first, otherwise when those before
    /// it have had their time.
    pub(super) fn on_host_turn_begins(&mut self, certified: Option<ArtefactRef>) {
        let record = self.state.head();
        let round = record.round;
        if let Some(artefact) = certified {
            self.turns.seen.retain(|(key, last)| *key != artefact.host && last + SEEN_ROUNDS >= round);
            self.turns.seen.push((artefact.host, round));
        }
        // What can no longer be certified is given up, so that something else can be begun.
        if self.turns.busy.as_ref().is_some_and(|busy| busy.job_round + MAX_ARTEFACT_LAG <= round) {
            self.stop_hosting();
            self.turns.busy = None;
        }
        let Some(spec) = self.manifest.generator.as_ref().filter(|_| self.hosting.is_some()) else { return };
        if record.prototypes == 0 || self.state.me().is_none() || self.state.is_finished() {
            return;
        }
        let wait = Duration::from_millis(spec.wait_ms).saturating_mul(self.hosts_before() as u32);
        let reports = self.reports.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            drop(reports.send(Report::HostTurn(round)).await);
        });
    }

    /// How many connected hosts come before this one in the order of the epoch: of those that the manifest names, or of those
    /// whose artefacts were certified lately.
    fn hosts_before(&self) -> usize {
        let Some(spec) = &self.manifest.generator else { return 0 };
        let seed = self.state.head().next_seeds().0;
        let rank = |key: &PublicKey| host_rank(&seed, key);
        let mine = rank(&self.secret.public());
        let named = spec.hosts.iter();
        let seen = self.turns.seen.iter().map(|(key, _)| key).filter(|_| spec.hosts.is_empty());
        let before = |key: &&PublicKey| rank(key) < mine && self.connected.contains(&NodeId(key.0));
        named.chain(seen).filter(before).count()
    }

    /// Those before this host have had their time since this round: if nothing came of it, it begins, with the newest
    /// prototypes.
    pub(super) fn on_host_turn(&mut self, since: u64) {
        let Some(hosting) = self.hosting.clone() else { return };
        let head = self.state.head();
        let newest = head.round;
        if self.state.has_artefact_of(since) || self.turns.busy.is_some() || head.prototypes == 0 {
            return;
        }
        let Some(job) = self.artefacts.jobs.get(&newest).copied() else { return };
        let cancel = Arc::new(AtomicBool::new(false));
        let (told, holders) = watch::channel(self.members.clone());
        self.turns.busy = Some(Busy { job_round: newest, cancel: Arc::clone(&cancel), _holders: told });
        let task = Task {
            job_round: newest,
            carried: self.state.artefact().copied(),
            hosting,
            manifest: Arc::clone(&self.manifest),
            blobs: Arc::clone(&self.blobs),
            cancel,
        };
        let (network, trainers, reports) = (self.network.clone(), self.trainers.clone(), self.reports.clone());
        tokio::spawn(async move {
            let id = BlobId(job.root);
            let list = match task.blobs.get(&id) {
                Some(blob) => blob.bytes.clone(),
                None => match fetch_while_wanted(&network, id, job.len, &holders).await {
                    Some(bytes) => bytes,
                    None => return,
                },
            };
            trainers.run_later(move || {
                let began = Instant::now();
                let outcome = task.make(&list);
                let millis = began.elapsed().as_millis() as u64;
                let job_round = task.job_round;
                let report = Report::Generated { job_round, millis, outcome: outcome.map_err(|e| e.to_string()) };
                drop(reports.blocking_send(report));
            });
        });
    }

    /// The job in progress ended.
    pub(super) async fn on_generated(
        &mut self,
        job_round: u64,
        millis: u64,
        outcome: Result<(Artefact, Vec<f32>), String>,
    ) {
        self.turns.busy.take_if(|busy| busy.job_round == job_round);
        match outcome {
            Ok((artefact, loss)) => {
                tracing::info!(round = job_round, millis, bytes = artefact.blob_len, "made an artefact");
                self.tell(NodeEvent::Generated { job_round, millis, loss, bytes: artefact.blob_len }).await;
                self.inputs.push_back(Input::Generated { job_round, artefact });
                self.own_artefact_is_made(job_round);
            }
            Err(error) => {
                tracing::warn!(round = job_round, error, "no artefact could be made");
                self.no_artefact_is_made(job_round);
            }
        }
        // While it was busy newer prototypes may have come.
        let newest = self.state.head().round;
        if newest > job_round && !self.state.is_finished() {
            self.on_host_turn_begins(None);
        }
    }

    /// The node ends: what is being made is wanted by nobody.
    pub(super) fn stop_hosting(&self) {
        if let Some(busy) = &self.turns.busy {
            busy.cancel.store(true, Ordering::Relaxed);
        }
    }
}

impl Task {
    fn make(&self, list: &[u8]) -> Result<(Artefact, Vec<f32>), Error> {
        // Without the artefact in force - it may not be here yet - a host starts afresh, and says so.
        let carried = self.carried.and_then(|reference| {
            let blob = self.blobs.get(&BlobId(reference.blob_root));
            if blob.is_none() {
                tracing::debug!(job_round = reference.job_round, "nothing to carry on from: it is not here yet");
            }
            blob.map(|blob| (reference, blob.bytes.clone()))
        });
        let carried = carried.as_ref().map(|(reference, bytes)| (reference, bytes.as_ref()));
        let made = self.hosting.make(&self.manifest, self.job_round, list, carried, &self.cancel)?;
        self.blobs.insert(made.bytes, self.job_round)?;
        Ok((made.artefact, made.loss))
    }
}
