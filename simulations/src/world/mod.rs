//! A world in virtual time over the production machine: a queue of events, links, disks, crashes, liars, and the
//! invariants, which are checked on every event. One seed fixes everything that happens.
//!
//! ```text
//! Options (drawn from a seed, or written by hand) -> World -> Outcome
//!
//! safety phase:   faults and lies; agreement must hold
//! healing:        the network and the disks are well, all honest nodes come back
//! liveness phase: rounds must go on, each within a bound
//! ```
//!
//! Nothing here decides anything: the machine is [`fedswarm_protocol::round::State`], the same that nodes run.

pub mod adversaries;
pub mod blobs;
pub mod core;
pub mod deeds;
pub mod disk;
pub mod draw;
pub mod event;
pub mod faults;
pub mod fetch;
pub mod founding;
pub mod grown;
pub mod hosting;
pub mod invariants;
pub mod keys;
pub mod link;
pub mod membership;
pub mod node;
pub mod options;
pub mod outcome;
pub mod packet;
pub mod pairs;
pub mod rng;
pub mod scale;
pub mod schedules;
pub mod soak;
pub mod tally;
pub mod work;

mod phases;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::{Manifest, ManifestError};
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::round::{Rules, Shared};

use adversaries::Vice;
use blobs::Blobs;
use core::Core;
use disk::Disk;
use event::{Log, Queue, What};
use faults::{Hardship, TICK_US};
use invariants::Monitor;
use keys::{Keys, Signatures};
use link::Links;
use node::Node;
use options::Options;
use rng::Rng;
use tally::Tally;
use work::{Abstract, Work};

/// Starts are spread over so many microseconds.
const START_US: u64 = 500_000;

/// Why a world cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Options that make no network.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Options that contradict each other.
    #[error("{0}")]
    Options(String),
}

/// Voters that Sybil sponsors may bring in.
fn sybils(options: &Options) -> usize {
    let sponsors = options.vices.iter().filter(|(_, vice)| *vice == Vice::SybilSponsor).count();
    if options.churn.sybil_voters { sponsors * usize::from(options.sponsor_cap()) } else { 0 }
}

fn nobody() -> WorldError {
    WorldError::Options("a world needs a member".to_owned())
}

/// A world.
pub struct World {
    /// What nodes share.
    pub core: Core,
    /// The nodes.
    pub nodes: Vec<Node>,
    hardships: Vec<Box<dyn Hardship>>,
    healed: bool,
    /// The last round before it.
    began_after: u64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.core.now).field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl World {
    /// A world whose members train nothing.
    ///
    /// # Errors
    /// Options that make no network.
    pub fn new(options: &Options) -> Result<Self, WorldError> {
        let (secrets, manifest) = founding::found(options)?;
        Self::with(options, secrets, &manifest, |rules, me, copy| Box::new(Abstract::new(rules, me, copy)), true)
    }

    /// A world over a network of its own, with one learner for each node; `recomputes` if they are [`Abstract`].
    ///
    /// # Errors
    /// Options that contradict the network or each other.
    pub fn with(
        options: &Options,
        secrets: Vec<SecretKey>,
        manifest: &Manifest,
        mut work: impl FnMut(&Rules, u16, u64) -> Box<dyn Work>,
        recomputes: bool,
    ) -> Result<Self, WorldError> {
        let count = secrets.len();
        let expected = usize::from(options.members) + usize::from(options.strangers);
        if count != expected || manifest.founders.len() != usize::from(options.voters()) {
            return Err(WorldError::Options(format!("{count} keys for {expected} nodes")));
        }
        let mut vices: Vec<Option<Vice>> = vec![None; count];
        for (member, vice) in &options.vices {
            let place = vices.get_mut(usize::from(*member)).ok_or_else(|| {
                WorldError::Options(format!(
                    "vices: there is no member {member}; they are numbered from 0 to {}",
                    count - 1
                ))
            })?;
            *place = Some(*vice);
        }
        let mut rng = Rng::new("events", options.seed);
        let (mut nodes, mut places) = (Vec::new(), Vec::new());
        let mut rules = Rules::new(manifest, &secrets.first().map(SecretKey::public).ok_or_else(nobody)?)?;
        if options.signatures != Signatures::Each {
            // As signatures, other things are worked out once in a world, unless it is to do what real nodes do.
            rules.shared = Shared::new();
        }
        let founders = Arc::new(Committee::founding(manifest));
        let mut keys = Keys::new(secrets, rules.constants.network, options.signatures);
        let grown = grown::grow(options, &rules, Arc::clone(&founders), &mut keys)?;
        for (member, vice) in vices.iter().enumerate() {
            let key = keys.public(member as u16).copied().ok_or_else(nobody)?;
            let rules = Arc::new(Rules { key, ..rules.clone() });
            let copies = if *vice == Some(Vice::Twins) { 2 } else { 1 };
            let mut mine = Vec::new();
            for copy in 0..copies {
                let id = nodes.len();
                let learner = work(&rules, member as u16, copy);
                let mut node = Node::new(id, member as u16, Arc::clone(&rules), Arc::clone(&founders), learner);
                node.disk = Disk::after(&grown);
                node.adversary = vice.and_then(Vice::adversary);
                nodes.push(node);
                mine.push(id);
            }
            places.push(mine);
        }
        let links = Links::new(&options.links, nodes.len(), &mut rng);
        let members = nodes.iter().map(|node| node.me).collect();
        let liars: Vec<bool> =
            vices.iter().enumerate().map(|(i, vice)| vice.is_some() || options.lies(i as u16)).collect();
        let genesis = manifest.genesis();
        let mut blobs = Blobs::default();
        blobs.insert(manifest.genesis_root, 0, genesis.into());
        let mut core = Core {
            now: 0,
            queue: Queue::default(),
            log: Log::default(),
            rng,
            links,
            keys,
            monitor: Monitor::new(&rules, &grown, members, liars, recomputes),
            tally: Tally::default(),
            up: vec![false; nodes.len()],
            away: vec![false; nodes.len()],
            lost: vec![false; nodes.len()],
            leaving: 0,
            inventions: sybils(options),
            votes: vec![false; nodes.len()],
            voting: 0,
            audiences: BTreeMap::new(),
            withholding: vec![false; nodes.len()],
            blobs: vec![blobs; nodes.len()],
            giving_up: BTreeSet::new(),
            places,
            options: options.clone(),
            traffic: (0, 0),
            listening: false,
            told: Vec::new(),
            records: vec![Vec::new(); nodes.len()],
        };
        core.learn(grown.committee());
        for twins in core.places.clone() {
            if let [first, second] = twins[..] {
                adversaries::twins::separate(&mut core, (first, second));
            }
        }
        let hardships = faults::all(&mut core, &mut nodes);
        for node in 0..nodes.len() {
            let delay = core.rng.below(START_US);
            core.after(delay, node, 0, What::Start);
        }
        core.after(TICK_US, 0, 0, What::Tick);
        Ok(Self { core, nodes, hardships, healed: false, began_after: grown.round() })
    }

    /// One event; false if nothing is to come any more.
    pub fn step(&mut self) -> bool {
        let Some(event) = self.core.queue.pop() else { return false };
        self.core.now = event.at;
        self.core.log.note(&event);
        let place = event.node as usize;
        match event.what {
            What::Tick => self.tick(),
            What::Start => drop(self.nodes[place].start(&mut self.core)),
            what => {
                let node = &mut self.nodes[place];
                let meant = matches!(what, What::Packet(..) | What::Connected(_) | What::Disconnected(_))
                    || event.life == node.life();
                if meant && self.core.up[place] {
                    node.on(what, &mut self.core);
                }
            }
        }
        true
    }

    fn tick(&mut self) {
        self.core.after(TICK_US, 0, 0, What::Tick);
        for node in &self.nodes {
            self.core.monitor.waiting(node.id, node.waiting(), self.core.now);
        }
        if !self.healed {
            for hardship in &mut self.hardships {
                hardship.tick(&mut self.core, &mut self.nodes);
            }
        }
        for node in &mut self.nodes {
            if self.core.up[node.id] {
                node.lie(&mut self.core);
            }
        }
    }
}
