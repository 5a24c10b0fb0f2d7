//! Whole rounds of twenty unlike peers on request, for comparisons that somebody else times: see `benches/peers/round.py`.
//!
//! Reads lines `METHOD THREADS` and answers each with `ok` when one round is done: every peer takes the merged state in, is measured
//! on 100 images, and trains on 100 others at batch 10; what is shared is merged as in a network, in fixed point. The peers' models
//! are the four of `HtCNN4s` in turn, their images 28x28.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fedswarm_learning::architectures::architecture;
use fedswarm_learning::data::{ImageShape, PeerData, Split};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::methods::{LocalUpdate, Member, MemberSetup, Task, init_digest, method};
use fedswarm_learning::training::TrainConfig;
use fedswarm_protocol::merge::WeightedMean;
use fedswarm_protocol::tensor::{FixedVector, Schema};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PEERS: usize = 20;
const MODELS: [&str; 4] = ["cnn1", "cnn2", "cnn1-fc128", "cnn2-fc128"];
const IMAGES: usize = 100;
const TASK: Task = Task { input: ImageShape { channels: 1, height: 28, width: 28 }, classes: 10 };

struct Network {
    schema: Schema,
    state: FixedVector,
    members: Vec<Mutex<Box<dyn Member>>>,
}

/// The same images as PyTorch's side.
fn split(peer: usize) -> Split {
    let pixel = |i: usize| (((i + peer) * 7 % 251) as f32) / 125.5 - 1.0;
    Split {
        images: (0..IMAGES * TASK.input.len()).map(pixel).collect(),
        labels: (0..IMAGES).map(|i| (i % 10) as u16).collect(),
    }
}

impl Network {
    fn new(name: &str) -> Result<Self> {
        let method = method(name)?;
        let schema = method.schema(&TASK)?;
        let member = |peer: usize| -> Result<Mutex<Box<dyn Member>>> {
            let setup = MemberSetup {
                task: TASK,
                architecture: architecture(MODELS[peer % MODELS.len()])?,
                data: Arc::new(PeerData { train: split(peer), test: split(peer + 1) }),
                train: TrainConfig { batch: 10, ..TrainConfig::default() },
                seed: peer as u64,
                init_seed: 1,
                common: init_digest(1),
                device: DeviceKind::Flex,
            };
            Ok(Mutex::new(method.member(setup)?))
        };
        let members = (0..PEERS).map(member).collect::<Result<_>>()?;
        Ok(Self { state: schema.genesis(&init_digest(1)), schema, members })
    }

    fn round(&mut self, threads: usize) -> Result<()> {
        let (state, next) = (self.schema.dequantise(&self.state)?, AtomicUsize::new(0));
        let updates: Mutex<Vec<(usize, LocalUpdate)>> = Mutex::default();
        let work = || -> Result<()> {
            let never = AtomicBool::new(false);
            while let Some((peer, member)) = {
                let peer = next.fetch_add(1, Ordering::Relaxed);
                self.members.get(peer).map(|member| (peer, member))
            } {
                let mut member = member.lock().map_err(|_| "a peer's thread died")?;
                member.install(&state)?;
                member.evaluate()?;
                let update = member.train(&never)?;
                updates.lock().map_err(|_| "a peer's thread died")?.push((peer, update));
            }
            Ok(())
        };
        std::thread::scope(|scope| -> Result<()> {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread died")?)
        })?;
        if self.schema.is_empty() {
            return Ok(());
        }
        let mut sum = WeightedMean::new(self.schema.len());
        for (_, update) in updates.into_inner().map_err(|_| "a peer's thread died")? {
            sum.add(&self.schema.quantise(&update.delta)?, update.samples)?;
        }
        self.state = sum.finish(&self.state)?;
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut networks = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let [name, threads] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("each line must be METHOD THREADS".into());
        };
        if !networks.contains_key(name) {
            networks.insert(name.to_owned(), Network::new(name)?);
        }
        if let Some(network) = networks.get_mut(name) {
            network.round(threads.parse()?)?;
        }
        println!("ok");
        std::io::stdout().flush()?;
    }
    Ok(())
}
