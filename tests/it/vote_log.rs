//! A key that has spoken does not speak again without the log of what it said.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::command::{fedswarm, json, stderr};

fn run(at: &Path) -> Output {
    fedswarm(at, &["run", "--config", "node.toml", "--exit-when-done", "--json"])
}

fn refused(at: &Path, because: &str) {
    let output = run(at);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(because), "{text}");
}

/// A network of one, whose two rounds are certified.
fn finished_network(at: &Path) {
    let key = json(&fedswarm(at, &["network", "key", "--key", "node.key", "--json"]));
    let member = format!("alone={}", key["public_key"].as_str().unwrap());
    let mut create = vec!["network", "create", "--name", "n", "--like", "bundled", "--out", "net.manifest"];
    create.extend(["--method", "fedavg:model=mlp", "--rounds", "2", "--member", &member]);
    let created = fedswarm(at, &create);
    assert!(created.status.success(), "{}", stderr(&created));
    let config = "manifest = \"net.manifest\"\nkey = \"node.key\"\nfolder = \"state\"\nmdns = false\nmodel = \"mlp\"\nthreads = 1\n\
                  [data]\npath = \"bundled\"\nmax_train = 20\nmax_test = 10\n";
    fs::write(at.join("node.toml"), config).unwrap();
    let output = run(at);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_key_without_its_vote_log_is_told_how_to_rejoin() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    finished_network(at);
    let store = at.join("state/node.redb");
    let whole = fs::read(&store).unwrap();

    fs::remove_file(&store).unwrap();
    refused(at, "network invite");
    fs::write(&store, []).unwrap();
    refused(at, "network invite");
    fs::write(&store, &whole[..whole.len() / 2]).unwrap();
    refused(at, "node.redb");
    fs::write(&store, &whole).unwrap();
    let output = run(at);
    assert!(output.status.success(), "the log is back: {}", stderr(&output));
}

#[test]
fn an_older_copy_of_the_vote_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    finished_network(at);
    let mark = at.join("node.key.votes");
    let text = fs::read_to_string(&mark).unwrap();
    let last = text.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(last, "2", "the mark follows the rounds: {text}");
    fs::write(&mark, format!("{} 3\n", text.trim_end().strip_suffix(" 2").unwrap())).unwrap();
    refused(at, "it has been at round 3");
}
