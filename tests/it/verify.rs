//! `fedswarm verify` over the folder of a real run: it passes as it is, and whatever is altered is found and named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fedswarm_node::audit::{FileFinding, audit};
use fedswarm_protocol::bundle;
use fedswarm_protocol::codec;
use fedswarm_protocol::envelope::{Kind, Slot};
use fedswarm_protocol::evidence::{EquivocationProof, EvidenceFile, SignedStatement};
use fedswarm_protocol::hash::{Digest, Stream};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::message::Committed;

use crate::command::{fedswarm, json, stderr, stdout};

const ROUNDS: u64 = 3;

fn simulate(folder: &Path, out: &str, seed: &str) {
    let args =
        ["simulate", "--nodes", "4", "--rounds", "3", "--cap", "20/10", "--no-local-baseline", "--codec", "int8"];
    let output = fedswarm(folder, &[&args[..], &["--seed", seed, "--out", out]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
}

/// One run for all tests, which copy it before they touch it.
fn run() -> &'static Path {
    static RUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        simulate(folder.path(), "run", "1");
        folder
    })
    .path()
}

/// A copy of the run in a folder of its own.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    for inner in ["records", "inputs", "blobs"] {
        fs::create_dir_all(run.join(inner)).unwrap();
        for file in files(&self::run().join("run").join(inner)) {
            fs::copy(&file, run.join(inner).join(file.file_name().unwrap())).unwrap();
        }
    }
    fs::copy(self::run().join("run/network.manifest"), run.join("network.manifest")).unwrap();
    (folder, run)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn findings(run: &Path) -> Vec<FileFinding> {
    audit(run, &mut |_, _| {}).unwrap().findings
}

/// Damages a copy of the run; the first finding must be in this file and about this field, and the command must say so.
fn named(damage: impl FnOnce(&Path), file: &str, field: &str) {
    let (folder, run) = copy();
    damage(&run);
    let first = findings(&run).into_iter().next().expect("the damage is not found");
    assert_eq!((first.file.to_str().unwrap(), first.field.as_str()), (file, field));
    let output = fedswarm(folder.path(), &["verify", "run"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(file) && text.contains(field) && text.contains("expected"), "{text}");
    let value = json(&fedswarm(folder.path(), &["verify", "run", "--json"]));
    assert_eq!((value["holds"].as_bool(), value["findings"][0]["field"].as_str()), (Some(false), Some(field)));
}

fn alter(file: &Path, alter: impl FnOnce(&mut Committed)) {
    let mut committed: Committed = codec::decode(&fs::read(file).unwrap(), codec::MAX_STRUCT_BYTES).unwrap();
    alter(&mut committed);
    fs::write(file, codec::encode(&committed).unwrap()).unwrap();
}

#[test]
fn an_honest_run_is_recomputed_to_the_hash_that_it_reported() {
    let folder = run();
    let output = fedswarm(folder, &["verify", "run", "--all", "--verbose"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(text.contains("round 2: recomputed from 4 signed updates"), "{text}");
    assert!(text.contains("3 rounds") && text.contains("3 recomputed from their signed inputs, all certificates hold"));
    let value = json(&fedswarm(folder, &["verify", "run", "--json"]));
    let results: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("run/results.json")).unwrap()).unwrap();
    assert_eq!(value["state_hash"], results["summary"]["state_hash"]);
    assert_eq!((value["recomputed"].as_u64(), value["holds"].as_bool()), (Some(ROUNDS), Some(true)));
}

#[test]
fn one_flipped_bit_anywhere_is_found_in_its_file() {
    let (_folder, run) = copy();
    let mut stream = Stream::new("positions of bits", &[]);
    for (inner, per_file) in [("records", 12), ("inputs", 12), ("blobs", 2)] {
        for file in files(&run.join(inner)).into_iter().filter(|file| !file.ends_with("kept-from")) {
            let bytes = fs::read(&file).unwrap();
            let bits = bytes.len() as u64 * 8;
            // Spread over the whole file, ends included.
            let spread = (0..per_file).map(|i| i * (bits - 1) / (per_file - 1));
            let drawn: Vec<u64> = (0..per_file).map(|_| stream.below(bits)).collect();
            for bit in spread.chain(drawn) {
                let mut altered = bytes.clone();
                altered[(bit / 8) as usize] ^= 1 << (bit % 8);
                fs::write(&file, &altered).unwrap();
                let found = findings(&run);
                let first = found.first().unwrap_or_else(|| panic!("bit {bit} of {} is not found", file.display()));
                assert_eq!(run.join(&first.file), file, "bit {bit}: {first:?}");
            }
            fs::write(&file, &bytes).unwrap();
        }
    }
    assert_eq!(findings(&run), []);
}

#[test]
fn dropped_files_are_named() {
    for (file, field) in
        [("records/round-00002.record", "record: file"), ("inputs/round-00002.messages", "inputs: file")]
    {
        named(|run| fs::remove_file(run.join(file)).unwrap(), file, field);
    }
    named(
        |run| fs::remove_file(run.join("records/round-00003.record")).unwrap(),
        "records/round-00003.record",
        "record: file",
    );
    let (_folder, run) = copy();
    for blob in files(&run.join("blobs")) {
        let bytes = fs::read(&blob).unwrap();
        fs::remove_file(&blob).unwrap();
        // A model that every round gives again is not needed; a payload is.
        if let Some(first) = findings(&run).first() {
            assert_eq!(run.join(&first.file), blob);
            assert!(first.field.starts_with("payload of member") && first.field.ends_with(": file"), "{first:?}");
        } else {
            let records: Vec<Vec<u8>> = files(&run.join("records")).iter().map(|f| fs::read(f).unwrap()).collect();
            let root = Digest::from_hex(blob.file_name().unwrap().to_str().unwrap()).unwrap();
            let is_model = |bytes: &Vec<u8>| bytes.windows(32).any(|w| w == root.0);
            assert!(records.iter().any(is_model), "{}", blob.display());
        }
        fs::write(&blob, bytes).unwrap();
    }
}

#[test]
fn a_dropped_input_and_a_swapped_receipt_are_named() {
    let file = "inputs/round-00002.messages";
    // The list without one of its messages, or with that of another round in its place.
    let rewrite = |run: &Path, which: (Kind, u16), from: Option<&str>| {
        let own = fs::read(run.join(file)).unwrap();
        let other = from.map(|from| fs::read(run.join(from)).unwrap());
        let magic = b"fedswarm inputs 1\n";
        let mut out = magic.to_vec();
        for packed in bundle::unpack(&own).unwrap() {
            let mut bytes = Some(packed.bytes.to_vec());
            if (packed.slot.kind, packed.author) == which {
                bytes = other.as_ref().map(|other| {
                    let same = bundle::unpack(other).unwrap().into_iter();
                    same.filter(|p| (p.slot.kind, p.author) == which).map(|p| p.bytes.to_vec()).next().unwrap()
                });
            }
            if let Some(bytes) = bytes {
                out.extend((bytes.len() as u32).to_le_bytes());
                out.extend(bytes);
            }
        }
        fs::write(run.join(file), out).unwrap();
    };
    named(|run| rewrite(run, (Kind::Update, 3), None), file, "update of member 3: message");
    let bytes = fs::read(run().join("run").join(file)).unwrap();
    let messages = bundle::unpack(&bytes).unwrap();
    let signer = messages.iter().find(|p| p.slot.kind == Kind::Receipt).unwrap().author;
    named(|run| rewrite(run, (Kind::Receipt, signer), None), file, &format!("receipt of member {signer}: message"));
    let from = Some("inputs/round-00001.messages");
    named(|run| rewrite(run, (Kind::Update, 3), from), file, "update of member 3: round");
    // Two quorums of four share a signer.
    let before = fs::read(run().join("run/inputs/round-00001.messages")).unwrap();
    let before = bundle::unpack(&before).unwrap();
    let signed_both = |p: &&bundle::Packed<'_>| {
        p.slot.kind == Kind::Receipt && before.iter().any(|q| (q.slot.kind, q.author) == (Kind::Receipt, p.author))
    };
    let signer = messages.iter().find(signed_both).unwrap().author;
    let field = format!("receipt of member {signer}: round");
    named(|run| rewrite(run, (Kind::Receipt, signer), from), file, &field);
}

#[test]
fn a_forged_signature_and_a_certificate_one_signature_short_are_named() {
    let file = "records/round-00002.record";
    named(|run| alter(&run.join(file), |c| c.certificate.votes.truncate(2)), file, "certificate: votes");
    let forge = |c: &mut Committed| c.certificate.votes[1].1 = c.certificate.votes[0].1;
    let committed: Committed =
        codec::decode(&fs::read(run().join("run").join(file)).unwrap(), codec::MAX_STRUCT_BYTES).unwrap();
    let field = format!("certificate: votes[1] of member {}", committed.certificate.votes[1].0);
    named(|run| alter(&run.join(file), forge), file, &field);
    named(|run| alter(&run.join(file), |c| c.record.model_root.0[0] ^= 1), file, "record: model_root");
    named(|run| alter(&run.join(file), |c| c.record.seed_fold.0[0] ^= 1), file, "record: seed_fold");
}

#[test]
fn a_record_of_another_network_is_named() {
    let other = tempfile::tempdir().unwrap();
    simulate(other.path(), "other", "2");
    let file = "records/round-00003.record";
    named(
        |run| {
            fs::copy(other.path().join("other").join(file), run.join(file)).unwrap();
        },
        file,
        "record: network",
    );
    // A second run into the same folder leaves nothing of the first.
    simulate(other.path(), "other", "3");
    assert_eq!(findings(&other.path().join("other")), []);
}

#[test]
fn without_its_inputs_a_run_is_checked_by_chain_and_certificate_and_says_so() {
    let (folder, run) = copy();
    fs::remove_dir_all(run.join("inputs")).unwrap();
    fs::remove_dir_all(run.join("blobs")).unwrap();
    let output = fedswarm(folder.path(), &["verify", "run"]);
    assert!(output.status.success());
    assert!(
        stdout(&output).contains("3 checked by chain and certificate, inputs no longer kept"),
        "{}",
        stdout(&output)
    );
    assert_eq!(fedswarm(folder.path(), &["verify", "run", "--all"]).status.code(), Some(1));
}

#[test]
fn what_cannot_be_verified_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("text"), "hello").unwrap();
    for (path, word) in [("nowhere", "no such folder"), ("empty", "network.manifest"), ("text", "not an evidence file")]
    {
        let output = fedswarm(folder.path(), &["verify", path]);
        assert_eq!(output.status.code(), Some(2), "{path}");
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
}

#[test]
fn a_proof_of_equivocation_is_a_file_that_anyone_can_check() {
    let folder = tempfile::tempdir().unwrap();
    let (key, network) = (SecretKey::from_bytes(&[3; 32]), Digest([7; 32]));
    let slot = Slot { kind: Kind::Notarize, epoch: 1, round: 17, view: 2 };
    let sign = |body| SignedStatement::sign(&key, &network, &slot, Digest([body; 32]));
    let proof = EquivocationProof { author: key.public(), statements: [sign(1), sign(2)] };
    let mut file = EvidenceFile { network, proof };
    fs::write(folder.path().join("proof"), file.to_bytes().unwrap()).unwrap();
    let output = fedswarm(folder.path(), &["verify", "proof"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains(&key.public().to_string()) && text.contains("round 17"), "{text}");
    file.proof.author = SecretKey::from_bytes(&[4; 32]).public();
    fs::write(folder.path().join("slander"), file.to_bytes().unwrap()).unwrap();
    let output = fedswarm(folder.path(), &["verify", "slander"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("proves nothing"), "{}", stderr(&output));
}
