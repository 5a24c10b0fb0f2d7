//! A small model that all peers share beside their own.

use std::sync::Arc;

use fedswarm_protocol::tensor::Schema;

use super::classifier::Classifier;
use super::head::Head;
use super::options::Options;
use super::{MemberSetup, Task, check_task, family, head_specs, part};
use crate::Error;
use crate::architectures::{self, Architecture, architecture};
use crate::parameters::schema;
use crate::training::Part;

/// Its parts.
pub(super) const PARTS: [&str; 2] = ["shared", "shared_head"];

/// Its architecture: the one that was named, or the first of the task's usual ones, as in the reference.
#[derive(Clone, Default)]
pub(super) struct SmallModel(Option<Arc<dyn Architecture>>);

impl SmallModel {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self(options.architecture("shared")?))
    }

    /// The option that gives it back, if it was named.
    pub(super) fn option(&self) -> Option<String> {
        self.0.as_ref().map(|shared| format!("shared={}", shared.name()))
    }

    pub(super) fn of(&self, task: &Task) -> Result<Arc<dyn Architecture>, Error> {
        check_task(task)?;
        match &self.0 {
            Some(shared) => Ok(Arc::clone(shared)),
            None => architecture(family(task).first().copied().unwrap_or("mlp")),
        }
    }

    /// What it answers, where its head is on all its features. As the flagship's shared head, it is linear whatever the private one is.
    pub(super) fn network(architecture: Arc<dyn Architecture>) -> Classifier {
        Classifier::named(architecture, Head::Linear, PARTS)
    }

    /// Extractor, and head on so many features.
    pub(super) fn schema(&self, task: &Task, features: usize) -> Result<Schema, Error> {
        let extractor = self.of(task)?.parameters(task.input)?;
        schema([(PARTS[0], extractor.as_slice()), (PARTS[1], head_specs(features, task).as_slice())])
    }

    /// The parts of that schema.
    pub(super) fn parts(&self, features: usize, setup: &MemberSetup) -> Result<Vec<Part>, Error> {
        let shared = self.of(&setup.task)?;
        let specs = architectures::check(shared.as_ref(), setup.task.input, &setup.device.open()?)?;
        let head = head_specs(features, &setup.task);
        Ok(vec![
            part(PARTS[0], PARTS[0], specs, true, setup, None)?,
            part(PARTS[1], PARTS[1], head, true, setup, None)?,
        ])
    }
}
