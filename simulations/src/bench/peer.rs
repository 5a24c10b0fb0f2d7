//! One node of a bench as a process of its own. It says on stdout what happens, one JSON object a line, and reads from stdin
//! how often it may train.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use fedswarm_network::{Multiaddr, NodeId, TransportKind};
use fedswarm_node::NodeEvent;
use fedswarm_node::blobs::Interner;
use fedswarm_node::trainers::Trainers;
use fedswarm_protocol::round::Event;
use serde::{Deserialize, Serialize};

use super::free::{FreeMember, Gate};
use super::network::{Founded, Place, Plan, Where};
use crate::Error;

/// What a node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// It is connected to so many voters.
    Linked(usize),
    /// It holds the final record of this round.
    Round(u64),
}

/// Which node, and where.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The network.
    pub plan: Plan,
    /// Its place among the keys.
    pub index: usize,
    /// Where it listens.
    pub listen: Multiaddr,
    /// The entry point.
    pub entry: Multiaddr,
    /// Where it keeps things; in memory if nowhere.
    pub folder: Option<PathBuf>,
}

/// Runs the node until stdin ends.
///
/// # Errors
/// [`Error`]: what kept it from starting, or stopped it.
pub async fn run(peer: Peer) -> Result<(), Error> {
    let founded = Founded::new(&peer.plan)?;
    let keep = match peer.folder {
        Some(folder) => Where::Folder(folder, Interner::default()),
        None => Where::Memory(Interner::default()),
    };
    let place = Place { transport: TransportKind::Tcp, listen: vec![peer.listen], bootstraps: vec![peer.entry], keep };
    let config = founded.config(peer.index, place)?;
    let gate = Gate::closed();
    let member = FreeMember::new(peer.plan.parameters as usize, &config.secret.public().0, Arc::clone(&gate));
    let voters = &founded.secrets[..usize::from(peer.plan.voters)];
    let voters: Vec<NodeId> = voters.iter().map(|secret| NodeId(secret.public().0)).collect();
    let trainers = Trainers::start(1).map_err(|e| Error::Run(e.to_string()))?;
    let (node, mut events) = fedswarm_node::start(config, Box::new(member), trainers).await?;
    let (ended, mut end) = tokio::sync::mpsc::channel::<()>(1);
    let opener = Arc::clone(&gate);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            opener.allow(line.trim().parse().unwrap_or_default());
        }
        drop(ended);
    });
    let mut linked = 0;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = end.recv() => break,
        };
        match event {
            None => return Err(Error::Run("the node stopped".to_owned())),
            Some(NodeEvent::Failed { reason }) => return Err(Error::Run(reason)),
            Some(NodeEvent::Peer { id, connected }) if voters.contains(&id) => {
                linked = if connected { linked + 1 } else { linked - 1 };
                say(Said::Linked(linked))?;
            }
            Some(NodeEvent::Round { event: Event::RoundCommitted { round, .. }, .. }) => say(Said::Round(round))?,
            Some(_) => {}
        }
    }
    gate.allow(u64::MAX);
    node.shutdown().await;
    Ok(())
}

fn say(what: Said) -> Result<(), Error> {
    let line = serde_json::to_string(&what).map_err(|e| Error::Run(e.to_string()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| Error::Run(format!("stdout: {e}")))
}
