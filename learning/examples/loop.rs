//! The reference loop: a whole network in one process, without a network.
//!
//! ```text
//! cargo run --release --example loop -- --data DIR --partition FILE.json --method fedmoe --rounds 20 --seeds 1,2 --threads 2
//! ```
//!
//! `DIR` holds images in any format that the crate reads. The partition is a file, or `dir:ALPHA:SEED:PEERS` or
//! `pat:CLASSES:SEED:PEERS`. Updates are merged as in a network: deltas in fixed point, weighted by sample counts. Prints, for
//! every evaluated round, accuracy over all peers' test images (in percent), the mean gate weight and what each expert does
//! alone. Round 0 is untrained; round r is measured after the r-th merge was installed.
//!
//! `--generator NAME|FILE` runs a host between rounds: it aligns the round's prototypes, in the peers' order, and all peers take in
//! its pairs before the next round, so that pairs of round r serve in round r + 1 (as in the reference). After each round it
//! prints the alignment's first and last loss and how many numbers went up (prototypes) and down (pairs) in all.
//!
//! Two aids for finding causes: `--after` also measures every peer after its training and before the merge, and
//! `--central EPOCHS` trains the model `cnn2` on all peers' images together and installs that in every round in place of
//! what the peers merged (of `fedmoe` with the shared extractor `cnn2`; its rate should be 0): the room that there is.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fedswarm_learning::architectures::architecture;
use fedswarm_learning::certified::Certified;
use fedswarm_learning::data::{Dataset, PeerData, Split};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::generator::{self, Generator};
use fedswarm_learning::methods::{Evaluation, LocalUpdate, Member, MemberSetup, Method, Task, init_digest, method};
use fedswarm_learning::partition::{Partition, Scheme};
use fedswarm_learning::training::TrainConfig;
use fedswarm_learning::transfer::{Contribution, Generation, Host};
use fedswarm_protocol::hash::hash;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str =
    "loop --data DIR --partition FILE [--method local] [--models a,b] [--rounds 10] [--every 1] [--seeds 0]
     [--cap 100/100] [--cap-per-class K] [--batch 10] [--epochs 1] [--lr 0.01] [--momentum 0] [--clip X] [--no-shuffle] [--threads 1]
     [--device flex] [--generator NAME|FILE] [--after] [--central EPOCHS]";

#[derive(Default)]
struct Arguments {
    pairs: Vec<(String, String)>,
}

impl Arguments {
    fn read() -> Result<Self> {
        let mut pairs = Vec::new();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let Some(key) = word.strip_prefix("--") else { return Err(USAGE.into()) };
            let value =
                if matches!(key, "no-shuffle" | "after") { "true".to_owned() } else { words.next().ok_or(USAGE)? };
            pairs.push((key.to_owned(), value));
        }
        Ok(Self { pairs })
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(k, _)| k == key)?;
        Some(self.pairs.remove(at).1)
    }

    fn value<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("--{key}: cannot read {text:?}\n{USAGE}").into())
    }
}

fn main() -> Result<()> {
    let mut args = Arguments::read()?;
    let data = PathBuf::from(args.text("data").ok_or(USAGE)?);
    let partition = args.text("partition").ok_or(USAGE)?;
    let method = method(&args.text("method").unwrap_or_else(|| "local".to_owned()))?;
    let models = args.text("models");
    let rounds = args.value("rounds")?.unwrap_or(10u32);
    let every = args.value("every")?.unwrap_or(1u32).max(1);
    let seeds = args.text("seeds").unwrap_or_else(|| "0".to_owned());
    let cap = args.text("cap").unwrap_or_else(|| "100/100".to_owned());
    let per_class = args.value("cap-per-class")?;
    let threads = args.value("threads")?.unwrap_or(1usize).max(1);
    let device = args.value("device")?.unwrap_or(DeviceKind::Flex);
    let train = TrainConfig {
        batch: args.value("batch")?.unwrap_or(10),
        lr: args.value("lr")?.unwrap_or(0.01),
        epochs: args.value("epochs")?.unwrap_or(1),
        shuffle: args.text("no-shuffle").is_none(),
        clip: args.value("clip")?,
        momentum: args.value("momentum")?.unwrap_or(0.0),
    };
    let after = args.text("after").is_some();
    let central = args.value("central")?.unwrap_or(0usize);
    let generator = match args.text("generator") {
        Some(source) => Some(Arc::new(generator::open(Path::new(&source), None)?) as Arc<dyn Generator>),
        None => None,
    };
    if let Some((key, _)) = args.pairs.first() {
        return Err(format!("unknown option --{key}\n{USAGE}").into());
    }
    let (cap_train, cap_test) = cap.split_once('/').ok_or("--cap TRAIN/TEST")?;
    let (task, peers) = load(&data, &partition, cap_train.parse()?, cap_test.parse()?, per_class)?;
    let images = |f: fn(&PeerData) -> usize| peers.iter().map(|p| f(p)).sum::<usize>();
    println!(
        "# {} | {} peers, {} train and {} test images | {train:?}",
        method.spelling(),
        peers.len(),
        images(|p| p.train.labels.len()),
        images(|p| p.test.labels.len())
    );
    for seed in seeds.split(',') {
        let run = Run {
            method: method.as_ref(),
            task,
            peers: &peers,
            models: models.as_deref(),
            train: &train,
            device,
            after,
            central,
            generator: generator.clone(),
        };
        run.go(seed.trim().parse()?, rounds, every, threads)?;
    }
    Ok(())
}

struct Run<'a> {
    method: &'a dyn Method,
    task: Task,
    peers: &'a [Arc<PeerData>],
    models: Option<&'a str>,
    train: &'a TrainConfig,
    device: DeviceKind,
    after: bool,
    central: usize,
    generator: Option<Arc<dyn Generator>>,
}

impl Run<'_> {
    fn go(&self, seed: u64, rounds: u32, every: u32, threads: usize) -> Result<()> {
        let mut certified = Certified::genesis(self.method, &self.task, &init_digest(seed))?;
        let mut members = self.members(seed)?;
        let central = if self.central > 0 { Some(self.central(seed)?) } else { None };
        let weights: usize = members.iter().map(|m| m.parameters()).sum();
        println!("# seed {seed}: {weights} weights in all, {} shared", certified.len());
        let host = match &self.generator {
            Some(generator) => self.method.host(&self.task, Arc::clone(generator), &init_digest(seed))?,
            None => None,
        };
        let mut hosting = host.map(|host| Hosting { host, seed, last: None });
        let (start, mut training) = (Instant::now(), 0.0);
        for round in 0..=rounds {
            let state = |member: usize| -> Result<Vec<f32>> {
                let mut floats = certified.floats_of(member)?;
                if let Some(central) = &central {
                    let most = central.get(..floats.len()).ok_or("--central needs a method that shares cnn2")?;
                    floats.copy_from_slice(most);
                }
                Ok(floats)
            };
            let evaluate = round % every == 0 || round == rounds;
            let last = round == rounds;
            let pairs = hosting.as_ref().and_then(|h| h.last.as_ref()).map(|g| &g.pairs);
            let measured = on_threads(&mut members, threads, |i, member| {
                member.receive(pairs)?;
                member.install(&state(i)?)?;
                Ok(if evaluate { Some(member.evaluate()?) } else { None })
            })?;
            if evaluate {
                report(seed, round, &measured, start.elapsed().as_secs_f64(), training);
            }
            if last {
                break;
            }
            let begun = Instant::now();
            let updates = on_threads(&mut members, threads, |_, member| Ok(member.train(&AtomicBool::new(false))?))?;
            training += begun.elapsed().as_secs_f64();
            if self.after && evaluate {
                print!("after training ");
                let measured = on_threads(&mut members, threads, |_, member| Ok(Some(member.evaluate()?)))?;
                report(seed, round + 1, &measured, start.elapsed().as_secs_f64(), training);
            }
            certified.round(&updates)?;
            if let Some(hosting) = &mut hosting {
                hosting.round(round, &updates)?;
            }
        }
        Ok(())
    }

    /// The shared architecture trained centrally on all peers' images together: what a perfect extractor could give.
    fn central(&self, seed: u64) -> Result<Vec<f32>> {
        let mut train = Split { images: Vec::new(), labels: Vec::new() };
        let mut test = train.clone();
        for peer in self.peers {
            for (all, own) in [(&mut train, &peer.train), (&mut test, &peer.test)] {
                all.images.extend(&own.images);
                all.labels.extend(&own.labels);
            }
        }
        let method = method("fedavg:model=cnn2")?;
        let mut member = method.member(MemberSetup {
            task: self.task,
            architecture: architecture("cnn2")?,
            data: Arc::new(PeerData { train, test }),
            train: TrainConfig { epochs: self.central, momentum: 0.9, ..self.train.clone() },
            seed,
            init_seed: seed,
            common: init_digest(seed),
            device: self.device,
        })?;
        let update = member.train(&AtomicBool::new(false))?;
        let seen = member.evaluate()?;
        println!("# central: loss {:.3}, accuracy {:.4}", update.loss, f64::from(seen.correct) / f64::from(seen.total));
        Ok(member.export()?.into_iter().flat_map(|t| t.values).collect())
    }

    fn members(&self, seed: u64) -> Result<Vec<Box<dyn Member>>> {
        let defaults = self.method.default_architectures(&self.task).join(",");
        let names: Vec<&str> = self.models.unwrap_or(&defaults).split(',').map(str::trim).collect();
        let mut members = Vec::new();
        for (i, data) in self.peers.iter().enumerate() {
            members.push(self.method.member(MemberSetup {
                task: self.task,
                architecture: architecture(names[i % names.len()])?,
                data: Arc::clone(data),
                train: self.train.clone(),
                seed: seed.wrapping_mul(1_000_003).wrapping_add(i as u64),
                init_seed: seed,
                common: init_digest(seed),
                device: self.device,
            })?);
        }
        Ok(members)
    }
}

/// The generator's side of a run.
struct Hosting {
    host: Box<dyn Host>,
    seed: u64,
    last: Option<Generation>,
}

impl Hosting {
    fn round(&mut self, round: u32, updates: &[LocalUpdate]) -> Result<()> {
        let mut prototypes = Vec::new();
        for (author, update) in updates.iter().enumerate() {
            let own = update.prototypes.iter().cloned();
            prototypes.extend(own.map(|prototype| Contribution { author: author as u16, prototype }));
        }
        let seed = hash("loop host", &[self.seed.to_le_bytes(), u64::from(round).to_le_bytes()].concat());
        let carried = self.last.as_ref().map(|g| g.transformer.as_slice());
        let begun = Instant::now();
        let made = self.host.generate(&prototypes, carried, &seed, &AtomicBool::new(false))?;
        let up: usize = prototypes.iter().map(|p| p.prototype.values.len()).sum();
        let down = updates.len() * (made.pairs.images.len() + made.pairs.latents.len());
        println!(
            "host after round {:3}: {} prototypes, {} pairs, loss {:.4} to {:.4}, numbers up {up} down {down}, {:.2} s",
            round + 1,
            prototypes.len(),
            made.pairs.classes.len(),
            made.loss.first().copied().unwrap_or(f32::NAN),
            made.loss.last().copied().unwrap_or(f32::NAN),
            begun.elapsed().as_secs_f64()
        );
        self.last = Some(made);
        Ok(())
    }
}

/// A member and what its work gave.
type Slot<'a, T> = (&'a mut Box<dyn Member>, Option<Result<T>>);

/// Runs `work` on every member, `threads` at a time, and gives the results in the members' order.
fn on_threads<T: Send>(
    members: &mut [Box<dyn Member>],
    threads: usize,
    work: impl Fn(usize, &mut dyn Member) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let slots: Vec<Mutex<Slot<'_, T>>> = members.iter_mut().map(|member| Mutex::new((member, None))).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(slot) = slots.get(i) else { break };
                    if let Ok(mut slot) = slot.lock() {
                        let done = work(i, slot.0.as_mut());
                        slot.1 = Some(done);
                    }
                }
            });
        }
    });
    slots.into_iter().map(|s| s.into_inner().ok().and_then(|s| s.1).ok_or("a training thread died")?).collect()
}

fn report(seed: u64, round: u32, measured: &[Option<Evaluation>], seconds: f64, training: f64) {
    let seen: Vec<&Evaluation> = measured.iter().flatten().collect();
    let total: u32 = seen.iter().map(|e| e.total).sum();
    let percent = |f: &dyn Fn(&Evaluation) -> Option<u32>| {
        let sum: Option<u32> = seen.iter().map(|e| f(e)).sum();
        sum.map_or_else(|| "    -".to_owned(), |n| format!("{:5.2}", 100.0 * f64::from(n) / f64::from(total.max(1))))
    };
    let gate: Option<f64> = seen.iter().map(|e| e.gate.map(|g| f64::from(g) * f64::from(e.total))).sum();
    let gate = gate.map_or_else(|| "   - ".to_owned(), |g| format!("{:.3}", g / f64::from(total.max(1))));
    println!(
        "seed {seed} round {round:3} accuracy {} gate {gate} shared-only {} local-only {} seconds {seconds:.1} training {training:.1}",
        percent(&|e| Some(e.correct)),
        percent(&|e| e.shared_only),
        percent(&|e| e.local_only),
    );
}

/// Loads the images and deals them out.
fn load(
    dir: &Path,
    partition: &str,
    cap_train: usize,
    cap_test: usize,
    per_class: Option<usize>,
) -> Result<(Task, Vec<Arc<PeerData>>)> {
    let images = Dataset::load(dir)?;
    let words: Vec<&str> = partition.split(':').collect();
    let dealt = match words.as_slice() {
        [kind @ ("dir" | "pat"), value, seed, peers] => {
            let scheme = if *kind == "dir" {
                Scheme::Dirichlet { alpha: value.parse()? }
            } else {
                Scheme::Pathological { classes_per_peer: value.parse()? }
            };
            Partition::make(&images, &scheme, peers.parse()?, seed.parse()?, 10)?
        }
        _ => Partition::load(Path::new(partition), &images)?,
    };
    let mut dealt = dealt.cap(cap_train, cap_test);
    if let Some(most) = per_class {
        dealt = dealt.cap_per_class(&images, most)?;
    }
    let peers = dealt.peer_data(&images)?;
    Ok((Task { input: images.shape, classes: images.classes() }, peers))
}
