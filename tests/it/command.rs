//! Running the command that people run.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn fedswarm(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fedswarm")).args(args).current_dir(folder).output().unwrap()
}

/// Ends a process however the test ends.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the command, whose stdout is for the test to read.
pub(crate) fn spawn(folder: &Path, args: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fedswarm"));
    Process(command.args(args).current_dir(folder).stdout(Stdio::piped()).env("FEDSWARM_LOG", "error").spawn().unwrap())
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The last line of stdout as JSON.
pub(crate) fn json(output: &Output) -> serde_json::Value {
    let text = stdout(output);
    let line = text.lines().last().unwrap_or_else(|| panic!("no output; stderr: {}", stderr(output)));
    serde_json::from_str(line).unwrap()
}

#[test]
fn every_command_has_help_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        &["simulate"][..],
        &["compare"],
        &["run"],
        &["bootstrap"],
        &["doctor"],
        &["status"],
        &["export"],
        &["predict"],
        &["network", "create"],
        &["network", "approve"],
        &["network", "evict"],
        &["verify"],
        &["generator", "train"],
        &["generator", "inspect"],
    ] {
        let output = fedswarm(folder.path(), &[command, &["--help"]].concat());
        assert!(output.status.success());
        let help = stdout(&output);
        assert!(help.contains("Example"), "{command:?} shows no example:\n{help}");
    }
}

#[test]
fn methods_say_what_they_share() {
    let folder = tempfile::tempdir().unwrap();
    let list = json(&fedswarm(folder.path(), &["methods", "--json"]));
    let names: Vec<_> = list["methods"].as_array().unwrap().iter().map(|m| m["method"].as_str().unwrap()).collect();
    for name in ["local", "fedavg", "fedmoe", "moe-local"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(list["methods"][0]["paper"].is_string());
}
