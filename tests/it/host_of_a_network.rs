//! An operator hosts a generator: members run as processes, meet through an entry point, and one of them is told to host.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::command::{Process, fedswarm, json, spawn, stderr, stdout};

const MEMBERS: usize = 3;

/// Keys, and a manifest made with these further arguments.
fn found(at: &Path, extra: &[&str]) -> std::process::Output {
    let mut args = vec!["network", "create", "--name", "three", "--like", "bundled", "--out", "net.manifest"];
    let members: Vec<String> = (0..MEMBERS)
        .map(|i| {
            let key = json(&fedswarm(at, &["network", "key", "--key", &format!("{i}.key"), "--json"]));
            format!("peer{i}={}", key["public_key"].as_str().unwrap())
        })
        .collect();
    members.iter().for_each(|member| args.extend(["--member", member]));
    args.extend(extra);
    fedswarm(at, &args)
}

fn configure(at: &Path, index: usize, bootstrap: &str, generator: Option<&str>) -> String {
    let hosts = generator.map_or_else(String::new, |name| format!("generator = \"{name}\"\n"));
    let text = format!(
        "manifest = \"net.manifest\"\nkey = \"{index}.key\"\nfolder = \"state-{index}\"\nmdns = false\n{hosts}\
         bootstraps = [\"{bootstrap}\"]\nmodel = \"mlp\"\nthreads = 1\n\
         [data]\npath = \"bundled\"\nmax_train = 40\nmax_test = 20\n"
    );
    let name = format!("{index}.toml");
    fs::write(at.join(&name), text).unwrap();
    name
}

const NOWHERE: &str = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

#[test]
fn an_artefact_of_the_one_node_that_hosts_comes_into_force_and_reaches_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let created =
        found(at, &["--method", "moe-ktl", "--collect-ms", "200", "--generator", "digits", "--host", "peer1"]);
    assert!(created.status.success(), "{}", stderr(&created));
    let shown = stdout(&fedswarm(at, &["network", "show", "net.manifest"]));
    assert!(shown.contains("generator  1682b8a7e52c6a76") && shown.contains("hosted by peer1"), "{shown}");

    let mut entry = spawn(at, &["bootstrap", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    let mut address = String::new();
    BufReader::new(entry.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let (sender, lines) = mpsc::sync_channel::<(usize, Value)>(1024);
    let mut nodes: Vec<Process> = (0..MEMBERS)
        .map(|i| {
            let config = configure(at, i, address.trim(), (i == 1).then_some("digits"));
            spawn(at, &["run", "--config", &config, "--json"])
        })
        .collect();
    for (i, node) in nodes.iter_mut().enumerate() {
        let (stdout, sender) = (BufReader::new(node.0.stdout.take().unwrap()), sender.clone());
        std::thread::spawn(move || {
            let parsed = stdout.lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
            for line in parsed {
                if sender.send((i, line)).is_err() {
                    return;
                }
            }
        });
    }
    // What each node has said that it has of an artefact: in force, its pairs are here, they were tried in training.
    let mut seen: BTreeMap<usize, [bool; 3]> = (0..MEMBERS).map(|i| (i, [false; 3])).collect();
    let mut host = None;
    while seen.values().flatten().any(|stage| !stage) {
        let (node, line) = lines.recv_timeout(Duration::from_secs(120)).expect("nobody says anything for two minutes");
        if line["event"] == "started" && node == 1 {
            host = Some(line["member"].as_str().unwrap().to_owned());
        }
        let stages = ["artefact_certified", "artefact_received", "artefact_tried"];
        let Some(stage) = stages.iter().position(|stage| line["event"] == *stage) else { continue };
        assert_eq!(line["host"].as_str(), host.as_deref(), "only the one that was told to hosts: {line}");
        if stage == 1 {
            assert_eq!(line["pairs"], 10, "{line}");
        }
        seen.get_mut(&node).unwrap()[stage] = true;
    }
}

#[test]
fn a_node_refuses_to_host_what_the_manifest_does_not_name_or_allow() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let created = found(at, &["--method", "moe-ktl", "--host", "peer1"]);
    assert!(created.status.success(), "{}", stderr(&created));
    assert!(stdout(&created).contains("generator  1682b8a7e52c6a76"), "the usual one: {}", stdout(&created));
    let refused = |index: usize, generator: &str| {
        let output = fedswarm(at, &["run", "--config", &configure(at, index, NOWHERE, Some(generator))]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    };
    let text = refused(1, "fashion");
    assert!(text.contains("generator fashion is fc7f36b221f5c0d0"), "{text}");
    assert!(text.contains("names 1682b8a7e52c6a76"), "{text}");
    assert!(refused(0, "digits").contains("not among the hosts that network \"three\" allows"));
    let text = refused(1, "mine.safetensors");
    assert!(text.contains("mine.safetensors"), "{text}");
}

#[test]
fn a_founder_is_told_what_cannot_be_hosted() {
    for (extra, says) in [
        (&["--method", "fedmoe", "--generator", "digits"][..], "has no use for one"),
        (&["--method", "fedmoe", "--host", "peer0"], "no generator to host"),
        (&["--method", "moe-ktl", "--generator", "none", "--host", "peer0"], "no generator to host"),
        (&["--method", "moe-ktl", "--host", "cleo"], "no such member; there are peer0, peer1, peer2"),
        (&["--method", "moe-ktl", "--generator", "faces"], "known are digits, fashion"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let created = found(folder.path(), extra);
        assert_eq!(created.status.code(), Some(2), "{extra:?}");
        assert!(stderr(&created).contains(says), "{extra:?}: {}", stderr(&created));
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(found(at, &["--method", "moe-ktl", "--generator", "none"]).status.success());
    let output = fedswarm(at, &["run", "--config", &configure(at, 0, NOWHERE, Some("digits"))]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("was founded without one"), "{}", stderr(&output));
}
