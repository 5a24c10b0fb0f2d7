//! Founding a network: from a method, a task and the founders' keys to a manifest.

use std::path::Path;

use fedswarm_learning::methods::{Method, Task};
use fedswarm_protocol::artefact::GeneratorSpec;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::manifest::{
    Founder, MAX_MANIFEST_BYTES, MAX_WEIGHT, Manifest, PROTOCOL_VERSION, TaskSpec, Timers,
};
use fedswarm_protocol::membership::Admission;
use fedswarm_protocol::summary::Derivation;
use fedswarm_protocol::update::UpdateCodec;

use crate::Error;
use crate::files::write_atomically;

/// Rounds per epoch unless a founder says otherwise.
pub const EPOCH_LENGTH: u32 = 16;

/// Members that one voter may have invited at a time, unless a founder says otherwise.
pub const SPONSOR_CAP: u16 = 2;

/// What founders decide.
#[derive(Debug)]
pub struct Plan {
    /// Name of the network.
    pub name: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How payloads travel.
    pub codec: UpdateCodec,
    /// Seed of the first certified state.
    pub genesis_seed: Digest,
    /// Rounds until the network is done; 0 for no end.
    pub rounds: u64,
    /// Fewest updates that make a merge; 0 for half of the voters.
    pub min_inputs: u16,
    /// Members that one voter may have invited at a time.
    pub sponsor_cap: u16,
    /// Who decides on newcomers.
    pub admission: Admission,
    /// Durations.
    pub timers: Timers,
    /// The generator that the network learns from, if the method has a use for one.
    pub generator: Option<GeneratorSpec>,
}

/// Makes a manifest; the order of founders does not matter.
///
/// # Errors
/// A method that does not fit the task, or a manifest that breaks a rule.
pub fn found(plan: Plan, method: &dyn Method, task: &Task, founders: Vec<Founder>) -> Result<Manifest, Error> {
    let schema = method.schema(task)?;
    let extent =
        |n: usize| u16::try_from(n).map_err(|_| Error::Config(format!("images of {n} pixels a side are too large")));
    let prototypes = method.prototypes(task)?;
    let derivation = Derivation { schema: schema.clone(), prototypes, classes: task.classes, seed: plan.genesis_seed };
    let mut manifest = Manifest {
        version: PROTOCOL_VERSION,
        name: plan.name,
        method: method.spelling(),
        task: TaskSpec {
            channels: extent(task.input.channels)?,
            height: extent(task.input.height)?,
            width: extent(task.input.width)?,
            classes: plan.classes,
        },
        genesis_root: derivation.genesis().root(),
        genesis_seed: plan.genesis_seed,
        schema,
        codec: plan.codec,
        founders,
        epoch_length: EPOCH_LENGTH,
        max_weight: MAX_WEIGHT,
        min_inputs: plan.min_inputs,
        sponsor_cap: plan.sponsor_cap,
        admission: plan.admission,
        rounds: plan.rounds,
        timers: plan.timers,
        prototypes,
        generator: plan.generator,
    };
    manifest.sort_founders();
    manifest.check()?;
    Ok(manifest)
}

/// Writes a manifest file.
///
/// # Errors
/// A file that is there already (a manifest is never overwritten), or that cannot be written.
pub fn save(manifest: &Manifest, path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Err(Error::file(path, "exists already; a manifest is never overwritten"));
    }
    write_atomically(path, &manifest.to_bytes()?).map_err(|e| Error::file(path, e))
}

/// Reads and checks a manifest file.
///
/// # Errors
/// A file that is missing, too large, or not a manifest.
pub fn load(path: &Path) -> Result<Manifest, Error> {
    let size = std::fs::metadata(path).map_err(|e| Error::file(path, e))?.len();
    if size > MAX_MANIFEST_BYTES as u64 {
        return Err(Error::file(path, format!("{size} bytes, more than a manifest may have; is it the right file?")));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    Manifest::from_bytes(&bytes).map_err(|e| Error::file(path, e))
}
