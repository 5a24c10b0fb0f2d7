//! Where results must repeat, rounds and a generator's host keep step.
//!
//! A host's work takes time, and which training first sees it would depend on what else the machine does. So the nodes of one
//! process may be told to wait for it ([`InStep`]): with their updates until they have checked the artefact of the last record's
//! prototypes, and with their training until the artefact in force is here. Then all receipts of a round list the artefact of
//! the round before, and every training has it.

use std::sync::Arc;
use std::time::Duration;

use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::round::Input;
use tokio::sync::watch;

use super::{Driver, Report};

/// What nodes of one process have in common that keep step with a host among them.
#[derive(Debug)]
pub struct InStep {
    /// How long a host is waited for, each time.
    wait: Duration,
    /// The last record of which its host could make nothing.
    given_up: watch::Sender<u64>,
}

impl InStep {
    /// For nodes that wait at most so long at a time. Too short and what a busy machine does shows in the results; too long and a
    /// host that died holds every round up by that much.
    #[must_use]
    pub fn new(wait: Duration) -> Arc<Self> {
        Arc::new(Self { wait, given_up: watch::channel(0).0 })
    }
}

/// What a node in step knows.
#[derive(Debug)]
pub(super) struct Lockstep {
    step: Option<Arc<InStep>>,
    /// The artefact whose pairs the next training is given.
    pub(super) here: Arc<watch::Sender<Option<ArtefactRef>>>,
    /// The last record of whose prototypes this node made an artefact itself: that one needs no check.
    made: Option<u64>,
    /// This node's own update, held back, with its round.
    held: Option<(u64, Input)>,
}

impl Default for Lockstep {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Lockstep {
    pub(super) fn new(step: Option<Arc<InStep>>) -> Self {
        Self { step, here: Arc::new(watch::channel(None).0), made: None, held: None }
    }
}

impl Driver {
    /// Resolves when the artefact in force is here, or the wait for it is over.
    pub(super) fn artefact_in_force_is_here(&self) -> impl Future<Output = ()> + Send + use<> {
        let lockstep = &self.artefacts.lockstep;
        let (wait, mut here) = (lockstep.step.as_ref().map(|step| step.wait), lockstep.here.subscribe());
        let wanted = self.artefacts.in_force();
        async move {
            let (Some(wait), Some(wanted)) = (wait, wanted) else { return };
            // Late, or the node is stopping: training goes on with what there is.
            drop(tokio::time::timeout(wait, here.wait_for(|found| *found == Some(wanted))).await);
        }
    }

    /// Gives an input on, unless it is this node's own update and the artefact that its round is to certify is not checked yet. Where
    /// there is no generator, prototypes are not for one, and nothing is waited for.
    pub(super) fn hold_for_artefact(&mut self, input: Input) -> Option<Input> {
        let (Input::Trained { round, .. }, Some(step)) = (&input, &self.artefacts.lockstep.step) else {
            return Some(input);
        };
        let (round, job) = (*round, round.saturating_sub(1));
        let head = self.state.head();
        let known = self.artefacts.valid.iter().chain(self.state.artefact()).map(|artefact| artefact.job_round);
        let checked = known.chain(self.artefacts.lockstep.made).any(|made_of| made_of >= job);
        if self.manifest.generator.is_none() || head.prototypes == 0 || head.round != job || checked {
            return Some(input);
        }
        let (wait, mut given_up, reports) = (step.wait, step.given_up.subscribe(), self.reports.clone());
        tokio::spawn(async move {
            drop(tokio::time::timeout(wait, given_up.wait_for(|last| *last >= job)).await);
            drop(reports.send(Report::ArtefactIsLate(round)).await);
        });
        self.artefacts.lockstep.held = Some((round, input));
        None
    }

    /// This node made an artefact of this record itself.
    pub(super) fn own_artefact_is_made(&mut self, job: u64) {
        self.artefacts.lockstep.made = Some(job);
        self.release_for_artefact(job);
    }

    /// Nothing came of this record: nobody need wait.
    pub(super) fn no_artefact_is_made(&self, job: u64) {
        if let Some(step) = &self.artefacts.lockstep.step {
            step.given_up.send_replace(job);
        }
    }

    /// An artefact of this record was checked: the update that waited for it goes out after it.
    pub(super) fn release_for_artefact(&mut self, job: u64) {
        self.release(job + 1);
    }

    /// The wait of this round's update is over.
    pub(super) fn artefact_is_late(&mut self, round: u64) {
        if self.release(round) {
            tracing::debug!(round, "no generator's work came in time: the round goes on without");
        }
    }

    /// Gives on the update of this round, if it is held.
    fn release(&mut self, round: u64) -> bool {
        let held = self.artefacts.lockstep.held.take_if(|(held, _)| *held == round);
        let released = held.is_some();
        self.inputs.extend(held.map(|(_, input)| input));
        released
    }
}
