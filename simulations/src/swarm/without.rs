//! The same swarm without its generator, for comparison: in virtual time, since only the outcome matters.

use std::time::Instant;

use super::observe::Observer;
use super::{Options, Prepared, virtual_time};
use crate::Error;
use crate::progress::Silent;
use crate::results::Accuracy;
use crate::scenario::{Scenario, Transport, VirtualTime};

/// Accuracy by round of the swarm without a generator. In a real run's place stands a calm virtual one in which every update
/// is waited for.
pub(super) fn run(prepared: &Prepared, options: &Options) -> Result<Accuracy, Error> {
    let nodes = prepared.setups.len() as u16;
    let calm = || VirtualTime { min_inputs: nodes, ..VirtualTime::default() };
    let scenario = Scenario {
        generator: Some(fedswarm_node::generators::NONE.to_owned()),
        transport: Transport::Virtual,
        local_baseline: false,
        generator_baseline: false,
        virtual_time: prepared.scenario.virtual_time.clone().or_else(|| Some(calm())),
        ..prepared.scenario.clone()
    };
    let prepared = Prepared::new(&scenario)?;
    let seen = Observer::new(&prepared, None, Instant::now());
    let (results, _) = virtual_time::run(&prepared, seen, options, &mut Silent)?;
    Ok(results.summary.accuracy)
}
