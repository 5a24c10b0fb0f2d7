//! What every member promises, whatever its method.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::{bits, member, setup, train};
use fedswarm_learning::Error;
use fedswarm_learning::data::{PeerData, Split};
use fedswarm_learning::methods::{init_digest, method};

/// A method with an architecture that suits it.
const CASES: [(&str, &str); 21] = [
    ("local", "cnn1"),
    ("fedavg:model=cnn2", "cnn2"),
    ("fedrep:model=cnn2", "cnn2"),
    ("per-fedavg:model=mlp,order=hessian-free", "mlp"),
    ("ditto:model=cnn1", "cnn1"),
    ("lg-fedavg", "cnn1"),
    ("fedproto", "cnn1"),
    ("feddistill", "mlp"),
    ("fedgh", "cnn2"),
    ("fedtgp", "cnn1-fc128"),
    ("fedkd", "cnn2"),
    ("fml", "cnn2"),
    ("fedmrl", "cnn1-fc128"),
    ("fedmoe", "cnn1-fc128"),
    ("fedmoe:mix=convex", "mlp"),
    ("fedmoe:mix=residual,gate_lr=0.1", "resnet"),
    ("moe-local:mix=doubled", "cnn2-fc128"),
    ("local:head=etf", "cnn2"),
    ("fedktl", "cnn1"),
    ("moe-ktl", "mlp"),
    ("moe-ktl:transfer=mixed,merge=false", "cnn2-fc128"),
];

/// Steps of a round on 34 images in batches of 10, and the weight of the update.
fn round(name: &str) -> (u32, u32) {
    match name.split(':').next().unwrap() {
        "fedrep" | "ditto" => (3 + 3, 34),
        "per-fedavg" => (2, 34), // Twice 34 images, 30 a step.
        "fml" | "fedmrl" | "fedkd" => (3, 1),
        _ => (3, 34),
    }
}

#[test]
fn training_learns_what_is_there_to_learn() {
    for (name, model) in CASES {
        let mut m = member(name, setup(model));
        let first = train(m.as_mut());
        assert_eq!((first.steps, first.samples), round(name), "{name}");
        let last = (0..14).map(|_| train(m.as_mut())).last().unwrap();
        assert!(last.loss < 0.5 * first.loss, "{name}: {} to {}", first.loss, last.loss);
        let seen = m.evaluate().unwrap();
        assert_eq!(seen.total, 12);
        assert!(seen.correct >= 10, "{name}: {seen:?}");
    }
}

#[test]
fn equal_seeds_give_equal_bits_and_another_data_order_gives_others() {
    for (name, model) in CASES {
        let (mut a, mut b) = (member(name, setup(model)), member(name, setup(model)));
        let mut other = setup(model);
        other.seed = 8;
        let mut c = member(name, other);
        assert_eq!(bits(a.as_ref()), bits(c.as_ref()), "{name}: first weights depend on init_seed alone");
        assert_eq!(train(a.as_mut()), train(b.as_mut()), "{name}");
        assert_eq!(bits(a.as_ref()), bits(b.as_ref()), "{name}");
        train(c.as_mut());
        assert_ne!(bits(a.as_ref()), bits(c.as_ref()), "{name}");
    }
}

#[test]
fn a_restored_member_goes_on_as_if_it_had_never_stopped() {
    for (name, model) in CASES {
        let mut with_momentum = setup(model);
        with_momentum.train.momentum = 0.9;
        with_momentum.train.lr = 0.01;
        let mut a = member(name, with_momentum.clone());
        train(a.as_mut());
        let checkpoint = a.checkpoint().unwrap();
        let update = train(a.as_mut());
        let mut b = member(name, with_momentum);
        b.restore(&checkpoint).unwrap();
        assert_eq!(train(b.as_mut()), update, "{name}");
        assert_eq!(bits(a.as_ref()), bits(b.as_ref()), "{name}");
        assert_eq!(a.checkpoint().unwrap(), b.checkpoint().unwrap(), "{name}");
    }
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused_and_change_nothing() {
    let mut m = member("local", setup("cnn1"));
    let good = m.checkpoint().unwrap();
    let before = bits(m.as_ref());
    let foreign = member("local", setup("cnn2")).checkpoint().unwrap();
    let long = [good.as_slice(), &[0]].concat();
    for (bad, why) in
        [(&good[..good.len() - 1], "too short"), (&long, "too many"), (&foreign, "another"), (&[], "short")]
    {
        let text = m.restore(bad).unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
        assert_eq!(bits(m.as_ref()), before);
    }
}

#[test]
fn an_update_is_the_difference_to_the_installed_state() {
    for name in [
        "fedavg:model=cnn2",
        "fedrep:model=cnn2",
        "per-fedavg:model=cnn2",
        "ditto:model=cnn2",
        "lg-fedavg",
        "fml",
        "fedkd",
        "fedmrl",
        "fedmoe",
        "fedmoe:mix=convex",
    ] {
        let schema = method(name).unwrap().schema(&common::TASK).unwrap();
        let state = schema.dequantise(&schema.genesis(&init_digest(99))).unwrap();
        let mut m = member(name, setup("cnn2"));
        m.install(&state).unwrap();
        let update = train(m.as_mut());
        assert_eq!(update.delta.len(), schema.len());
        let now = m.export().unwrap();
        let mut at = 0;
        for spec in &schema.tensors {
            let tensor = now.iter().find(|t| t.name == spec.name).unwrap();
            assert_eq!(tensor.shape, spec.shape.iter().map(|&d| d as usize).collect::<Vec<_>>());
            for value in &tensor.values {
                assert_eq!(*value - state[at], update.delta[at], "{}", spec.name);
                at += 1;
            }
        }
        assert!(update.delta.iter().any(|d| *d != 0.0));
        assert!(matches!(m.install(&state[1..]), Err(Error::Length { .. })));
    }
}

#[test]
fn a_cancelled_or_diverged_training_leaves_no_trace() {
    for (name, model) in CASES {
        let mut m = member(name, setup(model));
        let before = m.checkpoint().unwrap();
        assert!(matches!(m.train(&AtomicBool::new(true)), Err(Error::Cancelled)));
        assert_eq!(m.checkpoint().unwrap(), before, "{name}");
    }
    let mut wild = setup("cnn1");
    wild.train.lr = 1e20;
    let mut m = member("local", wild);
    let before = m.checkpoint().unwrap();
    assert!(matches!(m.train(&AtomicBool::new(false)), Err(Error::Diverged { .. })));
    assert_eq!(m.checkpoint().unwrap(), before);
}

#[test]
fn a_peer_with_less_than_a_batch_trains_nothing_and_says_so() {
    let mut small = setup("cnn1");
    small.data = Arc::new(PeerData { train: common::corners(9), test: Split { images: vec![], labels: vec![] } });
    let mut m = member("fedavg:model=cnn1", small);
    let update = train(m.as_mut());
    assert_eq!((update.steps, update.samples, update.loss), (0, 9, 0.0));
    assert!(update.delta.iter().all(|d| *d == 0.0));
    assert_eq!(m.evaluate().unwrap().total, 0);
}

#[test]
fn bad_labels_and_torn_images_are_refused() {
    let mut bad = setup("cnn1");
    bad.data =
        Arc::new(PeerData { train: Split { labels: vec![3; 34], ..common::corners(34) }, test: common::corners(1) });
    assert!(method("local").unwrap().member(bad).err().unwrap().to_string().contains("label 3"));
    let mut torn = setup("cnn1");
    let mut split = common::corners(34);
    split.images.pop();
    torn.data = Arc::new(PeerData { train: split, test: common::corners(1) });
    assert!(
        method("local").unwrap().member(torn).err().unwrap().to_string().contains("expected 8704 values, found 8703")
    );
    let mut m = member("local", setup("cnn1"));
    assert!(m.predict(&[0.0; 100]).is_err());
}

#[test]
fn settings_that_cannot_train_are_refused() {
    type Spoil = fn(&mut fedswarm_learning::training::TrainConfig);
    let cases: [(Spoil, &str); 5] = [
        (|t| t.batch = 0, "at least 1"),
        (|t| t.epochs = 0, "at least 1"),
        (|t| t.lr = f32::NAN, "learning rates"),
        (|t| t.momentum = 1.0, "momentum"),
        (|t| t.clip = Some(0.0), "clip"),
    ];
    for (spoil, why) in cases {
        let mut bad = setup("cnn1");
        spoil(&mut bad.train);
        assert!(method("local").unwrap().member(bad).err().unwrap().to_string().contains(why));
    }
}

#[test]
fn prediction_is_a_distribution_and_agrees_with_evaluation() {
    let mut m = member("fedmoe", setup("cnn1"));
    for _ in 0..3 {
        train(m.as_mut());
    }
    let test = common::corners(12);
    let rows = m.predict(&test.images).unwrap();
    assert!(rows.iter().all(|row| row.len() == 3 && (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    let right = rows.iter().zip(&test.labels).filter(|(row, y)| {
        let best = (0..3).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        best == usize::from(**y)
    });
    assert_eq!(right.count() as u32, m.evaluate().unwrap().correct);
}
