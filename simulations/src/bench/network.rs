//! The network of a bench: keys, manifest, and the records by which contributors joined, all drawn from the plan. Whoever has the
//! same plan makes the same network, so processes need no files to agree on one.

use std::path::PathBuf;
use std::sync::Arc;

use fedswarm_network::{Multiaddr, Reach, Tempo, TransportKind};
use fedswarm_node::blobs::Interner;
use fedswarm_node::store::Store;
use fedswarm_node::{Keep, NodeConfig, Storage};
use fedswarm_protocol::blob;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::{Manifest, Timers};
use fedswarm_protocol::membership::{Committee, MAX_MEMBERS};
use fedswarm_protocol::round::Rules;
use fedswarm_protocol::tensor::{Schema, TensorSpec};

use crate::Error;
use crate::world::founding;
use crate::world::grown::{Grown, grow, growing_rounds};
use crate::world::keys::{Keys, Signatures};
use crate::world::options::Options;

/// What a bench's network is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Members that vote, 1 to 64.
    pub voters: u16,
    /// Members that contribute only.
    pub contributors: u16,
    /// Numbers in the shared model.
    pub parameters: u32,
    /// Rounds that it goes on for; 0 for no end.
    pub rounds: u64,
}

impl Plan {
    /// All members.
    #[must_use]
    pub fn members(&self) -> usize {
        usize::from(self.voters) + usize::from(self.contributors)
    }

    /// This many members, of which the first 16 vote: more than that is rarely needed, and every voter stores every payload.
    ///
    /// # Errors
    /// A number that no network has.
    pub fn of(members: usize, voters: Option<u16>, parameters: u32, rounds: u64) -> Result<Self, Error> {
        let voters = usize::from(voters.unwrap_or(16)).min(members);
        if members == 0 || members > MAX_MEMBERS || voters == 0 || voters > 64 {
            let text = format!("{members} members and {voters} voters; a network has 1 to {MAX_MEMBERS} and 1 to 64");
            return Err(Error::Input(text));
        }
        Ok(Self { voters: voters as u16, contributors: (members - voters) as u16, parameters, rounds })
    }
}

/// A network that is founded and has grown to its size.
pub struct Founded {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// The members' keys, voters first.
    pub secrets: Vec<SecretKey>,
    /// The last round before the bench begins.
    pub round: u64,
    grown: Grown,
}

impl std::fmt::Debug for Founded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Founded").field("members", &self.secrets.len()).finish_non_exhaustive()
    }
}

impl Founded {
    /// Draws the keys and makes the records.
    ///
    /// # Errors
    /// A plan that makes no network.
    pub fn new(plan: &Plan) -> Result<Self, Error> {
        let run = |e: &dyn std::fmt::Display| Error::Run(format!("the network of the bench cannot be founded: {e}"));
        let members = plan.voters + plan.contributors;
        let options = Options { members, most_voters: plan.voters, rounds: plan.rounds, ..Options::default() };
        let (secrets, mut manifest) = founding::found(&options).map_err(|e| run(&e))?;
        manifest.schema = Schema { tensors: vec![TensorSpec::new("w", &[plan.parameters], 4)] };
        manifest.genesis_root = blob::root(&manifest.genesis());
        manifest.timers = Timers::default();
        manifest.rounds = if plan.rounds == 0 { 0 } else { plan.rounds + growing_rounds(&options) };
        manifest.epoch_length = fedswarm_node::founding::EPOCH_LENGTH;
        manifest.check().map_err(|e| run(&e))?;
        let rules = Rules::new(&manifest, &secrets[0].public()).map_err(|e| run(&e))?;
        let mut keys = Keys::new(secrets.clone(), rules.constants.network, Signatures::Each);
        let founders = Arc::new(Committee::founding(&manifest));
        let grown = grow(&options, &rules, founders, &mut keys).map_err(|e| run(&e))?;
        Ok(Self { manifest: Arc::new(manifest), secrets, round: grown.round(), grown })
    }

    /// A store in memory that knows all that has happened so far.
    fn store(&self) -> Result<Store, Error> {
        let store = Store::in_memory();
        self.fill(&store)?;
        Ok(store)
    }

    fn fill(&self, store: &Store) -> Result<(), Error> {
        for (committed, next) in self.grown.chain.iter().zip(self.grown.committees.iter().skip(1)) {
            store.commit(committed, &[], 0, Some(next))?;
        }
        Ok(())
    }

    /// How a member is set up that keeps its state in a folder, or in memory that it shares with others of its process.
    ///
    /// # Errors
    /// A folder that cannot be made or written.
    pub fn config(&self, member: usize, place: Place) -> Result<NodeConfig, Error> {
        let Place { transport, listen, bootstraps, keep } = place;
        let secret = self.secrets[member].clone();
        let storage = match keep {
            Where::Memory(interner) => Storage::Begun(Arc::new(self.store()?), interner),
            Where::Folder(folder, interner) => {
                std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
                let network = self.manifest.network_id().map_err(|e| Error::Run(e.to_string()))?;
                let path = folder.join(fedswarm_node::audit::layout::STORE);
                self.fill(&Store::open(&path, network.as_bytes(), &secret.public().0)?)?;
                Storage::SharedFolder(folder, interner)
            }
        };
        Ok(NodeConfig {
            secret,
            key_file: None,
            manifest: Arc::clone(&self.manifest),
            transport,
            listen,
            bootstraps,
            mdns: false,
            reach: Reach::default(),
            lists: fedswarm_network::AccessLists::default(),
            tempo: Tempo::local(),
            storage,
            min_peers: self.secrets.len(),
            request: None,
            checkpoint: None,
            keep: Keep::LastRounds,
            archive: None,
            adaptive_timers: false,
            in_step: None,
            hosting: None,
            crash_before: None,
            hold: None,
        })
    }
}

/// Where a member lives.
#[derive(Clone, Debug)]
pub struct Place {
    /// What carries its bytes.
    pub transport: TransportKind,
    /// Where it listens; empty for a free loopback port.
    pub listen: Vec<Multiaddr>,
    /// Entry points.
    pub bootstraps: Vec<Multiaddr>,
    /// Where it keeps things.
    pub keep: Where,
}

/// Where a member keeps things.
#[derive(Clone, Debug)]
pub enum Where {
    /// In memory.
    Memory(Interner),
    /// In this folder.
    Folder(PathBuf, Interner),
}
