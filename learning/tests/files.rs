//! Model files describe themselves.
#![allow(clippy::unwrap_used)]

mod common;

use common::{bits, member, setup, train};
use fedswarm_learning::architectures::architecture;
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::export::{Card, load, open, save};
use fedswarm_learning::methods::method;

fn card(name: &str, model: &str) -> Card {
    let classes = ["left", "right", "below"].map(str::to_owned);
    Card::new(method(name).unwrap().as_ref(), architecture(model).unwrap().as_ref(), common::INPUT, &classes)
}

#[test]
fn a_file_alone_gives_the_member_back() {
    let folder = tempfile::tempdir().unwrap();
    // Of the last three, the fixed class vectors must come with the file: it does not know the network's seed.
    let cases = [("local", "mlp"), ("fedavg:model=cnn2", "cnn2"), ("fedmoe:mix=residual", "cnn1")];
    let fixed = ["local:head=etf", "fedktl", "moe-ktl:mix=residual,transfer=local"].map(|name| (name, "cnn1"));
    for (name, model) in cases.into_iter().chain(fixed) {
        let path = folder.path().join("model.safetensors");
        let mut m = member(name, setup(model));
        train(m.as_mut());
        save(&path, &card(name, model), &m.export().unwrap()).unwrap();
        let (card, mut again) = open(&path, DeviceKind::Flex).unwrap();
        assert_eq!((card.method.as_str(), card.architecture.as_str()), (name, model));
        assert_eq!((card.task(), card.classes[2].as_str()), (common::TASK, "below"));
        assert_eq!(bits(m.as_ref()), bits(again.as_ref()));
        let images = common::corners(5).images;
        assert_eq!(m.predict(&images).unwrap(), again.predict(&images).unwrap());
    }
}

#[test]
fn equal_models_give_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    for path in [&a, &b] {
        save(path, &card("local", "cnn1"), &member("local", setup("cnn1")).export().unwrap()).unwrap();
    }
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
}

#[test]
fn rubbish_truncated_and_foreign_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let refused = |bytes: &[u8], why: &str| {
        std::fs::write(&path, bytes).unwrap();
        let text = load(&path).err().unwrap().to_string();
        assert!(text.contains("model.safetensors") && text.contains(why), "{text}");
    };
    refused(b"rubbish", "not a safetensors file");
    let foreign = safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView<'_>)>::new(), None).unwrap();
    refused(&foreign, "no entry \"fedswarm\"");
    save(&path, &card("local", "cnn1"), &member("local", setup("cnn1")).export().unwrap()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    refused(&whole[..whole.len() - 1], "not a safetensors file");
    assert!(load(&folder.path().join("absent")).unwrap_err().to_string().contains("absent"));
}

#[test]
fn weights_of_another_architecture_are_refused_and_change_nothing() {
    let mut m = member("local", setup("cnn1"));
    let before = bits(m.as_ref());
    let other = member("local", setup("cnn2")).export().unwrap();
    assert!(m.import(&other).unwrap_err().to_string().contains("extractor.fc1.weight has shape"));
    let mut more = m.export().unwrap();
    more.push(fedswarm_learning::methods::NamedTensor { name: "extra".to_owned(), shape: vec![1], values: vec![0.0] });
    assert!(m.import(&more).unwrap_err().to_string().contains("7 given, the model has 6"));
    let mut short = m.export().unwrap();
    short.pop();
    assert!(m.import(&short).unwrap_err().to_string().contains("head.bias is missing"));
    assert_eq!(bits(m.as_ref()), before);
}
