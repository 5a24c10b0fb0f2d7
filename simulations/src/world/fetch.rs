//! Getting blobs from others, again and again until it works or the round is over.

use fedswarm_protocol::artefact::ArtefactRef;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::{UpdateHeader, UpdateRef};
use fedswarm_protocol::round::MergeInput;

use super::core::Core;
use super::event::What;

/// How long a node waits for a holder that does not answer, in microseconds.
const TIMEOUT_US: u64 = 1_000_000;
/// Pause after all holders were tried; doubles up to [`MAX_PAUSE_US`], as in a real node.
const FIRST_PAUSE_US: u64 = 100_000;
const MAX_PAUSE_US: u64 = 5_000_000;

/// What a blob is wanted for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A payload, to be checked against its header.
    Payload(UpdateRef, Box<UpdateHeader>),
    /// A model to train from: the training's number.
    Train(u64),
    /// A model to merge onto.
    Merge(Box<MergeJob>),
    /// The last round's model, to be taken in.
    Finish(u64),
    /// An artefact, to be checked.
    Artefact(Box<ArtefactRef>),
    /// The prototypes that an artefact is to be checked against; then it is fetched from these members.
    Prototypes(Box<ArtefactRef>, Vec<u16>),
    /// The prototypes of this round, to make an artefact of.
    Job(u64),
    /// The artefact in force, to be taken in.
    InForce,
}

/// A merge to be done.
#[derive(Clone, Debug)]
pub struct MergeJob {
    /// Which inputs.
    pub inputs_root: Digest,
    /// Root of the model that they are merged onto.
    pub base: Digest,
    /// The inputs.
    pub inputs: Vec<MergeInput>,
}

/// A blob that is being fetched.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Which.
    pub root: Digest,
    /// How large.
    pub bytes: u64,
    /// Members that are said to hold it.
    pub holders: Vec<u16>,
    /// What for.
    pub purpose: Purpose,
    tries: usize,
    pause_us: u64,
}

impl Fetch {
    /// A fetch that has not been tried.
    #[must_use]
    pub const fn new(root: Digest, bytes: u64, holders: Vec<u16>, purpose: Purpose) -> Self {
        Self { root, bytes, holders, purpose, tries: 0, pause_us: FIRST_PAUSE_US }
    }

    /// Tries the next holder; `node` asks, in its present life.
    pub fn attempt(&mut self, number: u64, node: usize, life: u32, core: &mut Core) {
        if core.blobs[node].holds(&self.root) {
            // Stored before a restart.
            return core.after(0, node, life, What::Fetched(number, node));
        }
        let turn = self.tries;
        self.tries += 1;
        let holder = (!self.holders.is_empty()).then(|| self.holders[turn % self.holders.len()]);
        let place = holder.and_then(|member| {
            let places = core.places.get(usize::from(member))?;
            places.iter().copied().find(|place| *place != node)
        });
        let reached = place.filter(|place| core.up[*place]);
        let time = reached.and_then(|place| {
            let Core { links, rng, now, .. } = core;
            links.transfer(*now, node, place, self.bytes, rng)
        });
        match (reached, time) {
            (Some(place), Some(time)) if core.blobs[place].holds(&self.root) && !core.withholding[place] => {
                core.after(time, node, life, What::Fetched(number, place));
            }
            (_, Some(time)) => self.again(number, node, life, time, core),
            (_, None) => self.again(number, node, life, TIMEOUT_US, core),
        }
    }

    /// It did not work: another holder soon, or all of them again after a pause.
    pub fn again(&mut self, number: u64, node: usize, life: u32, spent_us: u64, core: &mut Core) {
        core.tally.fetches += 1;
        let mut delay = spent_us;
        if self.holders.is_empty() || self.tries.is_multiple_of(self.holders.len()) {
            delay += self.pause_us;
            self.pause_us = (2 * self.pause_us).min(MAX_PAUSE_US);
        }
        core.after(delay, node, life, What::Fetch(number));
    }
}
