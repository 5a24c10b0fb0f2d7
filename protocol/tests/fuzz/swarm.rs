//! Machines under test, their messages in flight, and what happens to them.

use std::collections::VecDeque;

use fedswarm_protocol::envelope::{NOBODY, Slot, Verifier, seal};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::prototypes::ListName;
use fedswarm_protocol::round::{ArtefactVerdict, Effect, Held, Input, Recipient, State, Timer, Timestamp};

use crate::common::world::World;

/// Inputs on their way; more are dropped, as a network would.
const IN_FLIGHT: usize = 256;

/// Messages kept for forging.
const OVERHEARD: usize = 48;

/// Effects of one step. A member that answers another sends at most what it holds, and a commit replays what it kept.
const EFFECTS: usize = 512;

/// Four machines that hear each other, and whatever is put in between.
pub(crate) struct Swarm<'a> {
    pub(crate) world: &'a World,
    pub(crate) states: Vec<State>,
    /// Each machine's own: their epochs differ.
    pub(crate) verifiers: Vec<Verifier>,
    pub(crate) queue: VecDeque<(usize, Input)>,
    pub(crate) timers: VecDeque<(usize, Timer)>,
    pub(crate) overheard: VecDeque<(Slot, Message)>,
    pub(crate) committed: Vec<(u64, Digest)>,
    now: u64,
}

impl<'a> Swarm<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        let states: Vec<_> = (0..world.voters()).map(|i| world.state(i)).collect();
        let queue = (0..states.len()).map(|i| (i, Input::Start)).collect();
        let (timers, overheard) = (VecDeque::new(), VecDeque::new());
        let verifiers = vec![world.verifier.clone(); states.len()];
        Self { world, states, verifiers, queue, timers, overheard, committed: Vec::new(), now: 0 }
    }

    pub(crate) fn send(&mut self, to: usize, input: Input) {
        if self.queue.len() < IN_FLIGHT {
            self.queue.push_back((to, input));
        }
    }

    fn broadcast(&mut self, from: usize, to: Recipient, bytes: &[u8]) {
        let message = self.verifiers[from].open(bytes).expect("a machine says only what opens");
        if self.overheard.len() == OVERHEARD {
            self.overheard.pop_front();
        }
        self.overheard.push_back((*message.slot(), message.message().clone()));
        for i in 0..self.states.len() {
            let meant = match to {
                Recipient::All => i != from,
                Recipient::Contributors => false,
                Recipient::One(one) => self.states[from].committee().key(one) == Some(&self.world.secrets[i].public()),
            };
            // Who is in another epoch cannot read it, and will have to catch up.
            if let (true, Ok(message)) = (meant, self.verifiers[i].open(bytes)) {
                self.send(i, Input::Message(message));
            }
        }
    }

    /// One step of one machine, and what must hold after it.
    pub(crate) fn step(&mut self, i: usize, input: Input) {
        self.now += 1;
        let effects = self.states[i].handle(input, Timestamp(self.now));
        assert!(effects.len() <= EFFECTS, "{} effects of one step", effects.len());
        let (held, most) = (self.states[i].held(), Held::most(self.states[i].committee(), self.states[i].position().1));
        assert!(held.fits(&most), "holds {held:?}, at most {most:?}");
        for effect in effects {
            self.carry_out(i, effect);
        }
    }

    fn carry_out(&mut self, i: usize, effect: Effect) {
        let author = i as u16;
        match effect {
            Effect::Train { round, base, .. } => {
                let header = fedswarm_protocol::message::UpdateHeader { base, ..self.world.header(author) };
                self.send(i, Input::Trained { round, header });
            }
            Effect::Fetch { author, statement, .. } => self.send(i, Input::Payload { author, statement, valid: true }),
            Effect::FetchArtefact { reference, .. } => {
                self.send(i, Input::Artefact { reference, verdict: ArtefactVerdict::Valid });
            }
            Effect::Merge { inputs_root, .. } => {
                let prototypes = ListName { root: hash("prototypes", &inputs_root.0), count: 2 };
                let merged = Some(Merged { prototypes, ..Merged::model(hash("model", &inputs_root.0)) });
                self.send(i, Input::Merged { inputs_root, merged });
            }
            Effect::Sign { slot, message } => {
                let bytes = self.seal(i, &slot, &message);
                // Its own statement comes back first of all, as from the vote log.
                self.queue.push_front((i, Input::Message(self.verifiers[i].open(&bytes).unwrap())));
                self.broadcast(i, Recipient::All, &bytes);
            }
            Effect::Say { to, slot, message } => {
                let bytes = self.seal(i, &slot, &message);
                self.broadcast(i, to, &bytes);
            }
            Effect::Forward { to, message } => self.broadcast(i, to, message.bytes()),
            Effect::SetTimer { timer, .. } => {
                if self.timers.len() == IN_FLIGHT {
                    self.timers.pop_front();
                }
                self.timers.push_back((i, timer));
            }
            Effect::Commit { committed, next, .. } => {
                self.committed.push((committed.record.round, committed.certificate.record));
                if let Some(next) = next {
                    self.verifiers[i].advance(next);
                }
                // Two of them host.
                if i < 2 && committed.record.prototypes > 0 {
                    let (job_round, artefact) = (committed.record.round, self.world.artefact(&committed.record));
                    self.send(i, Input::Generated { job_round, artefact });
                }
            }
            Effect::Evidence(proof) => proof.check(&self.world.network()).expect("a proof holds"),
            Effect::Keep { .. }
            | Effect::CancelTraining { .. }
            | Effect::Penalise { .. }
            | Effect::Emit { .. }
            | Effect::AskChain
            | Effect::Finished => {}
        }
    }

    fn seal(&self, i: usize, slot: &Slot, message: &Message) -> Vec<u8> {
        let place = self.states[i].me().unwrap_or(NOBODY);
        seal(&self.world.secrets[i], &self.world.network(), slot, place, message).unwrap()
    }
}
