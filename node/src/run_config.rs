//! The TOML file of `fedswarm run`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fedswarm_learning::architectures::architecture;
use fedswarm_learning::data::{BUNDLED, Dataset, ImageShape, PeerData};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::export::Card;
use fedswarm_learning::generator;
use fedswarm_learning::methods::{Member, MemberSetup, Task, method};
use fedswarm_learning::partition::{Partition, PeerIndices, TRAIN_RATIO};
use fedswarm_learning::training::TrainConfig;
use fedswarm_network::{AccessLists, Multiaddr, Reach, Relaying, TransportKind};
use fedswarm_protocol::hash::Stream;
use fedswarm_protocol::manifest::Manifest;
use serde::Deserialize;

use crate::files::located;
use crate::{Error, Hosting, generators};

/// Name of the file in a node's folder that says where members were last found.
pub const PEER_BOOK: &str = "peers.txt";

/// Largest configuration file in bytes.
const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// What an operator decides; paths are relative to the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The network's manifest, as written by `fedswarm network create`.
    pub manifest: PathBuf,
    /// The node's key file.
    pub key: PathBuf,
    /// For a node that was invited: the request to join, as written by `fedswarm network join`.
    pub join: Option<PathBuf>,
    /// Folder of the node's records, statements and models.
    pub folder: PathBuf,
    /// `tcp`, `quic`, or `tcp+quic` for both, which is what holds if it is absent.
    pub transport: Option<String>,
    /// Addresses to listen on, such as `/ip4/0.0.0.0/tcp/4001`; if there are none, all interfaces, IPv4 and IPv6, at free ports
    /// that stay the same from one start to the next as long as nobody else takes them.
    #[serde(default)]
    pub listen: Vec<String>,
    /// Addresses of bootstrap nodes, each ending in `/p2p/<peer id>`, such as `/dns4/entry.example.org/tcp/4001/p2p/12D3...`.
    #[serde(default)]
    pub bootstraps: Vec<String>,
    /// How others reach this node.
    #[serde(default)]
    pub reach: ReachConfig,
    /// Whom this node lets in or keeps out; read again at SIGHUP.
    #[serde(default)]
    pub lists: ListsConfig,
    /// A loopback address at which metrics and health are served, such as `127.0.0.1:9464`; port 0 takes a free one, which
    /// `fedswarm status` tells. Absent, there is none.
    pub metrics: Option<SocketAddr>,
    /// How many seconds a node that is asked to stop may take to finish its round; 10 if absent, 0 stops at once.
    pub stop_seconds: Option<u64>,
    /// Whether to look for peers in the local network.
    #[serde(default = "yes")]
    pub mdns: bool,
    /// The node's own images.
    pub data: DataConfig,
    /// Name of the node's own model.
    pub model: Option<String>,
    /// The generator that this node hosts: `digits`, `fashion`, or a file. Absent, it hosts none.
    pub generator: Option<PathBuf>,
    /// How it trains.
    #[serde(default)]
    pub training: TrainingConfig,
    /// `flex`, `ndarray`, `wgpu` or `cuda`.
    #[serde(default = "flex")]
    pub device: String,
    /// Training threads; all cores if absent.
    pub threads: Option<usize>,
    /// Keep the signed inputs and payloads of all rounds, so that all of them can be verified; otherwise those of the last two
    /// epochs are kept.
    #[serde(default)]
    pub keep_inputs: bool,
}

/// Lists of peers and addresses. Each line is a public key in hex, a peer id (`12D3KooW...`), an IP address, or a range such as
/// `203.0.113.0/24`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListsConfig {
    /// Never banned, and let in where there is no room for others.
    pub allow: Vec<String>,
    /// Not talked to, members included.
    pub block: Vec<String>,
}

impl ListsConfig {
    /// Reads a file that holds nothing but the two lists, as entry points have it.
    ///
    /// # Errors
    /// A file that is missing or no such file, a line that is none; the error names it.
    pub fn load(path: &Path) -> Result<AccessLists, Error> {
        let lists: Self = toml::from_str(&read(path)?).map_err(|e| Error::file(path, e))?;
        lists.parse().map_err(|e| Error::file(path, e))
    }

    /// What the lines mean.
    ///
    /// # Errors
    /// The first line that means nothing.
    pub fn parse(&self) -> Result<AccessLists, Error> {
        AccessLists::parse(&self.allow, &self.block).map_err(|e| Error::Config(e.to_string()))
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let size = std::fs::metadata(path).map_err(|e| Error::file(path, e))?.len();
    if size > MAX_CONFIG_BYTES {
        return Err(Error::file(path, format!("{size} bytes, more than a configuration may have")));
    }
    std::fs::read_to_string(path).map_err(|e| Error::file(path, e))
}

/// How others reach this node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReachConfig {
    /// `auto`: through the bootstraps' relays if a NAT or a firewall is in the way, with attempts to punch holes; `always`, or
    /// `never`.
    pub relay: String,
    /// Whether to ask the router to forward the node's ports (`UPnP`); if absent, it is asked by builds that can.
    pub upnp: Option<bool>,
    /// Addresses of ports that somebody forwarded by hand, as seen from outside, such as `/ip4/203.0.113.5/tcp/4001`.
    pub external: Vec<String>,
}

impl Default for ReachConfig {
    fn default() -> Self {
        Self { relay: "auto".to_owned(), upnp: None, external: Vec::new() }
    }
}

/// Where the images are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A file or folder in a format that `fedswarm` reads, or `bundled`.
    pub path: PathBuf,
    /// A partition file: use one client's share only.
    pub partition: Option<PathBuf>,
    /// Which client of the partition file.
    pub client: Option<usize>,
    /// Most images to train on.
    pub max_train: Option<usize>,
    /// Most images to measure on.
    pub max_test: Option<usize>,
}

/// How the node trains.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Images per step.
    pub batch: usize,
    /// Learning rate.
    pub lr: f32,
    /// Passes over the data per round.
    pub epochs: usize,
    /// Momentum.
    pub momentum: f32,
    /// Seed of the order of the data.
    pub seed: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        let TrainConfig { batch, lr, epochs, momentum, .. } = TrainConfig::default();
        Self { batch, lr, epochs, momentum, seed: 0 }
    }
}

fn flex() -> String {
    "flex".to_owned()
}

fn yes() -> bool {
    true
}

impl RunConfig {
    /// Reads a configuration and makes its paths absolute.
    ///
    /// # Errors
    /// A file that is missing, or a key that is misspelt, missing or of the wrong type; the error names it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let mut config: Self = toml::from_str(&read(path)?).map_err(|e| Error::file(path, e))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        for inner in [&mut config.manifest, &mut config.key, &mut config.folder] {
            *inner = folder.join(&inner);
        }
        config.data.path = located(config.data.path, folder, &[BUNDLED]);
        config.generator = config.generator.map(|source| located(source, folder, &generator::BUNDLED));
        config.join = config.join.map(|p| folder.join(p));
        config.data.partition = config.data.partition.map(|p| folder.join(p));
        Ok(config)
    }

    /// The transport.
    ///
    /// # Errors
    /// An unknown name.
    pub fn transport(&self) -> Result<TransportKind, Error> {
        match self.transport.as_deref() {
            Some("tcp") => Ok(TransportKind::Tcp),
            Some("quic") => Ok(TransportKind::Quic),
            Some("tcp+quic") | None => Ok(TransportKind::TcpAndQuic),
            Some(other) => {
                Err(Error::Config(format!("transport {other:?}: expected \"tcp\", \"quic\" or \"tcp+quic\"")))
            }
        }
    }

    /// Where to listen.
    ///
    /// # Errors
    /// An unknown transport, or a text that is no address.
    pub fn listen(&self) -> Result<Vec<Multiaddr>, Error> {
        if !self.listen.is_empty() {
            return Self::addresses(&self.listen);
        }
        let transport = self.transport()?;
        // On a host without IPv6 such a listener would be an error.
        let ip6 = std::net::UdpSocket::bind("[::]:0").is_ok();
        let hosts: &[&str] = if ip6 { &["/ip4/0.0.0.0", "/ip6/::"] } else { &["/ip4/0.0.0.0"] };
        let ports: &[&str] = match transport {
            TransportKind::Tcp => &["tcp/0"],
            TransportKind::Quic => &["udp/0/quic-v1"],
            TransportKind::TcpAndQuic | TransportKind::Memory => &["tcp/0", "udp/0/quic-v1"],
        };
        let all = hosts.iter().flat_map(|host| ports.iter().map(move |port| format!("{host}/{port}")));
        Self::addresses(&all.collect::<Vec<_>>())
    }

    /// How others reach this node, with its peer book in its folder.
    ///
    /// # Errors
    /// An unknown word, or a text that is no address.
    pub fn reach(&self) -> Result<Reach, Error> {
        let relay = match self.reach.relay.as_str() {
            "auto" => Relaying::Auto,
            "always" => Relaying::Always,
            "never" => Relaying::Never,
            other => {
                let text = format!("reach.relay {other:?}: expected \"auto\", \"always\" or \"never\"");
                return Err(Error::Config(text));
            }
        };
        let external = Self::addresses(&self.reach.external)?;
        if self.reach.upnp == Some(true) && !Reach::HAS_UPNP {
            let text =
                "reach.upnp: this fedswarm was built without it; build it with --features upnp, or leave the key out";
            return Err(Error::Config(text.to_owned()));
        }
        let upnp = self.reach.upnp.unwrap_or(Reach::HAS_UPNP);
        Ok(Reach { relay, upnp, external, book: Some(self.folder.join(PEER_BOOK)) })
    }

    /// Reads a list of addresses.
    ///
    /// # Errors
    /// The first text that is no address.
    pub fn addresses(list: &[String]) -> Result<Vec<Multiaddr>, Error> {
        let parse = |text: &String| {
            text.parse().map_err(|e| {
                Error::Config(format!(
                    "address {text:?}: {e}; expected a form like /ip4/192.0.2.1/tcp/4001/p2p/12D3..."
                ))
            })
        };
        list.iter().map(parse).collect()
    }

    /// The node's member of the network's method, with the card that its exported model carries.
    ///
    /// # Errors
    /// Data that does not fit the manifest's task, unknown names, settings that cannot train.
    pub fn member(&self, manifest: &Manifest) -> Result<(Box<dyn Member>, Card), Error> {
        let dataset = images(&self.data.path, manifest)?;
        let task = task_of(manifest);
        let data = self.share(&dataset)?;
        let method = method(&manifest.method)?;
        let name = match &self.model {
            Some(name) => name.as_str(),
            None => method.default_architectures(&task).first().copied().unwrap_or("mlp"),
        };
        let architecture = architecture(name)?;
        let card = Card::new(method.as_ref(), architecture.as_ref(), task.input, &manifest.task.classes);
        let TrainingConfig { batch, lr, epochs, momentum, seed } = self.training;
        let setup = MemberSetup {
            task,
            architecture,
            data,
            train: TrainConfig { batch, lr, epochs, momentum, ..TrainConfig::default() },
            seed,
            init_seed: Stream::new("initial weights of a network", &[manifest.genesis_seed.as_bytes()]).next_u64(),
            common: manifest.genesis_seed,
            device: self.device.parse::<DeviceKind>()?,
        };
        Ok((method.member(setup)?, card))
    }

    /// What the node hosts a generator with, if it is to host one.
    ///
    /// # Errors
    /// A generator that is not the manifest's.
    pub fn hosting(&self, manifest: &Manifest) -> Result<Option<Hosting>, Error> {
        self.generator.as_deref().map(|source| generators::hosting(source, manifest)).transpose()
    }

    /// The node's own images: a client's share of a partition file, or the whole set with its own test images, a quarter of
    /// it if it has none.
    fn share(&self, dataset: &Dataset) -> Result<Arc<PeerData>, Error> {
        let learning = |e: &dyn std::fmt::Display| Error::Config(e.to_string());
        let caps = (self.data.max_train.unwrap_or(usize::MAX), self.data.max_test.unwrap_or(usize::MAX));
        let partition = match (&self.data.partition, self.data.client) {
            (Some(path), Some(client)) => {
                let mut loaded = Partition::load(path, dataset).map_err(|e| learning(&e))?;
                if client >= loaded.peers.len() {
                    let text =
                        format!("{}: no client {client}; it has 0 to {}", path.display(), loaded.peers.len() - 1);
                    return Err(Error::Config(text));
                }
                loaded.peers = vec![loaded.peers.swap_remove(client)];
                loaded
            }
            (Some(_), None) => {
                return Err(Error::Config("data.partition needs data.client: which share is this node's?".into()));
            }
            (None, _) => whole(dataset, self.training.seed),
        };
        let shares = partition.cap(caps.0, caps.1).peer_data(dataset).map_err(|e| learning(&e))?;
        shares.into_iter().next().ok_or_else(|| Error::Config("the partition is empty".into()))
    }
}

/// The task that a manifest describes.
#[must_use]
pub fn task_of(manifest: &Manifest) -> Task {
    let t = &manifest.task;
    let input = ImageShape { channels: t.channels.into(), height: t.height.into(), width: t.width.into() };
    Task { input, classes: t.classes.len() }
}

/// The images at a path, or the bundled ones, if they are such as a network learns from.
///
/// # Errors
/// Data that cannot be read, or of another shape or with more classes than the manifest's task.
pub fn images(path: &Path, manifest: &Manifest) -> Result<Dataset, Error> {
    let dataset = Dataset::open(path).map_err(|e| Error::Config(e.to_string()))?;
    let task = task_of(manifest);
    let Dataset { name, shape, .. } = &dataset;
    if *shape != task.input {
        return Err(Error::Config(format!("images of {name} are {shape}, but the network learns from {}", task.input)));
    }
    if dataset.classes() > task.classes {
        let text = format!("{name} has {} classes, but the network has {}", dataset.classes(), task.classes);
        return Err(Error::Config(text));
    }
    Ok(dataset)
}

fn whole(dataset: &Dataset, seed: u64) -> Partition {
    let all = 0..dataset.len() as u32;
    let peer = if dataset.train_len < dataset.len() && dataset.train_len > 0 {
        let (train, test) = all.partition(|i| (*i as usize) < dataset.train_len);
        PeerIndices { train, test }
    } else {
        let mut shuffled: Vec<u32> = all.collect();
        Stream::new("own split", &[&seed.to_le_bytes()]).shuffle(&mut shuffled);
        let test = shuffled.split_off((shuffled.len() as f64 * TRAIN_RATIO) as usize);
        PeerIndices { train: shuffled, test }
    };
    Partition { peers: vec![peer], default_cap: None }
}
