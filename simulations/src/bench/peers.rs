//! The nodes of a bench as processes, from the side that starts them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use fedswarm_bootstrap::Bootstrap;
use fedswarm_network::Multiaddr;

use super::PATIENCE;
use super::network::{Founded, Plan};
use super::peer::Said;
use crate::Error;

/// Where processes live.
pub trait Ground {
    /// What a node's command is put behind to run there.
    fn wrapper(&self, node: usize) -> Vec<String>;
    /// Where a node listens.
    fn listen(&self, node: usize) -> String;
    /// Where the entry point listens, which lives in this process.
    fn entry(&self) -> String;
}

/// All on the loopback interface.
#[derive(Clone, Copy, Debug)]
pub struct Loopback;

impl Ground for Loopback {
    fn wrapper(&self, _: usize) -> Vec<String> {
        Vec::new()
    }

    fn listen(&self, _: usize) -> String {
        "/ip4/127.0.0.1/tcp/0".to_owned()
    }

    fn entry(&self) -> String {
        self.listen(0)
    }
}

/// Where processes keep payloads and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// In memory.
    InMemory,
    /// In folders of their own, as `fedswarm run` does.
    InFolders,
}

/// Running processes, ended when this is dropped.
#[derive(Debug)]
pub struct Peers {
    children: Vec<Child>,
    inputs: Vec<ChildStdin>,
    said: mpsc::Receiver<(usize, Said)>,
    linked: Vec<usize>,
    at: Vec<u64>,
    /// The last round before the first.
    pub round: u64,
    voters: usize,
    _bootstrap: Bootstrap,
    folder: tempfile::TempDir,
}

/// Lines of all processes that wait to be read. Too low and processes wait for who measures them.
const LINES: usize = 4096;

impl Peers {
    /// Starts an entry point here, and a process for each member; waits until all are connected to all voters.
    ///
    /// # Errors
    /// [`Error`]: what could not be started, or did not connect in two minutes.
    pub async fn start(plan: &Plan, ground: &dyn Ground, keep: Keep) -> Result<Self, Error> {
        let trouble = |e: &dyn std::fmt::Display| Error::Run(e.to_string());
        let folder = tempfile::tempdir().map_err(|e| trouble(&e))?;
        let listen: Multiaddr = ground.entry().parse().map_err(|e| trouble(&e))?;
        let config = fedswarm_bootstrap::Config::new(folder.path().join("bootstrap.key"), vec![listen]);
        let bootstrap = fedswarm_bootstrap::start(config).await.map_err(|e| trouble(&e))?;
        let entry = bootstrap.addrs().first().map(ToString::to_string);
        let entry = entry.ok_or_else(|| Error::Run("the entry point has no address".to_owned()))?;
        let program = std::env::current_exe().map_err(|e| trouble(&e))?;
        let (sender, said) = mpsc::sync_channel(LINES);
        let members = plan.members();
        let mut peers = Self {
            children: Vec::new(),
            inputs: Vec::new(),
            said,
            linked: vec![0; members],
            at: vec![0; members],
            round: Founded::new(plan)?.round,
            voters: usize::from(plan.voters),
            folder,
            _bootstrap: bootstrap,
        };
        for index in 0..members {
            let own = peers.folder.path().join(index.to_string());
            let mut words = ground.wrapper(index);
            words.push(program.display().to_string());
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).args(["bench", "peer", "--index", &index.to_string(), "--entry", &entry]);
            command.args(["--listen", &ground.listen(index), "--voters", &plan.voters.to_string()]);
            command.args(["--nodes", &members.to_string(), "--parameters", &plan.parameters.to_string()]);
            if keep == Keep::InFolders {
                command.arg("--folder").arg(own);
            }
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().map_err(|e| Error::Run(format!("{}: {e}", words.join(" "))))?;
            peers.inputs.extend(child.stdin.take());
            let stdout = child.stdout.take();
            peers.children.push(child);
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in stdout.map(BufReader::new).into_iter().flat_map(|out| out.lines().map_while(Result::ok)) {
                    if let Ok(said) = serde_json::from_str(&line) {
                        _ = sender.send((index, said));
                    }
                }
            });
        }
        let voters = peers.voters;
        // A voter is not connected to itself.
        peers.until(|peers| {
            let linked = peers.linked.iter().enumerate();
            linked.into_iter().all(|(i, linked)| *linked + usize::from(i < voters) >= voters)
        })?;
        Ok(peers)
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let mut last = Instant::now();
        while !done(self) {
            let left = PATIENCE.saturating_sub(last.elapsed());
            let (node, said) = self
                .said
                .recv_timeout(left)
                .map_err(|_| Error::Run(format!("the processes do not get on: rounds {:?}", self.at)))?;
            match said {
                Said::Linked(count) => self.linked[node] = count,
                Said::Round(round) => (self.at[node], last) = (round.max(self.at[node]), Instant::now()),
            }
        }
        Ok(())
    }

    /// Lets all train so many times, and waits until all hold the last of those rounds' records; how long that took, in seconds.
    ///
    /// # Errors
    /// [`Error::Run`] if a process ends, or nothing happens for two minutes.
    pub fn rounds(&mut self, rounds: u64) -> Result<f64, Error> {
        let began = Instant::now();
        for input in &mut self.inputs {
            writeln!(input, "{rounds}").map_err(|e| Error::Run(format!("a process has ended: {e}")))?;
        }
        self.round += rounds;
        let goal = self.round;
        self.until(|peers| peers.at.iter().all(|round| *round >= goal))?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// The processes' numbers.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended by itself is what is wanted.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
