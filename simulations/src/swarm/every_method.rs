//! Claims about every method in the list, whichever they are: a new one is covered by being listed.
#![allow(clippy::unwrap_used)]

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fedswarm_learning::certified::Certified;
use fedswarm_learning::methods::{LocalUpdate, Member, NAMES};
use fedswarm_node::NodeEvent;
use fedswarm_node::generators::NONE;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::{Operation, Role};
use fedswarm_protocol::record::RecordKind;
use fedswarm_protocol::round::Event;

use super::virtual_learner::{Learner, Told};
use super::{Options, Prepared, run};
use crate::progress::Silent;
use crate::scenario::{Cap, Scenario, Transport, VirtualTime};
use crate::world::World;
use crate::world::disk::Tail;
use crate::world::membership::{invite, leave};
use crate::world::options::{Faults, Options as WorldOptions, Waits};
use crate::world::work::Work;

/// A few peers with a few images each, in virtual time, and no generator: with one a round's training depends on when its
/// pairs arrive.
fn scenario(method: &str, nodes: u16, rounds: u64) -> Scenario {
    Scenario {
        nodes: Some(usize::from(nodes)),
        rounds,
        method: method.to_owned(),
        generator: Some(NONE.to_owned()),
        cap: Some(Cap::At { train: 30, test: 10 }),
        local_baseline: false,
        generator_baseline: false,
        transport: Transport::Virtual,
        virtual_time: Some(VirtualTime { min_inputs: nodes, ..VirtualTime::default() }),
        ..Scenario::default()
    }
}

/// What one process certifies with itself: all members' updates, round after round.
fn alone(prepared: &Prepared) -> Certified {
    let (method, setups) = (prepared.method.as_ref(), &prepared.setups);
    let certified = Certified::genesis(method, &setups[0].task, &prepared.manifest.genesis_seed).unwrap();
    let mut certified = certified.among(prepared.manifest.founders.iter().map(|founder| founder.key).collect());
    let mut members: Vec<_> = setups.iter().map(|setup| method.member(setup.clone()).unwrap()).collect();
    for _ in 0..prepared.scenario.rounds {
        let train = |(i, member): (usize, &mut Box<dyn Member>)| {
            member.install(&certified.floats_of(i).unwrap()).unwrap();
            member.train(&AtomicBool::new(false)).unwrap()
        };
        let updates: Vec<LocalUpdate> = members.iter_mut().enumerate().map(train).collect();
        certified.round(&updates).unwrap();
    }
    certified
}

/// Methods of which voters train something else with the flagship's head.
const DIRECTED: [&str; 3] = ["fedgh:head=etf", "fedgen:head=etf", "mocha:head=etf"];

#[tokio::test]
async fn every_method_certifies_in_a_swarm_what_a_single_process_computes() {
    for name in NAMES.into_iter().chain(DIRECTED) {
        let folder = tempfile::tempdir().unwrap();
        let scenario = Scenario { out: Some(folder.path().join("run")), ..scenario(name, 4, 3) };
        let results = run(&scenario, &Options::default(), &mut Silent).await.unwrap();
        assert!(results.rounds.iter().all(|round| round.inputs == 4), "{name}: full participation");
        let alone = alone(&Prepared::new(&scenario).unwrap());
        assert_eq!(results.summary.state_hash, alone.hash().to_string(), "{name}");
    }
}

/// Four members and a stranger.
struct Story {
    world: World,
    told: Told,
    manifest: Arc<Manifest>,
}

const MEMBERS: u16 = 4;
const STRANGER: u16 = 4;

impl Story {
    fn begin(method: &str) -> Self {
        let scenario = Scenario { virtual_time: None, ..scenario(method, MEMBERS + 1, 1_000) };
        let mut prepared = Prepared::new(&scenario).unwrap();
        let manifest = Arc::make_mut(&mut prepared.manifest);
        manifest.founders.pop();
        manifest.epoch_length = 2;
        let manifest = Arc::clone(&prepared.manifest);
        let options = WorldOptions {
            members: MEMBERS,
            strangers: 1,
            rounds: 1_000,
            epoch_length: 2,
            // Who was killed stays away until the test starts it again.
            faults: Faults { restart: 0.0, ..Faults::default() },
            timers: Waits {
                collect_ms: manifest.timers.collect_ms,
                round_ms: manifest.timers.round_ms,
                leader_ms: manifest.timers.leader_ms,
                resend_ms: manifest.timers.resend_ms,
            },
            ..WorldOptions::default()
        };
        let told = Told::default();
        let learner = |rules: &fedswarm_protocol::round::Rules, member: u16, _: u64| -> Box<dyn Work> {
            let (method, setup) = (Arc::clone(&prepared.method), prepared.setups[usize::from(member)].clone());
            let network = (Arc::clone(&manifest), rules.key);
            Box::new(Learner::new(usize::from(member), method, setup, network, None, Rc::clone(&told)))
        };
        let mut world = World::with(&options, prepared.secrets.clone(), &manifest, learner, false).unwrap();
        world.core.listening = true;
        Self { world, told, manifest }
    }

    /// Steps until `done` says what was waited for.
    fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut World) -> Option<T>) -> T {
        let until = self.world.core.now + 3_600_000_000;
        loop {
            if let Some(found) = done(&mut self.world) {
                return found;
            }
            assert!(self.world.core.now < until && self.world.step(), "{}: {what}", self.manifest.method);
            assert_eq!(self.world.core.monitor.broken(), None, "{}: {what}", self.manifest.method);
        }
    }

    fn rounds(&mut self, count: u64) {
        let goal = self.world.core.monitor.height() + count;
        self.until("rounds go on", |world| (world.core.monitor.height() >= goal).then_some(()));
    }

    fn wish(&mut self, node: usize, operation: Operation) {
        self.world.nodes[node].request = Some(operation);
        self.world.nodes[node].submit(&mut self.world.core);
    }

    /// How many vote.
    fn voters(&mut self, count: usize) {
        self.until("voters", |world| (world.core.keys.newest()?.voters() == count).then_some(()));
    }

    /// Kills the aggregator of the next round while it trains; the round is decided without it.
    fn kill_the_aggregator(&mut self) -> (usize, u64) {
        self.world.core.told.clear();
        let (leader, round) = self.until("its aggregator begins a round", |world| {
            let begun = |(node, _, event): &(usize, u64, Event)| match event {
                Event::RoundStarted { round, leader } if usize::from(*leader) == *node => Some((*node, *round)),
                _ => None,
            };
            world.core.told.iter().find_map(begun)
        });
        // Places of the founding committee are the members' numbers.
        self.world.nodes[leader].crash(Tail::Kept, &mut self.world.core);
        self.until("the round is decided without it", |world| (world.core.monitor.height() >= round).then_some(()));
        (leader, round)
    }
}

#[test]
fn every_method_survives_a_killed_aggregator_a_peer_that_leaves_and_one_that_joins_late() {
    for name in NAMES {
        let mut story = Story::begin(name);
        story.rounds(1);
        let (killed, round) = story.kill_the_aggregator();
        let survivor = (killed + 1) % usize::from(MEMBERS);
        let decided = story.until("its record", |world| {
            world.core.records[survivor].iter().find(|c| c.record.round == round).cloned()
        });
        assert!(decided.record.origin_view > 0, "{name}: another aggregator had to take over");
        assert_eq!((decided.record.kind, decided.record.inputs), (RecordKind::Normal, 3), "{name}");
        assert!(story.world.nodes[killed].start(&mut story.world.core));
        story.rounds(2);

        let join = invite(&mut story.world.core, 0, STRANGER, Role::Voter, 1_000).unwrap();
        story.wish(usize::from(STRANGER), join);
        story.voters(5);
        let committee = Arc::clone(story.world.core.keys.newest().unwrap());
        let gone = leave(&story.world.core.keys, &committee, 1).unwrap();
        story.wish(1, gone);
        story.voters(4);
        story.rounds(2);

        let newcomer = usize::from(STRANGER);
        let last = story.world.core.monitor.height();
        let record = story.until("the newcomer follows", |world| {
            world.core.records[newcomer].iter().find(|c| c.record.round >= last).cloned()
        });
        assert_eq!((record.record.kind, record.record.inputs), (RecordKind::Normal, 4), "{name}: all who are there");
        let told = story.told.borrow();
        let by = |node: usize| told.iter().filter(move |(place, _)| *place == node).map(|(_, event)| event);
        let trained = |node: usize| by(node).filter(|e| matches!(e, NodeEvent::Trained { .. })).count();
        assert!(trained(newcomer) >= 2, "{name}: the newcomer trained in {} rounds", trained(newcomer));
        assert!(trained(killed) >= 2, "{name}: the killed peer came back");
        let measured = by(newcomer).filter(|e| matches!(e, NodeEvent::Measured(m) if m.evaluation.loss.is_finite()));
        assert!(measured.count() >= 2, "{name}");
    }
}
