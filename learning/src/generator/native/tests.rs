#![allow(clippy::unwrap_used)]

use fedswarm_protocol::hash::{Digest, Stream};
use safetensors::tensor::{Dtype, TensorView};

use super::*;
use crate::parameters::initial;

const SHAPE: ImageShape = ImageShape { channels: 3, height: 10, width: 7 };

fn card(precision: Precision) -> Card {
    let mapping = Mapping::Couplings { layers: 3, width: 8 };
    let synthesis = Synthesis::Styled { channels: [4, 3, 2] };
    Card::new(SHAPE, 6, mapping, synthesis, precision, Origin::default()).unwrap()
}

/// A generator of drawn weights, none of them zero.
fn small(precision: Precision) -> Native {
    let card = card(precision);
    let mut weights = initial("generator", &card.specs(), &Digest([1; 32])).unwrap();
    for (i, weight) in weights.iter_mut().enumerate() {
        *weight += 0.001 * (i % 7) as f32;
    }
    Native::new(card, &weights).unwrap()
}

fn stream() -> Stream {
    Stream::new("test", &[])
}

/// What is wrong with these bytes.
fn refused(bytes: &[u8]) -> String {
    Native::from_bytes(bytes).unwrap_err().to_string()
}

/// A safetensors file with this card and these tensors, all zeros.
fn made(card: &str, tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
    let zeros = vec![0u8; 1 << 16];
    let views = tensors.iter().map(|(name, dtype, shape)| {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (*name, TensorView::new(*dtype, shape.to_vec(), &zeros[..bytes]).unwrap())
    });
    let metadata = [("fedswarm-generator".to_owned(), card.to_owned())].into();
    safetensors::serialize(views.collect::<Vec<_>>(), Some(metadata)).unwrap()
}

#[test]
fn a_file_holds_exactly_what_runs() {
    for precision in [Precision::F16, Precision::F32] {
        let generator = small(precision);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.safetensors");
        generator.save(&path).unwrap();
        let loaded = Native::load(&path).unwrap();
        assert_eq!(loaded.card(), generator.card());
        assert_eq!(loaded.id(), generator.id());
        let bits = |g: &Native| g.weights().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(&loaded), bits(&generator), "{precision:?}");
        assert_eq!(loaded.to_bytes().unwrap(), generator.to_bytes().unwrap(), "equal generators, equal files");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }
}

#[test]
fn equal_streams_give_equal_images_and_others_do_not() {
    let generator = small(Precision::F16);
    let draw = |context: &str| {
        let latents = generator.sample(5, &mut Stream::new(context, &[])).unwrap();
        generator.synthesise(&latents).unwrap()
    };
    let images = draw("a");
    assert_eq!(images.len(), 5 * SHAPE.len());
    assert_eq!(images, draw("a"));
    assert_ne!(images, draw("b"));
    assert!(images.iter().all(|p| (-1.0..=1.0).contains(p)));
}

#[test]
fn an_image_does_not_depend_on_what_else_is_in_its_batch() {
    let generator = small(Precision::F16);
    let latents = generator.sample(BATCH + 3, &mut stream()).unwrap();
    let all = generator.synthesise(&latents).unwrap();
    for i in [0, BATCH - 1, BATCH, BATCH + 2] {
        let one = generator.synthesise(&latents[6 * i..6 * (i + 1)]).unwrap();
        let near = one.iter().zip(&all[i * SHAPE.len()..]).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "image {i}");
    }
}

#[test]
fn every_layer_of_the_synthesis_listens_to_w() {
    let card = card(Precision::F16);
    let base = small(Precision::F16).weights().unwrap();
    let latents = small(Precision::F16).sample(1, &mut stream()).unwrap();
    let reference = small(Precision::F16).synthesise(&latents).unwrap();
    let mut at = 0;
    for spec in card.specs() {
        if spec.name.ends_with("style.weight") || spec.name == "synthesis.grid.weight" {
            let mut weights = base.clone();
            weights[at..at + spec.len()].fill(0.0);
            let deaf = Native::new(card.clone(), &weights).unwrap().synthesise(&latents).unwrap();
            assert_ne!(deaf, reference, "{}", spec.name);
        }
        at += spec.len();
    }
}

#[test]
fn the_identity_covers_weights_and_layers_but_not_the_story() {
    let generator = small(Precision::F16);
    let weights = generator.weights().unwrap();
    let mut told = card(Precision::F16);
    told.origin.command = "elsewhere".into();
    assert_eq!(Native::new(told, &weights).unwrap().id(), generator.id());
    let mut other = weights.clone();
    other[100] += 0.01;
    assert_ne!(Native::new(card(Precision::F16), &other).unwrap().id(), generator.id());
    assert_ne!(Native::new(card(Precision::F32), &weights).unwrap().id(), generator.id());
}

/// The likelihood that fitting maximises is that of the vectors that the mapping makes: change of variables, with the
/// Jacobian taken by finite differences.
#[test]
fn the_mapping_s_likelihood_is_that_of_what_it_makes() {
    let generator = small(Precision::F32);
    let z: Vec<f32> = gaussian(&mut stream(), 6);
    let w = generator.map(&z).unwrap();
    let step = 1e-2f32;
    let mut jacobian: Vec<Vec<f64>> = (0..6)
        .map(|i| {
            let moved = |by: f32| {
                let mut z = z.clone();
                z[i] += by;
                generator.map(&z).unwrap()
            };
            moved(step).iter().zip(moved(-step)).map(|(a, b)| f64::from(a - b) / f64::from(2.0 * step)).collect()
        })
        .collect();
    let expected = z.iter().map(|v| f64::from(v * v) / 2.0).sum::<f64>() + determinant(&mut jacobian).abs().ln();
    let specs = generator.mapping.specs();
    let mut layers: Vec<_> =
        specs.chunks(6).zip(generator.mapping.values().chunks(6)).map(|(s, v)| Weights::new("test", s, v)).collect();
    let latents = Tensor::from_data(TensorData::new(w, [1, 6]), &generator.device);
    let found = to_vec(negative_log_likelihood(&mut layers, latents).unwrap()).unwrap()[0];
    assert!((f64::from(found) - expected).abs() < 2e-3, "{found} {expected}");
}

fn determinant(rows: &mut [Vec<f64>]) -> f64 {
    let mut product = 1.0;
    for i in 0..rows.len() {
        let pivot = (i..rows.len()).max_by(|&a, &b| rows[a][i].abs().total_cmp(&rows[b][i].abs())).unwrap();
        if pivot != i {
            rows.swap(i, pivot);
            product = -product;
        }
        product *= rows[i][i];
        let top = rows[i].clone();
        for row in &mut rows[i + 1..] {
            let factor = row[i] / top[i];
            row.iter_mut().zip(&top).for_each(|(x, t)| *x -= factor * t);
        }
    }
    product
}

#[test]
fn latents_that_are_no_whole_vectors_are_refused() {
    let text = small(Precision::F16).synthesise(&[0.0; 13]).unwrap_err().to_string();
    assert_eq!(text, "latent vectors: expected 18 values, found 13");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = small(Precision::F16).to_bytes().unwrap();
    for len in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        let text = refused(&bytes[..len]);
        assert!(text.contains("safetensors"), "{len}: {text}");
    }
    let mut long = bytes;
    long.push(0);
    assert!(refused(&long).contains("safetensors"));
}

#[test]
fn a_file_is_named_in_what_is_said_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    let bytes = small(Precision::F16).to_bytes().unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    assert!(Native::load(&path).unwrap_err().to_string().contains("cut.safetensors"));
    assert!(Native::load(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
}

#[test]
fn a_weight_that_is_not_finite_is_refused_with_its_tensor() {
    let generator = small(Precision::F16);
    let mut weights = generator.weights().unwrap();
    let len = weights.len();
    weights[len - 1] = 1e6; // Infinite in half precision.
    let text = Native::new(card(Precision::F16), &weights).unwrap_err().to_string();
    assert!(text.contains("synthesis.out.bias") && text.contains("1000000"), "{text}");
    Native::new(card(Precision::F32), &weights).unwrap();
    let mut bytes = generator.to_bytes().unwrap();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&half::f16::NAN.to_le_bytes());
    assert!(refused(&bytes).contains("not a finite F16"), "{}", refused(&bytes));
}

#[test]
fn extents_beyond_the_bounds_are_refused_before_anything_is_allocated() {
    let json = serde_json::to_string(&card(Precision::F16)).unwrap();
    for (from, to, words) in [
        (r#""latent":6"#, r#""latent":100000000000"#, "length of a latent vector: 100000000000, expected 2 to 4096"),
        (r#""latent":6"#, r#""latent":7"#, "7 has no halves"),
        ("[3,10,7]", "[3,100000000,7]", "rows of an image: 100000000"),
        ("[3,10,7]", "[0,10,7]", "channels of an image: 0"),
        ("[4,3,2]", "[400,300,200]", "bytes of weights, the whole file has"),
        (r#""layers":3"#, r#""layers":18446744073709551615"#, "couplings of the mapping: 18446744073709551615"),
        ("[4,3,2]", "[4096,4096,4096]", "number of parameters: "),
        (r#""format":1"#, r#""format":2"#, "version 2, this program reads 1"),
        (r#""kind":"styled""#, r#""kind":"magic""#, "unknown variant `magic`"),
        (r#""latent":6"#, r#""latent":6,"extra":1"#, "unknown field `extra`"),
    ] {
        assert!(json.contains(from), "{from}");
        let text = refused(&made(&json.replacen(from, to, 1), &[]));
        assert!(text.contains(words), "{to}: {text}");
    }
    let mut huge = vec![0; 16];
    huge[..8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(refused(&huge).contains("header of 1099511627776 bytes"));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.safetensors");
    std::fs::File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    let text = Native::load(&path).unwrap_err().to_string();
    assert!(text.contains(&(MAX_FILE_BYTES + 1).to_string()) && text.contains("at most"), "{text}");
}

#[test]
fn tensors_that_the_card_does_not_ask_for_are_refused() {
    let json = serde_json::to_string(&card(Precision::F16)).unwrap();
    let specs = card(Precision::F16).specs();
    let sound: Vec<_> = specs.iter().map(|s| (s.name.as_str(), Dtype::F16, s.shape.as_slice())).collect();
    Native::from_bytes(&made(&json, &sound)).unwrap();
    assert!(refused(&made(&json, &sound[1..])).contains("tensor mapping.0.in.weight is missing"));
    let mut odd = sound.clone();
    odd[0].1 = Dtype::F32;
    assert!(refused(&made(&json, &odd)).contains("is F32 [3, 8], expected F16 [3, 8]"));
    let mut odd = sound.clone();
    odd[0].2 = &[8, 3];
    assert!(refused(&made(&json, &odd)).contains("is F16 [8, 3], expected F16 [3, 8]"));
    let mut more = sound;
    more.push(("extra", Dtype::F16, &[1]));
    assert!(refused(&made(&json, &more)).contains("tensor extra is not one"));
    let plain = safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap();
    assert!(refused(&plain).contains("no entry \"fedswarm-generator\""));
}
