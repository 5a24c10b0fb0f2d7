//! What methods with one architecture for all have in common.

use std::sync::Arc;

use super::options::Options;
use super::{MemberSetup, Task, check_task};
use crate::Error;
use crate::architectures::{Architecture, NAMES, architecture};

/// The architecture of all peers: the one that was named, or what the task suggests.
#[derive(Clone, Default)]
pub(super) struct OneModel(pub(super) Option<Arc<dyn Architecture>>);

impl OneModel {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self(options.architecture("model")?))
    }

    /// The option that gives it back, if it was named.
    pub(super) fn option(&self) -> Option<String> {
        self.0.as_ref().map(|model| format!("model={}", model.name()))
    }

    pub(super) fn of(&self, task: &Task) -> Result<Arc<dyn Architecture>, Error> {
        check_task(task)?;
        match &self.0 {
            Some(model) => Ok(Arc::clone(model)),
            None => architecture(default_name(task)),
        }
    }

    pub(super) fn names(&self, task: &Task) -> Vec<&'static str> {
        let name = self.0.as_ref().map_or_else(|| default_name(task), |model| model.name());
        // A user's own architecture is in no registry: it must be handed to every member.
        NAMES.into_iter().filter(|known| *known == name).collect()
    }

    /// The architecture, if a member of this method has it.
    pub(super) fn checked(&self, method: &str, setup: &MemberSetup) -> Result<Arc<dyn Architecture>, Error> {
        let model = self.of(&setup.task)?;
        if setup.architecture.name() != model.name() {
            return Err(Error::Setup(format!(
                "{method} shares one architecture, {}, and this peer has {}: use it, or name another with {method}:model=NAME",
                model.name(),
                setup.architecture.name()
            )));
        }
        Ok(model)
    }
}

fn default_name(task: &Task) -> &'static str {
    if task.input.height.min(task.input.width) < 16 { "mlp" } else { "fedavg-cnn" }
}
