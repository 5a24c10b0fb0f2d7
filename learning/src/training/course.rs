//! How a member's round goes: in which phases, of what its steps are made, what of it stays.

/// The course of a round. By default one phase of plain descent on everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// One after the other, each on the data in a new order.
    pub phases: Vec<Phase>,
    /// Steps by MAML instead of plain descent.
    pub meta: Option<Meta>,
    /// Every peer has the same weight in the merge, however many images it has.
    pub uniform: bool,
    /// Names of parts that are back at their first weights when a round is over.
    pub forgotten: &'static [&'static str],
    /// Publishes, for each of its classes, the mean of the network's [`embedding`](super::Network::embedding) over the peer's images, as
    /// the trained model has it.
    pub publishes: bool,
    /// Publishes, for each of its classes, the number of the peer's images.
    pub counts: bool,
    /// What is published are the shared parts themselves and not what a round changed in them. They are the peer's own and not in
    /// the certified state, but for its first: they begin as what that begins with.
    pub whole: bool,
}

/// A phase of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    /// Passes over the data; the member's own number if absent.
    pub epochs: Option<usize>,
    /// Names of the parts that are trained; all if absent.
    pub trains: Option<&'static [&'static str]>,
}

/// Steps by MAML (Finn et al. 2017; Fallah et al. 2020, arXiv 2002.07948): towards a model that is good after one step on a
/// peer's own images, in which it is also measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meta {
    /// Rate of the inner step; the member's learning rate if absent.
    pub alpha: Option<f32>,
    /// The distance over which the Hessian's product is taken as a difference of gradients; absent, it is left out.
    pub hessian_free: Option<f32>,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            phases: vec![Phase::default()],
            meta: None,
            uniform: false,
            forgotten: &[],
            publishes: false,
            counts: false,
            whole: false,
        }
    }
}

impl Course {
    /// Passes over the data in a round of a member that makes this many per phase.
    pub(super) fn epochs(&self, own: usize) -> u64 {
        self.phases.iter().map(|phase| phase.epochs(own) as u64).sum::<u64>().max(1)
    }

    /// Images of a step, of batches of this size.
    pub(super) const fn rows(&self, batch: usize) -> usize {
        match self.meta {
            None => batch,
            Some(Meta { hessian_free: None, .. }) => 2 * batch,
            Some(Meta { hessian_free: Some(_), .. }) => 3 * batch,
        }
    }
}

impl Phase {
    pub(super) fn epochs(&self, own: usize) -> usize {
        self.epochs.unwrap_or(own)
    }

    /// Whether a part of this name is trained.
    pub(super) fn trains(&self, name: &str) -> bool {
        self.trains.is_none_or(|names| names.contains(&name))
    }
}
