//! Carrying out effects.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fedswarm_network::{BlobId, MAX_DIRECT_BYTES, NodeId, Topic};
use fedswarm_protocol::envelope::{Kind, NOBODY, Slot, seal};
use fedswarm_protocol::evidence::{EquivocationProof, EvidenceFile};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::round::{Effect, Event, Input, Recipient, Timer};

use super::{Driver, Keep};
use crate::{Error, NodeEvent};

/// Epochs for which signed inputs and payloads stay, so that others can fetch them and anyone can recompute. Too low and a
/// wrong merge can no longer be shown when somebody asks.
const KEEP_EPOCHS: u64 = 2;

/// Voters that a stalled member asks at a time what it lacks. Too low and it asks longer until it meets one that has it; too high
/// and a round that is only slow is made slower by everybody asking everybody, each answered with all that is there.
pub(super) const ASKED_AT_ONCE: usize = 4;

impl Driver {
    pub(super) async fn carry_out(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Train { round, base, model_root, holders } => {
                self.train(round, base, model_root, holders.iter().map(|key| NodeId(key.0)).collect())
            }
            Effect::CancelTraining { .. } => self.training.store(true, Ordering::Relaxed),
            Effect::Fetch { author, statement, header, holders } => self.fetch(author, statement, header, &holders),
            Effect::FetchArtefact { reference, artefact, holders } => {
                self.check_artefact(reference, artefact, &holders)
            }
            Effect::Merge { round, inputs_root, base, inputs } => self.merge(round, inputs_root, base, &inputs)?,
            Effect::Sign { slot, .. }
                if self.crash_before.is_some_and(|c| (c.round, c.kind) == (slot.round, slot.kind)) =>
            {
                self.failed = true;
                self.network.shutdown().await;
            }
            Effect::Sign { slot, message } => {
                self.hold_at(&slot, false).await;
                let bytes = self.sealed(&slot, &message)?;
                // Persist before publish: what is on the wire is on disk.
                self.keep(&slot, &bytes)?;
                self.hold_at(&slot, true).await;
                let own = self.verifier.open(&bytes)?;
                self.inputs.push_back(Input::Message(own));
                if slot.kind == Kind::Update {
                    self.stall.published(Instant::now());
                }
                self.publish(slot.kind, bytes).await;
            }
            Effect::Keep { round, messages } => {
                self.kept.extend(messages.into_iter().map(|message| (round, message.bytes().to_vec())));
            }
            Effect::Say { to, slot, message } => {
                let bytes = self.sealed(&slot, &message)?;
                // What newcomers and rare statements need goes to everybody, connected here or not.
                if slot.kind == Kind::Operation {
                    drop(self.network.publish(Topic::Vote, bytes.clone()).await);
                }
                if (slot.kind, to) == (Kind::Status, Recipient::All) {
                    self.ask_some(&bytes);
                } else {
                    self.send(to, &bytes);
                }
            }
            // Contributors have no use for what a round decides on.
            Effect::Forward { to: Recipient::All, message } if message.slot().kind != Kind::Artefact => {
                self.send_voters(message.bytes());
            }
            Effect::Forward { to, message } => self.send(to, message.bytes()),
            Effect::SetTimer { timer, after_ms } => {
                let after = Duration::from_millis(after_ms);
                let resends = matches!(timer, Timer::Resend { .. });
                self.set_timer(timer, if resends { self.stall.first(after, self.votes()) } else { after });
            }
            Effect::Commit { committed, inputs, next } => {
                let round = committed.record.round;
                let inputs_from = self.inputs_from(round);
                self.store.commit(&committed, &inputs, inputs_from, next.as_deref())?;
                if let Some(mark) = &self.mark {
                    mark.advance(round)?;
                }
                if let Some(archive) = &self.archive {
                    let mut find = |root: &Digest| self.blobs.get(&BlobId(*root)).map(|blob| blob.bytes.clone());
                    let state = find(&committed.record.model_root).unwrap_or_default();
                    let parts = self.manifest.derivation().needed_of(&state, &mut find);
                    archive.offer(&committed, &inputs, &self.blobs, &parts)?;
                }
                self.stall.committed(Instant::now());
                self.fetching.clear();
                let known = self.artefacts.in_force();
                self.on_committed_artefact(&committed, &inputs);
                self.on_host_turn_begins(committed.body.artefact.filter(|new| known != Some(*new)));
                // The model of the round before the first one is what its updates are added to.
                self.blobs.prune(round, inputs_from.saturating_sub(1));
                self.follow_ballots(&committed);
                if let Some(next) = next {
                    self.on_committee(next).await?;
                }
                self.say_ballots(None);
            }
            Effect::AskChain => self.ask_someone(),
            Effect::Evidence(proof) => {
                let file = self.keep_evidence(&proof)?;
                tracing::warn!(author = %proof.author, ?file, "a member was caught saying two things");
                self.tell(NodeEvent::Evidence { file, proof: Box::new(proof) }).await;
            }
            Effect::Penalise { member, fault } => {
                tracing::warn!(%member, ?fault, "a member misbehaved");
            }
            Effect::Emit { at, event } => {
                match event {
                    Event::Fork { .. } => tracing::error!(?event, "two final records for one round"),
                    Event::RoundStarted { round, leader } if self.state.me() == Some(leader) => self.aggregates = round,
                    _ => {}
                }
                self.tell(NodeEvent::Round { at_ms: at.0, event }).await;
            }
            Effect::Finished => self.finish(),
        }
        Ok(())
    }

    /// Stands still for good if this is the place to.
    async fn hold_at(&self, slot: &Slot, kept: bool) {
        let here = self.hold.is_some_and(|hold| hold.kind == slot.kind && hold.kept == kept);
        if here && slot.round == self.aggregates && slot.view == 0 {
            self.tell(NodeEvent::Held { round: slot.round }).await;
            std::future::pending::<()>().await;
        }
    }

    fn sealed(&self, slot: &Slot, message: &Message) -> Result<Vec<u8>, Error> {
        Ok(seal(&self.secret, self.verifier.network(), slot, self.state.me().unwrap_or(NOBODY), message)?)
    }

    /// Writes a proof where people find it; anybody can check it.
    fn keep_evidence(&self, proof: &EquivocationProof) -> Result<Option<PathBuf>, Error> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let folder = folder.join("evidence");
        std::fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
        let file = folder.join(format!("{}-round-{}.evidence", proof.author.short(), proof.round()));
        let evidence = EvidenceFile { network: *self.verifier.network(), proof: proof.clone() };
        let bytes = evidence.to_bytes().map_err(|e| Error::Corrupt(e.to_string()))?;
        crate::files::write_atomically(&file, &bytes).map_err(|e| Error::file(&file, e))?;
        Ok(Some(file))
    }

    /// The first round whose inputs are kept once this one is final.
    fn inputs_from(&self, round: u64) -> u64 {
        match self.keep {
            Keep::All => 0,
            Keep::TwoEpochs => (round + 1).saturating_sub(KEEP_EPOCHS * u64::from(self.manifest.epoch_length)),
            Keep::LastRounds => round + 1,
        }
    }

    fn keep(&mut self, slot: &Slot, bytes: &[u8]) -> Result<(), Error> {
        if slot.kind != Kind::Update {
            let kept = std::mem::take(&mut self.kept);
            return self.store.keep_with(slot.round, bytes, &kept);
        }
        let checkpoint = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.store.keep_update(slot.round, bytes, checkpoint.as_deref())
    }

    /// What voters decide on goes straight to them, and is gossiped as well if one of them is not connected here. Artefacts are
    /// for everybody and may take a moment: they are gossiped.
    async fn publish(&mut self, kind: Kind, bytes: Vec<u8>) {
        let for_all = kind == Kind::Artefact;
        let voters = self.state.committee().voters();
        let reached = |voter: &NodeId| *voter == self.network.id() || self.connected.contains(voter);
        let all_connected = self.members.iter().take(voters).all(reached);
        if !for_all {
            self.send_voters(&bytes);
        }
        if for_all || !all_connected {
            let topic = match kind {
                Kind::Update | Kind::Artefact => Topic::Update,
                Kind::Receipt => Topic::Receipt,
                Kind::Proposal => Topic::Proposal,
                _ => Topic::Vote,
            };
            // Lost gossip is repeated directly by the machine's resend timer.
            if let Err(error) = self.network.publish(topic, bytes).await {
                tracing::debug!(%error, kind = kind.name(), "not gossiped");
            }
        }
    }

    /// Sends to the voters that are connected.
    fn send_voters(&self, bytes: &[u8]) {
        for voter in self.voters_connected() {
            self.send_to(*voter, bytes.to_vec());
        }
    }

    pub(super) fn voters_connected(&self) -> impl Iterator<Item = &NodeId> {
        let voters = self.members.iter().take(self.state.committee().voters());
        voters.filter(|voter| self.connected.contains(voter))
    }

    /// Asks a few connected voters, others each time, or whoever is connected if no voter is.
    fn ask_some(&mut self, bytes: &[u8]) {
        let mut asked: Vec<NodeId> = self.voters_connected().copied().collect();
        if asked.is_empty() {
            asked.extend(&self.connected);
        }
        let begin = self.asked % asked.len().max(1);
        asked.rotate_left(begin);
        for member in asked.into_iter().take(ASKED_AT_ONCE) {
            self.send_to(member, bytes.to_vec());
            self.asked = self.asked.wrapping_add(1);
        }
    }

    /// Sends directly, in the background: a slow member does not hold up the others. Too many to one member are dropped
    /// rather than queued, and repeated later.
    fn send(&mut self, to: Recipient, bytes: &[u8]) {
        debug_assert!(bytes.len() <= MAX_DIRECT_BYTES);
        let voters = self.state.committee().voters();
        let targets: Vec<_> = match to {
            Recipient::All => self.connected.iter().copied().collect(),
            Recipient::Contributors => self.members.iter().skip(voters).copied().collect(),
            Recipient::One(member) => self.members.get(usize::from(member)).copied().into_iter().collect(),
        };
        for target in targets {
            self.send_to(target, bytes.to_vec());
        }
    }

    pub(super) fn send_to(&self, target: NodeId, bytes: Vec<u8>) {
        if target == self.network.id() {
            return;
        }
        let network = self.network.clone();
        let stopwatch = self.members.contains(&target).then(|| self.pace.stopwatch());
        tokio::spawn(async move {
            let began = Instant::now();
            match (network.send(target, bytes).await, stopwatch) {
                (Ok(()), Some(stopwatch)) => stopwatch.round_trip(target, began.elapsed()),
                (Ok(()), None) => {}
                (Err(error), _) => tracing::debug!(%error, "not delivered"),
            }
        });
    }
}
