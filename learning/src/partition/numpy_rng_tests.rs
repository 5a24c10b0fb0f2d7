#![allow(clippy::unwrap_used)]

use serde_json::Value;

use super::{NumpyRng, pairwise_sum};

fn golden() -> Value {
    serde_json::from_str(include_str!("numpy_rng_golden.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().parse().unwrap()).collect()
}

fn integers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

/// Equal to the last bit: the golden decimals are exact, and Rust reads decimals exactly.
fn assert_same(got: &[f64], want: &[f64]) {
    assert_eq!(got, want);
}

#[test]
fn seeding_gives_numpys_words_for_small_large_and_wide_seeds() {
    for case in golden()["words"].as_array().unwrap() {
        let seed = match &case["seed"] {
            Value::Array(words) => words[0].as_u64().unwrap() | words[1].as_u64().unwrap() << 32,
            seed => seed.as_u64().unwrap(),
        };
        let mut rng = NumpyRng::seed(seed);
        let words: Vec<u32> = (0..700).map(|_| rng.u32()).collect();
        assert_eq!(words[696..], integers(&case["u32"]), "seed {seed}");
    }
}

#[test]
fn distributions_are_numpys_to_the_last_bit() {
    let golden = golden();
    let mut rng = NumpyRng::seed(1);
    assert_same(&[(); 4].map(|()| rng.double()), &floats(&golden["doubles_seed1"]));
    let mut rng = NumpyRng::seed(2);
    assert_same(&[(); 5].map(|()| rng.gauss()), &floats(&golden["gauss_seed2"]));
    let mut rng = NumpyRng::seed(2);
    assert_same(&[(); 4].map(|()| rng.exponential()), &floats(&golden["exponential_seed2"]));
    for case in golden["gamma_seed5"].as_array().unwrap() {
        let shape = case["shape"].as_f64().unwrap();
        let mut rng = NumpyRng::seed(5);
        assert_same(&[(); 6].map(|()| rng.gamma(shape)), &floats(&case["values"]));
    }
    let mut rng = NumpyRng::seed(6);
    for case in golden["dirichlet_seed6"].as_array().unwrap() {
        assert_same(&rng.dirichlet(case["alpha"].as_f64().unwrap(), 7), &floats(&case["values"]));
    }
}

#[test]
fn shuffle_permutation_and_randint_continue_one_stream() {
    let golden = golden();
    let mut rng = NumpyRng::seed(7);
    let mut items: Vec<u32> = (0..23).collect();
    rng.shuffle(&mut items);
    assert_eq!(items, integers(&golden["shuffle_seed7"]));
    assert_eq!(rng.permutation(9), integers(&golden["permutation_after"]));
    // NumPy cuts real bounds: 175.0 and 1750.0 here.
    assert_eq!(rng.randint(175, 1750, 6), integers(&golden["randint_after"]));
    assert_eq!(rng.randint(5, 6, 2), integers(&golden["randint_single_value"]));
    assert_same(&[rng.double()], &floats(&golden["double_after"]));
}

#[test]
fn sums_round_as_numpys_do() {
    let mut rng = NumpyRng::seed(8);
    for case in golden()["sums_seed8"].as_array().unwrap() {
        let values: Vec<f64> = (0..case["len"].as_u64().unwrap()).map(|_| rng.double()).collect();
        assert_same(&[pairwise_sum(&values)], &floats(&case["sum"]));
    }
}
