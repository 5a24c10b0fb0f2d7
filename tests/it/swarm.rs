//! Nodes over real sockets, with a member that trains at no cost, so that tests are about agreement.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fedswarm_bootstrap::Bootstrap;
use fedswarm_learning::Error;
use fedswarm_learning::data::ImageShape;
use fedswarm_learning::methods::{Evaluation, LocalUpdate, Member, MemberSetup, Method, MethodInfo, NamedTensor, Task};
use fedswarm_learning::transfer::{Pairs, Prototype};
use fedswarm_network::{Tempo, TransportKind};
use fedswarm_node::blobs::Interner;
use fedswarm_node::founding::{Plan, found};
use fedswarm_node::trainers::Trainers;
use fedswarm_node::{CrashPoint, Hosting, Keep, NodeConfig, NodeEvent, NodeHandle, Request, Storage};
use fedswarm_protocol::hash::{Digest, Stream};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::{Founder, Manifest, Timers};
use fedswarm_protocol::membership::{Admission, Join};
use fedswarm_protocol::tensor::{Schema, TensorSpec};
use fedswarm_protocol::update::UpdateCodec;
use tokio::sync::mpsc;

/// Shares this many numbers and adds noise to them.
pub(crate) struct Noise(pub(crate) u32);

struct NoisyMember {
    len: usize,
    /// Length of its prototypes, if it publishes any: one of each of two classes.
    prototypes: Option<u16>,
    /// What a test sees of the pairs that it was given: the mean of the images of each training.
    received: Arc<Mutex<Vec<Option<f32>>>>,
    stream: Stream,
    /// Rounds trained, over restarts.
    trained: u64,
}

impl Method for Noise {
    fn info(&self) -> MethodInfo {
        MethodInfo { name: "noise", shares: "noise", heterogeneous: true, needs: "nothing", paper: "none" }
    }

    fn spelling(&self) -> String {
        "noise".to_owned()
    }

    fn schema(&self, _: &Task) -> Result<Schema, Error> {
        Ok(Schema { tensors: vec![TensorSpec::new("noise", &[self.0], 1)] })
    }

    fn default_architectures(&self, _: &Task) -> Vec<&'static str> {
        vec!["mlp"]
    }

    fn member(&self, _: MemberSetup) -> Result<Box<dyn Member>, Error> {
        Err(Error::Setup("built by the test itself".to_owned()))
    }
}

impl Member for NoisyMember {
    fn install(&mut self, state: &[f32]) -> Result<(), Error> {
        assert_eq!(state.len(), self.len);
        Ok(())
    }

    fn receive(&mut self, pairs: Option<&Pairs>) -> Result<(), Error> {
        let mean = pairs.map(|pairs| pairs.images.iter().sum::<f32>() / pairs.images.len() as f32);
        self.received.lock().unwrap().push(mean);
        Ok(())
    }

    fn train(&mut self, _: &AtomicBool) -> Result<LocalUpdate, Error> {
        self.trained += 1;
        let delta = (0..self.len).map(|_| self.stream.unit() as f32 - 0.5).collect();
        let class = |class: u16, len: u16| {
            let values = (0..len).map(|i| f32::from(class) + f32::from(i) / 8.0 + self.trained as f32 / 64.0);
            Prototype { class, values: values.collect() }
        };
        let prototypes = self.prototypes.map(|len| (0..2).map(|c| class(c, len)).collect()).unwrap_or_default();
        Ok(LocalUpdate { delta, prototypes, samples: 10, loss: 0.0, steps: 1 })
    }

    fn evaluate(&mut self) -> Result<Evaluation, Error> {
        Ok(Evaluation { total: 1, ..Evaluation::default() })
    }

    fn predict(&mut self, _: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        Ok(Vec::new())
    }

    /// How often it has trained: what a test can look at.
    fn parameters(&self) -> usize {
        self.trained as usize
    }

    fn export(&self) -> Result<Vec<NamedTensor>, Error> {
        Ok(Vec::new())
    }

    fn import(&mut self, _: &[NamedTensor]) -> Result<(), Error> {
        Ok(())
    }

    fn checkpoint(&self) -> Result<Vec<u8>, Error> {
        Ok(self.trained.to_le_bytes().to_vec())
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), Error> {
        self.trained = u64::from_le_bytes(checkpoint.try_into().map_err(|_| Error::Checkpoint("8 bytes".into()))?);
        // Its noise goes on where it was, too.
        (0..self.trained * self.len as u64).for_each(|_| _ = self.stream.next_u64());
        Ok(())
    }
}

/// A network in the making: keys, manifest, entry point.
pub(crate) struct Swarm {
    pub(crate) manifest: Arc<Manifest>,
    /// Which founders host a generator, and how.
    pub(crate) hosting: BTreeMap<usize, Hosting>,
    /// What members were given of a generator, by place.
    pub(crate) received: Vec<Arc<Mutex<Vec<Option<f32>>>>>,
    secrets: Vec<SecretKey>,
    trainers: Trainers,
    interner: Interner,
    bootstrap: Bootstrap,
    _folder: tempfile::TempDir,
}

impl Swarm {
    pub(crate) async fn new(nodes: u8, rounds: u64, len: u32, timers: Timers) -> Self {
        Self::admitting_by(Admission::Sponsor, nodes, rounds, len, timers).await
    }
    pub(crate) async fn admitting_by(admission: Admission, nodes: u8, rounds: u64, len: u32, timers: Timers) -> Self {
        Self::found(nodes, rounds, timers, &Noise(len), |manifest| manifest.admission = admission).await
    }
    /// A network of this method, whose manifest `alter` may change.
    pub(crate) async fn found(
        nodes: u8,
        rounds: u64,
        timers: Timers,
        method: &dyn Method,
        alter: impl FnOnce(&mut Manifest),
    ) -> Self {
        // FEDSWARM_LOG=debug shows what nodes do.
        let filter = tracing_subscriber::EnvFilter::try_from_env("FEDSWARM_LOG").unwrap_or_default();
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
        let mut secrets: Vec<_> = (0..nodes).map(|i| SecretKey::from_bytes(&[i + 1; 32])).collect();
        secrets.sort_by_key(SecretKey::public);
        let founders = secrets.iter().map(|s| Founder { key: s.public(), name: s.public().short() }).collect();
        let plan = Plan {
            name: "test".into(),
            classes: vec!["a".into(), "b".into()],
            codec: UpdateCodec::I32,
            genesis_seed: Digest([5; 32]),
            rounds,
            min_inputs: 0,
            sponsor_cap: fedswarm_node::founding::SPONSOR_CAP,
            admission: Admission::Sponsor,
            timers,
            generator: None,
        };
        let task = Task { input: ImageShape { channels: 1, height: 4, width: 4 }, classes: 2 };
        let mut manifest = found(plan, method, &task, founders).unwrap();
        alter(&mut manifest);
        manifest.check().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let listen = vec![TransportKind::Tcp.any_port()];
        let config = fedswarm_bootstrap::Config::new(folder.path().join("bootstrap.key"), listen);
        Self {
            manifest: Arc::new(manifest),
            hosting: BTreeMap::new(),
            received: (0..nodes).map(|_| Arc::default()).collect(),
            secrets,
            trainers: Trainers::start(2).unwrap(),
            interner: Interner::default(),
            bootstrap: fedswarm_bootstrap::start(config).await.unwrap(),
            _folder: folder,
        }
    }

    pub(crate) async fn start(
        &self,
        index: usize,
        min_peers: usize,
        crash_before: Option<CrashPoint>,
    ) -> (NodeHandle, mpsc::Receiver<NodeEvent>) {
        self.start_in(index, min_peers, crash_before, Storage::Memory(self.interner.clone())).await
    }

    /// A node that is no founder and wants to join.
    pub(crate) async fn join(&self, secret: SecretKey, join: Join) -> (NodeHandle, mpsc::Receiver<NodeEvent>) {
        let storage = Storage::Memory(self.interner.clone());
        self.launch(secret, 1, None, storage, Some(Request::Join(Box::new(join)))).await
    }

    /// Entry points, for whoever is no node.
    pub(crate) fn bootstraps(&self) -> Vec<fedswarm_network::Multiaddr> {
        self.bootstrap.addrs().to_vec()
    }

    /// A founder's key.
    pub(crate) fn secret(&self, index: usize) -> &SecretKey {
        &self.secrets[index]
    }

    pub(crate) async fn start_in(
        &self,
        index: usize,
        min_peers: usize,
        crash_before: Option<CrashPoint>,
        storage: Storage,
    ) -> (NodeHandle, mpsc::Receiver<NodeEvent>) {
        self.launch(self.secrets[index].clone(), min_peers, crash_before, storage, None).await
    }

    async fn launch(
        &self,
        secret: SecretKey,
        min_peers: usize,
        crash_before: Option<CrashPoint>,
        storage: Storage,
        request: Option<Request>,
    ) -> (NodeHandle, mpsc::Receiver<NodeEvent>) {
        let len = self.manifest.schema.len();
        let place = self.secrets.iter().position(|s| s.public() == secret.public());
        let member = Box::new(NoisyMember {
            len,
            prototypes: self.manifest.prototypes.map(|spec| spec.len),
            received: place.map(|place| Arc::clone(&self.received[place])).unwrap_or_default(),
            stream: Stream::new("noise", &[&secret.public().0]),
            trained: 0,
        });
        let config = NodeConfig {
            secret,
            key_file: None,
            manifest: Arc::clone(&self.manifest),
            transport: TransportKind::Tcp,
            listen: Vec::new(),
            bootstraps: self.bootstrap.addrs().to_vec(),
            mdns: false,
            reach: fedswarm_network::Reach::default(),
            lists: fedswarm_network::AccessLists::default(),
            tempo: Tempo::local(),
            storage,
            min_peers,
            request,
            checkpoint: None,
            keep: Keep::TwoEpochs,
            archive: None,
            adaptive_timers: false,
            in_step: None,
            hosting: place.and_then(|place| self.hosting.get(&place).cloned()),
            crash_before,
            hold: None,
        };
        fedswarm_node::start(config, member, self.trainers.clone()).await.unwrap()
    }
}

/// Waits for an event that this function makes something of; fails after half a minute.
pub(crate) async fn wait_for<T>(
    events: &mut mpsc::Receiver<NodeEvent>,
    mut pick: impl FnMut(NodeEvent) -> Option<T>,
) -> T {
    let found = async {
        loop {
            let event = events.recv().await.expect("the node stopped");
            if let Some(found) = pick(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.expect("half a minute passed")
}
