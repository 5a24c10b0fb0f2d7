//! What methods promise whose certified state has a row for each member, or something trained on updates.
#![allow(clippy::unwrap_used)]

mod common;

use common::{TASK, member, setup, train};
use fedswarm_learning::certified::Certified;
use fedswarm_learning::data::ImageShape;
use fedswarm_learning::methods::{LocalUpdate, Member, MemberSetup, Task, init_digest, method};

/// Numbers that go up and down per peer and round, for 28x28 images of ten classes (the papers' formulas, counted by hand).
#[test]
fn what_travels_is_what_the_papers_say() {
    let task = Task { input: ImageShape { channels: 1, height: 28, width: 28 }, classes: 10 };
    // FedAvgCNN with its head; LeNet with its head; a weight for each pixel and one, of each class.
    let whole = 26 * 32 + 801 * 64 + 1025 * 512 + 513 * 10;
    let lenet = 26 * 16 + 401 * 32 + 513 * 120 + 121 * 84 + 85 * 10;
    let linear = 10 * 785;
    let (head, generator) = (129 * 10, 43 * 128 + 2 * 128 + 129 * 128);
    for (name, up, down) in [
        ("fedamp", whole, whole),
        ("pfedhn", lenet, lenet),
        // And the bound on the curvature, and the count of the member's updates.
        ("mocha", linear, linear + 2),
        // And the share of each class; up go the numbers of the author's images by class.
        ("fedgen", head, head + generator + 10),
    ] {
        let method = method(name).unwrap();
        assert_eq!(method.schema(&task).unwrap().len(), up, "{name}");
        let certified = Certified::genesis(method.as_ref(), &task, &init_digest(1)).unwrap();
        assert_eq!(certified.len(), down, "{name}");
        assert_eq!(certified.floats_of(0).unwrap().len(), down, "{name}");
    }
}

/// Peers in one process.
fn rounds(name: &str, model: &str, count: usize, peers: usize) -> (Certified, Vec<Box<dyn Member>>, Vec<LocalUpdate>) {
    let mut certified = Certified::genesis(method(name).unwrap().as_ref(), &TASK, &init_digest(11)).unwrap();
    let mut members: Vec<_> =
        (0..peers as u64).map(|i| member(name, MemberSetup { seed: i, ..setup(model) })).collect();
    let mut updates = Vec::new();
    for _ in 0..count {
        install(&certified, &mut members);
        updates = members.iter_mut().map(|m| train(m.as_mut())).collect();
        certified.round(&updates).unwrap();
    }
    install(&certified, &mut members);
    (certified, members, updates)
}

fn install(certified: &Certified, members: &mut [Box<dyn Member>]) {
    for (i, member) in members.iter_mut().enumerate() {
        member.install(&certified.floats_of(i).unwrap()).unwrap();
    }
}

fn squared(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

#[test]
fn fedamps_pull_has_a_gradient_and_without_it_a_peer_trains_alone() {
    let first = Certified::genesis(method("fedamp").unwrap().as_ref(), &TASK, &init_digest(11)).unwrap().floats_of(0);
    let first = first.unwrap();
    let mut alone = member("fedavg", setup("fedavg-cnn"));
    alone.install(&first).unwrap();
    let delta = train(alone.as_mut()).delta;
    // Everything of this cloud model is half of what the peer begins with.
    let cloud: Vec<f32> = first.iter().map(|x| 0.5 * x).collect();
    let trained = |name: &str, cloud: &[f32]| {
        let mut m = member(name, setup("fedavg-cnn"));
        m.install(&first).unwrap();
        let begun = train(m.as_mut()).delta;
        m.install(cloud).unwrap();
        (begun, train(m.as_mut()).delta)
    };
    let (begun, free) = trained("fedamp:lambda=0", &cloud);
    let apart: f32 = begun.iter().zip(&first).zip(&delta).map(|((w, a), d)| (w - a - d).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-6, "publishes all of what fedavg publishes the change of: {apart}");
    assert_eq!(free, trained("fedamp:lambda=0", &first).1, "without its weight the cloud model does nothing");
    let (_, held) = trained("fedamp:alpha=0.05,lambda=0.1", &cloud);
    assert!(
        squared(&held, &cloud) < 0.7 * squared(&free, &cloud),
        "{} {}",
        squared(&held, &cloud),
        squared(&free, &cloud)
    );
}

#[test]
fn fedamps_like_peers_meet() {
    let (certified, mut members, updates) = rounds("fedamp:alpha=0.2,lambda=0.2", "fedavg-cnn", 6, 3);
    let rows: Vec<Vec<f32>> = (0..3).map(|i| certified.floats_of(i).unwrap()).collect();
    for i in 0..3 {
        let other = (i + 1) % 3;
        assert!(squared(&rows[i], &rows[other]) < squared(&updates[i].delta, &updates[other].delta));
        assert_ne!(rows[i], rows[other], "each has its own");
    }
    assert!(members.iter_mut().all(|m| m.evaluate().unwrap().correct >= 10));
}

#[test]
fn fedgens_generator_makes_features_that_the_merged_head_knows() {
    let (certified, mut members, updates) = rounds("fedgen:generator_steps=30", "cnn1", 8, 2);
    // 34 images, classes in turn.
    let counts: Vec<(u16, f32)> = updates[0].prototypes.iter().map(|p| (p.class, p.values[0])).collect();
    assert_eq!(counts, [(0, 12.0), (1, 11.0), (2, 11.0)]);
    assert!(members.iter_mut().all(|m| m.evaluate().unwrap().correct >= 10));
    let genesis = |name: &str| {
        Certified::genesis(method(name).unwrap().as_ref(), &TASK, &init_digest(11)).unwrap().floats_of(0).unwrap()
    };
    let head = 129 * 3;
    let state = certified.floats_of(0).unwrap();
    assert_ne!(state[head..state.len() - 3], genesis("fedgen")[head..state.len() - 3]);
    let shares = &state[state.len() - 3..];
    assert!((shares[0] - 12.0 / 34.0).abs() < 1e-6, "{shares:?}");
    let (released, ..) = rounds("fedgen:as-released=true", "cnn1", 2, 2);
    let released = released.floats_of(0).unwrap();
    assert_eq!(released[head..released.len() - 3], genesis("fedgen")[head..state.len() - 3], "it is forgotten");
}

#[test]
fn fedgens_peers_learn_from_the_generator_once_classes_are_known() {
    let loss = |shares: [f32; 3]| {
        let mut m = member("fedgen", setup("cnn1"));
        let mut state = Certified::genesis(method("fedgen").unwrap().as_ref(), &TASK, &init_digest(11)).unwrap();
        let mut floats = state.floats_of(0).unwrap();
        let at = floats.len() - 3;
        floats[at..].copy_from_slice(&shares);
        m.install(&floats).unwrap();
        state.round(&[train(m.as_mut())]).unwrap();
        train(m.as_mut()).loss
    };
    let alone = loss([0.0; 3]);
    assert!(loss([0.2, 0.3, 0.5]) > alone + 0.1, "a second term");
}

#[test]
fn mochas_peers_take_back_what_was_not_merged() {
    let steady = || {
        let mut setup = setup("mlp");
        setup.train.shuffle = false;
        setup
    };
    let mut certified = Certified::genesis(method("mocha").unwrap().as_ref(), &TASK, &init_digest(11)).unwrap();
    let mut m = member("mocha", steady());
    m.install(&certified.floats_of(0).unwrap()).unwrap();
    let first = train(m.as_mut());
    m.install(&certified.floats_of(0).unwrap()).unwrap();
    assert_eq!(train(m.as_mut()), first, "from the same duals again");
    certified.round(std::slice::from_ref(&first)).unwrap();
    m.install(&certified.floats_of(0).unwrap()).unwrap();
    let second = train(m.as_mut());
    assert_ne!(second.delta, first.delta);
    // Restored from before that round it goes on just the same.
    let mut other = member("mocha", steady());
    other.install(&certified.floats_of(0).unwrap()).unwrap();
    assert_ne!(train(other.as_mut()).delta, second.delta, "its duals were zero");
    let checkpoint = m.checkpoint().unwrap();
    other.restore(&checkpoint).unwrap();
    assert_eq!(train(other.as_mut()), train(m.as_mut()));
    assert!(member("mocha:mu=0.1", steady()).restore(&checkpoint).is_err());
}

#[test]
fn mochas_peers_learn_and_know_how_often_they_were_merged() {
    for name in ["mocha", "mocha:relationship=mean"] {
        let (certified, mut members, updates) = rounds(name, "mlp", 6, 3);
        assert!(members.iter_mut().all(|m| m.evaluate().unwrap().correct >= 10), "{name}");
        assert!(updates.iter().all(|u| u.loss.is_finite()));
        let rows: Vec<Vec<f32>> = (0..3).map(|i| certified.floats_of(i).unwrap()).collect();
        assert!(rows.iter().all(|row| row[3 * 257] > 0.0), "{name}: a bound on the curvature");
        assert_eq!(rows[0][3 * 257 + 1], 6.0, "{name}: merged six times");
    }
}

#[test]
fn pfedhns_peers_are_generated_and_learn() {
    let (certified, mut members, _) = rounds("pfedhn:lr=0.05", "lenet", 30, 3);
    let rows: Vec<Vec<f32>> = (0..3).map(|i| certified.floats_of(i).unwrap()).collect();
    assert_ne!(rows[0], rows[1]);
    for m in &mut members {
        let seen = m.evaluate().unwrap();
        assert!(seen.correct >= 10, "{seen:?}");
    }
}
