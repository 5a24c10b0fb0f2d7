//! A network of processes: keys and a manifest, an entry point, the nodes, and what is in their folders afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fedswarm_node::store::Store;
use fedswarm_protocol::bundle;
use fedswarm_protocol::hash::Digest;
use serde_json::Value;

use crate::journal::{Journal, Seen};
use crate::outcome::Outcome;
use crate::process::Process;

/// Voters; six of them decide.
pub(crate) const NODES: usize = 8;

/// What is left out of a quorum.
pub(crate) const SPARE: usize = 2;

/// The entry point's number in the journal: no node's.
pub(crate) const ENTRY: usize = usize::MAX;

/// Where the processes of a network live: first the founders, by their numbers, then the entry point, then newcomers.
pub(crate) trait Place {
    /// What a command is put behind to run there.
    fn wrapper(&self, number: usize) -> Vec<String>;
    /// Addresses to listen on; none for whatever a node does by itself.
    fn listen(&self, number: usize) -> Vec<String>;
    /// Whether there is an entry point.
    fn has_entry_point(&self) -> bool {
        true
    }
    /// Whether nodes look for each other in their local network.
    fn mdns(&self) -> bool {
        false
    }
}

/// All on the loopback interface.
#[derive(Debug)]
pub(crate) struct Loopback;

impl Place for Loopback {
    fn wrapper(&self, _: usize) -> Vec<String> {
        Vec::new()
    }

    fn listen(&self, _: usize) -> Vec<String> {
        vec!["/ip4/127.0.0.1/tcp/0".to_owned()]
    }
}

/// Keys and a manifest, of which several runs can be made.
pub(crate) struct Founded {
    folder: tempfile::TempDir,
    network: Digest,
    /// Public keys by place.
    keys: Vec<Digest>,
    runs: usize,
    /// Further lines of every node's configuration.
    extra: String,
    _turn: MutexGuard<'static, ()>,
}

/// Waits until no other test has a network: eight nodes are as many as two cores can take.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a command said behind these words, and whether it ended well.
fn asked(folder: &Path, wrapper: &[String], args: &[&str]) -> (Value, bool) {
    let words = wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_fedswarm")]).chain(args.iter().copied());
    let words: Vec<&str> = words.collect();
    let output = Command::new(words[0]).args(&words[1..]).arg("--json").current_dir(folder).output().unwrap();
    let value = serde_json::from_slice(&output.stdout);
    let value = value.unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&output.stderr)));
    (value, output.status.success())
}

/// What a command said that ended well.
fn fedswarm(folder: &Path, wrapper: &[String], args: &[&str]) -> Value {
    let (value, ended_well) = asked(folder, wrapper, args);
    assert!(ended_well, "{args:?}: {value}");
    value
}

impl Founded {
    /// A network of [`NODES`] with so many rounds that waits so long for stragglers, once a quorum of updates is in.
    pub(crate) fn new(rounds: u64, collect_ms: u64) -> Self {
        Self::of(NODES, rounds, collect_ms)
    }

    /// The same with another number of nodes.
    pub(crate) fn of(nodes: usize, rounds: u64, collect_ms: u64) -> Self {
        let turn = turn();
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let mut keys: Vec<(Digest, PathBuf)> = (0..nodes)
            .map(|i| {
                let name = format!("{i}.made");
                let key = fedswarm(at, &[], &["network", "key", "--key", &name]);
                (Digest::from_hex(key["public_key"].as_str().unwrap()).unwrap(), at.join(name))
            })
            .collect();
        // In a manifest members stand in the order of their keys: a node's number is its place.
        keys.sort();
        let (rounds, collect) = (rounds.to_string(), collect_ms.to_string());
        let mut create = vec!["network", "create", "--name", "eight", "--like", "bundled", "--out", "net.manifest"];
        // Everybody keeps every payload: packed small, a run writes a third.
        create.extend(["--method", "fedavg:model=mlp", "--codec", "int8"]);
        create.extend(["--rounds", &rounds, "--collect-ms", &collect]);
        let members: Vec<String> = keys.iter().enumerate().map(|(i, (key, _))| format!("peer{i}={key}")).collect();
        members.iter().for_each(|member| create.extend(["--member", member]));
        let made = fedswarm(at, &[], &create);
        for (i, (_, file)) in keys.iter().enumerate() {
            fs::rename(file, at.join(format!("{i}.key"))).unwrap();
        }
        let network = Digest::from_hex(made["network"].as_str().unwrap()).unwrap();
        Self {
            network,
            keys: keys.into_iter().map(|(key, _)| key).collect(),
            folder,
            runs: 0,
            extra: String::new(),
            _turn: turn,
        }
    }

    /// The same with one more line in every node's configuration.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.extra += &format!("{line}\n");
        self
    }

    /// Starts an entry point and all nodes, each with the point at which it is to stand still, if any.
    pub(crate) fn start<'a>(
        &'a mut self,
        place: &'a dyn Place,
        hold: impl Fn(usize) -> Option<&'static str>,
    ) -> Run<'a> {
        self.runs += 1;
        let folder = self.folder.path().join(format!("run-{}", self.runs));
        fs::create_dir(&folder).unwrap();
        let count = self.keys.len();
        for node in 0..count {
            // Each run is the network's first: what a key remembers of its vote log is of this run alone.
            let key = format!("{node}.key");
            fs::copy(self.folder.path().join(&key), folder.join(&key)).unwrap();
        }
        let nodes = (0..count).map(|_| None).collect();
        let mut run = Run {
            keys: self.keys.clone(),
            invited: BTreeMap::new(),
            founded: self,
            place,
            listen: (0..count).map(|node| place.listen(node)).collect(),
            folder,
            bootstraps: Vec::new(),
            journal: Arc::new(Journal::new()),
            lives: vec![0; count],
            nodes,
            entry: None,
        };
        if place.has_entry_point() {
            run.start_entry_point();
        }
        for node in 0..count {
            run.start(node, hold(node));
        }
        run
    }
}

/// A network that runs.
pub(crate) struct Run<'a> {
    founded: &'a Founded,
    place: &'a dyn Place,
    /// Public keys: the founders' by place, then those of newcomers.
    keys: Vec<Digest>,
    /// How the configuration of a newcomer begins: manifest, key, request to join, entry points.
    invited: BTreeMap<usize, String>,
    /// Where each node listens when it starts.
    listen: Vec<Vec<String>>,
    folder: PathBuf,
    bootstraps: Vec<String>,
    pub(crate) journal: Arc<Journal>,
    /// How often each node was started before.
    pub(crate) lives: Vec<usize>,
    nodes: Vec<Option<Process>>,
    entry: Option<Process>,
}

impl Run<'_> {
    fn start_entry_point(&mut self) {
        let number = self.founded.keys.len();
        let mut args = vec!["bootstrap".to_owned(), "--json".to_owned()];
        args.extend(self.place.listen(number).into_iter().flat_map(|addr| ["--listen".to_owned(), addr]));
        let mut entry = Process::start(&self.folder, &self.place.wrapper(number), &args);
        entry.follow(Arc::clone(&self.journal), ENTRY, 0);
        self.bootstraps = self.journal.next("an entry point", &mut 0, |seen| {
            let all = seen.texts("addresses");
            (seen.node == ENTRY && !all.is_empty()).then_some(all)
        });
        self.entry = Some(entry);
    }

    /// Runs a command about a node where that lives: what it said, and whether it ended well.
    pub(crate) fn fedswarm(&self, node: usize, args: &[&str]) -> (Value, bool) {
        let config = format!("{node}.toml");
        asked(&self.folder, &self.place.wrapper(self.host(node)), &[args, &["--config", &config]].concat())
    }

    /// Where a node lives.
    fn host(&self, node: usize) -> usize {
        if node < self.founded.keys.len() { node } else { node + 1 }
    }

    /// How many nodes there are.
    pub(crate) fn size(&self) -> usize {
        self.keys.len()
    }

    /// Whether a node runs.
    pub(crate) fn runs(&self, node: usize) -> bool {
        self.nodes[node].is_some()
    }

    /// A newcomer whom a running member invites, as people do it; its number. It runs at once, and is a member from some epoch on.
    pub(crate) fn invite(&mut self, sponsor: usize) -> usize {
        let node = self.size();
        let (config, invitation, out) =
            (format!("{sponsor}.toml"), format!("{node}.invitation"), format!("newcomer-{node}"));
        let (here, there) = (self.place.wrapper(self.host(sponsor)), self.place.wrapper(self.host(node)));
        fedswarm(&self.folder, &here, &["network", "invite", "--config", &config, "--out", &invitation]);
        let joined = fedswarm(&self.folder, &there, &["network", "join", &invitation, "--out", &out]);
        let text = fs::read_to_string(self.folder.join(&out).join("node.toml")).unwrap();
        let bootstraps = text.lines().find(|line| line.starts_with("bootstraps")).unwrap();
        let begin = format!(
            "manifest = \"{out}/network.manifest\"\nkey = \"{out}/node.key\"\njoin = \"{out}/network.joining\"\n{bootstraps}\n"
        );
        self.invited.insert(node, begin);
        self.keys.push(Digest::from_hex(joined["public_key"].as_str().unwrap()).unwrap());
        self.lives.push(0);
        self.nodes.push(None);
        self.listen.push(self.place.listen(self.host(node)));
        self.start(node, None);
        node
    }

    fn start(&mut self, node: usize, hold: Option<&str>) {
        let (listen, bootstraps, mdns) = (&self.listen[node], &self.bootstraps, self.place.mdns());
        let extra = &self.founded.extra;
        let begin = self.invited.get(&node).cloned().unwrap_or_else(|| {
            format!("manifest = \"../net.manifest\"\nkey = \"{node}.key\"\nbootstraps = {bootstraps:?}\n")
        });
        let config = format!(
            "{begin}folder = \"state-{node}\"\nmdns = {mdns}\nlisten = {listen:?}\nmodel = \"mlp\"\nthreads = 1\nkeep_inputs = true\n\
             {extra}[data]\npath = \"bundled\"\nmax_train = 100\nmax_test = 20\n[training]\nseed = {node}\n"
        );
        let file = format!("{node}.toml");
        fs::write(self.folder.join(&file), config).unwrap();
        let mut args = vec!["run", "--config", &file, "--json"];
        args.extend(hold.iter().flat_map(|kind| ["--hold", kind]));
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let mut process = Process::start(&self.folder, &self.place.wrapper(self.host(node)), &args);
        process.follow(Arc::clone(&self.journal), node, self.lives[node]);
        self.nodes[node] = Some(process);
    }

    /// The process of a node that runs on this machine itself.
    pub(crate) fn pid(&self, node: usize) -> u32 {
        self.nodes[node].as_ref().expect("it runs").id()
    }

    pub(crate) const fn network(&self) -> &Digest {
        &self.founded.network
    }

    /// The configuration that a node was started with.
    pub(crate) fn config_file(&self, node: usize) -> PathBuf {
        self.folder.join(format!("{node}.toml"))
    }

    /// Where a node listens, with its key.
    pub(crate) fn address(&self, node: usize) -> String {
        let started =
            |seen: &Seen| (seen.node == node && seen.is("started")).then(|| seen.first("addresses").to_owned());
        self.journal.next("an address", &mut 0, started)
    }

    /// Where a node's metrics are.
    pub(crate) fn metrics(&self, node: usize) -> String {
        let (status, _) = self.fedswarm(node, &["status"]);
        status["metrics"].as_str().unwrap_or_else(|| panic!("no metrics: {status}")).to_owned()
    }

    /// Asks a node to stop, and waits until it has: how long that took.
    pub(crate) fn stop_one(&mut self, node: usize, signal: &str) -> Duration {
        let began = Instant::now();
        assert!(self.nodes[node].take().expect("it runs").stop(signal).success());
        began.elapsed()
    }

    /// `kill -9`; what it had printed is in the journal.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].take().expect("it runs").kill();
    }

    pub(crate) fn restart(&mut self, node: usize, hold: Option<&str>) {
        assert!(self.nodes[node].is_none());
        self.lives[node] += 1;
        self.start(node, hold);
    }

    /// A node that starts again listens where it did, as those do whose operator chose the port.
    pub(crate) fn keep_port(&mut self, node: usize) {
        let started = self.journal.next("an address", &mut 0, |seen| {
            (seen.node == node && seen.is("started")).then(|| seen.first("addresses").to_owned())
        });
        self.listen[node] = vec![started.split("/p2p/").next().unwrap().to_owned()];
    }

    /// Waits until each node has written down where all others are.
    pub(crate) fn all_are_written_down(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        for node in 0..self.size() {
            let book = self.folder.join(format!("state-{node}/peers.txt"));
            while fs::read_to_string(&book).unwrap_or_default().matches("\npeer ").count() + 1 < self.size() {
                assert!(Instant::now() < until, "{} does not name all others", book.display());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    pub(crate) fn kill_entry_point(&mut self) {
        self.entry.take().expect("it runs").kill();
    }

    /// Stops the entry point in order; what it counted is the last that it printed.
    pub(crate) fn stop_entry_point(&mut self) -> Seen {
        assert!(self.entry.take().expect("it runs").stop("TERM").success());
        self.journal.next("what the entry point counted", &mut 0, |seen| {
            (seen.node == ENTRY && seen.number("circuits_opened").is_some()).then(|| seen.clone())
        })
    }

    /// Stops or continues a process.
    pub(crate) fn signal(&self, node: usize, name: &str) {
        self.nodes[node].as_ref().expect("it runs").signal(name);
    }

    /// The last round that anybody has begun.
    pub(crate) fn frontier(&self) -> u64 {
        self.journal.all().iter().filter_map(Seen::started).max().unwrap_or_default()
    }

    /// A node's public key, as others print it.
    pub(crate) fn key(&self, node: usize) -> String {
        self.keys[node].to_string()
    }

    /// Stops a node as an operator does.
    pub(crate) fn interrupt_node(&mut self, node: usize) {
        assert!(self.nodes[node].take().expect("it runs").stop("INT").success());
    }

    /// The nodes that run, one excepted.
    pub(crate) fn others(&self, node: usize) -> Vec<usize> {
        (0..self.size()).filter(|n| *n != node && self.nodes[*n].is_some()).collect()
    }

    /// Signed statements of a round in a killed node's vote log.
    pub(crate) fn statements(&self, node: usize, round: u64) -> Vec<Vec<u8>> {
        // Of a copy: opening mends what the kill left, and that is for the node itself to do.
        let copy = tempfile::NamedTempFile::new_in(&self.folder).unwrap();
        fs::copy(self.folder.join(format!("state-{node}/node.redb")), copy.path()).unwrap();
        let store = Store::open(copy.path(), self.founded.network.as_bytes(), self.keys[node].as_bytes());
        store.unwrap().statements(round).unwrap()
    }

    /// Waits until all are through with the manifest's rounds, stops them, compares, and has two folders verified.
    pub(crate) fn finish(mut self) -> Outcome {
        let all: Vec<usize> = (0..self.size()).collect();
        let lives = self.lives.clone();
        self.journal.each("the last round", &all, |seen| seen.is("finished") && seen.life == lives[seen.node]);
        self.stop();
        let outcome = self.compare(&[0, self.size() - 1]);
        assert!(outcome.states.len() == 1, "they end in different states: {:?}", outcome.states);
        outcome
    }

    /// Stops all wherever they are, compares the rounds that they have in common, and has every folder verified.
    pub(crate) fn interrupt(self) -> Outcome {
        let all: Vec<usize> = (0..self.size()).collect();
        self.interrupt_and_verify(&all)
    }

    /// The same, and only these folders are verified.
    pub(crate) fn interrupt_and_verify(mut self, verified: &[usize]) -> Outcome {
        self.stop();
        self.compare(verified)
    }

    /// As an operator does, or a service manager.
    fn stop(&mut self) {
        for (node, signal) in self.nodes.iter_mut().zip(["INT", "TERM"].into_iter().cycle()) {
            if let Some(node) = node.take() {
                assert!(node.stop(signal).success());
            }
        }
    }

    fn compare(&self, verified: &[usize]) -> Outcome {
        let mut outcome = Outcome { seen: self.journal.all(), ..Outcome::default() };
        for seen in &outcome.seen {
            for bad in ["evidence", "equivocated", "halted", "fork", "failed", "proposal_refused", "error_logged"] {
                assert!(!seen.is(bad), "{seen:?}");
            }
        }
        for node in 0..self.size() {
            let state = format!("state-{node}");
            if verified.contains(&node) {
                let audit = fedswarm(&self.folder, &[], &["verify", &state]);
                assert_eq!(audit["holds"], true, "node {node}: {audit}");
            }
            assert!(!self.folder.join(&state).join("evidence").exists(), "nobody said two things");
            let path = self.folder.join(&state).join("node.redb");
            let store = Store::open(&path, self.founded.network.as_bytes(), self.keys[node].as_bytes()).unwrap();
            let records = store.records().unwrap();
            outcome.states.extend(records.last().map(|last| last.record.state_hash()));
            for committed in records {
                let (round, hash) = (committed.record.round, committed.certificate.record);
                outcome.epochs.insert(round, committed.record.epoch);
                let known = outcome.rounds.entry(round).or_insert((hash, committed.record.inputs));
                assert_eq!(known.0, hash, "node {node} has another record of round {round}");
            }
            for (round, bytes) in store.inputs().unwrap() {
                let updates = bundle::unpack(&bytes).unwrap().into_iter().map(|packed| packed.bytes.to_vec());
                outcome.inputs.entry(round).or_default().extend(updates);
            }
        }
        outcome
    }
}
