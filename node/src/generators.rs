//! The generator of a network: what its manifest says of it, and what a node needs to host it.

use std::path::Path;
use std::sync::Arc;

use fedswarm_learning::generator::{self, Generator};
use fedswarm_learning::methods::{Method, Task, method};
use fedswarm_protocol::artefact::{GeneratorSpec, MAX_PAIRS};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::manifest::{MAX_VOTERS, Manifest};

use crate::run_config::task_of;
use crate::{Error, Hosting};

/// How long a host waits for the artefact of one that comes before it, in milliseconds. Too low and two make the same.
pub const WAIT_MS: u64 = 2_000;

/// What a founder says for no generator.
pub const NONE: &str = "none";

/// Opens a generator: a bundled one by its name, any other from a file.
///
/// # Errors
/// [`Error::Learning`]: no such generator, or a file that holds none.
pub fn open(source: &Path) -> Result<Arc<dyn Generator>, Error> {
    Ok(Arc::new(generator::open(source, None)?))
}

/// What a manifest says of a generator; nothing if the method has no use for one. `hosts` are the members that may host it,
/// none for all.
///
/// # Errors
/// [`Error::Learning`] if the generator does not fit the task.
pub fn spec(
    method: &dyn Method,
    task: &Task,
    generator: Arc<dyn Generator>,
    mut hosts: Vec<PublicKey>,
) -> Result<Option<GeneratorSpec>, Error> {
    let (id, latent) = (generator.id(), generator.latent() as u32);
    // What a transformer starts from has nothing to do with its length.
    let Some(host) = method.host(task, generator, &Digest::ZERO)? else { return Ok(None) };
    hosts.sort_unstable();
    hosts.dedup();
    let transformer = host.transformer_len() as u32;
    Ok(Some(GeneratorSpec { id, latent, transformer, per_class: per_class(task.classes), hosts, wait_ms: WAIT_MS }))
}

/// Most pairs of one class: one for each voter that there can be, where an artefact has room for so many.
fn per_class(classes: usize) -> u16 {
    let room = (MAX_PAIRS as usize / classes.max(1)).max(1);
    room.min(MAX_VOTERS) as u16
}

/// What a node hosts a network's generator with.
///
/// # Errors
/// [`Error::Config`] if it is not the one that the manifest names, or the network has none.
pub fn hosting(source: &Path, manifest: &Manifest) -> Result<Hosting, Error> {
    let generator = open(source)?;
    let (name, network) = (source.display(), &manifest.name);
    let Some(spec) = &manifest.generator else {
        return Err(Error::Config(format!(
            "generator {name}: network {network:?} was founded without one (network create --generator); take `generator` \
             out of the configuration"
        )));
    };
    if generator.id() != spec.id {
        return Err(Error::Config(format!(
            "generator {name} is {}, but the manifest of network {network:?} names {}: host that one, or take `generator` out \
             of the configuration",
            generator.id(),
            spec.id
        )));
    }
    let method = method(&manifest.method)?;
    match method.host(&task_of(manifest), Arc::clone(&generator), &manifest.genesis_seed)? {
        Some(host) => Ok(Hosting::new(host, generator)),
        None => Err(Error::Config(format!("method {} has no use for a generator", manifest.method))),
    }
}
