//! What to run: a [`Scenario`], from a TOML file, from flags, or both (flags win).
//!
//! ```toml
//! nodes = 20
//! rounds = 60
//! method = "moe-ktl"
//! partition = { dirichlet = 0.1 }   # or { file = "p.json" }, { classes_per_node = 2 }, "iid"
//! cap = "100/100"                   # train/test images per peer, or "none"
//!
//! [timers]
//! t_collect_ms = 30000
//! ```

mod choices;
mod load;
mod overrides;
mod timers;
mod validate;
mod virtual_time;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use choices::{Cap, Codec, Data, Device, Partition, Transport};
pub use overrides::Overrides;
pub use timers::Timers;
pub use virtual_time::VirtualTime;

use crate::Error;

/// The number of peers when neither the scenario nor a partition file says.
pub const DEFAULT_NODES: usize = 8;
/// The most peers of a simulated swarm: the most voters a network may have.
pub const MAX_NODES: usize = 64;
/// The cap when neither the scenario nor a partition file says: small enough for a first run of a few minutes.
pub const DEFAULT_CAP: Cap = Cap::At { train: 200, test: 100 };

/// One run of a swarm on this machine. Every field has a default; an unknown key in a file is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Peers, 1 to [`MAX_NODES`]. Absent: as many as the partition file has, or [`DEFAULT_NODES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// Rounds to certify, at least 1.
    pub rounds: u64,
    /// The learning method's name.
    pub method: String,
    /// The generator that peers learn from: `digits`, `fashion`, a file, or `none`. Absent: `digits`, if the method has a use for
    /// one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<String>,
    /// Peers that host it, the first ones, at least 1.
    pub hosts: usize,
    /// Architectures; peer `i` takes number `i mod len`. Empty: the method's default for the data's shape.
    pub models: Vec<String>,
    /// Where the images come from.
    pub data: Data,
    /// How the images are shared out.
    pub partition: Partition,
    /// The most images per peer. Absent: the partition file's own cap, or [`DEFAULT_CAP`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Cap>,
    /// The most training images per class and peer; absent: no such cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_per_class: Option<usize>,
    /// Images per training step, at least 1. The tail that does not fill a batch is left out.
    pub batch: usize,
    /// The learning rate of plain SGD, above 0.
    pub lr: f64,
    /// Passes over a peer's own images per round, at least 1.
    pub epochs: usize,
    /// Fixes everything random: partition, initial weights, data order, keys.
    pub seed: u64,
    /// Whether a peer draws a new order of its images for every epoch.
    pub shuffle: bool,
    /// Whether every peer is also trained alone, on the same images from the same weights, to compare with.
    pub local_baseline: bool,
    /// Whether the same swarm is also run without its generator, to compare with.
    pub generator_baseline: bool,
    /// How bytes travel.
    pub transport: Transport,
    /// How updates are packed.
    pub codec: Codec,
    /// What computes.
    pub device: Device,
    /// Training threads, at least 1. Absent: as many as there are cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// The folder for the results. Absent: [`Scenario::out_dir`] makes one up from method and seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Waiting times.
    pub timers: Timers,
    /// What the virtual world is like; for the transport `virtual` only.
    #[serde(rename = "virtual", skip_serializing_if = "Option::is_none")]
    pub virtual_time: Option<VirtualTime>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes: None,
            rounds: 10,
            method: "moe-ktl".to_owned(),
            generator: None,
            hosts: 1,
            models: Vec::new(),
            data: Data::default(),
            partition: Partition::default(),
            cap: None,
            cap_per_class: None,
            batch: 10,
            lr: 0.01,
            epochs: 1,
            seed: 1,
            shuffle: true,
            local_baseline: true,
            generator_baseline: false,
            transport: Transport::default(),
            codec: Codec::default(),
            device: Device::default(),
            threads: None,
            out: None,
            timers: Timers::default(),
            virtual_time: None,
        }
    }
}

/// What a partition file says about the run that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The peers that the file has images for.
    pub clients: usize,
    /// The cap that goes with the file, if it names one.
    pub cap: Option<Cap>,
}

impl Scenario {
    /// Fills in what may be left open, so that `nodes` and `cap` are present, and checks the whole.
    ///
    /// `file` is what the partition file says, for a scenario that has one. A scenario may use fewer peers than the
    /// file has (the first ones), not more.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting that cannot work.
    pub fn resolved(&self, file: Option<PartitionFacts>) -> Result<Self, Error> {
        let mut scenario = self.clone();
        let nodes = self.nodes.or(file.map(|f| f.clients)).unwrap_or(DEFAULT_NODES);
        scenario.nodes = Some(nodes);
        scenario.cap = self.cap.or(file.and_then(|f| f.cap)).or(Some(DEFAULT_CAP));
        if let Some(file) = file.filter(|file| nodes > file.clients) {
            let should =
                format!("at most {}, the number of peers in the partition file `{}`", file.clients, self.partition);
            return Err(Error::Setting { field: "nodes", flag: "--nodes", is: nodes.to_string(), should });
        }
        scenario.validate()?;
        Ok(scenario)
    }

    /// The folder for the results: `out`, or `runs/<method>-seed<seed>`.
    #[must_use]
    pub fn out_dir(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(format!("{}-seed{}", self.method, self.seed)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: PartitionFacts = PartitionFacts { clients: 20, cap: Some(Cap::At { train: 100, test: 100 }) };

    #[test]
    fn without_a_file_the_defaults_are_eight_peers_and_a_small_cap() {
        let scenario = Scenario::default().resolved(None).unwrap();
        assert_eq!((scenario.nodes, scenario.cap), (Some(8), Some(Cap::At { train: 200, test: 100 })));
    }

    #[test]
    fn a_partition_file_gives_nodes_and_cap() {
        let scenario = Scenario::default().resolved(Some(FILE)).unwrap();
        assert_eq!((scenario.nodes, scenario.cap), (Some(20), FILE.cap));
    }

    #[test]
    fn what_the_user_sets_goes_before_the_partition_file() {
        let own = Scenario { nodes: Some(5), cap: Some(Cap::Unlimited), ..Scenario::default() };
        let scenario = own.resolved(Some(FILE)).unwrap();
        assert_eq!((scenario.nodes, scenario.cap), (Some(5), Some(Cap::Unlimited)));
    }

    #[test]
    fn more_nodes_than_the_file_has_peers_are_refused() {
        let partition = Partition::File("p.json".into());
        let message = Scenario { nodes: Some(21), partition, ..Scenario::default() }.resolved(Some(FILE)).unwrap_err();
        let message = message.to_string();
        assert!(
            message.contains("--nodes") && message.contains("at most 20") && message.contains("p.json"),
            "{message}"
        );
    }
}
