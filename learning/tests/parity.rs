//! The default CPU backend computes what burn's older one does. Run with `--features ndarray`.
#![cfg(feature = "ndarray")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{member, setup, train};
use fedswarm_learning::device::DeviceKind;

#[test]
fn parity_of_one_training_round_on_flex_and_ndarray() {
    for (name, model) in [("local", "cnn2"), ("local", "resnet"), ("fedmoe", "cnn1")] {
        let mut weights = [DeviceKind::Flex, DeviceKind::Ndarray].map(|device| {
            let mut setup = setup(model);
            setup.device = device;
            setup.train.lr = 0.01;
            let mut m = member(name, setup);
            train(m.as_mut());
            m.export().unwrap()
        });
        let [flex, ndarray] = &mut weights;
        for (a, b) in flex.iter().zip(ndarray) {
            let off = a.values.iter().zip(&b.values).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(off < 1e-4, "{name} {model} {}: {off}", a.name);
        }
    }
}
