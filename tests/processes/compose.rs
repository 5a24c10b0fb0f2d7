//! `deploy/compose.yaml` without its containers: its commands, each on a host of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::images::{IMAGES, images};
use crate::journal::Journal;
use crate::network::Place as _;
use crate::process::Process;
use crate::world::{Needs, address, within};

const PEERS: [&str; 3] = ["ana", "ben", "cleo"];

/// The command of each service.
fn commands() -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut service = String::new();
    let mut commands = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
            service = name.split(':').next().unwrap().to_owned();
        } else if let Some(list) = line.strip_prefix("    command: ") {
            commands.insert(service.clone(), serde_json::from_str(list).unwrap());
        }
    }
    commands
}

#[test]
fn what_compose_starts_finds_itself_and_certifies() {
    within("compose::what_compose_starts_finds_itself_and_certifies", Needs::Namespaces, |world| {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        std::fs::create_dir(at("state")).unwrap();
        for (i, peer) in PEERS.iter().enumerate() {
            images(&home.path().join("images").join(peer), i * IMAGES);
        }
        let entry = format!("/ip4/{}/", address(PEERS.len()));
        let here = |word: &String| {
            let word = word.replace("/dns4/bootstrap/", &entry);
            word.replace("/state", &at("state")).replace("/images", &at("images"))
        };
        let commands = commands();
        let words = |service: &str| commands[service].iter().map(here).collect::<Vec<_>>();

        let binary = Path::new(env!("CARGO_BIN_EXE_fedswarm")).parent().unwrap().display().to_string();
        let path = format!("{binary}:{}", std::env::var("PATH").unwrap());
        let prepare = || {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prepare");
            let output = Command::new(script).args(words("prepare")).env("PATH", &path).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(prepare().contains("hosted by ana"));
        assert!(prepare().contains("prepared before"), "once is enough");

        let journal = Arc::new(Journal::new());
        let start = |host: usize, service: &str| {
            let words = [words(service), vec!["--json".to_owned()]].concat();
            let mut process = Process::start(home.path(), &world.wrapper(host), &words);
            process.follow(Arc::clone(&journal), host, 0);
            process
        };
        let entry = start(PEERS.len(), "bootstrap");
        let peers: Vec<Process> = PEERS.iter().enumerate().map(|(host, peer)| start(host, peer)).collect();
        journal.each("a round with everybody's update", &[0, 1, 2], |seen| {
            seen.certified().is_some() && seen.number("inputs") == Some(3)
        });
        for process in peers.into_iter().chain([entry]) {
            assert!(process.stop("TERM").success());
        }
    });
}
