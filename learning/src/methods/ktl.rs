//! What the methods with knowledge transfer have in common: their options, the fixed classifier's part, the host.

use std::sync::Arc;

use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::summary::{MAX_CLASSES, class_vectors};

use super::options::Options;
use super::{MemberSetup, Task};
use crate::Error;
use crate::generator::Generator;
use crate::parameters::{ParamSpec, Parameters};
use crate::training::{Lookahead, Part, Sgd, TransferPlan};
use crate::transfer::{Aligning, Alignment, Host, Scope};

/// Largest norm of a private module's gradient where the member sets none. With cosines scaled by 64, first gradients are
/// long; without a clip the reference sketch lost eight points at round 10.
pub(super) const CLIP: f32 = 100.0;

/// How knowledge is transferred. The default is the paper's setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transfer {
    /// Weight of the loss on image-vector pairs; 0 takes none in, which is the control without a generator.
    pub mu: f32,
    /// What the weight is multiplied with after each of a peer's rounds.
    pub mu_decay: f32,
    /// The control with latent vectors dealt to the wrong images.
    pub shuffled: bool,
    /// Peers try pairs before they learn from them, and refuse those that raise their own loss. Without a word about it, true
    /// unless the host does as the released code, which has no such gate.
    pub gate: bool,
    /// The host's side.
    pub alignment: Alignment,
}

impl Default for Transfer {
    fn default() -> Self {
        Self { mu: 50.0, mu_decay: 1.0, shuffled: false, gate: true, alignment: Alignment::default() }
    }
}

impl Transfer {
    /// What the options say; about the rest, what is usual for the method.
    pub(super) fn from_options(options: &mut Options, usual: Self) -> Result<Self, Error> {
        let Self { mu, mu_decay, shuffled, gate: _, alignment } = usual;
        let as_released = options.flag("as-released")?.unwrap_or(alignment.as_released);
        let scope = match options.choice("per", &["class", "prototype"])? {
            Some("prototype") => Scope::Prototype,
            Some(_) => Scope::Class,
            None => alignment.scope,
        };
        Ok(Self {
            mu: options.rate("mu")?.unwrap_or(mu),
            mu_decay: options.share("mu_decay")?.unwrap_or(mu_decay),
            shuffled: options.choice("pairs", &["matched", "shuffled"])?.map_or(shuffled, |text| text == "shuffled"),
            gate: options.flag("gate")?.unwrap_or(!as_released),
            alignment: Alignment {
                epochs: options.value("server_epochs", "a whole number")?.unwrap_or(alignment.epochs),
                batch: options.batch("server_batch")?.unwrap_or(alignment.batch),
                lr: options.rate("server_lr")?.map_or(alignment.lr, widened),
                lambda: options.rate("lambda")?.map_or(alignment.lambda, widened),
                scope,
                as_released,
            },
        })
    }

    /// The options that give these settings back, where they are not what is usual for the method; each with a comma before it.
    pub(super) fn spelling(&self, usual: &Self) -> String {
        let (own, other) = (&self.alignment, &usual.alignment);
        let scope = if own.scope == Scope::Prototype { "prototype" } else { "class" };
        let pairs = if self.shuffled { "shuffled" } else { "matched" };
        let options = [
            (self.mu != usual.mu, format!("mu={}", self.mu)),
            (self.mu_decay != usual.mu_decay, format!("mu_decay={}", self.mu_decay)),
            (self.shuffled != usual.shuffled, format!("pairs={pairs}")),
            (own.scope != other.scope, format!("per={scope}")),
            (own.epochs != other.epochs, format!("server_epochs={}", own.epochs)),
            (own.batch != other.batch, format!("server_batch={}", own.batch)),
            (own.lr != other.lr, format!("server_lr={}", own.lr)),
            (own.lambda != other.lambda, format!("lambda={}", own.lambda)),
            (self.gate == own.as_released, format!("gate={}", self.gate)),
            (own.as_released, "as-released=true".to_owned()),
        ];
        options.into_iter().filter(|(other, _)| *other).map(|(_, text)| format!(",{text}")).collect()
    }

    pub(super) const fn plan(&self, features: usize) -> TransferPlan {
        TransferPlan {
            mu: self.mu,
            decay: self.mu_decay,
            shuffled: self.shuffled,
            gate: self.gate,
            drop_last: self.alignment.as_released,
            features,
        }
    }

    pub(super) fn host(
        &self,
        task: &Task,
        generator: Arc<dyn Generator>,
        common: &Digest,
    ) -> Result<Option<Box<dyn Host>>, Error> {
        Ok(Some(Box::new(Aligning::new(self.alignment, generator, task.input, task.classes, common)?)))
    }
}

/// The number that was meant: 0.1 and not the `f32` nearest to it.
fn widened(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}

/// The part with the class vectors: fixed, and exported so that a file alone can predict.
pub(super) fn etf_part(setup: &MemberSetup) -> Result<Part, Error> {
    let classes = setup.task.classes;
    let specs = vec![ParamSpec::new("vectors", &[classes, classes], 0)];
    let vectors = vectors(&setup.task, &setup.common)?;
    Ok(Part {
        name: "etf",
        shared: false,
        derived: false,
        parameters: Parameters::from_flat(specs, &vectors, &setup.device.open()?)?,
        sgd: Sgd::new(0.0, 0.0, None),
        fresh: false,
        lookahead: Lookahead::default(),
        module: "etf",
        fixed: true,
    })
}

/// The class vectors of a task in a network, one per column.
pub(super) fn vectors(task: &Task, common: &Digest) -> Result<Vec<f32>, Error> {
    let none = || Error::Setup(format!("class vectors are for 2 to {MAX_CLASSES} classes, not {}", task.classes));
    class_vectors(task.classes, common).ok_or_else(none)
}

/// Makes these parts one module, clipped together.
pub(super) fn module<'a>(name: &'static str, parts: impl IntoIterator<Item = &'a mut Part>, setup: &MemberSetup) {
    for part in parts {
        part.module = name;
        part.sgd.clip = setup.train.clip.or(Some(CLIP));
    }
}
