//! Small synthetic peers for the tests of members.
#![allow(dead_code, clippy::unwrap_used)] // Each test file uses its own part of this.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fedswarm_learning::architectures::architecture;
use fedswarm_learning::data::{ImageShape, PeerData, Split};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::methods::{LocalUpdate, Member, MemberSetup, Task, init_digest, method};
use fedswarm_learning::training::TrainConfig;

pub(crate) const INPUT: ImageShape = ImageShape { channels: 1, height: 16, width: 16 };
pub(crate) const TASK: Task = Task { input: INPUT, classes: 3 };

/// Images with one bright corner; which one tells the class.
pub(crate) fn corners(n: usize) -> Split {
    let mut split = Split { images: Vec::new(), labels: Vec::new() };
    for i in 0..n {
        let class = i % 3;
        for y in 0..INPUT.height {
            for x in 0..INPUT.width {
                let bright = (x >= 8) == (class & 1 == 1) && (y >= 8) == (class & 2 == 2);
                let noise = ((i * 7919 + y * 31 + x * 17) % 97) as f32 / 97.0 - 0.5;
                split.images.push(if bright { 0.7 } else { -0.4 } + 0.4 * noise);
            }
        }
        split.labels.push(class as u16);
    }
    split
}

pub(crate) fn setup(model: &str) -> MemberSetup {
    MemberSetup {
        task: TASK,
        architecture: architecture(model).unwrap(),
        data: Arc::new(PeerData { train: corners(34), test: corners(12) }),
        train: TrainConfig { lr: 0.05, ..TrainConfig::default() },
        seed: 7,
        init_seed: 11,
        common: init_digest(11),
        device: DeviceKind::Flex,
    }
}

pub(crate) fn member(name: &str, setup: MemberSetup) -> Box<dyn Member> {
    method(name).unwrap().member(setup).unwrap()
}

pub(crate) fn train(member: &mut dyn Member) -> LocalUpdate {
    member.train(&AtomicBool::new(false)).unwrap()
}

/// The bits of all weights, so that equality is exact.
pub(crate) fn bits(member: &dyn Member) -> Vec<u32> {
    member.export().unwrap().iter().flat_map(|t| t.values.iter().map(|v| v.to_bits())).collect()
}
