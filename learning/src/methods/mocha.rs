//! MOCHA (Smith et al. 2017, arXiv 1705.10467, algorithm 1): a linear model for each peer, and what relates them, learnt together.
//!
//! ```text
//! min  sum_t 1/n_t sum_i hinge(y_i <w_t, x_i>) + lambda tr(W S^-1 W^T) + mu |W|^2        one against the rest, S common to all classes
//! each round: every peer t takes in its certified w_t, and sigma' K_tt
//!             a_t <- E passes of coordinate ascent on its subproblem (equation 4): the dual, with sigma' K_tt / 2 |dv|^2 around w_t
//!             publishes v_t = 1/n_t sum_i a_i y_i x_i
//!             S <- (W^T W)^1/2 / tr, W <- V K(S)                               (section 3.2; derived by all in exact arithmetic: ADR 021)
//! evaluated:  w_t
//! ```
//!
//! The passes are each peer's own, so a slow one solves its subproblem less exactly (`theta_t`), and one that misses a round is the paper's that
//! drops out: its `v_t` stays, and what it had learnt beyond it is taken back, since its row says which of its updates were merged.
//! What is sent is `v_t` and not its change: as long, and nothing is lost with a round. `relationship=mean` holds all models to their mean
//! instead. Images are of unit length, with a constant for the bias.
//!
//! With `head=etf` scores are inner products with the flagship's class vectors, `V^T W x`, and the hinge asks of each what it is for the class's own
//! vector: 1, and -1/(C-1) for other classes (simplex coding, Mroueh et al. 2012, arXiv 1209.1360). `ArcFace` is not convex and has no such dual.

use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::{Summary, Tasks};
use fedswarm_protocol::tensor::{Schema, TensorSpec};

use super::head::Head;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, check_task, exact, ktl, prototypes};
use crate::Error;
use crate::training::DualMember;

/// How near models are held to what relates them.
const LAMBDA: f32 = 0.0001;

/// How near they are held to zero.
const MU: f32 = 0.0001;

/// A linear model for each peer, and what relates them.
#[derive(Clone, Copy, Debug)]
pub struct Mocha {
    lambda: f32,
    mu: f32,
    learnt: bool,
    head: Head,
}

impl Mocha {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            lambda: options.rate("lambda")?.unwrap_or(LAMBDA),
            mu: options.positive("mu")?.unwrap_or(MU),
            learnt: options.choice("relationship", &["learned", "mean"])? != Some("mean"),
            head: Head::from_options(options)?,
        })
    }
}

/// Numbers of an image: its pixels and a constant.
fn width(task: &Task) -> usize {
    task.input.len() + 1
}

impl Method for Mocha {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "mocha",
            shares: "dual sums up, a linear model of its own down",
            heterogeneous: false,
            needs: "a linear model of the pixels",
            paper: "Smith et al. 2017, arXiv 1705.10467",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let option = |name: &str, value: f32, usual: f32| (value != usual).then(|| format!("{name}={value}"));
        let relationship = (!self.learnt).then(|| "relationship=mean".to_owned());
        let strengths = [option("lambda", self.lambda, LAMBDA), option("mu", self.mu, MU)];
        spelling("mocha", strengths.into_iter().chain([relationship, self.head.option()]))
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        check_task(task)?;
        // A task has at most 2^16 classes, and images of at most 2^16 pixels a side.
        let shape = [task.classes as u32, width(task) as u32];
        let schema = Schema { tensors: vec![TensorSpec::new("sums", &shape, 0)] };
        schema.check()?;
        Ok(schema)
    }

    /// Its model has no extractor; whichever a peer is given is not used.
    fn default_architectures(&self, _: &Task) -> Vec<&'static str> {
        vec!["mlp"]
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        check_task(task)?;
        let tasks = Tasks::new(exact(self.lambda), exact(self.mu), self.learnt);
        prototypes(0, Some(Summary::Tasks(tasks))).map(Some)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        check_task(&setup.task)?;
        let vectors = match self.head {
            Head::Linear => None,
            Head::Etf { .. } => Some(ktl::vectors(&setup.task, &setup.common)?),
        };
        Ok(Box::new(DualMember::new(&self.spelling(), setup, vectors)?))
    }
}
