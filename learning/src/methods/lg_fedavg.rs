//! LG-FedAvg (Liang et al. 2020, arXiv 2001.01523): private extractors of any kind, one shared head.
//!
//! ```text
//! each round: every peer i starts from the certified h, with its own f_i
//!             (f_i, h_i) <- E epochs of SGD on CE(h_i(f_i(x)), y)
//!             h          <- sum_i n_i / n h_i
//! evaluated:  h(f_i(x)) with the certified h
//! ```

use fedswarm_protocol::tensor::Schema;

use super::local::Classifier;
use super::{Member, MemberSetup, Method, MethodInfo, Task, check_task, family, head_specs, own_extractor, part};
use crate::Error;
use crate::architectures::architecture;
use crate::parameters::schema;
use crate::training::Learner;

/// Private extractors, one shared head.
#[derive(Clone, Copy, Debug, Default)]
pub struct LgFedAvg;

/// The width of the features of a task's usual architectures: that of the shared head.
fn width(task: &Task) -> Result<usize, Error> {
    check_task(task)?;
    Ok(architecture(family(task).first().copied().unwrap_or("mlp"))?.features())
}

impl Method for LgFedAvg {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "lg-fedavg",
            shares: "the head",
            heterogeneous: true,
            needs: "equal feature widths",
            paper: "Liang et al. 2020, arXiv 2001.01523",
        }
    }

    fn spelling(&self) -> String {
        "lg-fedavg".to_owned()
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        schema([("head", head_specs(width(task)?, task).as_slice())])
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let (width, own) = (width(&setup.task)?, setup.architecture.features());
        if width != own {
            let name = setup.architecture.name();
            let text = format!("lg-fedavg shares a head for {width} features, this peer's {name} has {own}");
            return Err(Error::Setup(format!("{text}; choose another architecture")));
        }
        let extractor = own_extractor("extractor", &setup, None)?;
        let head = part("head", "head", head_specs(width, &setup.task), true, &setup, None)?;
        let network = Classifier(setup.architecture.clone());
        Ok(Box::new(Learner::new(&self.spelling(), network, vec![extractor, head], setup)?))
    }
}
