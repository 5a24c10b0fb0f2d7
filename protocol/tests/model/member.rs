//! One honest member: the shipped machine with what its driver keeps, and the driver's work folded into each step.

use std::collections::VecDeque;

use fedswarm_protocol::envelope::{Kind, Verified};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::round::{Effect, Input, State, Timestamp};

use crate::network::{Network, ROUND};

/// A member between two steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) index: u16,
    pub(crate) machine: State,
    /// Votes and proposals that it signed, and what they rest on, as it has them on disk: by slot.
    pub(crate) log: Vec<Verified>,
    /// The record that it holds final, once it does.
    pub(crate) committed: Option<Digest>,
    /// It has found fault with an honest member.
    pub(crate) blames_honest: bool,
    /// It has a proof that a Byzantine member said two things.
    pub(crate) caught: bool,
}

impl Member {
    /// A member that has started, with every update, and the receipts of these members after its own, in this order.
    pub(crate) fn with_receipts(network: &Network, index: u16, receipts: &[u16]) -> Self {
        let machine = network.machine(index);
        let mut member = Self { index, machine, log: Vec::new(), committed: None, blames_honest: false, caught: false };
        member.drive(network, Input::Start);
        member.drive(network, Input::Trained { round: ROUND, header: network.header(index) });
        member.hear_first_phases(network, receipts);
        member
    }

    /// A member that has every update and every receipt: where the exploration begins.
    pub(crate) fn ready(network: &Network, index: u16) -> Self {
        let all: Vec<u16> = network.voters().collect();
        Self::with_receipts(network, index, &all)
    }

    /// Ends and begins again with this vote log, and hears the updates and receipts from the others.
    pub(crate) fn restarted(&self, network: &Network, log: &[Verified]) -> Self {
        let machine = network.machine(self.index);
        // Proofs are on the disks of people, and come back from the others.
        let mut member = Self { machine, log: log.to_vec(), caught: false, ..self.clone() };
        let first = [network.update(self.index), network.receipt(self.index)];
        for message in first.iter().chain(log) {
            member.hear(network, message);
        }
        member.drive(network, Input::Start);
        let all: Vec<u16> = network.voters().collect();
        member.hear_first_phases(network, &all);
        member
    }

    fn hear_first_phases(&mut self, network: &Network, receipts: &[u16]) {
        let me = self.index;
        for author in network.voters().filter(|v| *v != me) {
            self.hear(network, &network.update(author));
        }
        for author in receipts.iter().filter(|v| **v != me) {
            self.hear(network, &network.receipt(*author));
        }
    }

    /// What comes of a final record, whatever the member's state: it says no more, and where its machine stands is forgotten.
    pub(crate) fn commits(&mut self, network: &Network, record: Digest) {
        self.machine = network.machine(self.index);
        self.committed = Some(record);
        self.caught = false;
    }

    /// Hands a message to the machine.
    pub(crate) fn hear(&mut self, network: &Network, message: &Verified) {
        self.drive(network, Input::Message(message.clone()));
    }

    /// Takes one step with all that follows from it inside the member: merges and fetches are answered, and its own messages
    /// come back, at once.
    pub(crate) fn drive(&mut self, network: &Network, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.handle(network, input) {
                match effect {
                    Effect::Sign { slot, message } if slot.round == ROUND && slot.view < network.views => {
                        let signed = network.sign(self.index, &slot, &message);
                        self.put(network, &signed);
                        inputs.push_back(Input::Message(signed));
                    }
                    Effect::Keep { messages, .. } => {
                        // Whose votes made a certificate does not matter: one stands for all.
                        for message in messages.iter().filter(|m| m.slot().view < network.views) {
                            let one = match message.message() {
                                Message::Certificate(c) => network.fabricated(c.kind, c.view, c.record),
                                _ => message.clone(),
                            };
                            self.put(network, &one);
                        }
                    }
                    Effect::Merge { inputs_root, .. } => {
                        let merged = Some(Merged::model(hash("merged", inputs_root.as_bytes())));
                        inputs.push_back(Input::Merged { inputs_root, merged });
                    }
                    Effect::Fetch { author, statement, .. } => {
                        inputs.push_back(Input::Payload { author, statement, valid: true });
                    }
                    Effect::Commit { committed, .. } => self.committed = Some(committed.certificate.record),
                    Effect::Evidence(proof) => self.caught |= network.is_byzantine(&proof.author),
                    Effect::Penalise { member, .. } => {
                        self.blames_honest |= !network.is_byzantine(&member);
                    }
                    // Timers may fire at any time, so it does not matter when they are set. What is said again, or in
                    // answer to somebody, says nothing that the network does not hold already: every vote and proposal
                    // stays deliverable for ever, and a certificate is wherever its votes are.
                    Effect::Sign { .. }
                    | Effect::SetTimer { .. }
                    | Effect::Say { .. }
                    | Effect::Forward { .. }
                    | Effect::Train { .. }
                    | Effect::AskChain
                    | Effect::FetchArtefact { .. }
                    | Effect::CancelTraining { .. }
                    | Effect::Emit { .. }
                    | Effect::Finished => {}
                }
            }
        }
    }

    /// What the machine does with an input. Which two statements prove that somebody lies makes a difference to nothing but a
    /// hash: if the input completes a proof, the machine holds the one that stands for all of them.
    fn handle(&mut self, network: &Network, input: Input) -> Vec<Effect> {
        let suspect = match &input {
            Input::Message(m) if m.slot().kind.is_vote() || m.slot().kind == Kind::Proposal => Some(m.author()),
            _ => None,
        };
        let Some(liar) = suspect.filter(|author| network.byzantine.contains(author) && !self.caught) else {
            return self.machine.handle(input, Timestamp(0));
        };
        let before = self.machine.clone();
        let effects = self.machine.handle(input.clone(), Timestamp(0));
        if !effects.iter().any(|effect| matches!(effect, Effect::Evidence(_))) {
            return effects;
        }
        self.machine = before;
        let mut all = self.machine.handle(Input::Message(network.evidence(liar)), Timestamp(0));
        all.append(&mut self.machine.handle(input, Timestamp(0)));
        all
    }

    /// Puts a statement on disk, unless it is there or belongs to the phases that are not explored.
    pub(crate) fn put(&mut self, network: &Network, signed: &Verified) {
        match signed.slot().kind {
            Kind::Update if signed.author() != self.index => {}
            Kind::Update => assert_eq!(*signed, network.update(self.index), "a second update"),
            Kind::Receipt => assert_eq!(*signed, network.receipt(self.index), "a second receipt"),
            _ if self.log.contains(signed) => {}
            _ => {
                self.log.push(signed.clone());
                self.log.sort_by_key(|m| (m.slot().view, m.slot().kind, m.statement()));
            }
        }
    }
}
