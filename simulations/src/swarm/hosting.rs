//! The generator of a run: which one, who hosts it, and what there is to see of it in the end.

use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use fedswarm_learning::data::ImageShape;
use fedswarm_learning::generator::{self, Generator};
use fedswarm_learning::methods::{MemberSetup, Method, Task};
use fedswarm_learning::transfer::{Host, Prototype};
use fedswarm_node::{Hosting, NodeHandle, generators};
use fedswarm_protocol::artefact::{ArtefactShape, Contents, GeneratorSpec};
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::message::Committed;

use crate::Error;
use crate::results::{Picture, Projected, plane};
use crate::scenario::Scenario;

/// The generator of a run whose method has a use for one, if nothing else is asked for.
const USUAL: &str = "digits";

/// A generator, and what a network must know of it.
#[derive(Clone)]
pub(super) struct Chosen {
    generator: Arc<dyn Generator>,
    /// What it is called, for people.
    pub(super) name: String,
    pub(super) spec: GeneratorSpec,
}

/// The generator that a scenario asks for; the usual one where it says nothing and the method has a use for one.
///
/// # Errors
/// [`Error`] if there is no such generator, or it does not fit the method or its images.
pub(super) fn choose(scenario: &Scenario, method: &dyn Method, task: &Task) -> Result<Option<Chosen>, Error> {
    let wanted = scenario.generator.as_deref();
    let wrong = |should: String| {
        let is = wanted.unwrap_or_default().to_owned();
        Err(Error::Setting { field: "generator", flag: "--generator", is, should })
    };
    if wanted == Some(generators::NONE) {
        return Ok(None);
    }
    if !method.takes_pairs(task) {
        return if wanted.is_none() {
            Ok(None)
        } else {
            wrong(format!("left out with method {}, which has no use for a generator", scenario.method))
        };
    }
    let name = wanted.unwrap_or(USUAL);
    let generator = generators::open(Path::new(name)).map_err(Error::learning)?;
    let spec = generators::spec(method, task, Arc::clone(&generator), Vec::new()).map_err(Error::learning)?;
    let Some(spec) = spec else { return Ok(None) };
    Ok(Some(Chosen { generator, name: format!("{name} {}", spec.id.short()), spec }))
}

impl Chosen {
    pub(super) fn host(&self, method: &dyn Method, setup: &MemberSetup) -> Result<Option<Box<dyn Host>>, Error> {
        method.host(&setup.task, Arc::clone(&self.generator), &setup.common).map_err(Error::learning)
    }

    /// What a node hosts it with.
    pub(super) fn hosting(&self, method: &dyn Method, setup: &MemberSetup) -> Result<Option<Hosting>, Error> {
        Ok(self.host(method, setup)?.map(|host| Hosting::new(host, Arc::clone(&self.generator))))
    }

    /// The prototypes of the round that the last artefact was made of, before and after alignment; empty if a node no longer
    /// has them.
    pub(super) fn projected(
        &self,
        method: &dyn Method,
        setup: &MemberSetup,
        manifest: &Manifest,
        node: &NodeHandle,
        records: &[Committed],
    ) -> Result<Vec<Projected>, Error> {
        let nothing = Ok(Vec::new());
        let Some(artefact) = records.last().and_then(|last| last.body.artefact) else { return nothing };
        let (Some(shape), Some(spec)) = (ArtefactShape::of(manifest), manifest.prototypes) else { return nothing };
        let Some(job) = records.iter().find(|c| c.record.round == artefact.job_round) else { return nothing };
        let (Some(list), Some(blob)) = (node.blob(&job.record.protos_root), node.blob(&artefact.blob_root)) else {
            return nothing;
        };
        let (Ok(contents), Some(host)) = (Contents::from_bytes(&shape, &blob), self.host(method, setup)?) else {
            return nothing;
        };
        let prototypes: Vec<Prototype> = spec
            .read(&list)
            .map(|(_, prototype)| Prototype { class: prototype.class, values: spec.dequantise(&prototype.values) })
            .collect();
        let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let before = plane(&prototypes.iter().map(|p| wide(&p.values)).collect::<Vec<_>>());
        let aligned = host.aligned(&prototypes, &contents.float_transformer());
        let after = plane(&aligned.iter().map(|values| wide(values)).collect::<Vec<_>>());
        let placed = prototypes.iter().zip(before).zip(after);
        Ok(placed.map(|((p, before), after)| Projected { class: p.class, before, after }).collect())
    }
}

/// The first picture of each class.
pub(super) fn pictures(classes: &[u16], images: &[f32], shape: ImageShape) -> Vec<Picture> {
    let mut pictures: Vec<Picture> = Vec::new();
    for (class, image) in classes.iter().zip(images.chunks_exact(shape.len().max(1))) {
        if pictures.iter().any(|picture| picture.class == *class) {
            continue;
        }
        // A picture that cannot be packed is not shown.
        if let Ok(png) = generator::png(image, shape) {
            pictures.push(Picture { class: *class, png: BASE64.encode(&png) });
        }
    }
    pictures.sort_by_key(|picture| picture.class);
    pictures
}

/// A real image of each class, from whoever holds one.
pub(super) fn samples(setups: &[MemberSetup]) -> Vec<Picture> {
    let Some(shape) = setups.first().map(|setup| setup.task.input) else { return Vec::new() };
    let (mut classes, mut images) = (Vec::new(), Vec::new());
    for setup in setups {
        let train = &setup.data.train;
        for (class, image) in train.labels.iter().zip(train.images.chunks_exact(shape.len().max(1))) {
            if !classes.contains(class) {
                classes.push(*class);
                images.extend_from_slice(image);
            }
        }
    }
    pictures(&classes, &images, shape)
}
