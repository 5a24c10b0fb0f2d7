//! What `fedswarm doctor` says when others cannot be reached, with networks of which nothing runs but an entry point.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::command::{fedswarm, json};

/// A node with one other founder, and a configuration that names these entry points.
fn prepare(folder: &Path, bootstraps: &[String]) {
    let mut members = Vec::new();
    for name in ["ana", "ben"] {
        let file = format!("{name}.key");
        let key = json(&fedswarm(folder, &["network", "key", "--key", &file, "--json"]));
        members.push(format!("{name}={}", key["public_key"].as_str().unwrap()));
    }
    let create = ["network", "create", "--name", "two", "--like", "bundled", "--out", "net.manifest"];
    let who = ["--member", &members[0], "--member", &members[1]];
    assert!(fedswarm(folder, &[&create[..], &who[..]].concat()).status.success());
    configure(folder, bootstraps);
}

fn configure(folder: &Path, bootstraps: &[String]) {
    let config = format!(
        "manifest = \"net.manifest\"\nkey = \"ana.key\"\nfolder = \"state\"\nmdns = false\n\
         listen = [\"/ip4/127.0.0.1/tcp/0\"]\nbootstraps = {bootstraps:?}\n[data]\npath = \"bundled\"\n"
    );
    fs::write(folder.join("node.toml"), config).unwrap();
}

/// Runs the doctor for a second; it must end with this exit code.
fn doctor(folder: &Path, code: i32) -> Vec<Value> {
    let output = fedswarm(folder, &["doctor", "--seconds", "1", "--json"]);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let report = json(&output);
    let findings = report["findings"].as_array().unwrap().clone();
    let bad = findings.iter().filter(|finding| finding["verdict"] == "bad").count();
    assert_eq!(report["bad"], bad);
    findings
}

/// The finding about something: it must say and advise this.
fn says(findings: &[Value], what: &str, verdict: &str, found: &str, advice: &str) {
    let of = findings.iter().find(|finding| finding["what"].as_str().unwrap().starts_with(what));
    let of = of.unwrap_or_else(|| panic!("nothing about {what:?}: {findings:#?}"));
    assert_eq!(of["verdict"], verdict, "{of}");
    assert!(of["found"].as_str().unwrap().contains(found), "{of}");
    assert!(of["advice"].as_str().unwrap_or_default().contains(advice), "{of}");
}

/// An entry point on the loopback interface, ended with the test.
struct EntryPoint(Child);

impl EntryPoint {
    fn start(folder: &Path) -> (Self, String) {
        let args = ["bootstrap", "--listen", "/ip4/127.0.0.1/tcp/0", "--json"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_fedswarm"))
            .args(args)
            .current_dir(folder)
            .env("FEDSWARM_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        (Self(child), line["addresses"][0].as_str().unwrap().to_owned())
    }
}

impl Drop for EntryPoint {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Some entry point's key, of which nothing runs.
const NOBODY: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";

#[test]
fn a_bootstrap_that_is_down_is_told_from_a_wrong_key_and_from_one_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (_entry, address) = EntryPoint::start(folder.path());
    prepare(folder.path(), &[address.clone()]);
    let findings = doctor(folder.path(), 1);
    says(&findings, "bootstrap /ip4", "good", "connected", "");
    says(&findings, "clock", "good", "agrees", "");
    says(&findings, "member ben", "bad", "nobody knows its address", "doctor");

    let (there, _) = address.split_once("/p2p/").unwrap();
    configure(folder.path(), &[format!("{there}/p2p/{NOBODY}")]);
    says(&doctor(folder.path(), 1), "bootstrap ", "bad", "somebody else answers, with key", "another key");

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    configure(folder.path(), &[format!("/ip4/127.0.0.1/tcp/{port}/p2p/{NOBODY}")]);
    says(&doctor(folder.path(), 1), "bootstrap ", "bad", "connection refused", "is it running");
}

#[test]
fn files_that_are_missing_or_of_another_network_are_named() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), &[]);
    let manifest = folder.path().join("net.manifest");
    fs::rename(&manifest, folder.path().join("moved")).unwrap();
    says(&doctor(folder.path(), 1), "manifest", "bad", "net.manifest", "ask a member");
    fs::rename(folder.path().join("moved"), &manifest).unwrap();

    let key = folder.path().join("ana.key");
    fs::remove_file(&key).unwrap();
    says(&doctor(folder.path(), 1), "key", "bad", "ana.key is not there", "network key");
    assert!(fedswarm(folder.path(), &["network", "key", "--key", "ana.key"]).status.success());
    says(&doctor(folder.path(), 1), "key", "bad", "belongs to no member", "invitation");
}

#[test]
fn a_port_that_somebody_has_is_named() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), &[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let path = folder.path().join("node.toml");
    let config = fs::read_to_string(&path).unwrap().replace("/ip4/127.0.0.1/tcp/0", &address);
    fs::write(&path, config).unwrap();
    says(&doctor(folder.path(), 1), "listening", "bad", &address, "ss -lntup");
}
