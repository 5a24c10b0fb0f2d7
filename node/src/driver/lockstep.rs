//! Where results must repeat, rounds and a generator's host keep step.
//!
//! A host's work takes time, and which training first sees it would depend on what else the machine does. So a node may be told to
//! wait (`NodeConfig::artefact_wait`): with its update until it has checked the artefact of the last record's prototypes, and
//! with its training until the artefact in force is here. Then all receipts of a round list the artefact of the round before,
//! and every training has it. A host that does not come in time is waited for once, and again when something comes of it.

use std::sync::Arc;
use std::time::Duration;

use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::round::Input;
use tokio::sync::watch;

use super::{Driver, Report};

/// What a node in step knows.
#[derive(Debug)]
pub(super) struct Lockstep {
    wait: Duration,
    /// The artefact whose pairs the next training is given.
    pub(super) here: Arc<watch::Sender<Option<ArtefactRef>>>,
    /// The last record of whose prototypes this node made an artefact itself: that one needs no check.
    made: Option<u64>,
    /// This node's own update, held back, with its round.
    held: Option<(u64, Input)>,
    /// The host did not come in time, and nothing has come since.
    tired: bool,
}

impl Default for Lockstep {
    fn default() -> Self {
        Self::new(Duration::ZERO)
    }
}

impl Lockstep {
    pub(super) fn new(wait: Duration) -> Self {
        Self { wait, here: Arc::new(watch::channel(None).0), made: None, held: None, tired: false }
    }
}

impl Driver {
    /// Resolves when the artefact in force is here, or the wait for it is over.
    pub(super) fn artefact_in_force_is_here(&self) -> impl Future<Output = ()> + Send + use<> {
        let lockstep = &self.artefacts.lockstep;
        let (wait, mut here) = (lockstep.wait, lockstep.here.subscribe());
        let wanted = self.artefacts.in_force().filter(|_| !wait.is_zero());
        async move {
            let Some(wanted) = wanted else { return };
            // Late, or the node is stopping: training goes on with what there is.
            drop(tokio::time::timeout(wait, here.wait_for(|found| *found == Some(wanted))).await);
        }
    }

    /// Gives an input on, unless it is this node's own update and the artefact that its round is to certify is not checked yet.
    pub(super) fn hold_for_artefact(&mut self, input: Input) -> Option<Input> {
        let Input::Trained { round, .. } = &input else { return Some(input) };
        let (round, lockstep) = (*round, &self.artefacts.lockstep);
        let job = round.saturating_sub(1);
        let expected = !lockstep.wait.is_zero() && !lockstep.tired && self.state.head().prototypes > 0;
        let known = self.artefacts.valid.iter().chain(self.state.artefact()).map(|artefact| artefact.job_round);
        let checked = known.chain(lockstep.made).any(|made_of| made_of >= job);
        if !expected || self.state.head().round != job || checked {
            return Some(input);
        }
        let (wait, reports) = (lockstep.wait, self.reports.clone());
        self.artefacts.lockstep.held = Some((round, input));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            drop(reports.send(Report::ArtefactIsLate(round)).await);
        });
        None
    }

    /// This node made an artefact of this record itself.
    pub(super) fn own_artefact_is_made(&mut self, job: u64) {
        self.artefacts.lockstep.made = Some(job);
        self.release_for_artefact(job);
    }

    /// An artefact of this record was checked: the update that waited for it goes out after it.
    pub(super) fn release_for_artefact(&mut self, job: u64) {
        self.artefacts.lockstep.tired = false;
        if let Some((_, input)) = self.artefacts.lockstep.held.take_if(|(round, _)| *round == job + 1) {
            self.inputs.push_back(input);
        }
    }

    /// The wait of this round's update is over.
    pub(super) fn artefact_is_late(&mut self, round: u64) {
        if let Some((_, input)) = self.artefacts.lockstep.held.take_if(|(held, _)| *held == round) {
            tracing::warn!(round, "no generator's work came in time: the round goes on without");
            self.artefacts.lockstep.tired = true;
            self.inputs.push_back(input);
        }
    }
}
