//! Knowledge transfer: what a host makes of prototypes, and what members make of its pairs.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::{INPUT, TASK, bits, corners, member, setup, train};
use fedswarm_learning::Error;
use fedswarm_learning::data::{ImageShape, PeerData};
use fedswarm_learning::generator::Generator;
use fedswarm_learning::methods::{Member, MemberSetup, init_digest, method};
use fedswarm_learning::transfer::{Contribution, Generation, Host, Pairs, Prototype};
use fedswarm_protocol::hash::{Digest, Stream, hash};

const LATENT: usize = 6;

/// A generator whose images are shaded by the latent vector's numbers.
struct Shades(ImageShape);

impl Generator for Shades {
    fn latent(&self) -> usize {
        LATENT
    }

    fn image(&self) -> ImageShape {
        self.0
    }

    fn id(&self) -> Digest {
        Digest([5; 32])
    }

    fn sample(&self, n: usize, stream: &mut Stream) -> Result<Vec<f32>, Error> {
        Ok((0..n * LATENT).map(|i| (2.0 * stream.unit() - 1.0) as f32 * (1 + i % 3) as f32).collect())
    }

    fn synthesise(&self, latents: &[f32]) -> Result<Vec<f32>, Error> {
        let pixels = |w: &[f32]| (0..self.0.len()).map(|i| w[i % LATENT].tanh()).collect::<Vec<_>>();
        Ok(latents.chunks_exact(LATENT).flat_map(pixels).collect())
    }
}

fn host(name: &str) -> Box<dyn Host> {
    method(name).unwrap().host(&TASK, Arc::new(Shades(INPUT)), &init_digest(11)).unwrap().unwrap()
}

fn said(author: u16, class: u16, values: [f32; 3]) -> Contribution {
    Contribution { author, prototype: Prototype { class, values: values.to_vec() } }
}

/// Three peers; nobody has class 1.
fn prototypes() -> Vec<Contribution> {
    vec![
        said(0, 0, [1.0, 0.1, 0.0]),
        said(0, 2, [-0.3, 0.2, 0.9]),
        said(1, 0, [0.9, -0.2, 0.1]),
        said(2, 2, [-0.1, 0.3, 1.0]),
    ]
}

fn generate(host: &mut dyn Host, carried: Option<&[f32]>, seed: &str) -> Generation {
    host.generate(&prototypes(), carried, &hash("test", seed.as_bytes()), &AtomicBool::new(false)).unwrap()
}

fn pairs() -> Pairs {
    generate(host("fedktl:server_epochs=3").as_mut(), None, "pairs").pairs
}

#[test]
fn classes_that_nobody_has_get_a_pair_from_the_released_code_only() {
    for (name, classes) in [("fedktl", vec![0, 2]), ("fedktl:as-released=true", vec![0, 1, 2])] {
        let made = generate(host(name).as_mut(), None, "a");
        assert_eq!(made.pairs.classes, classes, "{name}");
        assert_eq!(made.pairs.latents.len(), classes.len() * LATENT);
        assert_eq!(made.pairs.images.len(), classes.len() * INPUT.len());
        assert!(made.loss.last().unwrap() < &made.loss[0], "{name}: {:?}", made.loss);
    }
    let each = generate(host("fedktl:per=prototype").as_mut(), None, "a").pairs;
    assert_eq!((each.classes, each.latents.len()), (vec![0, 2, 0, 2], 4 * LATENT));
}

#[test]
fn an_image_is_what_the_generator_makes_of_its_vector() {
    let pairs = pairs();
    let expected = Shades(INPUT).synthesise(&pairs.latents).unwrap();
    assert_eq!(pairs.images, expected);
    let big = ImageShape { channels: 3, height: 32, width: 32 };
    let method = method("fedktl").unwrap();
    let mut host = method.host(&TASK, Arc::new(Shades(big)), &init_digest(11)).unwrap().unwrap();
    assert_eq!(generate(host.as_mut(), None, "a").pairs.images.len(), 2 * INPUT.len(), "resized to the members' form");
    let odd = ImageShape { channels: 2, ..big };
    let text = method.host(&TASK, Arc::new(Shades(odd)), &init_digest(11)).err().unwrap().to_string();
    assert!(text.contains("2x32x32") && text.contains("1x16x16"), "{text}");
}

#[test]
fn equal_inputs_give_equal_generations() {
    for name in ["fedktl", "moe-ktl:as-released=true"] {
        assert_eq!(generate(host(name).as_mut(), None, "a"), generate(host(name).as_mut(), None, "a"), "{name}");
        assert_ne!(generate(host(name).as_mut(), None, "a"), generate(host(name).as_mut(), None, "b"), "{name}");
    }
}

/// Twenty peers with two or three classes each: enough that the loss of one batch means something.
fn many() -> Vec<Contribution> {
    let near = |i: usize, class: usize| {
        let mut values = [0.1 * ((i * 7 + class) % 5) as f32 - 0.2; 3];
        values[class] = 1.0;
        said(i as u16, class as u16, values)
    };
    (0..20).flat_map(|i| (0..3).filter(move |class| (i + class) % 4 > 0).map(move |class| near(i, class))).collect()
}

#[test]
fn the_next_host_goes_on_where_the_last_one_stopped() {
    for name in ["fedktl", "fedktl:as-released=true"] {
        let round = |host: &mut dyn Host, carried: Option<&[f32]>, n: u8| {
            host.generate(&many(), carried, &Digest([n; 32]), &AtomicBool::new(false)).unwrap()
        };
        let mut first = host(name);
        let mut last = round(first.as_mut(), None, 1);
        for n in [2, 3] {
            last = round(first.as_mut(), Some(&last.transformer), n);
        }
        let mut next = host(name);
        assert_eq!(last.transformer.len(), next.transformer_len(), "{name}");
        let taken_over = round(next.as_mut(), Some(&last.transformer), 4);
        let kept = round(first.as_mut(), Some(&last.transformer), 4);
        assert_eq!(taken_over, kept, "{name}: all that carries on is in the generation");
        let fresh = round(host(name).as_mut(), None, 4);
        let (start, end) = (fresh.loss[0], fresh.loss[fresh.loss.len() - 1]);
        assert!(taken_over.loss[0] < (start + end) / 2.0, "{name}: fresh {start} to {end}, not {}", taken_over.loss[0]);
    }
}

#[test]
fn a_carried_transformer_that_is_unsound_is_refused_or_left() {
    let mut host = host("fedktl");
    let fresh = generate(host.as_mut(), None, "a");
    let mut poisoned = fresh.transformer.clone();
    poisoned[3] = f32::NAN;
    assert_eq!(generate(host.as_mut(), Some(&poisoned), "a"), fresh);
    let mut negative = fresh.transformer.clone();
    *negative.last_mut().unwrap() = -1.0; // A running variance.
    assert_eq!(generate(host.as_mut(), Some(&negative), "a"), fresh);
    let refused = host.generate(&prototypes(), Some(&fresh.transformer[1..]), &Digest::ZERO, &AtomicBool::new(false));
    assert!(matches!(refused, Err(Error::Length { .. })));
}

#[test]
fn a_host_refuses_prototypes_of_another_task_and_stops_when_it_is_told_to() {
    let mut host = host("fedktl");
    let mut ask = |bad: Contribution| {
        let all = [prototypes(), vec![bad]].concat();
        host.generate(&all, None, &Digest::ZERO, &AtomicBool::new(false)).unwrap_err().to_string()
    };
    assert!(ask(said(7, 3, [1.0; 3])).contains("member 7's prototype of class 3"));
    assert!(ask(said(7, 1, [1.0, f32::NAN, 0.0])).contains("not finite"));
    let mut long = said(7, 1, [1.0; 3]);
    long.prototype.values.push(1.0);
    assert!(ask(long).contains("expected 3 values, found 4"));
    let stopped = host.generate(&prototypes(), None, &Digest::ZERO, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(Error::Cancelled)));
}

#[test]
fn no_prototypes_and_one_prototype_train_nothing() {
    for (all, pairs) in [(vec![], 0), (vec![said(0, 1, [0.0, 1.0, 0.0])], 1)] {
        let made = host("fedktl").generate(&all, None, &Digest::ZERO, &AtomicBool::new(false)).unwrap();
        assert_eq!((made.pairs.classes.len(), made.loss.len()), (pairs, 0));
    }
}

#[test]
fn members_publish_one_unit_vector_per_class_that_they_have() {
    for name in ["fedktl", "moe-ktl", "fedktl:mu=0"] {
        let mut own = setup("cnn1");
        let mut split = corners(34);
        split.labels.iter_mut().for_each(|y| *y = if *y == 1 { 2 } else { *y });
        own.data = Arc::new(PeerData { train: split, test: corners(3) });
        let update = train(member(name, own).as_mut());
        assert_eq!(update.prototypes.iter().map(|p| p.class).collect::<Vec<_>>(), [0, 2], "{name}");
        for p in &update.prototypes {
            let spec = method(name).unwrap().prototypes(&TASK).unwrap().unwrap();
            assert_eq!(p.values.len(), usize::from(spec.len));
            let length: f32 = p.values.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{name}: {length}");
        }
    }
    assert!(train(member("local:head=etf", setup("cnn1")).as_mut()).prototypes.is_empty());
}

/// The last four of 34 images fill no batch; here they are all of class 1's.
#[test]
fn the_released_code_leaves_the_tail_out_of_the_prototypes() {
    for (name, classes) in [("fedktl", vec![0, 1, 2]), ("fedktl:as-released=true", vec![0, 2])] {
        let mut own = setup("mlp");
        let mut split = corners(34);
        split.labels.iter_mut().enumerate().for_each(|(i, y)| *y = if i < 30 { (i % 2 * 2) as u16 } else { 1 });
        own.data = Arc::new(PeerData { train: split, test: corners(3) });
        let update = train(member(name, own).as_mut());
        assert_eq!(update.prototypes.iter().map(|p| p.class).collect::<Vec<_>>(), classes, "{name}");
    }
}

fn taught(name: &str, setup: MemberSetup, pairs: Option<&Pairs>) -> Box<dyn Member> {
    let mut m = member(name, setup);
    m.receive(pairs).unwrap();
    m
}

#[test]
fn pairs_change_what_is_learnt_unless_their_weight_is_zero() {
    for name in ["fedktl", "moe-ktl"] {
        let without = |name: &str| {
            let mut m = taught(name, setup("cnn1"), None);
            train(m.as_mut());
            bits(m.as_ref())
        };
        let with = |name: &str| {
            let mut m = taught(name, setup("cnn1"), Some(&pairs()));
            train(m.as_mut());
            bits(m.as_ref())
        };
        assert!(with(name) == with(name), "{name}");
        assert!(with(name) != without(name), "{name}");
        let control = format!("{name}:mu=0");
        assert!(with(&control) == without(name), "{control}");
        let shuffled = format!("{name}:pairs=shuffled");
        assert!(with(&shuffled) != with(name) && with(&shuffled) != without(name), "{shuffled}");
        assert!(without(&shuffled) == without(name), "{shuffled}");
    }
}

/// With nothing but the private head's loss, what peers share moves as far as that loss's gradient is let through.
#[test]
fn the_mix_gradient_is_what_reaches_the_shared_expert() {
    let moved = |share: &str| {
        let name = format!("moe-ktl:mix=residual,shared_loss=0.000001,shared_lr=0.001,mix_gradient={share}");
        let mut own = setup("cnn2");
        own.data = Arc::new(PeerData { train: corners(10), test: corners(3) });
        let mut m = taught(&name, own, None);
        let delta = train(m.as_mut()).delta;
        delta.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt()
    };
    let (whole, half, none) = (moved("1"), moved("0.5"), moved("0"));
    assert!(whole > 0.0 && (half / whole - 0.5).abs() < 0.01, "{half} of {whole}");
    assert!(none < whole * 1e-3, "{none} of {whole}");
}

/// One step each, and a clip that does not bind: whatever differs between with and without was moved by the pairs.
#[test]
fn pairs_move_the_branch_that_learns_them_and_no_head() {
    for (name, moved) in [
        ("fedktl", vec!["extractor"]),
        ("moe-ktl:transfer=shared", vec!["shared"]),
        ("moe-ktl:transfer=local", vec!["local"]),
        ("moe-ktl:transfer=mixed", vec!["shared", "local", "gate"]),
    ] {
        let name = name.replace("moe-ktl:", "moe-ktl:shared_clip=1000000,");
        let mut own = setup("cnn2");
        own.train.clip = Some(1e9);
        own.data = Arc::new(PeerData { train: corners(10), test: corners(3) });
        let run = |pairs: Option<&Pairs>| {
            let mut m = taught(&name, own.clone(), pairs);
            assert_eq!(train(m.as_mut()).steps, 1);
            m.export().unwrap()
        };
        let (with, without) = (run(Some(&pairs())), run(None));
        let part = |tensor: &str| tensor.split('.').next().unwrap().to_owned();
        let mut parts: Vec<String> =
            with.iter().zip(&without).filter(|(a, b)| a != b).map(|(a, _)| part(&a.name)).collect();
        parts.dedup();
        assert_eq!(parts, moved, "{name}");
    }
}

#[test]
fn a_restored_member_still_has_its_pairs() {
    for name in ["fedktl", "moe-ktl:mu_decay=0.5", "fedktl:pairs=shuffled"] {
        let mut a = taught(name, setup("cnn1"), Some(&pairs()));
        train(a.as_mut());
        let checkpoint = a.checkpoint().unwrap();
        let update = train(a.as_mut());
        let mut b = member(name, setup("cnn1"));
        b.restore(&checkpoint).unwrap();
        assert_eq!(train(b.as_mut()), update, "{name}");
        assert_eq!(a.checkpoint().unwrap(), b.checkpoint().unwrap(), "{name}");
        for cut in [1, 5, 300] {
            assert!(matches!(b.restore(&checkpoint[..checkpoint.len() - cut]), Err(Error::Checkpoint(_))));
        }
    }
}

#[test]
fn the_weight_of_pairs_decays_by_round() {
    let run = |name: &str| {
        let mut m = taught(name, setup("cnn1"), Some(&pairs()));
        [train(m.as_mut()).loss, train(m.as_mut()).loss]
    };
    let (steady, fading, none) = (run("fedktl"), run("fedktl:mu_decay=0"), run("fedktl:mu=0"));
    assert_eq!(steady[0], fading[0], "the first round has the whole weight");
    assert!(steady[1] > fading[1] && steady[0] > none[0], "{steady:?} {fading:?} {none:?}");
}

#[test]
fn pairs_that_do_not_fit_are_refused_and_the_old_ones_stay() {
    let mut m = taught("fedktl", setup("cnn1"), Some(&pairs()));
    let before = m.checkpoint().unwrap();
    type Spoil = fn(&mut Pairs);
    let cases: [(Spoil, &str); 7] = [
        (|p| p.image.height = 8, "1x8x16"),
        (|p| p.latent = 0, "1 to 16384"),
        (|p| p.latents.truncate(7), "expected 12 values, found 7"),
        (|p| p.images.push(0.0), "expected 512 values, found 513"),
        (|p| p.classes[1] = 3, "class 3"),
        (|p| p.latents[4] = f32::INFINITY, "not finite"),
        (|p| p.classes = vec![0; 5000], "at most 4096 pairs"),
    ];
    for (spoil, why) in cases {
        let mut bad = pairs();
        spoil(&mut bad);
        let text = m.receive(Some(&bad)).unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
        assert!(m.checkpoint().unwrap() == before, "{why}");
    }
    m.receive(None).unwrap();
    assert!(m.checkpoint().unwrap().len() < before.len(), "no pairs any more");
}

/// Pairs that want what no weights of this size give, so that one step down their gradient throws the extractor off.
fn hostile() -> Pairs {
    let mut pairs = pairs();
    pairs.images.iter_mut().enumerate().for_each(|(i, x)| *x = if (i * 7919) % 13 < 6 { 1.0 } else { -1.0 });
    pairs.latents.iter_mut().enumerate().for_each(|(i, w)| *w = if i % 2 == 0 { 300.0 } else { -300.0 });
    pairs
}

/// A member that has learnt for some rounds alone: what is not learnt yet cannot be damaged.
fn settled(name: &str) -> Box<dyn Member> {
    let mut m = member(name, setup("cnn2"));
    (0..3).for_each(|_| drop(train(m.as_mut())));
    m
}

#[test]
fn the_gate_refuses_pairs_that_do_damage_and_takes_those_that_do_not() {
    let run = |name: &str, pairs: Option<Pairs>| {
        let mut m = settled(name);
        m.receive(pairs.as_ref()).unwrap();
        train(m.as_mut());
        bits(m.as_ref())
    };
    let open = "fedktl:gate=false";
    assert!(run(open, Some(hostile())) != run(open, None), "without a gate they are learnt from");
    assert!(run("fedktl", Some(hostile())) == run("fedktl", None), "refused, and the trial left no trace");
    assert!(run("fedktl", Some(pairs())) == run(open, Some(pairs())), "taken, and the trial left no trace");
}

#[test]
fn a_verdict_survives_a_restart() {
    let mut a = settled("fedktl");
    a.receive(Some(&hostile())).unwrap();
    train(a.as_mut());
    let mut b = settled("fedktl");
    b.restore(&a.checkpoint().unwrap()).unwrap();
    assert_eq!(train(a.as_mut()), train(b.as_mut()));
    assert!(a.checkpoint().unwrap() == b.checkpoint().unwrap());
}
