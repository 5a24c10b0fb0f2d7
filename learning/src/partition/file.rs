//! Partition files: JSON with one pair of index lists per client.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::{Partition, PartitionError, PeerIndices};
use crate::data::Dataset;

/// Largest partition file in bytes. Too low refuses partitions of many millions of images (about 8 bytes each).
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// What is read of a file; other fields tell people where it came from.
#[derive(Deserialize)]
struct Contents {
    #[serde(default)]
    dataset: Option<String>,
    #[serde(default)]
    num_clients: Option<usize>,
    #[serde(default)]
    labels_sha256: Option<String>,
    #[serde(default)]
    cap: Option<Cap>,
    clients: BTreeMap<String, Lists>,
}

#[derive(Deserialize)]
struct Cap {
    train: usize,
    test: usize,
}

#[derive(Deserialize)]
struct Lists {
    // Wider than an index can be, so that one out of range is reported as that and not as bad JSON.
    train: Vec<u64>,
    test: Vec<u64>,
    /// Images per class, train and test together.
    #[serde(default)]
    label_counts: Option<BTreeMap<String, u64>>,
}

pub(super) fn load(path: &Path, dataset: &Dataset) -> Result<Partition, PartitionError> {
    let contents = read(path)?;
    let other_data = |what, expected: String, found: String| PartitionError::OtherData {
        path: path.to_path_buf(),
        made_for: contents.dataset.clone().unwrap_or_else(|| "unnamed".into()),
        what,
        expected,
        images: dataset.len(),
        found,
    };
    if let Some(expected) = &contents.labels_sha256 {
        let found = dataset.labels_sha256();
        if !expected.eq_ignore_ascii_case(&found) {
            return Err(other_data("labels_sha256", expected.clone(), found));
        }
    }
    let count = contents.num_clients.unwrap_or(contents.clients.len());
    let clients = |reason| PartitionError::Clients { path: path.to_path_buf(), reason, count };
    if contents.clients.is_empty() || count != contents.clients.len() {
        return Err(clients(format!("num_clients is {count}, but {} clients are listed", contents.clients.len())));
    }
    let mut peers = Vec::with_capacity(contents.clients.len());
    for client in 0..count {
        let lists =
            contents.clients.get(&client.to_string()).ok_or_else(|| clients(format!("client {client} is missing")))?;
        let reader = ListReader { path, dataset, client };
        let mut seen = HashSet::with_capacity(lists.train.len() + lists.test.len());
        let peer = PeerIndices {
            train: reader.indices("train", &lists.train, &mut seen)?,
            test: reader.indices("test", &lists.test, &mut seen)?,
        };
        if let Some(expected) = &lists.label_counts {
            let found = counts(&peer, dataset);
            let expected: BTreeMap<String, u64> =
                expected.iter().filter(|(_, n)| **n > 0).map(|(class, n)| (class.clone(), *n)).collect();
            if expected != found {
                return Err(other_data("label_counts of one client", format!("{expected:?}"), format!("{found:?}")));
            }
        }
        peers.push(peer);
    }
    Ok(Partition { peers, default_cap: contents.cap.map(|cap| (cap.train, cap.test)) })
}

fn read(path: &Path) -> Result<Contents, PartitionError> {
    let io = |source| PartitionError::Io { path: path.to_path_buf(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?.len();
    if found > MAX_FILE_BYTES {
        return Err(PartitionError::FileTooLarge { path: path.to_path_buf(), found, limit: MAX_FILE_BYTES });
    }
    file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(io)?;
    serde_json::from_slice(&text).map_err(|source| PartitionError::Malformed { path: path.to_path_buf(), source })
}

/// Checks one client's lists.
struct ListReader<'a> {
    path: &'a Path,
    dataset: &'a Dataset,
    client: usize,
}

impl ListReader<'_> {
    fn indices(&self, list: &'static str, raw: &[u64], seen: &mut HashSet<u32>) -> Result<Vec<u32>, PartitionError> {
        let Self { path, dataset, client } = *self;
        let mut out = Vec::with_capacity(raw.len());
        for (position, &index) in raw.iter().enumerate() {
            let index = match u32::try_from(index) {
                Ok(small) if (small as usize) < dataset.len() => small,
                _ => {
                    let (dataset, images) = (dataset.name.clone(), dataset.len());
                    let path = path.to_path_buf();
                    return Err(PartitionError::OutOfRange { path, client, list, position, index, dataset, images });
                }
            };
            if !seen.insert(index) {
                return Err(PartitionError::Duplicate { path: path.to_path_buf(), client, list, position, index });
            }
            out.push(index);
        }
        Ok(out)
    }
}

/// Images per class that a client holds, without the classes it does not hold.
fn counts(peer: &PeerIndices, dataset: &Dataset) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for &index in peer.train.iter().chain(&peer.test) {
        *counts.entry(dataset.labels[index as usize].to_string()).or_default() += 1;
    }
    counts
}
