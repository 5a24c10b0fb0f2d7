//! Runs a target on a corpus and on seeded mutants of it, and counts what it allocates.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::values::Draw;

/// Longest input that mutation makes. Above every limit on the wire, so that the limits are met as well.
const MAX_INPUT: usize = 24 * 1024;

/// Edits that make one mutant, at most.
const MAX_EDITS: usize = 4;

/// How many mutants to try, unless the environment says otherwise.
pub(crate) fn iterations(usual: u64) -> u64 {
    std::env::var("FEDSWARM_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Runs `decode` and fails if it ever held more than `limit` bytes that it had allocated itself.
pub(crate) fn within<T>(limit: u64, decode: impl FnOnce() -> T) -> T {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(decode()));
    assert!(info.bytes_max <= limit, "allocated {} bytes, at most {limit} are allowed", info.bytes_max);
    result.unwrap()
}

/// Where the corpus of a target and what made it fail are kept; bolero looks there, too.
pub(crate) fn kept(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/__fuzz__").join(format!("decoders__{target}"))
}

/// All files of a folder, in the order of their names.
pub(crate) fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs a target on mutants of valid inputs: bits and bytes changed, integers set to edges, parts cut, doubled and
/// spliced. The same mutants every time.
pub(crate) fn mutate(name: &str, iterations: u64, valid: &[Vec<u8>], target: impl Fn(&[u8])) {
    assert!(!valid.is_empty(), "{name} has nothing to begin with");
    for seed in 0..iterations {
        let mut draw = Draw::new(name, seed);
        let mut bytes = valid[draw.below(valid.len())].clone();
        for _ in 0..1 + draw.below(MAX_EDITS) {
            edit(&mut draw, &mut bytes, valid);
        }
        bytes.truncate(MAX_INPUT);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&bytes)));
        if outcome.is_err() {
            let dir = kept(name).join("crashes");
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
