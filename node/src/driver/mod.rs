//! The driver: one task per node that feeds the round machine and carries out its effects, in order.

mod adopt;
mod artefacts;
mod ballots;
mod config;
mod effects;
mod handle;
mod hosting;
mod incoming;
mod learning;
mod lockstep;
mod membership;
mod pace;
mod stall;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fedswarm_learning::methods::Member;
use fedswarm_network::{EventReceiver, Network, NodeId};
use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::envelope::Verifier;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::{Committee, Operation};
use fedswarm_protocol::message::Artefact;
use fedswarm_protocol::round::{ArtefactVerdict, Effect, Event, Input, Rules, State, Timer, Timestamp};
use tokio::sync::{Semaphore, mpsc, watch};

pub use self::config::{CrashPoint, HoldPoint, Keep, NodeConfig, Storage};
pub(crate) use self::handle::{MemberCell, SharedMember};
pub use self::handle::{NodeHandle, shutdown_all};
pub use self::hosting::{Hosting, Made};
pub use self::lockstep::InStep;
use self::membership::Asked;
pub use self::membership::Request;
use self::pace::Pace;
use self::stall::Stall;
use crate::archive::Archive;
use crate::audit::layout;
use crate::blobs::{Blobs, Interner};
use crate::store::Store;
use crate::trainers::Trainers;
use crate::vote_mark::VoteMark;
use crate::{Error, NodeEvent, founding};

/// Reports of background work waiting for the driver. Too low and fetches wait for a busy driver, which harms nothing.
const REPORTS: usize = 256;

/// Events waiting for the owner; an owner that reads slowly slows its node down rather than lose any.
const EVENTS: usize = 1024;

/// Starts a node: opens its store, joins the network, and begins with round 1, or where its store says it was.
///
/// # Errors
/// [`Error`]: a store of another node, an address in use, a manifest that this key is not in.
pub async fn start(
    config: NodeConfig,
    member: Box<dyn Member>,
    trainers: Trainers,
) -> Result<(NodeHandle, mpsc::Receiver<NodeEvent>), Error> {
    let manifest = Arc::clone(&config.manifest);
    let mut rules = Rules::new(&manifest, &config.secret.public())?;
    rules.checkpoint = config.checkpoint;
    let rules = Arc::new(rules);
    let network_id = rules.constants.network;
    let (folder, interner, begun) = match config.storage {
        Storage::Folder(folder) => (Some(folder), Interner::default(), None),
        Storage::Memory(interner) => (None, interner, None),
        Storage::SharedFolder(folder, interner) => (Some(folder), interner, None),
        Storage::Begun(store, interner) => (None, interner, Some(store)),
    };
    let blobs = Blobs::open(folder.as_ref().map(|folder| folder.join(layout::BLOBS)), interner)?;
    let store = match &folder {
        None => begun.unwrap_or_else(|| Arc::new(Store::in_memory())),
        Some(folder) => {
            let key = config.secret.public().0;
            let store = Store::open(&folder.join(layout::STORE), network_id.as_bytes(), &key)?;
            // With its manifest the folder can be verified wherever it is taken.
            let copy = folder.join(layout::MANIFEST);
            if !copy.exists() {
                founding::save(&manifest, &copy)?;
            }
            Arc::new(store)
        }
    };
    blobs.insert(manifest.genesis(), 0)?;
    let blobs = Arc::new(blobs);
    let committee = Arc::new(store.committee()?.unwrap_or_else(|| Committee::founding(&manifest)));
    let key = config.secret.public();
    if committee.place(&key).is_none() && !matches!(config.request, Some(Request::Join(_))) {
        let why = if committee.evicted.contains(&key) { "was evicted from" } else { "is not a member of" };
        let text = format!(
            "key {key} {why} network {:?}; ask a member for an invitation (fedswarm network invite){}",
            manifest.name,
            if committee.evicted.contains(&key) { ", for a new key" } else { "" }
        );
        return Err(Error::Config(text));
    }
    let head = store.head()?;
    let mark = match (&config.key_file, &folder, store.log_id()?) {
        (Some(key), Some(folder), Some(log)) => {
            Some(VoteMark::check(key, network_id, folder, log, head.as_ref().map_or(0, |h| h.record.round))?)
        }
        _ => None,
    };
    if let Some(hosting) = &config.hosting {
        hosting.check(&manifest, &key)?;
    }
    let members = membership::node_ids(&committee);
    let mut network_config = fedswarm_network::Config::new(config.secret.to_bytes(), network_id, config.transport);
    network_config.listen = config.listen;
    network_config.bootstraps = config.bootstraps;
    network_config.mdns = config.mdns;
    network_config.reach = config.reach;
    network_config.lists = config.lists;
    network_config.tempo = config.tempo;
    network_config.members = members.clone();
    network_config.ties = membership::ties(&committee, &key);
    let source: Arc<dyn fedswarm_network::BlobSource> = blobs.clone();
    let (network, network_events) = fedswarm_network::start(network_config, source).await?;

    let mut member = member;
    if let Some(checkpoint) = store.checkpoint()? {
        member.restore(&checkpoint)?;
    }
    let state = State::new(Arc::clone(&rules), head.map(Arc::new), Arc::clone(&committee));
    let (events, event_queue) = mpsc::channel(EVENTS);
    let (reports, report_queue) = mpsc::channel(REPORTS);
    let (requests, request_queue) = mpsc::channel(1);
    let (motions, open) = watch::channel(Vec::new());
    let (stop, stopped) = watch::channel(false);
    let member: SharedMember = Arc::new(MemberCell(Mutex::new(member)));
    let handle = NodeHandle {
        network: network.clone(),
        store: Arc::clone(&store),
        blobs: Arc::clone(&blobs),
        member: Arc::clone(&member),
        requests,
        motions: open,
        stop: Arc::new(stop),
    };
    let verifier = Verifier::new(network_id, committee);
    adopt::adopt_files(&store, &blobs, &manifest.genesis_root)?;
    let driver = Driver {
        verifier,
        state,
        folder,
        request: config.request,
        ballots: Vec::new(),
        motions,
        chain: membership::Chain::default(),
        peers: BTreeSet::new(),
        secret: config.secret,
        manifest,
        members,
        network,
        store,
        blobs,
        member,
        trainers,
        events,
        reports,
        began: Instant::now(),
        inputs: VecDeque::new(),
        timers: BTreeMap::new(),
        timer_count: 0,
        connected: BTreeSet::new(),
        asked: 0,
        fetching: HashMap::new(),
        seen: tasks::Seen::default(),
        checking: Arc::new(Semaphore::new(tasks::CHECKS)),
        training: Arc::new(AtomicBool::new(false)),
        round: watch::channel(0).0,
        failed: false,
        lobby: config.min_peers.saturating_sub(1),
        keep: config.keep,
        archive: config.archive,
        crash_before: config.crash_before,
        hold: config.hold,
        aggregates: 0,
        checkpoint: Arc::default(),
        kept: Vec::new(),
        mark,
        pace: Pace::new(),
        stall: Stall::new(),
        artefacts: artefacts::Artefacts::new(config.in_step),
        hosting: config.hosting,
        turns: hosting::Turns::default(),
        adaptive_timers: config.adaptive_timers,
        stopped,
    };
    tokio::spawn(driver.run(network_events, report_queue, request_queue));
    Ok((handle, event_queue))
}

/// What background work reports.
enum Report {
    Input(Input),
    Event(NodeEvent),
    /// An artefact was checked, with what is wrong with it.
    Artefact {
        reference: ArtefactRef,
        verdict: ArtefactVerdict,
        reason: String,
    },
    /// The update of this round has waited long enough for a generator.
    ArtefactIsLate(u64),
    /// Hosts that come before this one have had their time since this round.
    HostTurn(u64),
    /// This node has made an artefact, with its alignment loss by epoch, or says why not.
    Generated {
        job_round: u64,
        millis: u64,
        outcome: Result<(Artefact, Vec<f32>), String>,
    },
    /// Something that the node cannot go on without failed.
    Fatal(Error),
}

struct Driver {
    state: State,
    verifier: Verifier,
    /// Where the node keeps things, if it does.
    folder: Option<PathBuf>,
    /// What this node wants to become.
    request: Option<Request>,
    /// The operator's votes on other members that are not decided yet.
    ballots: Vec<Operation>,
    /// What the machine has open to be voted on.
    motions: watch::Sender<Vec<Operation>>,
    chain: membership::Chain,
    /// Everybody who is connected, members or not.
    peers: BTreeSet<NodeId>,
    secret: SecretKey,
    manifest: Arc<Manifest>,
    members: Vec<NodeId>,
    network: Network,
    store: Arc<Store>,
    blobs: Arc<Blobs>,
    member: SharedMember,
    trainers: Trainers,
    events: mpsc::Sender<NodeEvent>,
    reports: mpsc::Sender<Report>,
    began: Instant,
    inputs: VecDeque<Input>,
    timers: BTreeMap<(Instant, u64), Timer>,
    timer_count: u64,
    connected: BTreeSet<NodeId>,
    /// Members that were asked what they know: the next one is asked first.
    asked: usize,
    fetching: HashMap<(u16, Digest), tasks::Holders>,
    seen: tasks::Seen,
    /// Lets payloads be checked, a few at a time.
    checking: Arc<Semaphore>,
    /// Tells the training in progress to stop.
    training: Arc<AtomicBool>,
    /// The round in progress, for background work to see that it is out of date.
    round: watch::Sender<u64>,
    failed: bool,
    /// Connected members that the first round waits for.
    lobby: usize,
    keep: Keep,
    archive: Option<Arc<Archive>>,
    crash_before: Option<CrashPoint>,
    hold: Option<HoldPoint>,
    /// The last round whose first aggregator is this node.
    aggregates: u64,
    /// The private state behind the update that is about to be signed.
    checkpoint: Arc<Mutex<Option<Vec<u8>>>>,
    /// What the next statement rests on, by round: it goes to the disk with that.
    kept: Vec<(u64, Vec<u8>)>,
    /// What the key remembers of its vote log.
    mark: Option<VoteMark>,
    pace: Pace,
    stall: Stall,
    artefacts: artefacts::Artefacts,
    hosting: Option<Hosting>,
    turns: hosting::Turns,
    adaptive_timers: bool,
    /// Whether the owner has asked the node to stop.
    stopped: watch::Receiver<bool>,
}

impl Driver {
    async fn run(
        mut self,
        mut network: EventReceiver,
        mut reports: mpsc::Receiver<Report>,
        mut requests: mpsc::Receiver<Asked>,
    ) {
        let mut stopped = self.stopped.clone();
        if let Err(error) = self.restore() {
            self.fail(&error).await;
        }
        let (head, in_force) = (self.state.head().clone(), self.state.artefact().copied());
        self.on_head(&head, in_force, &[]);
        let mut in_lobby = true;
        while !self.failed {
            if in_lobby && (self.connected.len() >= self.lobby || self.state.head().round > 0) {
                in_lobby = false;
                self.inputs.push_back(Input::Start);
                self.submit(None);
            }
            while let Some(input) = self.inputs.pop_front() {
                self.step(input).await;
            }
            let next = self.timers.first_key_value().map(|((at, _), _)| *at);
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                Some(report) = reports.recv() => self.on_report(report).await,
                Some(request) = requests.recv() => match request {
                    Asked::Cast(vote) => self.cast(vote),
                    Asked::Become(request) => {
                        self.request = Some(request);
                        self.submit(None);
                    }
                },
                event = network.recv() => match event {
                    Some(event) => self.on_network(event).await,
                    None => break,
                },
                () = sleep_until(next) => {
                    if let Some((_, timer)) = self.timers.pop_first() {
                        self.on_timer(timer);
                    }
                }
            }
        }
        self.training.store(true, Ordering::Relaxed);
        self.stop_hosting();
        // A node that only looks alive would keep others waiting for it.
        self.network.shutdown().await;
    }

    /// Feeds own statements of the round in progress back, so that this run says the same as the last one, then what they
    /// rest on.
    fn restore(&mut self) -> Result<(), Error> {
        let round = self.state.position().0;
        let statements = self.store.statements(round)?;
        let messages = statements.iter().map(|bytes| self.verifier.open(bytes)).collect::<Result<Vec<_>, _>>()?;
        let me = self.state.me();
        let (own, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(|m| Some(m.author()) == me);
        self.inputs.extend(own.into_iter().chain(others).map(Input::Message));
        Ok(())
    }

    async fn step(&mut self, input: Input) {
        if self.failed {
            return;
        }
        let now = Timestamp(self.began.elapsed().as_millis() as u64);
        let effects = self.state.handle(input, now);
        self.publish_motions(&effects);
        self.round
            .send_if_modified(|round| std::mem::replace(round, self.state.position().0) != self.state.position().0);
        for effect in effects {
            if self.failed {
                return;
            }
            self.pace.watch(&effect, Instant::now());
            let begins = matches!(effect, Effect::Emit { event: Event::RoundStarted { .. }, .. });
            if begins && self.adaptive_timers {
                let others = self.state.committee().quorum().quorum.saturating_sub(1);
                let tempo = self.pace.tempo(others, self.manifest.timers.leader_ms);
                tracing::debug!(tempo.leader_ms, tempo.round_ms, "timers follow the network");
                self.inputs.push_back(Input::Tempo(tempo));
            }
            if let Err(error) = self.carry_out(effect).await {
                self.fail(&error).await;
                return;
            }
        }
    }

    async fn on_report(&mut self, report: Report) {
        match report {
            Report::Input(input) => {
                let Some(input) = self.hold_for_artefact(input) else { return };
                if let Input::Payload { author, statement, .. } = &input {
                    self.fetching.remove(&(*author, *statement));
                }
                self.stall.heard(Instant::now());
                self.inputs.push_back(input);
            }
            Report::Event(event) => self.tell(event).await,
            Report::Artefact { reference, verdict, reason } => {
                self.on_artefact_checked(reference, verdict, reason).await;
            }
            Report::ArtefactIsLate(round) => self.artefact_is_late(round),
            Report::HostTurn(since) => self.on_host_turn(since),
            Report::Generated { job_round, millis, outcome } => self.on_generated(job_round, millis, outcome).await,
            Report::Fatal(error) => self.fail(&error).await,
        }
    }

    async fn tell(&self, event: NodeEvent) {
        // An owner that dropped its queue does not want to know.
        drop(self.events.send(event).await);
    }

    /// A node that cannot keep its statements must not make any.
    async fn fail(&mut self, error: &Error) {
        self.failed = true;
        // The owner closes the network while the node may be in the middle of something.
        if *self.stopped.borrow() && matches!(error, Error::Network(fedswarm_network::Error::Closed)) {
            return;
        }
        tracing::error!(%error, "the node stops");
        self.tell(NodeEvent::Failed { reason: error.to_string() }).await;
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
