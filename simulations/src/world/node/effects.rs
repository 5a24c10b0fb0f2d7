//! Carrying out effects: the one place that knows them all.

use fedswarm_protocol::envelope::{Kind, NOBODY, Slot};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::round::{Effect, Input, MergeInput, Recipient};

use super::{Node, Training};
use crate::world::adversaries::Voice;
use crate::world::core::Core;
use crate::world::disk::Write;
use crate::world::event::What;
use crate::world::fetch::{Fetch, MergeJob, Purpose};
use crate::world::packet::Packet;
use crate::world::work::{Base, Use};

impl Node {
    pub(super) fn carry_out(&mut self, effect: Effect, core: &mut Core) {
        match effect {
            Effect::Train { round, base, model_root, holders } => self.train(round, base, model_root, &holders, core),
            Effect::CancelTraining { .. } => self.training = None,
            Effect::Fetch { author, statement, header, holders } => {
                let holders = self.members(&holders, core);
                if let Some(fetch) = self.payloads.get(&(author, statement)).and_then(|n| self.fetches.get_mut(n)) {
                    fetch.holders = holders;
                    return;
                }
                let bytes = core.options.work.payload_bytes;
                let key = (author, statement);
                let fetch = Fetch::new(header.wire_root, bytes, holders, Purpose::Payload(key, Box::new(header)));
                let number = self.start_fetch(fetch, core);
                self.payloads.insert(key, number);
            }
            Effect::FetchArtefact { reference, holders, .. } => self.fetch_artefact(reference, &holders, core),
            Effect::Merge { inputs_root, base, inputs, .. } => self.merge(inputs_root, base, inputs, core),
            Effect::Keep { round, messages } => {
                self.keep.extend(messages.iter().map(|message| (round, Packet::of(message, &core.keys))));
            }
            Effect::Sign { slot, message } => {
                let Some(packet) = self.sealed(&slot, &message, core) else { return };
                let checkpoint = (slot.kind == Kind::Update).then(|| self.checkpoint.take()).flatten();
                let kept = std::mem::take(&mut self.keep);
                self.write(Write::Statement { round: slot.round, packet, checkpoint, kept }, core);
            }
            Effect::Say { to, slot, message } => {
                let Some(packet) = self.sealed(&slot, &message, core) else { return };
                self.utter(to, &packet, slot.kind == Kind::Operation, core);
            }
            Effect::Forward { to, message } => {
                let packet = Packet::of(&message, &core.keys);
                self.utter(to, &packet, false, core);
            }
            Effect::SetTimer { timer, after_ms } => {
                self.timers.retain(|_, known| known.round() >= timer.round());
                let number = self.number();
                self.timers.insert(number, timer);
                let micros = i64::try_from(after_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
                // A fast clock says that the time is over too early.
                let drifted = micros.saturating_sub(micros / 1_000_000 * self.drift_ppm);
                core.after(drifted.unsigned_abs(), self.id, self.life, What::Timer(number));
            }
            Effect::Commit { committed, next, .. } => {
                if let Some(next) = &next {
                    core.learn(next);
                }
                self.write(Write::Record(committed, next), core);
            }
            Effect::Penalise { member, fault } => {
                if let Some(member) = core.keys.holder(&member) {
                    core.monitor.penalised(self.id, member, fault, core.now);
                }
            }
            Effect::Evidence(proof) => {
                let member = core.keys.holder(&proof.author);
                core.monitor.proved(self.id, member, core.now);
            }
            Effect::AskChain => self.ask_someone(core),
            Effect::Emit { at, event } => {
                core.monitor.emitted(self.id, &event, core.now);
                if core.listening {
                    core.told.push((self.id, at.0, event));
                }
            }
            Effect::Finished => self.finish(core),
        }
    }

    fn sealed(&self, slot: &Slot, message: &Message, core: &Core) -> Option<Packet> {
        let bytes = core.keys.seal(self.me, self.state.me().unwrap_or(NOBODY), slot, message)?;
        if core.keys.each {
            return Some(Packet::of_bytes(bytes));
        }
        Some(Packet::of(&core.keys.open(&bytes)?, &core.keys))
    }

    /// The write under way is durable: only now is it sent.
    pub(super) fn written(&mut self, core: &mut Core) {
        match self.disk.finish() {
            Some(Write::Statement { packet, .. }) => {
                let Some(own) = packet.open(&core.keys) else { return };
                core.monitor.said(self.me, &own, core.now);
                self.inbox.push_back(Input::Message(own));
                self.utter(Recipient::All, &packet, true, core);
            }
            Some(Write::Record(committed, next)) => {
                core.monitor.committed(self.id, &committed, core.now);
                core.log.note_digest(&committed.certificate.record);
                if core.listening {
                    core.records[self.id].push(committed.as_ref().clone());
                }
                self.fetches.retain(|_, fetch| !matches!(fetch.purpose, Purpose::Payload(..)));
                self.take_in_force(core);
                self.host(&committed, core);
                self.payloads.clear();
                core.blobs[self.id].prune(committed.record.round);
                if next.is_some() {
                    self.look_again(core);
                }
                self.say_ballots(None, core);
            }
            None => {}
        }
    }

    fn votes(&self) -> bool {
        self.state.me().is_some_and(|me| usize::from(me) < self.state.committee().voters())
    }

    /// Says something, unless its adversary will not have it. What is published is passed on by others, as gossip is; what is
    /// repeated goes to those whom the node is connected to.
    fn utter(&mut self, to: Recipient, packet: &Packet, published: bool, core: &mut Core) {
        if let Some(mut adversary) = self.adversary.take() {
            let honest = adversary.says(&mut Voice::new(core, self), to, packet);
            self.adversary = Some(adversary);
            if !honest {
                core.tally.lies += 1;
                return;
            }
        }
        let epoch = self.state.committee().epoch;
        match to {
            Recipient::All if published || self.votes() => core.send_to_voters(self.id, epoch, packet),
            Recipient::All => core.send_to_kept(self.id, epoch, packet),
            Recipient::Contributors => core.send_to_contributors(self.id, epoch, packet),
            Recipient::One(place) => {
                if let Some(member) = core.keys.member(epoch, place) {
                    core.send(self.id, member, packet);
                }
            }
        }
    }

    fn train(&mut self, round: u64, base: Digest, model: Digest, holders: &[PublicKey], core: &mut Core) {
        let number = self.number();
        self.training = Some(Training { number, round, base, model });
        if core.blobs[self.id].holds(&model) {
            return self.begin_training(number, core);
        }
        // Those who certified it first, then everybody else.
        let mut holders: Vec<u16> = holders.iter().filter_map(|key| core.keys.holder(key)).collect();
        holders.extend(self.everybody(core).into_iter().filter(|m| !holders.contains(m)).collect::<Vec<_>>());
        let bytes = core.options.work.payload_bytes;
        self.start_fetch(Fetch::new(model, bytes, holders, Purpose::Train(number)), core);
    }

    /// Whoever should hold a certified model: all other members, those that only contribute too.
    pub(super) fn everybody(&self, core: &Core) -> Vec<u16> {
        let members = core.keys.members(self.state.committee().epoch).iter();
        members.flatten().copied().filter(|member| *member != self.me).collect()
    }

    /// The members at these places of the present committee.
    pub(super) fn members(&self, places: &[u16], core: &Core) -> Vec<u16> {
        let epoch = self.state.committee().epoch;
        places.iter().filter_map(|place| core.keys.member(epoch, *place)).collect()
    }

    pub(super) fn begin_training(&mut self, number: u64, core: &mut Core) {
        let Some(training) = self.training.filter(|t| t.number == number) else { return };
        if let Some(part) = self.lacks(Use::Train, &training.model, core) {
            let (bytes, holders) = (core.options.work.payload_bytes, self.everybody(core));
            self.start_fetch(Fetch::new(part, bytes, holders, Purpose::Train(number)), core);
            return;
        }
        self.keep_state(&training.model, training.round.saturating_sub(1), core);
        let range = core.options.work.train_us;
        let delay = core.draw(range).saturating_mul(self.slowdown);
        core.after(delay, self.id, self.life, What::Trained(number));
    }

    /// A blob that a certified state names and that is needed for this and not here.
    fn lacks(&self, what: Use, root: &Digest, core: &Core) -> Option<Digest> {
        let find = |root: &Digest| core.blobs[self.id].get(root).cloned();
        let blob = find(root)?;
        self.work.lacks(what, &Base { root, blob: &blob, find: &find })
    }

    /// Keeps a state that is used again, and what it names.
    fn keep_state(&self, root: &Digest, round: u64, core: &mut Core) {
        let find = |root: &Digest| core.blobs[self.id].get(root).cloned();
        let parts = find(root).map(|blob| self.work.kept_with(&Base { root, blob: &blob, find: &find }));
        for root in parts.iter().flatten().chain([root]) {
            core.blobs[self.id].keep(root, round);
        }
    }

    pub(super) fn trained(&mut self, number: u64, core: &mut Core) {
        let Some(training) = self.training.filter(|t| t.number == number) else { return };
        if !core.blobs[self.id].holds(&training.model) {
            self.training = None;
            return;
        }
        // A model that was read wrong is read again.
        let Some(model) = core.read(self.id, &training.model) else { return self.begin_training(number, core) };
        self.training = None;
        let find = |root: &Digest| core.blobs[self.id].get(root).cloned();
        let base = Base { root: &training.model, blob: &model, find: &find };
        let Some((header, payload)) = self.work.train(training.round, training.base, &base) else { return };
        self.checkpoint = self.work.checkpoint();
        core.blobs[self.id].insert(header.wire_root, training.round, payload);
        self.inbox.push_back(Input::Trained { round: training.round, header });
    }

    fn merge(&mut self, inputs_root: Digest, base: Digest, inputs: Vec<MergeInput>, core: &mut Core) {
        let job = MergeJob { inputs_root, base, inputs };
        if core.blobs[self.id].holds(&base) {
            return self.begin_merge(job, core);
        }
        let (bytes, holders) = (core.options.work.payload_bytes, self.everybody(core));
        self.start_fetch(Fetch::new(base, bytes, holders, Purpose::Merge(Box::new(job))), core);
    }

    pub(super) fn begin_merge(&mut self, job: MergeJob, core: &mut Core) {
        if let Some(part) = self.lacks(Use::Merge, &job.base, core) {
            let (bytes, holders) = (core.options.work.payload_bytes, self.everybody(core));
            self.start_fetch(Fetch::new(part, bytes, holders, Purpose::Merge(Box::new(job))), core);
            return;
        }
        let number = self.number();
        self.merges.insert(number, job);
        let range = core.options.work.merge_us;
        let delay = core.draw(range);
        core.after(delay, self.id, self.life, What::Merged(number));
    }

    pub(super) fn merged(&mut self, number: u64, core: &mut Core) {
        let Some(job) = self.merges.remove(&number) else { return };
        let holds = |root| core.blobs[self.id].holds(root);
        if !holds(&job.base) || !job.inputs.iter().all(|input| holds(&input.wire_root)) {
            return core.monitor.lost_blob(self.id, core.now);
        }
        let read = |input: &MergeInput| core.read(self.id, &input.wire_root).map(|blob| (input.clone(), blob));
        let inputs: Option<Vec<_>> = job.inputs.iter().map(read).collect();
        let (Some(inputs), Some(base)) = (inputs, core.read(self.id, &job.base)) else {
            // What was read wrong is read again.
            return self.begin_merge(job, core);
        };
        let find = |root: &Digest| core.blobs[self.id].get(root).cloned();
        let members: Vec<PublicKey> = self.state.committee().members.iter().map(|member| member.key).collect();
        let base = Base { root: &job.base, blob: &base, find: &find };
        let result = self.work.merge(&base, &inputs, &members);
        let merged = result.as_ref().map(|(merged, _)| *merged);
        for (root, blob) in result.into_iter().flat_map(|(_, blobs)| blobs) {
            core.blobs[self.id].insert(root, self.state.position().0, blob);
        }
        self.inbox.push_back(Input::Merged { inputs_root: job.inputs_root, merged });
    }

    pub(super) fn finish(&mut self, core: &mut Core) {
        let (round, root) = (self.state.head().round, self.state.head().model_root);
        let find = |root: &Digest| core.blobs[self.id].get(root).cloned();
        let lacking = match find(&root) {
            None => root,
            Some(blob) => match self.lacks(Use::Train, &root, core) {
                Some(part) => part,
                None => {
                    self.work.finish(round, &Base { root: &root, blob: &blob, find: &find });
                    return self.keep_state(&root, round, core);
                }
            },
        };
        let (bytes, holders) = (core.options.work.payload_bytes, self.everybody(core));
        self.start_fetch(Fetch::new(lacking, bytes, holders, Purpose::Finish(round)), core);
    }
}
