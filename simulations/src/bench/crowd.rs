//! Many real nodes in this process, found through an entry point.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fedswarm_bootstrap::Bootstrap;
use fedswarm_network::{NodeId, TransportKind};
use fedswarm_node::blobs::Interner;
use fedswarm_node::trainers::Trainers;
use fedswarm_node::{NodeEvent, NodeHandle};
use fedswarm_protocol::round::Event;
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::PATIENCE;
use super::free::{FreeMember, Gate};
use super::network::{Founded, Place, Plan, Where};
use crate::Error;

/// Events of all nodes waiting to be looked at. Full, nodes wait.
const EVENTS: usize = 1 << 16;

/// Between two looks at meshes that are not formed yet.
const LOOK: Duration = Duration::from_millis(10);

/// Nodes of one process.
#[derive(Debug)]
pub struct Crowd {
    /// The nodes, voters first.
    pub nodes: Vec<NodeHandle>,
    /// Lets them train.
    pub gate: Arc<Gate>,
    /// What they have in common.
    pub founded: Founded,
    voters: usize,
    events: mpsc::Receiver<(usize, NodeEvent)>,
    linked: Vec<BTreeSet<NodeId>>,
    /// Each node's last certified round.
    at: Vec<u64>,
    _bootstrap: Bootstrap,
    _keys: tempfile::TempDir,
    folder: Option<tempfile::TempDir>,
}

impl Crowd {
    /// Starts an entry point and all nodes of a plan, which train nothing until the gate lets them; `on_disk`, each has a folder.
    ///
    /// # Errors
    /// [`Error`]: what kept a node from starting.
    pub async fn start(plan: &Plan, transport: TransportKind, on_disk: bool) -> Result<Self, Error> {
        let founded = Founded::new(plan)?;
        let trouble = |e: &dyn std::fmt::Display| Error::Run(e.to_string());
        let keys = tempfile::tempdir().map_err(|e| trouble(&e))?;
        let folder = on_disk.then(tempfile::tempdir).transpose().map_err(|e| trouble(&e))?;
        let config = fedswarm_bootstrap::Config::new(keys.path().join("bootstrap.key"), vec![transport.any_port()]);
        let bootstrap = fedswarm_bootstrap::start(config).await.map_err(|e| trouble(&e))?;
        // One thread each: whoever waits at the gate keeps its thread.
        let trainers = Trainers::start(plan.members()).map_err(|e| trouble(&e))?;
        let (sender, events) = mpsc::channel(EVENTS);
        let (gate, interner, mut nodes) = (Gate::closed(), Interner::default(), Vec::new());
        for i in 0..plan.members() {
            let keep = match &folder {
                Some(folder) => Where::Folder(folder.path().join(i.to_string()), interner.clone()),
                None => Where::Memory(interner.clone()),
            };
            let place = Place { transport, listen: Vec::new(), bootstraps: bootstrap.addrs().to_vec(), keep };
            let config = founded.config(i, place)?;
            let member = FreeMember::new(plan.parameters as usize, &config.secret.public().0, Arc::clone(&gate));
            let (node, mut queue) = fedswarm_node::start(config, Box::new(member), trainers.clone()).await?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(event) = queue.recv().await {
                    if sender.send((i, event)).await.is_err() {
                        return;
                    }
                }
            });
            nodes.push(node);
        }
        let (voters, linked) = (usize::from(plan.voters), vec![BTreeSet::new(); plan.members()]);
        let at = vec![0; plan.members()];
        Ok(Self { nodes, gate, founded, voters, events, linked, at, _bootstrap: bootstrap, _keys: keys, folder })
    }

    /// The next thing that happens to a node.
    ///
    /// # Errors
    /// [`Error::Run`] if nothing does by this time, or a node fails.
    pub async fn next(&mut self, until: Instant) -> Result<(usize, NodeEvent), Error> {
        let late = || Error::Run("the swarm of the bench does not get on".to_owned());
        let next = timeout_at(until.into(), self.events.recv()).await.map_err(|_| late())?;
        match next.ok_or_else(late)? {
            (node, NodeEvent::Failed { reason }) => Err(Error::Run(format!("node {node} stopped: {reason}"))),
            (node, event) => {
                self.note(node, &event);
                Ok((node, event))
            }
        }
    }

    /// Keeps who is connected with whom.
    fn note(&mut self, node: usize, event: &NodeEvent) {
        match event {
            NodeEvent::Peer { id, connected: true } => _ = self.linked[node].insert(*id),
            NodeEvent::Peer { id, connected: false } => _ = self.linked[node].remove(id),
            NodeEvent::Round { event: Event::RoundCommitted { round, .. }, .. } => {
                self.at[node] = self.at[node].max(*round);
            }
            _ => {}
        }
    }

    /// Waits until every voter is connected to every voter, and every node has peers in the mesh of every topic; the fewest peers that
    /// any node has there.
    ///
    /// # Errors
    /// [`Error::Run`] if that takes two minutes.
    pub async fn meshed(&mut self) -> Result<usize, Error> {
        let until = Instant::now() + PATIENCE;
        self.linked_to_voters(self.voters, until).await?;
        loop {
            // All at a time: one after the other, each answer would wait for its turn on a machine that is busy.
            let degrees = join_all(self.nodes.iter().map(|node| node.network().least_mesh())).await;
            let least = degrees.iter().copied().min().unwrap_or_default();
            if least > 0 || self.nodes.len() == 1 {
                return Ok(least);
            }
            // What has happened meanwhile has a place to wait, but not for ever.
            while let Ok((node, event)) = self.events.try_recv() {
                self.note(node, &event);
            }
            if Instant::now() > until {
                let alone = degrees.iter().filter(|degree| **degree == 0).count();
                return Err(Error::Run(format!("{alone} nodes have nobody in their mesh")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until everybody is connected to every voter; the connections between members then, each counted once.
    ///
    /// # Errors
    /// [`Error::Run`] if that takes two minutes.
    pub async fn settled(&mut self) -> Result<usize, Error> {
        self.linked_to_voters(self.nodes.len(), Instant::now() + PATIENCE).await?;
        Ok(self.linked.iter().map(BTreeSet::len).sum::<usize>() / 2)
    }

    /// Waits until the first so many nodes are connected to every voter.
    async fn linked_to_voters(&mut self, count: usize, until: Instant) -> Result<(), Error> {
        let voters: BTreeSet<NodeId> = self.nodes[..self.voters].iter().map(NodeHandle::id).collect();
        for node in 0..count {
            let others = voters.len() - usize::from(node < self.voters);
            while self.linked[node].intersection(&voters).count() < others {
                self.next(until).await?;
            }
        }
        Ok(())
    }

    /// Waits until all nodes hold the final record of a round; returns when each of them did, for each round on the way.
    ///
    /// # Errors
    /// [`Error::Run`] if the next record takes two minutes.
    pub async fn rounds_to(&mut self, last: u64, mut each: impl FnMut(u64, usize, Instant)) -> Result<(), Error> {
        let mut until = Instant::now() + PATIENCE;
        while self.at.iter().any(|round| *round < last) {
            let (node, event) = self.next(until).await?;
            if let NodeEvent::Round { event: Event::RoundCommitted { round, .. }, .. } = event {
                each(round, node, Instant::now());
                until = Instant::now() + PATIENCE;
            }
        }
        Ok(())
    }

    /// Ends all nodes.
    pub async fn end(self) {
        self.gate.allow(u64::MAX);
        fedswarm_node::shutdown_all(&self.nodes).await;
        drop(self.folder);
    }
}
