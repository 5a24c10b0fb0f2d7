//! One process of a network.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use serde_json::json;

use crate::journal::{Journal, PATIENCE};

/// A process, ended however the test ends.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Says when the last line is read.
    reader: Option<Receiver<()>>,
}

impl Process {
    /// Starts `fedswarm` with these arguments; `wrapper` runs it somewhere else, such as in a network namespace.
    pub(crate) fn start(folder: &Path, wrapper: &[String], args: &[String]) -> Self {
        let words: Vec<&str> = wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_fedswarm")]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(args).current_dir(folder).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if std::env::var_os("FEDSWARM_LOG").is_none() {
            command.env("FEDSWARM_LOG", "error");
        }
        Self { child: command.spawn().unwrap(), reader: None }
    }

    /// Writes every line that it prints into the journal, and what it logs as an error.
    pub(crate) fn follow(&mut self, journal: Arc<Journal>, node: usize, life: usize) {
        let stdout = BufReader::new(self.child.stdout.take().unwrap());
        let stderr = BufReader::new(self.child.stderr.take().unwrap());
        let (done, reader) = std::sync::mpsc::sync_channel(1);
        self.reader = Some(reader);
        let logged = Arc::clone(&journal);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("node {node}: {line}");
                if line.contains(" ERROR ") {
                    logged.add(node, life, json!({ "event": "error_logged", "text": line }));
                }
            }
        });
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A line may be cut off by a kill.
                if let Ok(line) = serde_json::from_str(&line) {
                    journal.add(node, life, line);
                }
            }
            _ = done.send(());
        });
    }

    /// `kill -9`, and everything that it had printed is read.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.end();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        // The standard library knows no other signal than KILL.
        let text = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &text]).status().unwrap().success(), "{text}");
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        self.end()
    }

    fn end(&mut self) -> ExitStatus {
        if let Some(reader) = self.reader.take() {
            reader.recv_timeout(PATIENCE).expect("a process that was asked to stop does not end");
        }
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is what is wanted. A stopped process is killed as well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
