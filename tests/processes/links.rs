//! This test program, started again in another place: nodes of the network alone, without rounds, and whatever else a test needs there.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use fedswarm_network::{Config, TransportKind};

use crate::common::{config, ids};
use crate::network::Place;

/// What a process is to play, in words. Without it a run is the test itself.
const ROLE: &str = "FEDSWARM_TEST_ROLE";
/// Where it listens.
const LISTEN: &str = "FEDSWARM_TEST_LISTEN";

/// One such process, ended however the test ends.
#[derive(Debug)]
pub(crate) struct Link {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Link {
    /// Starts a test of this program again, which is told by its path, on host `number` of a place.
    pub(crate) fn start(test: &str, place: &impl Place, number: usize, role: &[&str]) -> Self {
        let wrapper = place.wrapper(number);
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads", "1"]);
        command.env(ROLE, role.join(" ")).env(LISTEN, place.listen(number).join(","));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What follows this word on each line that has it, until the process ends.
    pub(crate) fn after<'a>(&'a mut self, word: &'a str) -> impl Iterator<Item = String> + 'a {
        let lines = self.lines.by_ref().map_while(Result::ok);
        lines.filter_map(move |line| Some(line.strip_prefix(word)?.trim().to_owned()))
    }

    /// What follows this word on the next line that has it. A process that waits in vain ends, and says why.
    pub(crate) fn next(&mut self, word: &str) -> String {
        self.after(word).next().unwrap_or_else(|| panic!("it ended before {word}"))
    }

    /// Lets it go on.
    pub(crate) fn go(&mut self) {
        self.tell("");
    }

    /// Tells it something, in one line.
    pub(crate) fn tell(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself, and well.
    pub(crate) fn ends(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Plays the role that this run has. False if it has none, and is the test.
pub(crate) fn plays(role: impl AsyncFnOnce(&[&str])) -> bool {
    let Ok(words) = std::env::var(ROLE) else { return false };
    // The test program has begun a line with its name.
    println!();
    let words: Vec<&str> = words.split(' ').collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(role(&words));
    true
}

/// A member in a role, one of so many, which listens where its host does.
pub(crate) fn member(kind: TransportKind, index: usize, members: usize) -> Config {
    let mut config = config(kind, index, &ids(members), None);
    let listen = std::env::var(LISTEN).unwrap();
    config.listen = listen.split(',').map(|addr| addr.parse().unwrap()).collect();
    config
}

/// Waits until the test lets this process go on.
pub(crate) async fn told_to_go() {
    told().await;
}

/// Waits until the test tells this process something.
pub(crate) async fn told() -> String {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
    line.await.unwrap().expect("the test goes on").unwrap()
}
