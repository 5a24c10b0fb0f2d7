//! Runs a target on a corpus and on seeded mutants of it, and counts what it allocates.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::values::Draw;

/// Mutants of the corpus for each target in a plain `cargo test`; `FEDSWARM_FUZZ_ITERATIONS` takes its place.
const ITERATIONS: u64 = 20_000;

/// Longest input that mutation makes. Above every limit on the wire, so that the limits are met as well.
const MAX_INPUT: usize = 24 * 1024;

/// Edits that make one mutant, at most.
const MAX_EDITS: usize = 4;

/// How many mutants to try.
pub(crate) fn iterations() -> u64 {
    std::env::var("FEDSWARM_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(ITERATIONS)
}

/// Runs `decode` and fails if it ever held more than `limit` bytes that it had allocated itself.
pub(crate) fn within<T>(limit: u64, decode: impl FnOnce() -> T) -> T {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(decode()));
    assert!(info.bytes_max <= limit, "allocated {} bytes, at most {limit} are allowed", info.bytes_max);
    result.unwrap()
}

/// Where the corpus of a target is.
pub(crate) fn corpus_dir(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/__fuzz__").join(format!("decoders__{target}")).join("corpus")
}

/// Runs a target on mutants of its corpus: bits and bytes changed, integers set to edges, parts cut, doubled and spliced.
/// The same mutants every time.
pub(crate) fn mutate(name: &str, target: impl Fn(&[u8])) {
    let mut files: Vec<_> = fs::read_dir(corpus_dir(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty(), "the corpus of {name} is empty");
    for seed in 0..iterations() {
        let mut draw = Draw::new(name, seed);
        let mut bytes = corpus[draw.below(corpus.len())].clone();
        for _ in 0..1 + draw.below(MAX_EDITS) {
            edit(&mut draw, &mut bytes, &corpus);
        }
        bytes.truncate(MAX_INPUT);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&bytes)));
        if outcome.is_err() {
            let dir = corpus_dir(name).with_file_name("crashes");
            fs::create_dir_all(&dir).unwrap();
            let path = dir.join(format!("seed-{seed}"));
            fs::write(&path, &bytes).unwrap();
            panic!("{name}: mutant {seed} fails, kept as {}", path.display());
        }
    }
}

fn edit(draw: &mut Draw, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    if bytes.is_empty() {
        *bytes = draw.bytes(64);
        return;
    }
    let at = draw.below(bytes.len());
    let len = (1 + draw.below(64)).min(bytes.len() - at);
    match draw.below(8) {
        0 => bytes[at] ^= 1 << draw.below(8),
        1 => bytes[at] = draw.u8(),
        // A length, an index or a count, at the edges of its type.
        2 | 3 => {
            let width = draw.one_of(&[2, 4, 8]);
            let value = draw.u64() >> (64 - 8 * width);
            for (byte, new) in bytes[at..].iter_mut().zip(&value.to_le_bytes()[..width]) {
                *byte = *new;
            }
        }
        4 => {
            bytes.drain(at..at + len);
        }
        5 => {
            let part = bytes[at..at + len].repeat(1 + draw.below(40));
            bytes.splice(at..at, part);
        }
        6 => bytes.truncate(at),
        _ => {
            let other = &corpus[draw.below(corpus.len())];
            let from = draw.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}
