//! Machines under test, their messages in flight, and what happens to them.

use std::collections::VecDeque;

use fedswarm_protocol::envelope::{EnvelopeError, NOBODY, Slot, Verifier, seal};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::round::{Effect, Held, Input, Recipient, State, Timer, Timestamp};

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
    /// Knows the latest epoch that a machine has reached, and the one before.
    pub(crate) verifier: Verifier,
    pub(crate) states: Vec<State>,
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
        let verifier = world.verifier.clone();
        Self { world, verifier, states, queue, timers, overheard, committed: Vec::new(), now: 0 }
    }

    pub(crate) fn send(&mut self, to: usize, input: Input) {
        if self.queue.len() < IN_FLIGHT {
            self.queue.push_back((to, input));
        }
    }

    fn broadcast(&mut self, from: usize, to: Recipient, bytes: &[u8]) {
        let message = match self.verifier.open(bytes) {
            Ok(message) => message,
            // It has fallen behind by more than an epoch.
            Err(EnvelopeError::Epoch(_)) => return,
            Err(error) => panic!("a machine said what does not open: {error}"),
        };
        if self.overheard.len() == OVERHEARD {
            self.overheard.pop_front();
        }
        self.overheard.push_back((*message.slot(), message.message().clone()));
        for i in 0..self.states.len() {
            let meant = match to {
                Recipient::All | Recipient::Contributors => i != from,
                Recipient::One(place) => self.states[from].committee().place(&self.key(i)) == Some(place),
            };
            if meant {
                self.send(i, Input::Message(message.clone()));
            }
        }
    }

    /// One step of one machine, and what must hold after it.
    pub(crate) fn step(&mut self, i: usize, input: Input) {
        self.now += 1;
        let effects = self.states[i].handle(input, Timestamp(self.now));
        assert!(effects.len() <= EFFECTS, "{} effects of one step", effects.len());
        let (held, most) = (self.states[i].held(), self.most(i));
        assert!(held.fits(&most), "holds {held:?}, at most {most:?}");
        for effect in effects {
            self.carry_out(i, effect);
        }
    }

    fn key(&self, i: usize) -> PublicKey {
        self.world.secrets[i].public()
    }

    /// The bytes of what a machine says, in its place.
    fn sealed(&self, i: usize, slot: &Slot, message: &Message) -> Vec<u8> {
        let place = self.states[i].committee().place(&self.key(i)).unwrap_or(NOBODY);
        seal(&self.world.secrets[i], &self.world.network(), slot, place, message).unwrap()
    }

    /// What a machine may hold where it stands.
    fn most(&self, i: usize) -> Held {
        let committee = self.states[i].committee();
        Held::most(committee.voters(), committee.members.len(), self.states[i].position().1)
    }

    fn carry_out(&mut self, i: usize, effect: Effect) {
        let author = i as u16;
        match effect {
            Effect::Train { round, base, .. } => {
                let header = fedswarm_protocol::message::UpdateHeader { base, ..self.world.header(author) };
                self.send(i, Input::Trained { round, header });
            }
            Effect::Fetch { author, statement, .. } => self.send(i, Input::Payload { author, statement, valid: true }),
            Effect::Merge { inputs_root, .. } => {
                let model_root = Some(hash("model", &inputs_root.0));
                self.send(i, Input::Merged { inputs_root, model_root });
            }
            Effect::Sign { slot, message } => {
                let bytes = self.sealed(i, &slot, &message);
                // Its own statement comes back first of all, as from the vote log.
                if let Ok(message) = self.verifier.open(&bytes) {
                    self.queue.push_front((i, Input::Message(message)));
                }
                self.broadcast(i, Recipient::All, &bytes);
            }
            Effect::Say { to, slot, message } => {
                let bytes = self.sealed(i, &slot, &message);
                self.broadcast(i, to, &bytes);
            }
            Effect::Forward { to, message } => self.broadcast(i, to, message.bytes()),
            Effect::SetTimer { timer, .. } => {
                if self.timers.len() == IN_FLIGHT {
                    self.timers.pop_front();
                }
                self.timers.push_back((i, timer));
            }
            Effect::Commit { committed, next } => {
                if let Some(next) = next.filter(|next| next.epoch > self.verifier.committee().epoch) {
                    self.verifier.advance(next);
                }
                self.committed.push((committed.record.round, committed.certificate.record));
            }
            Effect::Evidence(_)
            | Effect::AskChain
            | Effect::CancelTraining { .. }
            | Effect::Penalise { .. }
            | Effect::Emit { .. }
            | Effect::Finished => {}
        }
    }
}
