//! What sets the methods apart.
#![allow(clippy::unwrap_used)]

mod common;

use common::{bits, member, setup, train};
use fedswarm_learning::methods::{NAMES, init_digest, method};

/// The values of a mixture's shared part, flat in schema order.
fn shared(member: &dyn fedswarm_learning::methods::Member) -> Vec<f32> {
    member.export().unwrap().into_iter().filter(|t| t.name.starts_with("shared")).flat_map(|t| t.values).collect()
}

#[test]
fn fedmoe_without_merging_is_moe_local_bit_for_bit() {
    for options in ["", ":mix=convex"] {
        let name = format!("fedmoe{options}");
        let mut alone = member(&format!("moe-local{options}"), setup("cnn1"));
        let mut peer = member(&name, setup("cnn1"));
        let schema = method(&name).unwrap().schema(&common::TASK).unwrap();
        peer.install(&schema.dequantise(&schema.genesis(&init_digest(11))).unwrap()).unwrap();
        for _ in 0..3 {
            alone.install(&[]).unwrap();
            assert!(train(alone.as_mut()).delta.is_empty(), "moe-local shares nothing");
            assert!(!train(peer.as_mut()).delta.is_empty());
            let own = shared(peer.as_ref());
            peer.install(&own).unwrap();
            assert!(bits(alone.as_ref()) == bits(peer.as_ref()), "{name}");
        }
        assert_eq!(alone.evaluate().unwrap(), peer.evaluate().unwrap(), "{name}");
    }
}

#[test]
fn the_papers_form_shares_the_extractor_and_the_default_its_head_too() {
    let tensors = |name: &str| method(name).unwrap().schema(&common::TASK).unwrap().tensors;
    let (paper, default) = (tensors("fedmoe:mix=convex"), tensors("fedmoe"));
    assert!(paper.iter().all(|t| t.name.starts_with("shared.")));
    assert_eq!(default[..paper.len()], paper);
    let head: Vec<_> = default[paper.len()..].iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
    assert_eq!(head, [("shared_head.weight", [128, 3].as_slice()), ("shared_head.bias", &[3])]);
    assert!(tensors("moe-local").is_empty());
}

/// The second round of a peer that looks ahead: its update holds what the whole network did in the first.
#[test]
fn a_peer_that_looks_ahead_carries_the_last_merge_on() {
    let frozen = "shared_lr=0,shared_momentum=0"; // So that an update is the look ahead and nothing else.
    let mut m = member(&format!("fedmoe:{frozen}"), setup("cnn1"));
    let first = shared(m.as_ref());
    m.install(&first).unwrap();
    assert!(train(m.as_mut()).delta.iter().all(|d| *d == 0.0), "no past yet");
    let second: Vec<f32> = first.iter().map(|w| w + 0.25).collect();
    m.install(&second).unwrap();
    for delta in train(m.as_mut()).delta {
        assert!((delta - 0.8 * 0.25).abs() < 1e-6, "{delta}");
    }
    let mut paper = member(&format!("fedmoe:mix=convex,{frozen}"), setup("cnn1"));
    let first = shared(paper.as_ref());
    train(paper.as_mut());
    paper.install(&first.iter().map(|w| w + 0.25).collect::<Vec<_>>()).unwrap();
    assert!(train(paper.as_mut()).delta.iter().all(|d| *d == 0.0));
}

/// Peers of one class each: through plain softmax the shared head would learn to say nothing but that class.
#[test]
fn the_shared_head_does_not_learn_which_classes_a_peer_has() {
    let mut one_class = setup("cnn1");
    let mut split = common::corners(34);
    split.labels.fill(1);
    one_class.data = std::sync::Arc::new(fedswarm_learning::data::PeerData { train: split, test: common::corners(12) });
    let mut m = member("fedmoe", one_class);
    let update = train(m.as_mut());
    let bias = &update.delta[update.delta.len() - 3..];
    assert!(update.loss < 2.0 * 3f32.ln() && bias.iter().all(|b| b.abs() < 0.02), "{bias:?}");
}

#[test]
fn merging_changes_what_a_peer_knows() {
    let (mut a, mut b) = (member("fedmoe", setup("cnn1")), member("fedmoe", setup("cnn1")));
    train(a.as_mut());
    train(b.as_mut());
    b.install(&vec![0.0; shared(b.as_ref()).len()]).unwrap();
    assert_ne!(a.evaluate().unwrap().loss, b.evaluate().unwrap().loss);
}

#[test]
fn the_gates_weight_is_reported_and_lies_between_zero_and_one() {
    for mix in ["convex", "doubled", "residual"] {
        let mut m = member(&format!("fedmoe:mix={mix}"), setup("cnn1"));
        train(m.as_mut());
        let seen = m.evaluate().unwrap();
        let gate = seen.gate.unwrap();
        assert!(gate > 0.0 && gate < 1.0, "{mix}: {gate}");
        assert!(seen.shared_only.is_some() && seen.local_only.is_some());
    }
    assert_eq!(member("local", setup("cnn1")).evaluate().unwrap().gate, None);
}

#[test]
fn a_part_with_rate_zero_stays() {
    let mut m = member("fedmoe:mix=residual,shared_loss=1,gate_lr=0,shared_lr=0", setup("cnn1"));
    let before = m.export().unwrap();
    let update = train(m.as_mut());
    assert!(update.delta.iter().all(|d| *d == 0.0));
    for (old, new) in before.iter().zip(m.export().unwrap()) {
        let frozen = old.name.starts_with("gate.") || old.name.starts_with("shared");
        assert_eq!(old.values == new.values, frozen, "{}", old.name);
    }
}

#[test]
fn names_and_options_are_spelt_as_they_are_read() {
    for name in NAMES {
        assert_eq!(method(name).unwrap().info().name, name);
    }
    let full = "fedmoe:mix=residual,shared_loss=1,shared_momentum=0.9,shared_clip=5,round_momentum=0.8";
    assert_eq!(method("fedmoe").unwrap().spelling(), full, "the default, written out");
    let ktl =
        "mu=20,mu_decay=0.8,pairs=shuffled,per=prototype,server_epochs=7,server_batch=9,server_lr=0.1,lambda=0.01";
    let fedktl = format!("fedktl:{ktl},gate=true,as-released=true");
    let moe_ktl = format!("moe-ktl:mix=residual,shared=cnn2,merge=false,{ktl},gate=false,transfer=mixed,scale=16");
    let simple = ["local", "local:head=etf", "fedavg", "fedavg:model=cnn1", "fedktl", "fedktl:as-released=true"];
    let usual = format!("{},mix_gradient=0,transfer=local", full.replace("fedmoe", "moe-ktl"));
    assert_eq!(method("moe-ktl").unwrap().spelling(), usual);
    let mixes = ["fedmoe:mix=doubled,gate_lr=0.05,shared=cnn2", "fedmoe:mix=residual,mix_gradient=0.5", full];
    for text in simple.into_iter().chain(mixes).chain([usual.as_str(), &fedktl, &moe_ktl]) {
        assert_eq!(method(text).unwrap().spelling(), text);
    }
}

#[test]
fn wrong_names_and_options_are_answered_with_the_right_ones() {
    for (text, parts) in [
        ("fedsgd", vec!["unknown method \"fedsgd\"", "local, fedavg, fedrep, per-fedavg"]),
        ("fedmoe:mix=sum", vec!["mix is \"sum\"", "convex, doubled or residual"]),
        ("fedmoe:rate=1", vec!["unknown option \"rate\"", "gate_lr"]),
        ("fedmoe:gate_lr=-1", vec!["gate_lr", "at least 0"]),
        ("fedmoe:mix_gradient=2", vec!["mix_gradient is \"2\"", "from 0 to 1"]),
        ("fedmoe:round_momentum=1", vec!["round_momentum is \"1\"", "from 0 to below 1"]),
        ("fedmoe:mix", vec!["\"mix\" is not of the form key=value"]),
        ("fedmoe:mix=convex,mix=convex", vec!["given twice"]),
        ("local:mix=convex", vec!["unknown option \"mix\"", "known: head"]),
        ("local:head=arc", vec!["head is \"arc\"", "linear or etf"]),
        ("fedktl:mu=-1", vec!["mu is \"-1\"", "at least 0"]),
        ("fedktl:mu_decay=2", vec!["mu_decay is \"2\"", "from 0 to 1"]),
        ("fedktl:server_batch=1", vec!["server_batch is \"1\"", "at least 2"]),
        ("fedktl:as-released=yes", vec!["as-released is \"yes\"", "true or false"]),
        ("fedktl:pairs=mixed", vec!["pairs is \"mixed\"", "matched or shuffled"]),
        ("moe-ktl:transfer=both", vec!["transfer is \"both\"", "shared, local or mixed"]),
        ("fedavg:model=vgg", vec!["unknown architecture \"vgg\"", "fedavg-cnn"]),
    ] {
        let error = method(text).err().unwrap().to_string();
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

#[test]
fn architectures_that_do_not_go_together_are_refused_with_a_way_out() {
    let text = method("fedmoe").unwrap().member(setup("fedavg-cnn")).err().unwrap().to_string();
    assert!(
        text.contains("cnn2 has 128") && text.contains("fedavg-cnn has 512") && text.contains("shared=NAME"),
        "{text}"
    );
    let text = method("fedavg").unwrap().member(setup("cnn1")).err().unwrap().to_string();
    assert!(text.contains("fedavg-cnn") && text.contains("cnn1") && text.contains("model=NAME"), "{text}");
}

#[test]
fn default_architectures_fit_their_method_at_every_size() {
    use fedswarm_learning::architectures::architecture;
    use fedswarm_learning::data::{ImageShape, PeerData};
    for (channels, side) in [(1, 8), (2, 20), (3, 32)] {
        let input = ImageShape { channels, height: side, width: side };
        for name in NAMES {
            let method = method(name).unwrap();
            let task = fedswarm_learning::methods::Task { input, classes: 4 };
            for model in method.default_architectures(&task) {
                let mut setup = setup("mlp");
                setup.task = task;
                setup.architecture = architecture(model).unwrap();
                setup.data = std::sync::Arc::new(PeerData { train: empty(), test: empty() });
                assert!(method.member(setup).is_ok(), "{name} {model} {input}");
            }
        }
    }
}

fn empty() -> fedswarm_learning::data::Split {
    fedswarm_learning::data::Split { images: Vec::new(), labels: Vec::new() }
}
