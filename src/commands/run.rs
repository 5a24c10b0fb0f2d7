//! `fedswarm run`: one real node.

mod overrides;
mod reload;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fedswarm_learning::export;
use fedswarm_network::{Path, Tempo};
use fedswarm_node::invitation::Joining;
use fedswarm_node::run_config::RunConfig;
use fedswarm_node::status::{NodeStatus, Turn};
use fedswarm_node::trainers::Trainers;
use fedswarm_node::vitals::Vitals;
use fedswarm_node::{
    HoldPoint, Keep, NodeConfig, NodeEvent, NodeHandle, Request, Storage, ballot_box, founding, identity,
};
use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::Admission;
use fedswarm_protocol::round::Event;
use tokio::sync::mpsc;

use self::overrides::Overrides;
use super::events;
use super::metrics::NodeSource;
use crate::failure::Failure;
use crate::signals::{Hangups, Stops};

/// How often a node looks for votes of its operator.
const VOTES_EVERY: Duration = Duration::from_secs(1);

/// The model file in a node's folder, written after every certified round.
pub(crate) const MODEL_FILE: &str = "model.safetensors";

/// How long a node that is asked to stop may take to finish its round, unless its operator says otherwise. Shorter, and a round
/// loses its aggregator or an update; longer, and a restart takes as long.
const STOP_SECONDS: u64 = 10;

/// How often a node writes down where it stands, besides after every round.
pub(crate) const STATUS_EVERY: Duration = Duration::from_secs(10);

/// Runs one node of a network until it is interrupted or the network's last round is certified.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Example of a configuration:
  manifest = \"clinic.manifest\"
  key = \"node.key\"
  folder = \"state\"
  listen = [\"/ip4/0.0.0.0/tcp/4002\"]
  bootstraps = [\"/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...\"]
  model = \"cnn2\"
  generator = \"digits\"                # only to host the network's generator
  metrics = \"127.0.0.1:9464\"          # /metrics for Prometheus, /health; a loopback address
  stop_seconds = 10                    # what a node that is asked to stop may take to finish its round
  [data]
  path = \"images\"
  [training]
  batch = 10
  lr = 0.01
  [reach]                # all of it may be left out
  relay = \"auto\"         # or \"always\", \"never\": through the bootstraps' relays where a NAT is in the way
  upnp = true            # ask the router to forward ports
  external = [\"/dns4/node.example.org/tcp/4002\"]   # ports that you forwarded by hand
  [lists]                # all of it may be left out; read again at SIGHUP
  allow = [\"12D3KooW...\"]          # public keys, peer ids, addresses, ranges: never banned
  block = [\"203.0.113.0/24\"]       # not talked to
Without listen, the node listens on all interfaces, TCP and QUIC, IPv4 and IPv6, at ports that it keeps.
With --json, stdout has one JSON object a line for what happens - rounds, views, certificates, peers - and the last line is
{\"finished\": ..., \"model\": ...}.")]
pub(crate) struct Args {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE", default_value = "node.toml", env = "FEDSWARM_CONFIG")]
    config: PathBuf,
    /// Stop once the network's last round is certified, instead of serving others on.
    #[arg(long)]
    exit_when_done: bool,
    /// Leave the network: the node goes on until its leave is certified, then stops.
    #[arg(long, conflicts_with = "rotate")]
    leave: bool,
    /// Change to the key in this file (made if there is none): the node goes on until the change is certified, then stops.
    #[arg(long, value_name = "FILE")]
    rotate: Option<PathBuf>,
    /// Keep the signed inputs and payloads of all rounds for `fedswarm verify`, not only of the last two epochs.
    #[arg(long, env = "FEDSWARM_KEEP_INPUTS")]
    keep_inputs: bool,
    #[command(flatten)]
    overrides: Overrides,
    /// For tests: stand still at this kind of statement, in the first round that this node aggregates.
    #[arg(long, value_name = "KIND", hide = true)]
    hold: Option<HoldPoint>,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let config = args.overrides.apply(RunConfig::load(&args.config)?);
    let manifest = Arc::new(founding::load(&config.manifest)?);
    let secret = identity::load_or_create(&config.key)?;
    let (request, checkpoint) = args.request(&config, &manifest, &secret)?;
    let (joins, key) = (matches!(request, Some(Request::Join(_))), secret.public());
    let (member, card) = config.member(&manifest)?;
    let hosting = config.hosting(&manifest)?;
    let threads =
        config.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let trainers = Trainers::start(threads).map_err(|e| Failure::failed(format!("no training threads: {e}")))?;
    std::fs::create_dir_all(&config.folder).map_err(|e| Failure::input(format!("{}: {e}", config.folder.display())))?;
    let model_path = config.folder.join(MODEL_FILE);
    let node_config = NodeConfig {
        secret,
        key_file: Some(config.key.clone()),
        transport: config.transport()?,
        listen: config.listen()?,
        bootstraps: RunConfig::addresses(&config.bootstraps)?,
        mdns: config.mdns,
        reach: config.reach()?,
        lists: config.lists.parse()?,
        tempo: Tempo::default(),
        storage: Storage::Folder(config.folder.clone()),
        min_peers: Quorum::of(manifest.founders.len()).quorum,
        request,
        checkpoint,
        keep: if args.keep_inputs || config.keep_inputs { Keep::All } else { Keep::TwoEpochs },
        archive: None,
        adaptive_timers: true,
        in_step: None,
        hosting,
        crash_before: None,
        hold: args.hold,
        manifest: Arc::clone(&manifest),
    };
    let runtime = crate::runtime()?;
    let ended = runtime.block_on(async {
        let (node, mut events) = fedswarm_node::start(node_config, member, trainers).await?;
        let addrs = node.network().full_addrs().await;
        for addr in &addrs {
            tracing::info!(%addr, "listening");
        }
        if json {
            let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
            events::print(&serde_json::json!({ "event": "started", "member": node.id().to_string(), "addresses": addrs }));
        }
        tracing::info!(network = manifest.name, member = %node.id(), "waiting for the others");
        if joins && manifest.admission == Admission::Vote {
            tracing::info!("the voters decide whether this node comes in: fedswarm network approve {}", key);
        }
        let vitals = Vitals::default();
        let source = NodeSource { node: node.clone(), manifest: Arc::clone(&manifest), vitals: vitals.clone() };
        let server = match config.metrics {
            None => None,
            Some(addr) => Some(fedswarm_metrics::serve(addr, source).await.map_err(|e| Failure::input(e.to_string()))?),
        };
        let mut told = Told { turn: None, metrics: server.as_ref().map(|server| server.addr().to_string()) };
        save_status(&node, &manifest, &config.folder, &told).await?;
        let mut open = save_roster(&node, &manifest, &config.folder)?;
        let ballots = tokio::spawn(say_votes(node.clone(), Arc::clone(&manifest), config.folder.clone()));
        let mut last = serde_json::Value::Null;
        // One for the whole run: what arrives while an event is handled must not be lost.
        let (mut stops, mut hangups) = (Stops::new(), Hangups::new());
        // Once it is asked to stop: until when it may finish its round.
        let mut stopping: Option<tokio::time::Instant> = None;
        let grace = Duration::from_secs(config.stop_seconds.unwrap_or(STOP_SECONDS));
        let mut at_once = false;
        let mut tick = tokio::time::interval(STATUS_EVERY);
        loop {
            tokio::select! {
                event = next(&mut events, &vitals, json) => match event {
                    None => break,
                    Some(NodeEvent::Failed { reason }) => return Err(Failure::failed(reason)),
                    Some(NodeEvent::Finished { record, state }) => {
                        tracing::info!(%record, "the last round is certified");
                        last = serde_json::json!({ "record_hash": record.to_string(), "state_hash": state.to_string() });
                        save(&node, &card, &model_path);
                        if args.exit_when_done {
                            break;
                        }
                    }
                    Some(NodeEvent::RequestDone { epoch, ends }) => {
                        tracing::info!(epoch, "what this node asked for is certified");
                        if ends {
                            last = serde_json::json!({ "epoch": epoch });
                            break;
                        }
                    }
                    Some(NodeEvent::Measured(measured)) => {
                        let e = measured.evaluation;
                        tracing::info!(round = measured.round, correct = e.correct, of = e.total, "measured on own test images");
                        save(&node, &card, &model_path);
                    }
                    Some(event) => {
                        tell(&event);
                        let committed = matches!(event, NodeEvent::Round { event: Event::RoundCommitted { .. }, .. });
                        // With a record votes may lapse, too.
                        if changes_roster(&event) || open && committed {
                            open = save_roster(&node, &manifest, &config.folder)?;
                        }
                        if matches!(event, NodeEvent::Round { event: Event::EpochStarted { me: None, .. }, .. })
                            && node.membership(&manifest)?.0.evicted.contains(&key)
                        {
                            tracing::warn!("this key was evicted, and stays out; a new key can be invited");
                        }
                        let next = turn_of(&node, &manifest, &event)?;
                        if committed || next.is_some() {
                            told.turn = next.or(told.turn);
                            save_status(&node, &manifest, &config.folder, &told).await?;
                        }
                        let alone = matches!(event, NodeEvent::Peer { connected: false, .. });
                        if stopping.is_some() && (committed || alone && !can_certify(&node, &manifest).await?) {
                            tracing::info!(certified = committed, "stopping");
                            break;
                        }
                    }
                },
                _ = tick.tick() => save_status(&node, &manifest, &config.folder, &told).await?,
                () = hangups.next() => reload::lists(&args.config, &node, json).await,
                () = stops.next() => {
                    if stopping.is_some() {
                        at_once = true;
                        break;
                    }
                    // Others wait for what this node owes the round; where nothing can come of it, nobody does.
                    if grace.is_zero() || !vitals.is_in_round() || !can_certify(&node, &manifest).await? {
                        tracing::info!("stopping");
                        break;
                    }
                    tracing::info!(seconds = grace.as_secs(), "stopping once the round is certified; again, to stop at once");
                    stopping = Some(tokio::time::Instant::now() + grace);
                }
                () = until(stopping) => {
                    tracing::warn!("stopping before the round is certified: the others go on without this node");
                    break;
                }
            }
        }
        ballots.abort();
        drop(server);
        if !at_once {
            node.shutdown().await;
        }
        if json {
            events::print(&serde_json::json!({ "finished": last, "model": model_path }));
        }
        Ok(())
    });
    // What still computes is of no use to anybody.
    runtime.shutdown_background();
    ended
}

/// What the status tells beside what the node knows of itself.
#[derive(Debug, Default)]
struct Told {
    turn: Option<Turn>,
    metrics: Option<String>,
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Whether enough voters are here to certify a round.
async fn can_certify(node: &NodeHandle, manifest: &Manifest) -> Result<bool, Failure> {
    let (here, quorum) = node.voters_here(manifest).await?;
    Ok(here >= quorum)
}

/// What happens next, printed if lines of JSON are asked for.
async fn next(events: &mut mpsc::Receiver<NodeEvent>, vitals: &Vitals, json: bool) -> Option<NodeEvent> {
    let event = events.recv().await;
    event.iter().for_each(|event| vitals.observe(event));
    if let Some(event) = event.as_ref().filter(|_| json) {
        events::print(&events::line(event));
    }
    event
}

/// A record that must be on the chain: round and hash.
type Checkpoint = Option<(u64, Digest)>;

impl Args {
    /// The node of this configuration, and nothing beside.
    pub(crate) fn with_config(config: PathBuf) -> Self {
        Self { config, ..Self::default() }
    }

    /// What the node is to ask the network for.
    fn request(
        &self,
        config: &RunConfig,
        manifest: &Manifest,
        secret: &SecretKey,
    ) -> Result<(Option<Request>, Checkpoint), Failure> {
        if self.leave {
            return Ok((Some(Request::Leave), None));
        }
        if let Some(path) = &self.rotate {
            return Ok((Some(Request::Rotate(Box::new(identity::load_or_create(path)?))), None));
        }
        let Some(path) = &config.join else { return Ok((None, None)) };
        let joining = Joining::load(path, manifest, secret)?;
        Ok((Some(Request::Join(Box::new(joining.join))), joining.checkpoint))
    }
}

/// Says the votes that appear in the node's folder, and takes away those that are settled.
async fn say_votes(node: NodeHandle, manifest: Arc<Manifest>, folder: PathBuf) {
    let mut said = Vec::new();
    let mut tick = tokio::time::interval(VOTES_EVERY);
    loop {
        tick.tick().await;
        let votes = ballot_box::load(&folder);
        if votes.is_empty() {
            continue;
        }
        let Ok((committee, round)) = node.membership(&manifest) else { continue };
        for (path, vote) in &votes {
            if ballot_box::is_settled(vote, &committee, round) {
                // One that stays is looked at again.
                drop(std::fs::remove_file(path));
            } else if !said.contains(vote) && node.cast(vote.clone()).await.is_err() {
                return;
            }
        }
        said = votes.into_iter().map(|(_, vote)| vote).collect();
    }
}

/// Whose turn it is, if this event changes it.
fn turn_of(node: &NodeHandle, manifest: &Manifest, event: &NodeEvent) -> Result<Option<Turn>, Failure> {
    let NodeEvent::Round { event: event @ (Event::RoundStarted { .. } | Event::ViewEntered { .. }), .. } = event else {
        return Ok(None);
    };
    Ok(Turn::of(event, &node.membership(manifest)?.0))
}

/// Writes where the node stands.
async fn save_status(node: &NodeHandle, manifest: &Manifest, folder: &FilePath, told: &Told) -> Result<(), Failure> {
    let (turn, metrics) = (told.turn.clone(), told.metrics.clone());
    let status = NodeStatus { turn, metrics, ..node.status(manifest).await? };
    Ok(status.save(folder)?)
}

/// Writes who belongs to the network and what is voted on; true if anything is.
fn save_roster(node: &NodeHandle, manifest: &Manifest, folder: &FilePath) -> Result<bool, Failure> {
    let roster = node.roster(manifest)?;
    roster.save(folder)?;
    Ok(!roster.waiting.is_empty() || !roster.unwanted.is_empty())
}

/// Whether this changes who belongs to the network or what is voted on.
const fn changes_roster(event: &NodeEvent) -> bool {
    matches!(event, NodeEvent::Round { event: Event::EpochStarted { .. } | Event::Motion { .. }, .. })
}

fn tell(event: &NodeEvent) {
    match event {
        NodeEvent::Peer { id, connected } => tracing::info!(peer = %id, connected, "peer"),
        NodeEvent::Path { id, path: Path::Relayed } => {
            tracing::warn!(peer = %id, "reached through a relay only: payloads come from members that both of you reach");
        }
        NodeEvent::Path { id, path } => tracing::info!(peer = %id, path = path.name(), "reached"),
        NodeEvent::ArtefactReceived { job_round, host, pairs } => {
            tracing::info!(round = job_round, %host, pairs = pairs.classes.len(), "pairs of a generator are here");
        }
        NodeEvent::Tried { round, job_round, host, trial } if trial.refused => {
            let (with, without) = (trial.with, trial.without);
            tracing::warn!(round, job_round, %host, with, without, "refused: these pairs raise this node's own loss");
        }
        NodeEvent::Round { event: Event::ArtefactCertified { round, job_round, host }, .. } => {
            tracing::info!(round, job_round, %host, "an artefact is in force");
        }
        NodeEvent::Round { event: Event::ArtefactRefused { job_round, host, reason }, .. } => {
            tracing::warn!(job_round, %host, reason, "an artefact was refused");
        }
        NodeEvent::Round { event: Event::RoundCommitted { round, view, inputs, record, .. }, .. } => {
            tracing::info!(round, view, inputs, %record, "certified");
        }
        NodeEvent::Round { event: Event::EpochStarted { epoch, voters, members, me }, .. } => {
            tracing::info!(epoch, voters, members, member = me.is_some(), "epoch");
        }
        NodeEvent::Round { event: Event::Motion { subject, votes, needed, .. }, .. } => {
            tracing::info!(key = %subject, votes, needed, "to be voted on (fedswarm network approve)");
        }
        NodeEvent::RequestHindered { reason, .. } => {
            tracing::warn!(
                reason,
                "this node cannot be admitted now; ask another member for an invitation, or wait for one to leave"
            );
        }
        NodeEvent::Round { event: Event::CaughtUp { from, to }, .. } => tracing::info!(from, to, "caught up"),
        _ => {}
    }
}

/// A model that cannot be written is no reason to leave the others alone.
fn save(node: &NodeHandle, card: &export::Card, path: &std::path::Path) {
    let saved = node.with_member(|member| member.export()).and_then(|tensors| export::save(path, card, &tensors));
    if let Err(error) = saved {
        tracing::error!(%error, "the model could not be written");
    }
}
