//! Training steps on request, for comparisons that somebody else times: see `benches/peers/step.py`.
//!
//! Reads lines `MODEL BATCH STEPS` and answers each with `ok` when so many steps of that model are done. Models of the
//! `pFedMoE` family (`cnn-1` to `cnn-5`) and `resnet` see 32x32 images of three channels, the others 28x28 of one.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fedswarm_learning::architectures::architecture;
use fedswarm_learning::data::{ImageShape, PeerData, Split};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::methods::{Member, MemberSetup, Task, init_digest, method};
use fedswarm_learning::training::TrainConfig;

fn member(model: &str, batch: usize, steps: usize) -> Result<Box<dyn Member>, Box<dyn Error>> {
    let large = model.starts_with("cnn-") || model == "resnet";
    let input = if large {
        ImageShape { channels: 3, height: 32, width: 32 }
    } else {
        ImageShape { channels: 1, height: 28, width: 28 }
    };
    let images = steps * batch;
    let split = Split {
        images: (0..images * input.len()).map(|i| ((i * 7 % 251) as f32) / 125.5 - 1.0).collect(),
        labels: (0..images).map(|i| (i % 10) as u16).collect(),
    };
    let setup = MemberSetup {
        task: Task { input, classes: 10 },
        architecture: architecture(model)?,
        data: Arc::new(PeerData { test: split.clone(), train: split }),
        train: TrainConfig { batch, ..TrainConfig::default() },
        seed: 1,
        init_seed: 1,
        common: init_digest(1),
        device: DeviceKind::Flex,
    };
    Ok(method("local")?.member(setup)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let never = AtomicBool::new(false);
    let mut members = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let [model, batch, steps] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("each line must be MODEL BATCH STEPS".into());
        };
        if !members.contains_key(&line) {
            members.insert(line.clone(), member(model, batch.parse()?, steps.parse()?)?);
        }
        if let Some(member) = members.get_mut(&line) {
            member.train(&never)?;
        }
        println!("ok");
        std::io::stdout().flush()?;
    }
    Ok(())
}
