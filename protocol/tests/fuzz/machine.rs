//! The round machine under arbitrary sequences of inputs: valid messages in any order, lost and doubled, timers at any
//! time, wrong reports, and messages forged with the keys of a liar, or of everybody.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fedswarm_protocol::certificate::Certificate;
use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::membership::Operation;
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::record::list_root;
use fedswarm_protocol::round::{ArtefactVerdict, Input, Timer};

use crate::common::values::{Draw, KINDS};
use crate::common::world::World;
use crate::harness::iterations;
use crate::swarm::Swarm;

/// Tapes in a plain `cargo test`: each is up to a few hundred steps with signatures.
const TAPES: u64 = 250;

/// Longest tape; one byte or two a choice.
const TAPE_BYTES: usize = 400;

static WORLD: LazyLock<World> = LazyLock::new(|| World::new(4));

/// Choices, read from bytes; a tape that has run out chooses nothing more.
struct Tape<'a>(std::slice::Iter<'a, u8>);

impl Tape<'_> {
    fn below(&mut self, bound: usize) -> Option<usize> {
        self.0.next().map(|byte| usize::from(*byte) % bound.max(1))
    }

    fn draw(&mut self) -> Option<Draw> {
        let seed = u64::from(*self.0.next()?) << 8 | u64::from(*self.0.next()?);
        Some(Draw::new("forge", seed))
    }
}

/// A round at, near or far from where a machine stands.
fn near(draw: &mut Draw, here: u64) -> u64 {
    match draw.below(8) {
        0 => here.saturating_sub(1),
        1 => here + 1,
        2 => draw.u64(),
        _ => here,
    }
}

fn near_view(draw: &mut Draw, here: u32) -> u32 {
    match draw.below(8) {
        0 => here.saturating_sub(1),
        1 => here.saturating_add(1),
        2 => here.saturating_add(63 + draw.below(3) as u32),
        3 => draw.u32(),
        _ => here,
    }
}

fn timer(draw: &mut Draw, round: u64, view: u32) -> Timer {
    let (round, view) = (near(draw, round), near_view(draw, view));
    match draw.below(5) {
        0 => Timer::Collect { round },
        1 => Timer::Round { round },
        2 => Timer::View { round, view },
        3 => Timer::Repropose { round, view },
        _ => Timer::Resend { round },
    }
}

/// A report of a job that nobody asked for, or with another outcome.
fn report(draw: &mut Draw, swarm: &Swarm<'_>, round: u64) -> Input {
    let pick = |draw: &mut Draw| (draw.below(swarm.overheard.len().max(1)), draw.below(6) as u16);
    let (at, member) = pick(draw);
    let known = match swarm.overheard.get(at) {
        Some((_, Message::Receipt(receipt))) => receipt.items.first().copied(),
        Some((_, Message::Proposal(p))) => Some((member, list_root("inputs", &p.body.inputs))),
        _ => None,
    };
    let (author, digest) = known.unwrap_or((member, draw.digest()));
    match draw.below(6) {
        4 => {
            let listed = swarm.overheard.iter().find_map(|(_, message)| match message {
                Message::Receipt(receipt) => receipt.artefacts.first().copied(),
                _ => None,
            });
            let reference = listed.unwrap_or_else(|| draw.artefact_ref());
            let verdicts = [ArtefactVerdict::Valid, ArtefactVerdict::Invalid, ArtefactVerdict::Doubtful];
            Input::Artefact { reference, verdict: draw.one_of(&verdicts) }
        }
        5 => Input::Generated { job_round: near(draw, round), artefact: draw.artefact() },
        0 => Input::Payload { author, statement: digest, valid: draw.coin() },
        1 => Input::Merged { inputs_root: digest, merged: draw.coin().then(|| Merged::model(draw.digest())) },
        2 => {
            let key = if draw.coin() {
                swarm.world.secrets[draw.below(swarm.world.secrets.len())].public()
            } else {
                draw.key()
            };
            if draw.coin() { Input::Disconnected { key } } else { Input::Connected { key } }
        }
        _ => Input::Trained { round: near(draw, round), header: draw.header() },
    }
}

/// A message with one thing changed, or drawn anew, in a slot at, near or far from where machines are.
fn forge(draw: &mut Draw, swarm: &Swarm<'_>, liar: Option<u16>) -> Option<Vec<u8>> {
    let world = swarm.world;
    let (round, view) = swarm.states[draw.below(swarm.states.len())].position();
    let (mut slot, mut message) = match swarm.overheard.get(draw.below(swarm.overheard.len().max(1))) {
        Some(heard) if draw.below(4) != 0 => heard.clone(),
        _ => {
            let kind = draw.one_of(&KINDS);
            (Slot { kind, epoch: 0, round, view: 0 }, draw.message(kind))
        }
    };
    if draw.coin() {
        slot.round = near(draw, round);
        slot.epoch =
            if draw.coin() { (slot.round / u64::from(world.manifest.epoch_length)) as u32 } else { draw.u32() };
    }
    if slot.kind.has_view() && draw.coin() {
        slot.view = near_view(draw, view);
    }
    let everybody = liar.is_none();
    match &mut message {
        Message::Update(header) => match draw.below(3) {
            0 => header.samples = draw.u32(),
            1 => header.base = draw.digest(),
            _ => header.payload_root = draw.digest(),
        },
        Message::Receipt(receipt) => {
            let keep = draw.below(receipt.items.len() + 1);
            receipt.items.truncate(keep);
            match draw.below(4) {
                0 => receipt.artefacts.clear(),
                1 => receipt.artefacts = vec![world.artefact_ref(slot.round.saturating_sub(1))],
                _ => {}
            }
        }
        Message::Artefact(artefact) => match draw.below(5) {
            0 => artefact.protos_root = draw.digest(),
            1 => artefact.blob_len = draw.u32(),
            2 => artefact.previous = draw.digest(),
            3 => artefact.blob_root = draw.digest(),
            _ => artefact.generator = draw.digest(),
        },
        Message::Proposal(proposal) => match draw.below(5) {
            0 => proposal.record.model_root = draw.digest(),
            1 => proposal.notarized_in = Some(near_view(draw, slot.view)),
            2 => proposal.body.inputs.clear(),
            3 => proposal.record.skipped_leaders = draw.u64(),
            _ => {}
        },
        Message::Vote(record) if slot.kind != Kind::Nullify => *record = draw.digest(),
        Message::Vote(_) | Message::Complaint(_) => {}
        Message::Status(status) => *status = draw.status(),
        Message::Certificate(certificate) if everybody => *certificate = quorum(draw, world, &slot, certificate),
        Message::Committed(committed) if everybody => {
            let record = &mut committed.record;
            (record.round, record.epoch) = (slot.round, slot.epoch);
            record.network = world.network();
            if draw.coin() {
                record.model_root = draw.digest();
            }
            committed.body.inputs.retain(|item| item.0 < world.voters());
            committed.body.inputs.sort_unstable();
            committed.body.inputs.dedup_by_key(|item| item.0);
            committed.body.receipts.clear();
            record.inputs_root = list_root("inputs", &committed.body.inputs);
            record.receipts_root = list_root("receipts", &committed.body.receipts);
            let hash = record.hash().ok()?;
            committed.certificate = world.certificate(Kind::Finalize, slot.epoch, slot.round, 0, hash);
        }
        Message::Operation(operation) => {
            (slot.epoch, slot.round) = (0, 0);
            let evict = Operation::Evict(Box::new(world.evidence().proof));
            // A liar has no vote but its own.
            let voter = liar.unwrap_or_else(|| draw.below(world.secrets.len()) as u16);
            *operation = match draw.below(4) {
                0 => world.join(),
                1 => world.approved_join(&[voter]),
                2 => world.evict_vote(&[voter]),
                _ => evict,
            };
        }
        Message::Certificate(_) | Message::Committed(_) => {}
    }
    let author = liar.unwrap_or_else(|| draw.below(world.secrets.len()) as u16);
    Some(world.seal(&slot, author, &message))
}

/// Votes of a quorum for what the slot says.
fn quorum(draw: &mut Draw, world: &World, slot: &Slot, heard: &Certificate) -> Certificate {
    let kind = draw.one_of(&[Kind::Notarize, Kind::Nullify, Kind::Finalize]);
    let record = match kind {
        Kind::Nullify => Digest::ZERO,
        _ if heard.record == Digest::ZERO || draw.coin() => hash("forged", &[draw.u8()]),
        _ => heard.record,
    };
    world.certificate(kind, slot.epoch, slot.round, slot.view, record)
}

/// Plays a tape. Its first byte says who lies: nobody's quorum of keys can then make two records final in one round.
fn play(bytes: &[u8]) -> usize {
    let world = &*WORLD;
    let mut swarm = Swarm::new(world);
    let mut tape = Tape(bytes.iter());
    let liar = (tape.below(2) == Some(0)).then_some(0u16);
    while choice(&mut tape, &mut swarm, liar).is_some() {}
    let mut by_round: BTreeMap<u64, Digest> = BTreeMap::new();
    for (round, record) in &swarm.committed {
        let first = *by_round.entry(*round).or_insert(*record);
        assert!(liar.is_none() || first == *record, "two final records in round {round} with one liar of four");
    }
    by_round.len()
}

fn choice(tape: &mut Tape<'_>, swarm: &mut Swarm<'_>, liar: Option<u16>) -> Option<()> {
    let action = tape.below(16)?;
    let machine = tape.below(swarm.states.len())?;
    let (round, view) = swarm.states[machine].position();
    match action {
        0..=6 => {
            for _ in 0..1 + tape.below(32)? {
                let Some((to, input)) = swarm.queue.pop_front() else { break };
                swarm.step(to, input);
            }
        }
        7 | 8 => {
            let at = tape.below(swarm.queue.len())?;
            if let Some((to, input)) = swarm.queue.remove(at) {
                swarm.step(to, input);
            }
        }
        9 => {
            let at = tape.below(swarm.queue.len())?;
            swarm.queue.remove(at);
        }
        10 => {
            let at = tape.below(swarm.queue.len())?;
            if let Some((_, Input::Message(message))) = swarm.queue.get(at).cloned() {
                swarm.send(machine, Input::Message(message));
            }
        }
        11 => {
            if let Some((to, timer)) = swarm.timers.pop_front() {
                swarm.step(to, Input::Timer(timer));
            }
        }
        12 => {
            let timer = timer(&mut tape.draw()?, round, view);
            swarm.step(machine, Input::Timer(timer));
        }
        13 => {
            let input = report(&mut tape.draw()?, swarm, round);
            swarm.step(machine, input);
        }
        _ => {
            let bytes = forge(&mut tape.draw()?, swarm, liar)?;
            if let Ok(message) = swarm.verifiers[machine].open(&bytes) {
                swarm.step(machine, Input::Message(message));
            }
        }
    }
    Some(())
}

#[test]
fn any_sequence_of_inputs() {
    bolero::check!().with_iterations(0).for_each(|tape: &[u8]| {
        play(tape);
    });
    let mut rounds = 0;
    for seed in 0..iterations(TAPES) {
        let mut draw = Draw::new("tape", seed);
        let len = draw.below(TAPE_BYTES);
        let tape = draw.bytes(len);
        let outcome = std::panic::catch_unwind(|| play(&tape));
        rounds += outcome.unwrap_or_else(|_| panic!("tape {seed} fails: {}", hex(&tape)));
    }
    assert!(rounds > 0, "no tape got as far as a final record");
}

/// A tape as text, to be kept under `__fuzz__/machine__any_sequence_of_inputs/crashes`.
fn hex(tape: &[u8]) -> String {
    tape.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_undisturbed_tape_finishes_rounds() {
    let steps = [0, 0, 31].repeat(120);
    assert!(play(&[[0].as_slice(), &steps].concat()) >= 3, "only {} rounds", play(&steps));
}
