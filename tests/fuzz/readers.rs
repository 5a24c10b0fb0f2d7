//! Every reader of files in `learning`, `network`, `node` and `simulations`.

use std::fs;
use std::path::{Path, PathBuf};

use fedswarm_learning::data::{DataError, Dataset};
use fedswarm_learning::export;
use fedswarm_learning::generator::Native;
use fedswarm_learning::partition::Partition;
use fedswarm_network::key_file;
use fedswarm_node::invitation::{Invitation, Joining};
use fedswarm_node::run_config::RunConfig;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::membership::Role;
use fedswarm_protocol::tensor::MAX_COORDINATES;
use fedswarm_simulations::results::Results;
use fedswarm_simulations::scenario::Scenario;

use crate::common::world::World;
use crate::harness::{files, iterations, mutate, within};

/// Mutants of each kind of file in a plain `cargo test`.
const ITERATIONS: u64 = 1_500;

/// What a text file of a few kilobytes may allocate: values, and an error that quotes it.
const TEXT_LIMIT: u64 = 4 << 20;

/// What an invitation may allocate: its bytes, its manifest, and the genesis state of that.
/// Its manifest may ask for the largest model that there is.
const INVITATION_LIMIT: u64 = 12 * MAX_COORDINATES as u64 + (1 << 20);

/// What a data set may allocate on a header's word alone, twice (images and labels), and some for the file itself.
const DATA_LIMIT: u64 = ((2 * 64) << 20) + (8 << 20);

/// What a model file of some hundred kilobytes may allocate: its bytes, its tensors, and a header that was read twice.
const MODEL_LIMIT: u64 = 16 << 20;

/// A folder in memory, if there is one, that a target writes its mutants to.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Valid files for a reader.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name))
}

/// The first of them.
fn seed(name: &str) -> Vec<u8> {
    seeds(name).swap_remove(0)
}

/// Has `read` read valid files, which must be well, and mutants of them from `file`, in a folder that `setup` has filled.
fn check<T, E: std::fmt::Debug>(
    name: &str,
    file: &str,
    limit: u64,
    setup: impl Fn(&Path),
    read: impl Fn(&Path) -> Result<T, E>,
) {
    let folder = folder();
    let path: PathBuf = folder.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    setup(folder.path());
    let valid = seeds(name);
    for bytes in &valid {
        fs::write(&path, bytes).unwrap();
        read(&path).expect("a valid file is read");
    }
    mutate(name, iterations(ITERATIONS), &valid, |bytes| {
        fs::write(&path, bytes).unwrap();
        within(limit, || drop(read(&path)));
    });
}

fn nothing(_: &Path) {}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
}

/// The folder that a file is in, as a data set.
fn around(file: &Path) -> Result<Dataset, DataError> {
    Dataset::load(file.parent().unwrap())
}

#[test]
fn idx_images() {
    let labels = |folder: &Path| put(folder, "train-labels-idx1-ubyte", &seeds("idx_labels")[1]);
    check("idx_images", "train-images-idx3-ubyte", DATA_LIMIT, labels, around);
}

#[test]
fn idx_labels() {
    let images = |folder: &Path| put(folder, "train-images-idx3-ubyte", &seeds("idx_images")[1]);
    check("idx_labels", "train-labels-idx1-ubyte", DATA_LIMIT, images, around);
}

#[test]
fn cifar() {
    let others = |folder: &Path| {
        for i in 1..=5 {
            put(folder, &format!("data_batch_{i}.bin"), &seed("cifar"));
        }
    };
    check("cifar", "test_batch.bin", DATA_LIMIT, others, around);
}

#[test]
fn npz() {
    check("npz", "data.npz", DATA_LIMIT, nothing, Dataset::load);
}

#[test]
fn pictures() {
    let others = |folder: &Path| {
        for class in ["cat", "dog"] {
            fs::create_dir_all(folder.join(class)).unwrap();
            put(&folder.join(class), "a.png", &seeds("pictures")[1]);
        }
    };
    check("pictures", "cat/b.png", DATA_LIMIT, others, |file| around(file.parent().unwrap()));
}

#[test]
fn partition_file() {
    let data = Dataset::bundled().unwrap();
    check("partition_file", "partition.json", TEXT_LIMIT, nothing, |path| Partition::load(path, &data));
}

#[test]
fn model_file() {
    check("model_file", "model.safetensors", MODEL_LIMIT, nothing, export::load);
}

#[test]
fn generator_file() {
    check("generator_file", "generator.safetensors", MODEL_LIMIT, nothing, Native::load);
}

#[test]
fn generator_npz() {
    check("generator_npz", "generator.npz", MODEL_LIMIT, nothing, Native::load_npz);
}

#[cfg(unix)]
#[test]
fn secret_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |folder: &Path| {
        put(folder, "key", b"");
        fs::set_permissions(folder.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    };
    check("secret_key", "key", TEXT_LIMIT, mode, key_file::load_or_create);
}

#[test]
fn run_config() {
    check("run_config", "node.toml", TEXT_LIMIT, nothing, RunConfig::load);
}

#[test]
fn invitation() {
    check("invitation", "cleo.invitation", INVITATION_LIMIT, nothing, Invitation::load);
}

#[test]
fn joining() {
    let World { manifest, .. } = World::new(4);
    let key = SecretKey::from_bytes(&[7; 32]);
    check("joining", "join", INVITATION_LIMIT, nothing, |path| Joining::load(path, &manifest, &key));
}

/// Writes the seeds of the two above, whose bytes no script can make.
#[test]
#[ignore = "only after a change of format"]
fn write_invitation_seeds() {
    let founder = SecretKey::from_bytes(&[1; 32]);
    let World { manifest, .. } = World::new(4);
    let invitation =
        Invitation::new(&manifest, &founder, Role::Voter, 500, None, vec!["/ip4/192.0.2.7/tcp/4001".into()]);
    let invitation = invitation.unwrap();
    let joining = invitation.accept(&manifest, &SecretKey::from_bytes(&[7; 32]), "cleo").unwrap();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
    for (kind, name) in [("invitation", "cleo"), ("joining", "cleo")] {
        fs::create_dir_all(seeds.join(kind)).unwrap();
        drop(fs::remove_file(seeds.join(kind).join(name)));
    }
    invitation.save(&seeds.join("invitation/cleo")).unwrap();
    joining.save(&seeds.join("joining/cleo")).unwrap();
}

#[test]
fn scenario() {
    // Checking it as well: a number that cannot work is an error, too.
    check("scenario", "scenario.toml", TEXT_LIMIT, nothing, |path| {
        Scenario::load(path).map(|s| s.resolved(None).is_ok())
    });
}

#[test]
fn results() {
    check("results", "results.json", TEXT_LIMIT, nothing, |path| Results::read(path.parent().unwrap()));
}
