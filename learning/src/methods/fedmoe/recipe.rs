//! How a mixture is trained: the options of `fedmoe` and `moe-local`.

use std::fmt;

use super::super::options::Options;
use super::Mix;
use crate::Error;

/// Learning rates of the parts, where they differ from the member's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Shared extractor (`eta_theta`) and, if there is one, its head.
    pub shared: Option<f32>,
    /// Local extractor (`eta_omega`).
    pub local: Option<f32>,
    /// Head (`eta_omega`).
    pub head: Option<f32>,
    /// Gate (`eta_phi`).
    pub gate: Option<f32>,
}

/// How a mixture is trained.
///
/// Two presets: [`Recipe::default`], which is what `fedmoe` alone means, and [`Recipe::paper`], which is what a named mix
/// means (`fedmoe:mix=convex`). Further options change either. `docs/results/fedmoe.md` has the measurements behind the
/// default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// How features are mixed.
    pub mix: Mix,
    /// Learning rates.
    pub rates: Rates,
    /// Weight of the shared expert's own loss; with 0 there is no shared head, and the shared expert learns from the
    /// private heads alone, as in the paper.
    pub shared_loss: f32,
    /// Momentum of the shared parts within a round, in 0..1; `None` for the member's.
    pub shared_momentum: Option<f32>,
    /// Largest norm of a shared part's gradient; `None` for the member's. Momentum over momentum makes long steps, and one
    /// steep batch could throw a peer off for good.
    pub shared_clip: Option<f32>,
    /// Momentum of the shared parts from round to round, in 0..1: see [`Lookahead`](crate::training::Lookahead).
    pub round_momentum: f32,
    /// By what the private head's gradient is multiplied where it enters the shared expert, in 0..=1. At 1 a single backward
    /// pass goes through everything, as in the paper; at 0 the shared expert learns from its own head alone. `ArcFace`'s
    /// logits are scaled by 64, and so are its gradients: with them, 1 lets the private heads drown the common goal.
    pub mix_gradient: f32,
}

impl Default for Recipe {
    fn default() -> Self {
        let (shared_momentum, shared_clip) = (Some(0.9), Some(5.0));
        Self { shared_loss: 1.0, shared_momentum, shared_clip, round_momentum: 0.8, ..Self::paper(Mix::Residual) }
    }
}

impl Recipe {
    /// Training as in arXiv 2402.01350, with this mix: one loss, one step size, the merged extractor taken as it comes.
    #[must_use]
    pub const fn paper(mix: Mix) -> Self {
        let rates = Rates { shared: None, local: None, head: None, gate: None };
        Self {
            mix,
            rates,
            shared_loss: 0.0,
            shared_momentum: None,
            shared_clip: None,
            round_momentum: 0.0,
            mix_gradient: 1.0,
        }
    }

    /// The options; `usual` is what holds without any. A named mix means the paper's recipe.
    pub(super) fn from_options(options: &mut Options, usual: Self) -> Result<Self, Error> {
        let mix = options.value("mix", "convex, doubled or residual")?;
        let preset = mix.map_or(usual, Self::paper);
        Ok(Self {
            mix: preset.mix,
            rates: Rates {
                shared: options.rate("shared_lr")?,
                local: options.rate("local_lr")?,
                head: options.rate("head_lr")?,
                gate: options.rate("gate_lr")?,
            },
            shared_loss: options.rate("shared_loss")?.unwrap_or(preset.shared_loss),
            shared_momentum: options.fraction("shared_momentum")?.or(preset.shared_momentum),
            shared_clip: options.positive("shared_clip")?.or(preset.shared_clip),
            round_momentum: options.fraction("round_momentum")?.unwrap_or(preset.round_momentum),
            mix_gradient: options.share("mix_gradient")?.unwrap_or(preset.mix_gradient),
        })
    }

    /// True if the shared expert has a head of its own, which is shared too.
    #[must_use]
    pub fn has_shared_head(&self) -> bool {
        self.shared_loss > 0.0
    }
}

/// The options that give this recipe back. They name the mix, so they are read as changes to [`Recipe::paper`].
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mix={}", self.mix)?;
        let Rates { shared, local, head, gate } = self.rates;
        let nonzero = |x: f32| (x > 0.0).then_some(x);
        for (key, value) in [
            ("shared_lr", shared),
            ("local_lr", local),
            ("head_lr", head),
            ("gate_lr", gate),
            ("shared_loss", nonzero(self.shared_loss)),
            ("shared_momentum", self.shared_momentum),
            ("shared_clip", self.shared_clip),
            ("round_momentum", nonzero(self.round_momentum)),
            ("mix_gradient", (self.mix_gradient < 1.0).then_some(self.mix_gradient)),
        ] {
            if let Some(value) = value {
                write!(f, ",{key}={value}")?;
            }
        }
        Ok(())
    }
}
