//! The generator in a manifest.

use std::path::Path;

use fedswarm_learning::methods::{Method, Task};
use fedswarm_node::generators;
use fedswarm_protocol::artefact::GeneratorSpec;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::manifest::{Founder, Manifest};
use serde_json::{Value, json};

use super::create::Create;
use crate::failure::Failure;

/// The generator of a network whose method has a use for one, if its founder says nothing.
pub(super) const USUAL: &str = "digits";

/// What the founder wants: a generator for methods that have a use for one.
pub(super) fn choose(
    create: &Create,
    method: &dyn Method,
    task: &Task,
    founders: &[Founder],
) -> Result<Option<GeneratorSpec>, Failure> {
    let wanted = create.generator.as_deref();
    let unwanted = wanted == Some(Path::new(generators::NONE));
    let useful = method.takes_pairs(task);
    if !useful && wanted.is_some() && !unwanted {
        return Err(Failure::input(format!("--generator: method {} has no use for one", create.method)));
    }
    if unwanted || !useful {
        return match create.hosts.first() {
            Some(name) => Err(Failure::input(format!("--host {name}: this network has no generator to host"))),
            None => Ok(None),
        };
    }
    let hosts = create.hosts.iter().map(|name| host(name, founders)).collect::<Result<_, _>>()?;
    let generator = generators::open(wanted.unwrap_or(Path::new(USUAL)))?;
    Ok(generators::spec(method, task, generator, hosts)?)
}

fn host(name: &str, founders: &[Founder]) -> Result<PublicKey, Failure> {
    let found = founders.iter().find(|founder| founder.name == name);
    found.map(|founder| founder.key).ok_or_else(|| {
        let names: Vec<&str> = founders.iter().map(|founder| founder.name.as_str()).collect();
        Failure::input(format!("--host {name}: no such member; there are {}", names.join(", ")))
    })
}

pub(super) fn json(spec: &GeneratorSpec) -> Value {
    let hosts: Vec<String> = spec.hosts.iter().map(ToString::to_string).collect();
    json!({ "id": spec.id.to_string(), "latent": spec.latent, "pairs_per_class": spec.per_class, "hosts": hosts })
}

/// For people.
pub(super) fn print(manifest: &Manifest) {
    let Some(spec) = &manifest.generator else {
        if manifest.prototypes.is_some_and(|spec| spec.summary.is_none()) {
            println!("generator  none");
        }
        return;
    };
    let known = |key: &PublicKey| manifest.founders.iter().find(|founder| founder.key == *key);
    let names = spec.hosts.iter().map(|key| known(key).map_or_else(|| key.short(), |founder| founder.name.clone()));
    let names: Vec<String> = names.collect();
    let hosts = if names.is_empty() { "any member".to_owned() } else { names.join(", ") };
    println!("generator  {}, hosted by {hosts}", spec.id);
}
