//! Background work: fetching and merging.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fedswarm_network::{BlobId, Network, NodeId, Partial};
use fedswarm_protocol::envelope::Verified;
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::merge::{Merge, Merged};
use fedswarm_protocol::message::UpdateHeader;
use fedswarm_protocol::payload as wire_payload;
use fedswarm_protocol::round::{Input, MergeInput};
use fedswarm_protocol::summary::{Derivation, LoadError};
use tokio::sync::watch;
use tokio::task::JoinError;

use super::{Driver, Report};
use crate::blobs::{Blob, Blobs};
use crate::{Error, payload};

/// Pause before a failed fetch is tried again; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Messages of a round that are remembered as checked. Too low and a signature is checked twice; it bounds what replays can
/// make us hold (at most 16 KiB each).
const MAX_SEEN: usize = 8 * 1024;

/// Payloads that are checked at a time. Each takes two or three times its size in memory.
pub(super) const CHECKS: usize = 1;

/// Who is said to hold something that is being fetched: more may be named meanwhile, and are asked at once. Dropped, it is wanted
/// no more.
pub(super) type Holders = watch::Sender<Vec<NodeId>>;

/// The end of [`Holders`] with which something is fetched.
pub(super) type HeldBy = watch::Receiver<Vec<NodeId>>;

/// Messages of this round and the one before whose signatures were checked already. They are let in again all the same: the
/// machine knows what it holds, and what it had no room for, or no use, it may need when it comes again.
#[derive(Debug, Default)]
pub(super) struct Seen {
    round: u64,
    now: HashMap<Digest, Verified>,
    before: HashMap<Digest, Verified>,
}

impl Seen {
    /// The message in these bytes, if they were checked before.
    pub(super) fn get(&self, bytes: &[u8]) -> Option<Verified> {
        let id = hash("seen", bytes);
        self.now.get(&id).or_else(|| self.before.get(&id)).cloned()
    }

    pub(super) fn remember(&mut self, message: &Verified, round: u64) {
        if round != self.round || self.now.len() >= MAX_SEEN {
            self.round = round;
            self.before = std::mem::take(&mut self.now);
        }
        self.now.insert(hash("seen", message.bytes()), message.clone());
    }
}

/// Background work that panicked. One that was cancelled is nobody's fault: the node is being stopped.
pub(super) fn lost(error: &JoinError, work: &'static str) {
    if error.is_panic() {
        tracing::error!(%error, work, "background work failed");
    }
}

impl Driver {
    pub(super) fn node_ids(&self, members: &[u16]) -> Vec<NodeId> {
        members.iter().filter_map(|m| self.members.get(usize::from(*m))).copied().collect()
    }

    /// Fetches and checks a payload; asked again, only the list of holders grows.
    pub(super) fn fetch(&mut self, author: u16, statement: Digest, header: UpdateHeader, holders: &[u16]) {
        let holders = self.node_ids(holders);
        if let Some(known) = self.fetching.get(&(author, statement)) {
            known.send_replace(holders);
            return;
        }
        let (told, holders) = watch::channel(holders);
        self.fetching.insert((author, statement), told);
        let (network, blobs, manifest) = (self.network.clone(), Arc::clone(&self.blobs), Arc::clone(&self.manifest));
        let (reports, round, checking) = (self.reports.clone(), self.round.subscribe(), Arc::clone(&self.checking));
        let voters: Vec<NodeId> = self.members.iter().take(self.state.committee().voters()).copied().collect();
        tokio::spawn(async move {
            let (id, len) = (BlobId(header.wire_root), u64::from(header.wire_len));
            let mine = *round.borrow();
            // It may have been stored before a restart, and nobody else may have it.
            let here = blobs.place(&id);
            let fetched = match here {
                Some(_) => None,
                None => match fetch_until(&network, &blobs, id, len, (&holders, &voters), round).await {
                    Some(wire) => Some(wire),
                    None => return,
                },
            };
            // One at a time: a payload takes memory while it is checked. The semaphore is never closed.
            let Ok(turn) = checking.acquire_owned().await else { return };
            let checked = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let loaded = here.and_then(|place| place.load()).map(|blob| blob.bytes.clone());
                // Nothing is fetched of an empty one, whatever its name.
                let empty = || (len == 0).then(Vec::new);
                let Some(wire) = loaded.or_else(|| fetched.and_then(Partial::into_bytes)).or_else(empty) else {
                    return Ok(Err(Error::Corrupt(format!("{id} was stored and cannot be read again"))));
                };
                payload::check(&manifest, &header, &wire)?;
                Ok::<_, payload::Mismatch>(blobs.insert(wire, mine))
            });
            let valid = match checked.await {
                Ok(Ok(Ok(_))) => true,
                Ok(Err(mismatch)) => {
                    tracing::warn!(author, mismatch, "an update is not what its author signed for");
                    false
                }
                // Not the author's fault: without a place to store payloads this member cannot sign for them.
                Ok(Ok(Err(error))) => return drop(reports.send(Report::Fatal(error)).await),
                Err(error) => return lost(&error, "checking a payload"),
            };
            drop(reports.send(Report::Input(Input::Payload { author, statement, valid })).await);
        });
    }

    /// Merges stored payloads onto the base.
    pub(super) fn merge(
        &self,
        mine: u64,
        inputs_root: Digest,
        base: Digest,
        inputs: &[MergeInput],
    ) -> Result<(), Error> {
        // The job holds what is in memory itself: what is pruned while it waits for a thread does not concern it. Files stay for
        // rounds after this one.
        let wires: Option<Vec<_>> = inputs
            .iter()
            .map(|i| self.blobs.place(&BlobId(i.wire_root)).map(|wire| (wire, i.author, i.weight)))
            .collect();
        let Some(wires) = wires else {
            // The machine may have gone on in the same breath; nobody waits for this merge then.
            let over = self.state.position().0 > mine;
            return if over { Ok(()) } else { Err(Error::Corrupt("a payload that was stored is gone".to_owned())) };
        };
        let (blobs, manifest, reports) = (Arc::clone(&self.blobs), Arc::clone(&self.manifest), self.reports.clone());
        let (network, round, stopwatch) = (self.network.clone(), self.round.subscribe(), self.pace.stopwatch());
        let members: Vec<PublicKey> = self.members.iter().map(|member| PublicKey(member.0)).collect();
        let (_, holders) = watch::channel(self.members.clone());
        tokio::spawn(async move {
            let derivation = manifest.derivation();
            let load = |bytes: &[u8], find: Find<'_>| derivation.load(bytes, find);
            let base = match obtain_state(&network, &blobs, &derivation, BlobId(base), &holders, round, load).await {
                Ok(Some((_, base))) => base,
                Ok(None) => return,
                Err(error) => return drop(reports.send(Report::Fatal(error)).await),
            };
            let began = Instant::now();
            let merged = tokio::task::spawn_blocking(move || -> Result<Option<Merged>, Error> {
                let broken = |e: &dyn std::fmt::Display| Error::Corrupt(e.to_string());
                let mut merge = Merge::new(&manifest);
                // One input after the other is read, decoded and forgotten: memory does not grow with their number.
                for (wire, author, weight) in wires {
                    let gone = || Error::Corrupt("a payload that was stored is gone".to_owned());
                    let wire = wire.load().ok_or_else(gone)?;
                    let payload = wire_payload::decode(&manifest, &wire.bytes).map_err(|e| broken(&e))?;
                    if merge.add(author, &payload, weight).is_err() {
                        return Ok(None);
                    }
                }
                let Ok(result) = merge.finish(&base, &members) else { return Ok(None) };
                let mut made = result.state.to_blobs().into_iter();
                let merged = result.named(blobs.insert(made.next().unwrap_or_default(), mine)?.0);
                for part in made {
                    blobs.insert(part, mine)?;
                }
                if merged.prototypes.count > 0 {
                    blobs.insert(result.prototypes, mine)?;
                }
                Ok(Some(merged))
            });
            match merged.await {
                Ok(Ok(merged)) => {
                    stopwatch.merge(began.elapsed());
                    drop(reports.send(Report::Input(Input::Merged { inputs_root, merged })).await);
                }
                Ok(Err(error)) => drop(reports.send(Report::Fatal(error)).await),
                Err(error) => lost(&error, "a merge"),
            }
        });
        Ok(())
    }
}

/// A blob, from here or from others; nothing once the round is over. Whoever has it keeps it, whatever is pruned meanwhile.
pub(super) async fn obtain(
    network: &Network,
    blobs: &Blobs,
    id: BlobId,
    len: u64,
    holders: &HeldBy,
    round: watch::Receiver<u64>,
) -> Result<Option<Arc<Blob>>, Error> {
    if let Some(blob) = blobs.get(&id) {
        return Ok(Some(blob));
    }
    let mine = *round.borrow();
    let Some(fetched) = fetch_until(network, blobs, id, len, (holders, &[]), round).await else { return Ok(None) };
    let empty = || (len == 0).then(Vec::new);
    let bytes = fetched.into_bytes().or_else(empty);
    let bytes = bytes.ok_or_else(|| Error::Corrupt(format!("{id} was fetched and cannot be read again")))?;
    blobs.insert(bytes, mine)?;
    Ok(blobs.get(&id))
}

/// Finds a part of a certified state by its root.
pub(super) type Find<'a> = &'a mut dyn FnMut(&Digest) -> Option<Vec<u8>>;

/// A certified state's own blob, and what `load` makes of it once the parts that it asks for have been got; nothing once the round is
/// over.
pub(super) async fn obtain_state<T>(
    network: &Network,
    blobs: &Blobs,
    derivation: &Derivation,
    root: BlobId,
    holders: &HeldBy,
    round: watch::Receiver<u64>,
    load: impl Fn(&[u8], Find<'_>) -> Result<T, LoadError>,
) -> Result<Option<(Arc<Blob>, T)>, Error> {
    let (mine, len) = (*round.borrow(), derivation.state_len());
    let Some(state) = obtain(network, blobs, root, len, holders, round.clone()).await? else { return Ok(None) };
    loop {
        let mut find = |root: &Digest| {
            blobs.keep(&BlobId(*root), mine);
            blobs.get(&BlobId(*root)).map(|blob| blob.bytes.clone())
        };
        match load(&state.bytes, &mut find) {
            Ok(loaded) => return Ok(Some((state, loaded))),
            Err(LoadError::Missing { root, len }) => {
                if obtain(network, blobs, BlobId(root), len, holders, round.clone()).await?.is_none() {
                    return Ok(None);
                }
            }
            Err(error) => return Err(Error::Corrupt(error.to_string())),
        }
    }
}

/// Fetches until it succeeds or nobody has the other end of the list of holders any more. Nothing but background work may use this:
/// it outlives rounds.
pub(super) async fn fetch_while_wanted(network: &Network, id: BlobId, len: u64, holders: &HeldBy) -> Option<Vec<u8>> {
    let (mut blob, mut wanted) = (Partial::new(id, len), holders.clone());
    tokio::select! {
        biased;
        () = async { while wanted.changed().await.is_ok() {} } => None,
        () = fetch_on(network, &mut blob, holders, &[]) => blob.into_bytes(),
    }
}

/// Fetches until it succeeds or the round is over; what it gives is whole. Once those who are said to hold it have failed, the
/// others are asked too: they may have got it meanwhile, and may be reached straight where the holders are not.
async fn fetch_until(
    network: &Network,
    blobs: &Blobs,
    id: BlobId,
    len: u64,
    (holders, others): (&HeldBy, &[NodeId]),
    mut round: watch::Receiver<u64>,
) -> Option<Partial> {
    let mut blob = blobs.partial(id, len);
    if len == 0 {
        return Some(blob);
    }
    tokio::select! {
        biased;
        _ = round.changed() => None,
        () = fetch_on(network, &mut blob, holders, others) => Some(blob),
    }
}

/// Fetches until it succeeds, with growing pauses in between, which end when more holders are named. From the second attempt on the
/// others are asked too. Whoever does not want the blob any more drops this.
async fn fetch_on(network: &Network, blob: &mut Partial, holders: &HeldBy, others: &[NodeId]) {
    let (mut pause, mut holders, mut besides) = (FIRST_PAUSE, holders.clone(), &[][..]);
    loop {
        holders.mark_unchanged();
        let asked = match besides {
            [] => holders.clone(),
            _ => watch::channel([holders.borrow().as_slice(), besides].concat()).1,
        };
        match network.fetch_rest(blob, &asked).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "fetch failed"),
        }
        tokio::select! {
            Ok(()) = holders.changed() => {}
            () = tokio::time::sleep(pause) => pause = (2 * pause).min(MAX_PAUSE),
        }
        besides = others;
    }
}
