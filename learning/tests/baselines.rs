//! What the published methods that others are compared with promise.
#![allow(clippy::unwrap_used)]

mod common;

use common::{bits, member, setup, train};
use fedswarm_learning::data::ImageShape;
use fedswarm_learning::methods::{Member, Task, method};

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
        ("fedmrl", small + 33 * 10),
    ] {
        assert_eq!(method(name).unwrap().schema(&task).unwrap().len(), numbers, "{name}");
    }
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
    ] {
        assert_eq!(method(name).unwrap().spelling(), name);
    }
    for bad in ["fml:alpha=2", "fedrep:head_epochs=-1", "per-fedavg:order=third", "lg-fedavg:mu=1"] {
        assert!(method(bad).is_err(), "{bad}");
    }
    assert!(method("fedmrl:width=5").unwrap().member(setup("cnn1")).is_err(), "5 does not divide 128");
}
