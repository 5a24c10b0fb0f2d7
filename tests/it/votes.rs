//! Members that the others vote in and out: nodes over real sockets, and the commands with which people vote.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use fedswarm_node::{NodeEvent, NodeHandle, Request};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::Timers;
use fedswarm_protocol::membership::{Admission, EvictVote, Invite, Join, Operation, Role};
use fedswarm_protocol::round::Event;
use serde_json::Value;

use crate::command::{fedswarm, json, stderr, stdout};
use crate::swarm::{Swarm, wait_for};

fn key_of(i: u8) -> SecretKey {
    SecretKey::from_bytes(&[i; 32])
}

fn votes_on(key: fedswarm_protocol::keys::PublicKey, wanted: usize) -> impl FnMut(NodeEvent) -> Option<usize> {
    move |event| match event {
        NodeEvent::Round { event: Event::Motion { subject, votes, needed, .. }, .. } => {
            (subject == key && votes == wanted).then_some(needed)
        }
        _ => None,
    }
}

fn certified(event: NodeEvent) -> Option<u64> {
    match event {
        NodeEvent::Round { event: Event::RoundCommitted { round, .. }, .. } => Some(round),
        _ => None,
    }
}

fn epoch_of(members: usize) -> impl FnMut(NodeEvent) -> Option<bool> {
    move |event| match event {
        NodeEvent::Round { event: Event::EpochStarted { members: m, me, .. }, .. } if m == members => {
            Some(me.is_some())
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_is_let_in_by_a_quorum_of_votes_and_a_member_is_sent_away_by_one() {
    let timers = Timers { collect_ms: 500, ..Timers::default() };
    let swarm = Swarm::admitting_by(Admission::Vote, 4, 0, 1000, timers).await;
    let mut nodes = Vec::new();
    for i in 0..4 {
        nodes.push(swarm.start(i, 4, None).await);
    }
    let network = swarm.manifest.network_id().unwrap();
    let (ticket, secret) = (key_of(200), key_of(100));
    let invite = Invite::new(&network, swarm.secret(0), ticket.public(), Role::Voter, 1_000_000);
    let join = Join::new(&network, invite, &ticket, &secret, "newcomer".into());
    let key = secret.public();
    nodes.push(swarm.join(secret.clone(), join.clone()).await);
    let members = |node: &NodeHandle| node.membership(&swarm.manifest).unwrap().0;

    assert_eq!(wait_for(&mut nodes[3].1, votes_on(key, 0)).await, 3, "everybody hears that it waits");
    for (voter, votes) in [(0, 1), (2, 2)] {
        let approval = join.approve(&network, swarm.secret(voter), 1_000_000);
        let vote = Operation::Join(Box::new(join.clone())).with_ballots(vec![approval]);
        nodes[voter].0.cast(vote).await.unwrap();
        wait_for(&mut nodes[3].1, votes_on(key, votes)).await;
    }
    for _ in 0..5 {
        wait_for(&mut nodes[3].1, certified).await;
    }
    assert_eq!(members(&nodes[3].0).place(&key), None, "two of three votes");
    assert_eq!(nodes[3].0.roster(&swarm.manifest).unwrap().waiting[0].votes.len(), 2);
    let approval = join.approve(&network, swarm.secret(3), 1_000_000);
    nodes[3].0.cast(Operation::Join(Box::new(join)).with_ballots(vec![approval])).await.unwrap();
    wait_for(&mut nodes[4].1, |event| matches!(event, NodeEvent::RequestDone { ends: false, .. }).then_some(())).await;
    assert_eq!(members(&nodes[4].0).voters(), 5);

    // Five voters decide by four: the newcomer is one of them. That the member changes its key between the votes does not help
    // it: whoever has voted already is not asked again.
    let (old, unwanted) = (swarm.secret(1).public(), key_of(111).public());
    let evict =
        |key, since, voter: &SecretKey| Operation::EvictVote(EvictVote::new(&network, key, since, voter, 1_000_000));
    for (node, votes) in [(0, 1), (2, 2)] {
        nodes[node].0.cast(evict(old, 0, swarm.secret(node))).await.unwrap();
        wait_for(&mut nodes[3].1, votes_on(old, votes)).await;
    }
    nodes[1].0.request(Request::Rotate(Box::new(key_of(111)))).await.unwrap();
    wait_for(&mut nodes[3].1, votes_on(unwanted, 2)).await;
    let committee = members(&nodes[3].0);
    let since = committee.members[usize::from(committee.place(&unwanted).unwrap())].since;
    for (node, voter) in [(3, swarm.secret(3)), (4, &secret)] {
        nodes[node].0.cast(evict(unwanted, since, voter)).await.unwrap();
    }
    assert!(wait_for(&mut nodes[0].1, epoch_of(4)).await);
    let committee = members(&nodes[0].0);
    assert_eq!((committee.place(&unwanted), committee.evicted.as_slice()), (None, [unwanted].as_slice()));
    // An invitation that it has kept does not bring its key back, whoever approves.
    let invite = Invite::new(&network, swarm.secret(0), key_of(201).public(), Role::Voter, 1_000_000);
    let back = Join::new(&network, invite, &key_of(201), &key_of(111), "back again".into());
    for (node, voter) in [(0, swarm.secret(0)), (2, swarm.secret(2)), (3, swarm.secret(3)), (4, &secret)] {
        let approval = back.approve(&network, voter, 1_000_000);
        let vote = Operation::Join(Box::new(back.clone())).with_ballots(vec![approval]);
        nodes[node].0.cast(vote).await.unwrap();
    }
    let (_, from) = nodes[0].0.membership(&swarm.manifest).unwrap();
    let committed = |event| certified(event).filter(|round| *round >= from + 3);
    wait_for(&mut nodes[0].1, committed).await;
    assert_eq!(members(&nodes[0].0).members.len(), 4);
    for (node, _) in &nodes {
        node.shutdown().await;
    }
}

/// Events of a node that may wait to be looked at. Too low and the node stands still while the test does something else.
const MOST_EVENTS: usize = 1 << 16;

/// A running node: ends however the test ends.
struct Process {
    child: Child,
    events: Receiver<Value>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    fn start(at: &Path, config: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fedswarm"));
        command.args(["run", "--config", config, "--json"]).current_dir(at).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = mpsc::sync_channel(MOST_EVENTS);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Whoever read it may be gone.
                drop(sender.send(serde_json::from_str(&line).unwrap()));
            }
        });
        Self { child, events }
    }

    fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let limit = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let left = limit.saturating_duration_since(std::time::Instant::now());
            let event = self.events.recv_timeout(left).expect("it did not happen within a minute");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits for an event, and until what follows from it is written: events are dealt with in order.
    fn settled(&self, wanted: impl Fn(&Value) -> bool) {
        self.wait(wanted);
        self.wait(|event| event["event"] == "round_started");
        self.wait(|event| event["event"] == "round_started");
    }
}

fn motion(event: &Value, votes: u64) -> bool {
    event["event"] == "motion" && event["votes"] == votes
}

const SMALL: &str =
    "mdns = false\nmodel = \"mlp\"\nthreads = 1\n[data]\npath = \"bundled\"\nmax_train = 40\nmax_test = 20\n";

#[test]
fn people_approve_a_newcomer_and_send_it_away_again_with_commands() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let ok = |args: &[&str]| {
        let output = fedswarm(at, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    };
    let refused = |args: &[&str], word: &str| {
        let output = fedswarm(at, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(word), "{args:?}: no {word:?} in {}", stderr(&output));
    };
    let member = format!("ana={}", ok(&["network", "key", "--key", "ana.key"]).trim());
    let create = ["network", "create", "--name", "clinic", "--like", "bundled", "--method", "fedavg:model=mlp"];
    let shown = ok(&[&create[..], &["--admission", "vote", "--member", &member, "--out", "net.manifest"]].concat());
    assert!(shown.contains("approval of a quorum"), "{shown}");
    let config = format!("manifest = \"net.manifest\"\nkey = \"ana.key\"\nfolder = \"ana\"\n{SMALL}");
    fs::write(at.join("ana.toml"), config).unwrap();
    refused(&["network", "approve", "--config", "ana.toml"], "members.json");

    let ana = Process::start(at, "ana.toml");
    ana.settled(|event| event["event"] == "certified");
    assert!(ok(&["network", "approve", "--config", "ana.toml"]).contains("nobody waits"));
    let invited = ok(&["network", "invite", "--config", "ana.toml", "--out", "cleo.invitation"]);
    assert!(invited.contains("must approve it"), "{invited}");
    let joined = ok(&["network", "join", "cleo.invitation", "--name", "cleo", "--out", "cleo"]);
    assert!(joined.contains("waits until a quorum"), "{joined}");
    let config = fs::read_to_string(at.join("cleo/node.toml")).unwrap();
    fs::write(at.join("cleo/node.toml"), config.split("# model").next().unwrap().to_owned() + SMALL).unwrap();
    let cleo = Process::start(at, "cleo/node.toml");

    ana.settled(|event| motion(event, 0));
    let waiting = json(&fedswarm(at, &["network", "approve", "--config", "ana.toml", "--json"]));
    assert_eq!((&waiting["waiting"][0]["name"], &waiting["waiting"][0]["needed"]), (&"cleo".into(), &1.into()));
    refused(&["network", "approve", "--config", "ana.toml", "ben"], "cleo");
    let said = ok(&["network", "approve", "--config", "ana.toml", "cleo"]);
    assert!(said.contains("1 of 1 votes; the next record lets it in"), "{said}");
    cleo.wait(|event| event["event"] == "request_done");
    assert!(ok(&["network", "approve", "--config", "ana.toml"]).contains("nobody waits"));

    ana.settled(|event| event["event"] == "epoch_started" && event["voters"] == 2);
    cleo.settled(|event| event["event"] == "certified");
    refused(&["network", "evict", "--config", "cleo/node.toml", "cleo"], "--leave");
    refused(&["network", "evict", "--config", "cleo/node.toml", "ben"], "ana");
    let said = ok(&["network", "evict", "--config", "ana.toml", "cleo"]);
    assert!(said.contains("1 of 2 votes; one more sends it away"), "{said}");
    ana.settled(|event| motion(event, 1));
    let listed = ok(&["network", "approve", "--config", "ana.toml"]);
    assert!(listed.contains("cleo: 1 of 2 votes (ana)"), "{listed}");
    let again = json(&fedswarm(at, &["network", "evict", "--config", "ana.toml", "cleo", "--json"]));
    assert_eq!((&again["votes"], &again["voted_before"]), (&1.into(), &true.into()));
}
