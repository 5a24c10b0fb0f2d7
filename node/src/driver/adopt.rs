//! Files of an earlier run.

use std::collections::BTreeMap;

use fedswarm_network::BlobId;
use fedswarm_protocol::bundle;
use fedswarm_protocol::envelope::Verifier;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::Committed;

use crate::Error;
use crate::blobs::Blobs;
use crate::store::Store;

/// Finds out which rounds the files of an earlier run belong to, so that they go when their rounds do.
pub(super) fn adopt_files(store: &Store, blobs: &Blobs, genesis: &Digest) -> Result<(), Error> {
    let files = blobs.files()?;
    if files.is_empty() {
        return Ok(());
    }
    let next = store.head()?.map_or(0, |head| head.record.round) + 1;
    let mut rounds = BTreeMap::from([(BlobId(*genesis), 0)]);
    let inputs = store.inputs()?;
    let from = inputs.first().map_or(next, |(round, _)| round.saturating_sub(1));
    // What is damaged is for an audit to find; here it only means that a file stays longer.
    for committed in store.records_from(from).unwrap_or_default() {
        let Committed { record, body, .. } = &committed;
        let artefact = body.artefact.map(|artefact| artefact.blob_root);
        for root in [record.model_root, record.protos_root].into_iter().chain(artefact) {
            rounds.insert(BlobId(root), record.round);
        }
    }
    for (round, bytes) in inputs {
        let updates = bundle::unpack(&bytes).unwrap_or_default();
        for header in updates.iter().filter_map(|packed| Verifier::stored_update(packed.bytes)) {
            rounds.insert(BlobId(header.wire_root), round);
        }
    }
    for id in files {
        blobs.adopt(id, rounds.get(&id).copied().unwrap_or(next));
    }
    Ok(())
}
