//! Carrying out effects.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fedswarm_network::{MAX_DIRECT_BYTES, Topic};
use fedswarm_protocol::envelope::{Kind, Slot, seal};
use fedswarm_protocol::round::{Effect, Event, Input, Recipient};

use super::Driver;
use crate::{Error, NodeEvent};

impl Driver {
    pub(super) async fn carry_out(&mut self, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Train { round, base, model_root, holders } => self.train(round, base, model_root, &holders),
            Effect::CancelTraining { .. } => self.training.store(true, Ordering::Relaxed),
            Effect::Fetch { author, statement, header, holders } => self.fetch(author, statement, header, &holders),
            Effect::Merge { inputs_root, base, inputs, .. } => self.merge(inputs_root, base, inputs),
            Effect::Sign { slot, .. }
                if self.crash_before.is_some_and(|c| (c.round, c.kind) == (slot.round, slot.kind)) =>
            {
                self.failed = true;
                self.network.shutdown().await;
            }
            Effect::Keep { round, messages } => self.kept.extend(messages.into_iter().map(|bytes| (round, bytes))),
            Effect::Sign { slot, message } => {
                let bytes = seal(&self.secret, &self.verifier.network, &slot, self.me, &message)?;
                // Persist before publish: what is on the wire is on disk.
                self.keep(&slot, &bytes)?;
                let own = self.verifier.open(&bytes)?;
                self.inputs.push_back(Input::Message(own));
                self.publish(slot.kind, bytes).await;
            }
            Effect::Say { to, slot, message } => {
                let bytes = seal(&self.secret, &self.verifier.network, &slot, self.me, &message)?;
                self.send(to, &bytes);
            }
            Effect::Forward { to, message } => self.send(to, message.bytes()),
            Effect::SetTimer { timer, after_ms } => {
                self.timer_count += 1;
                let at = Instant::now() + Duration::from_millis(after_ms);
                self.timers.retain(|_, t| t.round() >= timer.round());
                self.timers.insert((at, self.timer_count), timer);
            }
            Effect::Commit(committed) => {
                self.store.commit(&committed)?;
                self.fetching.clear();
                self.blobs.prune(committed.record.round);
            }
            Effect::Penalise { member, fault } => {
                tracing::warn!(member, ?fault, "a member misbehaved");
            }
            Effect::Emit { at, event } => {
                if let Event::Fork { .. } = event {
                    tracing::error!(?event, "two final records for one round");
                }
                self.tell(NodeEvent::Round { at_ms: at.0, event }).await;
            }
            Effect::Finished => self.finish(),
        }
        Ok(())
    }

    fn keep(&mut self, slot: &Slot, bytes: &[u8]) -> Result<(), Error> {
        if slot.kind != Kind::Update {
            let kept = std::mem::take(&mut self.kept);
            return self.store.keep_with(slot.round, bytes, &kept);
        }
        let checkpoint = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.store.keep_update(slot.round, bytes, checkpoint.as_deref())
    }

    /// Updates and receipts are gossiped. What a round waits for goes straight to everybody, and is gossiped as well if
    /// somebody is not connected here.
    async fn publish(&mut self, kind: Kind, bytes: Vec<u8>) {
        let urgent = kind.is_vote() || kind == Kind::Proposal;
        let all_connected = self.connected.len() + 1 >= self.members.len();
        if urgent {
            self.send(Recipient::All, &bytes);
        }
        if !urgent || !all_connected {
            let topic = match kind {
                Kind::Update => Topic::Update,
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

    /// Sends directly, in the background: a slow member does not hold up the others. Too many to one member are dropped
    /// rather than queued, and repeated later.
    fn send(&mut self, to: Recipient, bytes: &[u8]) {
        debug_assert!(bytes.len() <= MAX_DIRECT_BYTES);
        let targets: Vec<_> = match to {
            Recipient::All => self.connected.iter().copied().collect(),
            Recipient::One(member) => self.members.get(usize::from(member)).copied().into_iter().collect(),
        };
        for target in targets {
            if target == self.network.id() {
                continue;
            }
            let (network, bytes) = (self.network.clone(), bytes.to_vec());
            tokio::spawn(async move {
                if let Err(error) = network.send(target, bytes).await {
                    tracing::debug!(%error, "not delivered");
                }
            });
        }
    }
}
