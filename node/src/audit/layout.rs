//! Where things are in a folder that can be audited. `docs/src/verify.md` describes it for people.

use std::path::PathBuf;

use fedswarm_protocol::hash::Digest;

/// The network's manifest.
pub const MANIFEST: &str = "network.manifest";
/// A simulation's records, one file per round.
pub const RECORDS: &str = "records";
/// A simulation's signed inputs, one file per round.
pub const INPUTS: &str = "inputs";
/// Payloads and models, each under its digest.
pub const BLOBS: &str = "blobs";
/// A node's records and signed inputs.
pub const STORE: &str = "node.redb";
/// In [`INPUTS`]: the first round of those that are kept without a gap.
pub const KEPT_FROM: &str = "kept-from";

/// A round's record.
#[must_use]
pub fn record_file(round: u64) -> PathBuf {
    PathBuf::from(RECORDS).join(format!("round-{round:05}.record"))
}

/// A round's signed inputs.
#[must_use]
pub fn inputs_file(round: u64) -> PathBuf {
    PathBuf::from(INPUTS).join(format!("round-{round:05}.messages"))
}

/// A payload or model.
#[must_use]
pub fn blob_file(root: &Digest) -> PathBuf {
    PathBuf::from(BLOBS).join(root.to_string())
}

/// The round of a file like `round-00012.record`.
#[must_use]
pub fn round_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("round-")?.strip_suffix(".record")?;
    let round: u64 = number.parse().ok()?;
    (record_file(round).file_name()?.to_str()? == name).then_some(round)
}
