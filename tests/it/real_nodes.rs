//! What a newcomer does with real nodes: keys, a manifest, an entry point, two nodes as processes, a model, a prediction.

use std::fs;
use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::time::Duration;

use crate::command::{Process, fedswarm, json, spawn, stderr, stdout};

fn node_config(index: usize, bootstrap: &str) -> String {
    format!(
        "manifest = \"net.manifest\"\nkey = \"{index}.key\"\nfolder = \"state-{index}\"\nmdns = false\n\
         bootstraps = [\"{bootstrap}\"]\nmodel = \"mlp\"\nthreads = 1\n\
         [data]\npath = \"bundled\"\nmax_train = 40\nmax_test = 20\n"
    )
}

#[test]
fn two_processes_certify_rounds_and_their_model_labels_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut create = vec!["network", "create", "--name", "pair", "--like", "bundled", "--out", "net.manifest"];
    create.extend(["--method", "fedavg:model=mlp", "--rounds", "2"]);
    let members: Vec<String> = (0..2)
        .map(|i| {
            let key = json(&fedswarm(at, &["network", "key", "--key", &format!("{i}.key"), "--json"]));
            format!("peer{i}={}", key["public_key"].as_str().unwrap())
        })
        .collect();
    for member in &members {
        create.extend(["--member", member]);
    }
    let created = fedswarm(at, &create);
    assert!(created.status.success(), "{}", stderr(&created));
    assert!(stdout(&fedswarm(at, &["network", "show", "net.manifest"])).contains("2 of 2"));

    let mut entry = spawn(at, &["bootstrap", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    let mut address = String::new();
    BufReader::new(entry.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let nodes: Vec<Process> = (0..2)
        .map(|i| {
            fs::write(at.join(format!("{i}.toml")), node_config(i, address.trim())).unwrap();
            spawn(at, &["run", "--config", &format!("{i}.toml"), "--exit-when-done", "--json"])
        })
        .collect();
    let finished: Vec<serde_json::Value> = nodes
        .into_iter()
        .map(|mut node| {
            let stdout = BufReader::new(node.0.stdout.take().unwrap());
            let (sender, last) = mpsc::sync_channel(1);
            std::thread::spawn(move || sender.send(stdout.lines().map_while(Result::ok).last()));
            let last = last.recv_timeout(Duration::from_secs(60)).expect("a node did not end within a minute");
            assert!(node.0.wait().unwrap().success());
            serde_json::from_str(&last.expect("a node printed nothing")).unwrap()
        })
        .collect();
    assert_eq!(finished[0]["finished"]["record_hash"], finished[1]["finished"]["record_hash"]);
    assert!(finished[0]["finished"]["record_hash"].is_string());

    let exported = fedswarm(at, &["export", "--config", "0.toml", "--out", "model.safetensors", "--json"]);
    assert!(exported.status.success(), "{}", stderr(&exported));
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ankle_boot.png");
    let answer = json(&fedswarm(at, &["predict", "--model", "model.safetensors", image, "--json"]));
    let probability = answer["predictions"][0]["probability"].as_f64().unwrap();
    assert!((0.1..=1.0).contains(&probability), "{answer}");
    assert!(answer["predictions"][0]["name"].is_string());
}

#[test]
fn a_key_that_is_not_in_the_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let key = json(&fedswarm(at, &["network", "key", "--key", "1.key", "--json"]));
    let member = format!("somebody={}", key["public_key"].as_str().unwrap());
    let created = fedswarm(
        at,
        &["network", "create", "--name", "n", "--like", "bundled", "--out", "net.manifest", "--member", &member],
    );
    assert!(created.status.success(), "{}", stderr(&created));
    fs::write(
        at.join("0.toml"),
        node_config(0, "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")
            .replace("\"mlp\"", "\"cnn2\""),
    )
    .unwrap();
    let output = fedswarm(at, &["run", "--config", "0.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not a member of network"), "{}", stderr(&output));
}
