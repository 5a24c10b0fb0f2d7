//! Hosts of a generator over real sockets: what they make is certified and comes to every member; a host that dies, and one
//! that lies, hold up nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fedswarm_learning::Error;
use fedswarm_learning::data::ImageShape;
use fedswarm_learning::generator::Generator;
use fedswarm_learning::methods::{Member, MemberSetup, Method, MethodInfo, Task};
use fedswarm_learning::transfer::{Contribution, Generation, Host, Pairs};
use fedswarm_network::{Network, NodeId, Topic, TransportKind};
use fedswarm_node::blobs::{Blobs, Interner};
use fedswarm_node::{Hosting, NodeEvent, NodeHandle};
use fedswarm_protocol::artefact::{ArtefactRef, ArtefactShape, Contents, GeneratorSpec};
use fedswarm_protocol::blob;
use fedswarm_protocol::envelope::{Kind, Slot, seal};
use fedswarm_protocol::hash::{Digest, Stream};
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::manifest::{Manifest, Timers};
use fedswarm_protocol::message::{Artefact, Message};
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::record::Record;
use fedswarm_protocol::round::Event;
use fedswarm_protocol::tensor::Schema;
use tokio::sync::mpsc;

use crate::swarm::{Noise, Swarm, wait_for};

const LATENT: usize = 4;
const IMAGE: ImageShape = ImageShape { channels: 1, height: 4, width: 4 };
const GENERATOR: Digest = Digest([9; 32]);

/// Noise with prototypes beside it.
struct Told(Noise);

impl Method for Told {
    fn info(&self) -> MethodInfo {
        self.0.info()
    }

    fn spelling(&self) -> String {
        self.0.spelling()
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        self.0.schema(task)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.0.default_architectures(task)
    }

    fn prototypes(&self, _: &Task) -> Result<Option<PrototypeSpec>, Error> {
        Ok(Some(PrototypeSpec { len: 3, scale_bits: 24, summary: None }))
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        self.0.member(setup)
    }
}

/// Every pixel is one of the latent values, scaled.
struct Stripes;

impl Generator for Stripes {
    fn latent(&self) -> usize {
        LATENT
    }

    fn image(&self) -> ImageShape {
        IMAGE
    }

    fn id(&self) -> Digest {
        GENERATOR
    }

    fn sample(&self, n: usize, stream: &mut Stream) -> Result<Vec<f32>, Error> {
        Ok((0..n * LATENT).map(|_| stream.unit() as f32).collect())
    }

    fn synthesise(&self, latents: &[f32]) -> Result<Vec<f32>, Error> {
        let image = |w: &[f32]| (0..IMAGE.len()).map(|p| (w[p % LATENT] / 64.0).tanh()).collect::<Vec<f32>>();
        Ok(latents.chunks_exact(LATENT).flat_map(image).collect())
    }
}

/// One pair for each class, and a transformer that counts how often it was carried on.
struct Counting;

impl Host for Counting {
    fn generator(&self) -> Digest {
        GENERATOR
    }

    fn transformer_len(&self) -> usize {
        3
    }

    fn generate(
        &mut self,
        prototypes: &[Contribution],
        carried: Option<&[f32]>,
        _: &Digest,
        _: &AtomicBool,
    ) -> Result<Generation, Error> {
        let mut sums: BTreeMap<u16, (f32, f32)> = BTreeMap::new();
        for Contribution { prototype, .. } in prototypes {
            let (sum, count) = sums.entry(prototype.class).or_default();
            *sum += prototype.values[0];
            *count += 1.0;
        }
        let latents = sums.iter().flat_map(|(class, (sum, n))| [8.0 * f32::from(*class), sum / n, 0.0, 1.0]);
        let latents: Vec<f32> = latents.collect();
        let images = Stripes.synthesise(&latents)?;
        let classes: Vec<u16> = sums.into_keys().collect();
        let steps = carried.map_or(0.0, |values| values[0]) + 1.0;
        let pairs = Pairs { image: IMAGE, latent: LATENT, classes, images, latents };
        Ok(Generation { pairs, transformer: vec![steps, 0.5, -0.5], loss: vec![1.0 / steps] })
    }
}

fn hosting() -> Hosting {
    Hosting::new(Box::new(Counting), Arc::new(Stripes))
}

async fn swarm(hosts: &[usize], alter: impl FnOnce(&mut Manifest)) -> Swarm {
    let timers = Timers { collect_ms: 200, ..Timers::default() };
    let mut swarm = Swarm::found(4, 0, timers, &Told(Noise(100)), |manifest| {
        let (latent, keys) = (LATENT as u32, hosts.iter().map(|i| manifest.founders[*i].key).collect());
        let (id, transformer) = (GENERATOR, 3);
        manifest.generator = Some(GeneratorSpec { id, latent, transformer, per_class: 1, hosts: keys, wait_ms: 300 });
        alter(manifest);
    })
    .await;
    swarm.hosting = hosts.iter().map(|i| (*i, hosting())).collect();
    swarm
}

/// The next artefact that is certified, as this node sees it.
async fn certified(events: &mut mpsc::Receiver<NodeEvent>) -> (u64, u64, PublicKey) {
    wait_for(events, |event| match event {
        NodeEvent::Round { event: Event::ArtefactCertified { round, job_round, host }, .. } => {
            Some((round, job_round, host))
        }
        _ => None,
    })
    .await
}

/// The artefact that a node's record of a round names, with its contents from that node's own store.
fn in_force(node: &NodeHandle, manifest: &Manifest, round: u64) -> (ArtefactRef, Option<Contents>) {
    let committed = node.records().unwrap().into_iter().find(|c| c.record.round == round).unwrap();
    let artefact = committed.body.artefact.unwrap();
    let shape = ArtefactShape::of(manifest).unwrap();
    (artefact, node.blob(&artefact.blob_root).map(|bytes| Contents::from_bytes(&shape, &bytes).unwrap()))
}

/// Whoever does not look at its node's events must not slow it down.
fn ignore(mut events: mpsc::Receiver<NodeEvent>) {
    tokio::spawn(async move { while events.recv().await.is_some() {} });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_makes_comes_to_every_member_and_another_host_carries_on_when_it_dies() {
    let swarm = swarm(&[1, 2], |_| {}).await;
    let mut nodes = Vec::new();
    let mut events = None;
    for i in 0..4 {
        let (node, queue) = swarm.start(i, 4, None).await;
        nodes.push(node);
        if i == 0 { events = Some(queue) } else { ignore(queue) }
    }
    let mut events = events.unwrap();
    let (round, job, first) = certified(&mut events).await;
    assert!(job < round && round <= job + 8);
    let places: BTreeMap<PublicKey, usize> = (1..3).map(|i| (swarm.secret(i).public(), i)).collect();
    let mut last = (round, job);
    // Killed in the middle of a round, in which it may be making the next one.
    nodes[places[&first]].shutdown().await;
    let (round, job) = loop {
        let (round, job, host) = certified(&mut events).await;
        assert!(job > last.1, "never an older one");
        if host != first {
            assert_eq!(places[&host], 3 - places[&first]);
            break (round, job);
        }
        last = (round, job);
    };
    let received = |event| match event {
        NodeEvent::ArtefactReceived { job_round, pairs, .. } if job_round >= job => Some(pairs),
        _ => None,
    };
    assert_eq!(wait_for(&mut events, received).await.classes.len(), 2);
    let (before, _) = in_force(&nodes[0], &swarm.manifest, last.0);
    let (now, contents) = in_force(&nodes[0], &swarm.manifest, round);
    assert_ne!(before.host, now.host);
    let steps = contents.map(|contents| contents.float_transformer()[0]);
    assert!(steps.is_none_or(|steps| steps >= 2.0), "the other host starts from what is certified: {steps:?}");
    // The next rounds' trainings have it.
    let goal = round + 3;
    wait_for(&mut events, |event| match event {
        NodeEvent::Round { event: Event::RoundCommitted { round, .. }, .. } if round >= goal => Some(()),
        _ => None,
    })
    .await;
    for (i, node) in nodes.iter().enumerate() {
        node.shutdown().await;
        let mine = swarm.received[i].lock().unwrap();
        let given = mine.iter().flatten().count();
        assert!(i == places[&first] || given > 0, "member {i} was given nothing in {} trainings", mine.len());
        assert_eq!(mine[0], None, "there is nothing to begin with");
    }
}

/// A member that is no node: it says and serves what it likes.
struct Liar {
    network: Network,
    blobs: Arc<Blobs>,
    targets: Vec<NodeId>,
    place: u16,
}

impl Liar {
    async fn new(swarm: &Swarm, place: usize) -> Self {
        let blobs = Arc::new(Blobs::open(None, Interner::default()).unwrap());
        let id = swarm.manifest.network_id().unwrap();
        let mut config = fedswarm_network::Config::new(swarm.secret(place).to_bytes(), id, TransportKind::Tcp);
        config.bootstraps = swarm.bootstraps();
        config.tempo = fedswarm_network::Tempo::local();
        config.members = swarm.manifest.founders.iter().map(|f| NodeId(f.key.0)).collect();
        let targets = config.members.iter().enumerate().filter(|(i, _)| *i != place).map(|(_, id)| *id).collect();
        let source: Arc<dyn fedswarm_network::BlobSource> = blobs.clone();
        let (network, mut events) = fedswarm_network::start(config, source).await.unwrap();
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        Self { network, blobs, targets, place: place as u16 }
    }

    /// Signs for this blob as the artefact of a record, and serves it.
    async fn offer(&self, swarm: &Swarm, record: &Record, blob: Vec<u8>) {
        let (blob_root, blob_len) = (blob::root(&blob), blob.len() as u32);
        self.blobs.insert(blob, u64::MAX >> 1).unwrap();
        let artefact = Artefact {
            protos_root: record.protos_root,
            generator: GENERATOR,
            previous: Digest::ZERO,
            blob_root,
            blob_len,
        };
        let epoch = record.epoch + u32::from(record.closes_epoch);
        let slot = Slot { kind: Kind::Artefact, epoch, round: record.round, view: 0 };
        let (network, secret) = (swarm.manifest.network_id().unwrap(), swarm.secret(usize::from(self.place)));
        let bytes = seal(secret, &network, &slot, self.place, &Message::Artefact(artefact)).unwrap();
        drop(self.network.publish(Topic::Update, bytes.clone()).await);
        for target in &self.targets {
            drop(self.network.send(*target, bytes.clone()).await);
        }
    }
}

/// Something that is no artefact: random bytes, bits of NaN, one byte too few, ten times too much, classes out of order, one
/// latent vector for all, and images that are not those of the latents.
fn lie(kind: usize, manifest: &Manifest, seed: u64) -> Vec<u8> {
    let shape = ArtefactShape::of(manifest).unwrap();
    let mut stream = Stream::new("lies", &[&seed.to_le_bytes()]);
    let latents = [0.0, 1.0, 0.0, 1.0, 8.0, 1.0, 0.0, 1.0 + (seed % 1000) as f32 / 1000.0];
    let images = Stripes.synthesise(&latents).unwrap();
    let mut contents = Contents::from_floats(&shape, &[0, 1], &images, &latents, &[1.0; 3]).unwrap();
    match kind {
        0 => return (0..shape.len(2)).map(|_| stream.next_u64() as u8 | 0x80).collect(),
        1 => contents.latents[2] = f32::NAN.to_bits() as i32,
        2 => return contents.to_bytes()[1..].to_vec(),
        3 => return contents.to_bytes().repeat(10),
        4 => contents.classes.reverse(),
        5 => contents.latents.fill(5),
        _ => contents.images.iter_mut().for_each(|q| *q = stream.below(16_000) as i16),
    }
    contents.to_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_host_is_refused_with_a_reason_and_the_run_goes_on() {
    const LIES: usize = 7;
    // Whoever is refused is heard again in the next epoch.
    let mut swarm = swarm(&[], |manifest| manifest.epoch_length = 2).await;
    // All that vote host it, so images are compared as well.
    swarm.hosting = (0..3).map(|i| (i, hosting())).collect();
    let liar = Liar::new(&swarm, 3).await;
    let mut nodes = Vec::new();
    let (mut events, mut others) = (None, None);
    for i in 0..3 {
        let (node, queue) = swarm.start(i, 4, None).await;
        nodes.push(node);
        match i {
            0 => events = Some(queue),
            1 => others = Some(queue),
            _ => ignore(queue),
        }
    }
    let (mut events, mut others) = (events.unwrap(), others.unwrap());
    let reasons = tokio::spawn(async move {
        let mut reasons = BTreeSet::new();
        while let Some(event) = others.recv().await {
            match event {
                NodeEvent::ArtefactRefused { host, reason, .. } => drop(reasons.insert((host, reason))),
                NodeEvent::Round { event: Event::ArtefactRefused { host, reason, .. }, .. } => {
                    reasons.insert((NodeId(host.0), reason.to_owned()));
                }
                _ => {}
            }
        }
        reasons
    });
    let mut told = 0;
    let last = loop {
        let round = wait_for(&mut events, |event| match event {
            NodeEvent::Round { event: Event::RoundCommitted { round, .. }, .. } => Some(round),
            _ => None,
        })
        .await;
        // The record is on disk a moment after the machine says so.
        let record = loop {
            let records = nodes[0].records().unwrap();
            if let Some(committed) = records.into_iter().find(|c| c.record.round == round) {
                break committed.record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        if told == 2 * LIES {
            break round;
        }
        // At the beginning of an epoch, so that it is heard.
        if record.closes_epoch {
            liar.offer(&swarm, &record, lie(told % LIES, &swarm.manifest, round)).await;
            told += 1;
        }
    };
    assert!(last >= 2 * LIES as u64, "every round was certified");
    let records = nodes[0].records().unwrap();
    let liars_key = swarm.secret(3).public();
    let hosts: BTreeSet<PublicKey> = records.iter().filter_map(|c| c.body.artefact).map(|a| a.host).collect();
    assert!(!hosts.contains(&liars_key), "nothing of the liar's is ever in force");
    assert!(!hosts.is_empty(), "what honest hosts make is");
    for node in &nodes {
        node.shutdown().await;
    }
    drop((nodes, liar.network.shutdown().await));
    let reasons = reasons.await.unwrap();
    assert!(reasons.iter().all(|(host, _)| host.0 == liars_key.0), "{reasons:?}");
    let seen = |text: &str| reasons.iter().any(|(_, reason)| reason.contains(text));
    for text in ["images: ", "latents: ", "of another size", "unknown, out of order", "nearly the same", "dB from"] {
        assert!(seen(text), "{text}: {reasons:#?}");
    }
}
