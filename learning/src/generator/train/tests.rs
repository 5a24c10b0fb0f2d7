#![allow(clippy::unwrap_used)]

use super::*;
use crate::data::ImageShape;
use crate::generator::{Generator, Statistics};
use crate::partition::{Partition, PeerIndices};

const SHAPE: ImageShape = ImageShape { channels: 1, height: 8, width: 8 };

/// Images with one bright half, left or right, of drawn brightness.
fn halves(n: usize) -> Arc<Dataset> {
    let mut stream = Stream::new("halves", &[]);
    let mut dataset = Dataset {
        name: "halves".into(),
        shape: SHAPE,
        class_names: vec!["left".into(), "right".into()],
        pixels: Vec::new(),
        labels: Vec::new(),
        train_len: n,
    };
    for i in 0..n {
        let bright = 180 + stream.below(70) as u8;
        let dark = stream.below(60) as u8;
        dataset.pixels.extend((0..64).map(|p| if (p % 8 < 4) == (i % 2 == 0) { bright } else { dark }));
        dataset.labels.push((i % 2) as u16);
    }
    Arc::new(dataset)
}

fn recipe() -> Recipe {
    Recipe {
        latent: 4,
        epochs: 12,
        mapping_epochs: 300,
        batch: 8,
        channels: [8, 4, 4],
        couplings: [4, 16],
        ..Recipe::default()
    }
}

fn trainer(recipe: Recipe) -> Trainer {
    Trainer::new(recipe, halves(256), (0..256).collect(), Origin::default()).unwrap()
}

fn run(trainer: &mut Trainer) {
    while trainer.stage() != Stage::Done {
        trainer.advance(&AtomicBool::new(false), &mut |_| {}).unwrap();
    }
}

#[test]
fn what_is_drawn_is_like_what_was_shown() {
    let mut trainer = trainer(recipe());
    run(&mut trainer);
    let generator = trainer.generator().unwrap();
    let mut stream = Stream::new("test", &[]);
    let images = generator.synthesise(&generator.sample(200, &mut stream).unwrap()).unwrap();
    let mut counts = [0; 2];
    for image in images.chunks_exact(64) {
        let mean = |left: bool| (0..64).filter(|p| (p % 8 < 4) == left).map(|p| image[p]).sum::<f32>() / 32.0;
        let difference = mean(true) - mean(false);
        // In the data the halves differ by 0.94 to 1.96.
        if difference.abs() > 0.6 {
            counts[usize::from(difference < 0.0)] += 1;
        }
    }
    assert!(counts.iter().all(|&c| c >= 60) && counts[0] + counts[1] >= 180, "{counts:?} of 200");
    let statistics = Statistics::of(&generator, 2000, &mut stream).unwrap();
    assert!((0.7..1.4).contains(&statistics.variance[1]) && statistics.mean < 0.25, "{statistics:?}");
}

#[test]
fn a_run_that_was_stopped_and_resumed_ends_with_the_same_weights() {
    let recipe = Recipe { epochs: 2, mapping_epochs: 2, ..recipe() };
    let mut whole = trainer(recipe.clone());
    run(&mut whole);
    // Stops in the middle of both stages: steps 37 of 64, then 1 of 2.
    let mut checkpoint = trainer(recipe.clone()).checkpoint().unwrap();
    for stop_at in [37, 65, u64::MAX] {
        let mut resumed = trainer(recipe.clone());
        resumed.restore(&checkpoint).unwrap();
        let cancel = AtomicBool::new(false);
        loop {
            let before = resumed.step;
            let mut steps = before;
            let ended = resumed.advance(&cancel, &mut |_| {
                steps += 1;
                cancel.store(steps == stop_at, Ordering::Relaxed);
            });
            if resumed.stage() == Stage::Done || matches!(ended, Err(Error::Cancelled)) {
                break;
            }
            ended.unwrap();
        }
        checkpoint = resumed.checkpoint().unwrap();
        if resumed.stage() == Stage::Done {
            assert_eq!(resumed.generator().unwrap().id(), whole.generator().unwrap().id());
            return;
        }
        assert_eq!(resumed.step, stop_at);
    }
    unreachable!("the last leg has no stop");
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_another_run_is_refused() {
    let mut one = trainer(recipe());
    let sound = one.checkpoint().unwrap();
    let said = |trainer: &mut Trainer, bytes: &[u8]| trainer.restore(bytes).unwrap_err().to_string();
    for len in [0, 31, sound.len() / 2, sound.len() - 1] {
        assert!(said(&mut one, &sound[..len]).contains("damaged"), "{len}");
    }
    let mut flipped = sound.clone();
    flipped[1000] ^= 1;
    assert!(said(&mut one, &flipped).contains("damaged"));
    assert!(said(&mut trainer(Recipe { seed: 2, ..recipe() }), &sound).contains("other options"));
    let mut fewer = Trainer::new(recipe(), halves(256), (0..255).collect(), Origin::default()).unwrap();
    assert!(said(&mut fewer, &sound).contains("other images"));
    one.restore(&sound).unwrap();
}

#[test]
fn images_of_any_client_and_their_copies_are_not_used() {
    let mut dataset = halves(40).as_ref().clone();
    // Image 30 is a copy of image 3.
    dataset.pixels.copy_within(3 * 64..4 * 64, 30 * 64);
    let peers =
        vec![PeerIndices { train: vec![1, 3], test: vec![5] }, PeerIndices { train: vec![7], test: vec![9, 39] }];
    let partition = Partition { peers, default_cap: Some((1, 0)) };
    let chosen = choose(&dataset, &[Exclusion::Partition(&partition)]);
    let left_out: Vec<u32> = (0..40).filter(|i| !chosen.contains(i)).collect();
    assert_eq!(left_out, [1, 3, 5, 7, 9, 30, 39]);
    let same = choose(&dataset, &[Exclusion::Dataset(&dataset)]);
    assert!(same.is_empty());
    assert_eq!(choose(&dataset, &[]).len(), 40);
}

/// What is left out has no part in the result: other pixels there give the same generator.
#[test]
fn excluded_images_have_no_part_in_the_weights() {
    let recipe = Recipe { epochs: 1, mapping_epochs: 1, ..recipe() };
    let rows: Vec<u32> = (0..64).collect();
    let id = |dataset: Dataset, rows: &[u32]| {
        let mut trainer = Trainer::new(recipe.clone(), Arc::new(dataset), rows.to_vec(), Origin::default()).unwrap();
        run(&mut trainer);
        trainer.generator().unwrap().id()
    };
    let dataset = halves(80).as_ref().clone();
    let mut other = dataset.clone();
    other.pixels[64 * 64..].fill(99);
    assert_eq!(id(dataset.clone(), &rows), id(other.clone(), &rows));
    assert_ne!(id(dataset, &rows), id(other, &(10..74).collect::<Vec<_>>()));
}

#[test]
fn recipes_that_cannot_work_are_refused() {
    let said = |recipe: Recipe| {
        Trainer::new(recipe, halves(16), (0..16).collect(), Origin::default()).unwrap_err().to_string()
    };
    assert!(said(Recipe { batch: 17, ..recipe() }).contains("16 images are too few"));
    assert!(said(Recipe { latent: 5, ..recipe() }).contains("no halves"));
    assert!(said(Recipe { epochs: 0, ..recipe() }).contains("epochs: 0"));
    assert!(said(Recipe { lr: f32::NAN, ..recipe() }).contains("learning rate: NaN"));
    assert!(said(Recipe { pixel_variance: 0.0, ..recipe() }).contains("pixel variance: 0"));
}
