//! What the published methods that others are compared with promise.
#![allow(clippy::unwrap_used)]

mod common;

use common::{TASK, bits, member, setup, train};
use fedswarm_learning::certified::Certified;
use fedswarm_learning::data::ImageShape;
use fedswarm_learning::methods::{LocalUpdate, Member, Task, init_digest, method};

/// The values of the tensors of some parts.
fn values(member: &dyn Member, parts: &[&str]) -> Vec<f32> {
    let wanted = |name: &str| parts.iter().any(|part| name.split('.').next() == Some(*part));
    member.export().unwrap().into_iter().filter(|t| wanted(&t.name)).flat_map(|t| t.values).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt()
}

/// Numbers that go up and down per peer and round, for 28x28 images of ten classes (issue's formulas, counted by hand).
#[test]
fn what_travels_is_what_the_papers_say() {
    let task = Task { input: ImageShape { channels: 1, height: 28, width: 28 }, classes: 10 };
    // FedAvgCNN: (25 + 1) 32 + (25 * 32 + 1) 64 + (1024 + 1) 512, and a head of (512 + 1) 10.
    let (extractor, head) = (26 * 32 + 801 * 64 + 1025 * 512, 513 * 10);
    // The first of HtCNN4s: one convolution, (4608 + 1) 128.
    let (small, small_head) = (26 * 32 + 4609 * 128, 129 * 10);
    for (name, numbers) in [
        ("local", 0),
        ("fedavg", extractor + head),
        ("per-fedavg", extractor + head),
        ("ditto", extractor + head),
        ("fedrep", extractor),
        ("lg-fedavg", small_head),
        ("fml", small + small_head),
        ("fedkd", small + small_head),
        ("fedmrl", small + 33 * 10),
    ] {
        assert_eq!(method(name).unwrap().schema(&task).unwrap().len(), numbers, "{name}");
    }
}

/// What a class of a peer's costs going up, and what comes down, beside the flags that say which classes are known.
#[test]
fn prototypes_travel_and_what_all_make_of_them_comes_back() {
    let task = Task { input: ImageShape { channels: 1, height: 28, width: 28 }, classes: 10 };
    let network = 10 * 128 + 2 * (128 * 128 + 128);
    for (name, up, down) in [
        ("fedproto", 128, 10 * 128 + 10),
        ("feddistill", 10, 10 * 10 + 10),
        ("fedgh", 128, 128 * 10 + 10),
        ("fedtgp", 128, network + 10 * 128 + 10),
    ] {
        let method = method(name).unwrap();
        assert!(method.schema(&task).unwrap().is_empty(), "{name}");
        let prototypes = method.prototypes(&task).unwrap().unwrap();
        let certified = Certified::genesis(method.as_ref(), &task, &init_digest(1)).unwrap();
        assert_eq!((usize::from(prototypes.len), certified.len()), (up, down), "{name}");
        assert!(!method.takes_pairs(&task), "{name}");
    }
    assert!(method("fedktl").unwrap().takes_pairs(&task));
}

/// Installs class means, of the classes that have one.
fn install_means(member: &mut dyn Member, means: [Option<&[f32]>; 3], width: usize) {
    let mut state: Vec<f32> = means.iter().flat_map(|m| m.map_or_else(|| vec![0.0; width], <[f32]>::to_vec)).collect();
    state.extend(means.iter().map(|m| f32::from(u8::from(m.is_some()))));
    member.install(&state).unwrap();
}

/// Mean squared distance of a member's own class means to where others say that the classes are.
fn off(update: &LocalUpdate, means: &[Vec<f32>]) -> f32 {
    update.prototypes.iter().map(|p| distance(&p.values, &means[usize::from(p.class)]).powi(2)).sum()
}

#[test]
fn fedproto_answers_by_the_nearest_certified_mean_and_by_its_head_before_there_is_one() {
    let mut m = member("fedproto", setup("cnn1"));
    let mut by_head = member("fedproto:answer=head", setup("cnn1"));
    let update = (0..8).map(|_| train(m.as_mut())).last().unwrap();
    (0..8).for_each(|_| drop(train(by_head.as_mut())));
    let before = m.evaluate().unwrap();
    assert_eq!(before, by_head.evaluate().unwrap(), "there are no means yet");
    assert!(before.correct >= 10, "{before:?}");
    let p: Vec<&[f32]> = update.prototypes.iter().map(|p| p.values.as_slice()).collect();
    install_means(m.as_mut(), [Some(p[0]), Some(p[1]), Some(p[2])], 128);
    assert!(m.evaluate().unwrap().correct >= 10);
    install_means(m.as_mut(), [Some(p[1]), Some(p[2]), Some(p[0])], 128);
    assert!(m.evaluate().unwrap().correct <= 2, "each class has another's mean");
    install_means(m.as_mut(), [None, Some(p[1]), None], 128);
    assert_eq!(m.evaluate().unwrap().correct, 4, "a class that is not known is never the answer");
    install_means(by_head.as_mut(), [Some(p[1]), Some(p[2]), Some(p[0])], 128);
    assert_eq!(by_head.evaluate().unwrap(), before);
}

#[test]
fn fedproto_draws_features_to_the_certified_means_of_known_classes() {
    let others: Vec<Vec<f32>> = (0..3).map(|class| vec![class as f32 * 0.5; 128]).collect();
    let trained = |name: &str, known: [bool; 3]| {
        let mut m = member(name, setup("cnn1"));
        install_means(m.as_mut(), [0, 1, 2].map(|c| known[c].then_some(others[c].as_slice())), 128);
        train(m.as_mut())
    };
    let alone = train(member("local", setup("cnn1")).as_mut());
    let free = trained("fedproto:lambda=0", [true; 3]);
    assert_eq!(free.loss, alone.loss, "without weight the means do nothing");
    assert_eq!(trained("fedproto", [false; 3]).prototypes, free.prototypes, "as if it were alone");
    let held = trained("fedproto", [true; 3]);
    assert!(off(&held, &others) < 0.7 * off(&free, &others), "{} {}", off(&held, &others), off(&free, &others));
    let partly = trained("fedproto", [false, false, true]);
    assert!(off(&partly, &others) < off(&free, &others));
    assert_ne!(partly.prototypes, held.prototypes);
}

#[test]
fn feddistill_learns_the_others_answers_and_stays_finite() {
    let mut alone = member("local", setup("cnn1"));
    let mut free = member("feddistill:lambda=0", setup("cnn1"));
    let wrong = [[-9.0, 9.0, -9.0], [-9.0, -9.0, 9.0], [9.0, -9.0, -9.0]];
    let wrong = [0, 1, 2].map(|c| Some(&wrong[c][..]));
    install_means(free.as_mut(), wrong, 3);
    assert_eq!(train(free.as_mut()).loss, train(alone.as_mut()).loss);
    // Others who answer all classes wrongly, and weigh more than the labels.
    let mut misled = member("feddistill:lambda=5", setup("cnn1"));
    install_means(misled.as_mut(), wrong, 3);
    (0..8).for_each(|_| drop(train(misled.as_mut())));
    assert!(misled.evaluate().unwrap().correct <= 2);
    // The released form, in which logits themselves are the goal, is NaN by now.
    let method = method("feddistill").unwrap();
    let mut certified = Certified::genesis(method.as_ref(), &TASK, &init_digest(11)).unwrap();
    let mut members: Vec<_> = ["cnn1", "cnn2", "mlp"].map(|model| member("feddistill", setup(model))).into();
    for _ in 0..30 {
        let updates: Vec<LocalUpdate> = members.iter_mut().map(|m| train(m.as_mut())).collect();
        certified.round(&updates).unwrap();
        members.iter_mut().for_each(|m| m.install(&certified.floats().unwrap()).unwrap());
    }
    assert!(members.iter_mut().all(|m| m.evaluate().unwrap().correct >= 10));
}

/// A few unlike peers in one process.
fn rounds(name: &str, count: usize) -> (Certified, Vec<Box<dyn Member>>) {
    let method = method(name).unwrap();
    let mut certified = Certified::genesis(method.as_ref(), &TASK, &init_digest(11)).unwrap();
    let mut members: Vec<_> = ["cnn1", "cnn2", "cnn1-fc128"].map(|model| member(name, setup(model))).into();
    for _ in 0..count {
        members.iter_mut().for_each(|m| m.install(&certified.floats().unwrap()).unwrap());
        let updates: Vec<LocalUpdate> = members.iter_mut().map(|m| train(m.as_mut())).collect();
        certified.round(&updates).unwrap();
    }
    members.iter_mut().for_each(|m| m.install(&certified.floats().unwrap()).unwrap());
    (certified, members)
}

#[test]
fn fedghs_peers_have_the_head_that_was_learnt_from_their_prototypes() {
    let (certified, mut members) = rounds("fedgh:head_lr=0.1,head_epochs=20", 10);
    let head = certified.floats().unwrap();
    let first = Certified::genesis(method("fedgh").unwrap().as_ref(), &TASK, &init_digest(11)).unwrap();
    assert_ne!(head, first.floats().unwrap());
    for m in &mut members {
        assert_eq!(values(m.as_ref(), &["head"]), head, "what a peer made of it in its own round is gone");
        assert!(m.evaluate().unwrap().correct >= 10);
    }
}

#[test]
fn fedtgps_targets_are_where_the_peers_classes_are_and_apart() {
    let (certified, mut members) = rounds("fedtgp:target_lr=0.1", 10);
    let state = certified.floats().unwrap();
    let (targets, known) = state[state.len() - 3 * 128 - 3..].split_at(3 * 128);
    assert_eq!(known, [1.0; 3]);
    let rows: Vec<&[f32]> = targets.chunks_exact(128).collect();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(distance(rows[a], rows[b]) > 0.5, "{}", distance(rows[a], rows[b]));
    }
    assert!(members.iter_mut().all(|m| m.evaluate().unwrap().correct >= 10));
}

#[test]
fn fedkds_models_teach_each_other_and_the_mapping_is_private() {
    let mut alone = member("local", setup("cnn2"));
    let mut m = member("fedkd", setup("cnn2"));
    let before = values(m.as_ref(), &["mapping"]);
    train(alone.as_mut());
    let update = train(m.as_mut());
    assert_eq!(update.samples, 1, "every peer has the same weight");
    assert_ne!(values(m.as_ref(), &["mapping"]), before);
    let own = |m: &dyn Member| values(m, &["extractor", "head"]);
    assert!(distance(&own(m.as_ref()), &own(alone.as_ref())) > 1e-3);
}

#[test]
fn fedrep_trains_the_head_and_then_the_extractor_behind_it() {
    let mut m = member("fedrep:model=cnn1,head_epochs=0", setup("cnn1"));
    let (extractor, head) = (values(m.as_ref(), &["extractor"]), values(m.as_ref(), &["head"]));
    train(m.as_mut());
    assert_eq!(values(m.as_ref(), &["head"]), head, "no pass for the head, none of its weights moves");
    assert!(distance(&values(m.as_ref(), &["extractor"]), &extractor) > 0.0);
    // The head learns before the extractor moves: as if the extractor never did.
    let mut m = member("fedrep:model=cnn1", setup("cnn1"));
    train(m.as_mut());
    let mut frozen = setup("cnn1");
    frozen.train.epochs = 1;
    let mut other = member("fedrep:model=cnn1,head_epochs=1", frozen);
    train(other.as_mut());
    assert_eq!(bits(m.as_ref()), bits(other.as_ref()));
    assert!(distance(&values(m.as_ref(), &["head"]), &head) > 0.0);
}

#[test]
fn dittos_personal_model_is_local_training_when_nothing_holds_it_and_stays_near_when_much_does() {
    let personal = ["personal", "personal_head"];
    let mut local = member("local", setup("cnn1"));
    let mut free = member("ditto:model=cnn1,mu=0", setup("cnn1"));
    let common = values(free.as_ref(), &["extractor", "head"]);
    train(local.as_mut());
    train(free.as_mut());
    let moved = values(free.as_ref(), &personal);
    assert_eq!(
        moved,
        values(local.as_ref(), &["extractor", "head"]),
        "in the first round, of the same order of images"
    );
    // With lr mu = 1 a step ends one gradient away from the model for all, wherever it began.
    let mut held = member("ditto:model=cnn1,mu=20", setup("cnn1"));
    train(held.as_mut());
    let (far, near) = (distance(&moved, &common), distance(&values(held.as_ref(), &personal), &common));
    assert!(near < 0.7 * far, "{near} {far}");
}

#[test]
fn per_fedavg_is_measured_after_a_step_that_leaves_no_trace() {
    let mut m = member("per-fedavg:model=cnn1", setup("cnn1"));
    let before = m.checkpoint().unwrap();
    let adapted = m.evaluate().unwrap();
    assert_eq!(m.checkpoint().unwrap(), before);
    let mut plain = member("fedavg:model=cnn1", setup("cnn1"));
    assert_eq!(bits(plain.as_ref()), bits(m.as_ref()), "the same weights");
    assert!(adapted.loss < plain.evaluate().unwrap().loss, "and better after the step");
    let mut still = member("per-fedavg:model=cnn1,alpha=0", setup("cnn1"));
    assert_eq!(still.evaluate().unwrap(), plain.evaluate().unwrap());
}

#[test]
fn fml_without_what_the_other_says_is_local_training() {
    let mut alone = member("local", setup("cnn2"));
    let mut m = member("fml:alpha=1,beta=1", setup("cnn2"));
    train(alone.as_mut());
    train(m.as_mut());
    let (own, other) = (values(m.as_ref(), &["extractor", "head"]), values(alone.as_ref(), &["extractor", "head"]));
    assert!(distance(&own, &other) < 1e-4, "{}", distance(&own, &other));
    let mut m = member("fml", setup("cnn2"));
    train(m.as_mut());
    assert!(distance(&values(m.as_ref(), &["extractor", "head"]), &other) > 1e-3);
}

#[test]
fn fedmrls_projector_is_kept_and_as_released_it_is_forgotten() {
    for (name, kept) in [("fedmrl", true), ("fedmrl:as-released=true", false)] {
        let mut m = member(name, setup("cnn1"));
        let before = values(m.as_ref(), &["projector"]);
        train(m.as_mut());
        assert_eq!(values(m.as_ref(), &["projector"]) != before, kept, "{name}");
        let checkpoint = m.checkpoint().unwrap();
        let mut again = member(name, setup("cnn1"));
        again.restore(&checkpoint).unwrap();
        assert_eq!(train(again.as_mut()), train(m.as_mut()), "{name}");
    }
}

#[test]
fn spellings_give_the_same_method_back() {
    for name in [
        "fedrep:head_epochs=10,model=cnn2",
        "per-fedavg:order=hessian-free,alpha=0.1",
        "ditto:mu=1,personal_epochs=2",
        "lg-fedavg",
        "fml:alpha=0.25,shared=cnn2",
        "fedmrl:width=64,as-released=true",
        "fedproto:lambda=1,answer=head",
        "feddistill:lambda=0.5",
        "fedgh:head_lr=0.1,head_epochs=5,head_batch=20",
        "fedtgp:lambda=1,margin=10,answer=head,target_epochs=10",
        "fedkd:shared=cnn2",
    ] {
        assert_eq!(method(name).unwrap().spelling(), name);
    }
    for bad in ["fml:alpha=2", "fedrep:head_epochs=-1", "per-fedavg:order=third", "lg-fedavg:mu=1"] {
        assert!(method(bad).is_err(), "{bad}");
    }
    assert!(method("fedmrl:width=5").unwrap().member(setup("cnn1")).is_err(), "5 does not divide 128");
}
