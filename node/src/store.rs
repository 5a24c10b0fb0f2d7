//! What a node must not forget: its own signed statements, and the certified records.
//!
//! A statement is durable before it is on the wire (redb commits with an fsync), so that a restarted node says the same again
//! and never something else.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fedswarm_protocol::bundle;
use fedswarm_protocol::codec;
use fedswarm_protocol::envelope::Verified;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::message::Committed;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::{Error, identity};

/// Own statements: (round, sequence) to message bytes.
const STATEMENTS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("statements");
/// Certified records with their proofs, by round.
pub(crate) const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// Signed inputs of records, packed ([`fedswarm_protocol::bundle`]), by round.
pub(crate) const INPUTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("inputs");
/// The member's private state as of its last update: (round, checkpoint).
const PRIVATE: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("private");
/// The committee of the round after the last record.
const COMMITTEE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("committee");
/// Rounds of the records that close an epoch, by epoch.
const CLOSING: TableDefinition<'_, u32, u64> = TableDefinition::new("closing");
/// The only key of [`PRIVATE`] and [`COMMITTEE`].
const LAST: &str = "last";
/// Which network the store belongs to, and for which key.
const IDENTITY: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("identity");

/// Bytes of the file that a store keeps in memory; redb's own choice is a gigabyte, which a long run fills with records that nobody
/// asks for again. More, and these pages, which live for hundreds of rounds, lie scattered between what lives for one; less, and a
/// step reads what the one before it wrote from the system's cache instead.
const CACHE_BYTES: usize = 256 * 1024;

/// Largest stored record.
const MAX_RECORD_BYTES: usize = codec::MAX_STRUCT_BYTES;

/// Where a node's statements and records are.
#[derive(Debug)]
pub struct Store(Kind);

#[derive(Debug)]
enum Kind {
    Disk(Database),
    /// For simulations whose nodes live as long as their process.
    Memory(Mutex<Memory>),
}

#[derive(Debug, Default)]
struct Memory {
    statements: Vec<(u64, Vec<u8>)>,
    records: Vec<Committed>,
    committee: Option<Committee>,
}

impl Store {
    /// A store that dies with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Kind::Memory(Mutex::default()))
    }

    /// Opens or creates a store on disk for one network and key.
    ///
    /// # Errors
    /// [`Error::Store`] if it cannot be opened (another process may have it), [`Error::Corrupt`] if it belongs to another
    /// network or key.
    pub fn open(path: &Path, network: &[u8; 32], key: &[u8; 32]) -> Result<Self, Error> {
        // A damaged file is an error here; a plain open would trust it.
        let mut builder = Database::builder();
        builder.set_check_integrity_on_open(true).set_cache_size(CACHE_BYTES);
        let database = builder.create(path).map_err(|e| match e {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                Error::Store(format!("{}: {e}; is another node running on it?", path.display()))
            }
            _ => Error::file(path, format!("{e}; without it this node says nothing: put it back as it was")),
        })?;
        let write = database.begin_write()?;
        {
            write.open_table(STATEMENTS)?;
            write.open_table(RECORDS)?;
            write.open_table(INPUTS)?;
            write.open_table(PRIVATE)?;
            write.open_table(COMMITTEE)?;
            write.open_table(CLOSING)?;
            let mut identity = write.open_table(IDENTITY)?;
            for (name, mine) in [("network", network), ("key", key)] {
                let found = identity.get(name)?.map(|v| v.value().to_vec());
                match found {
                    None => drop(identity.insert(name, mine.as_slice())?),
                    Some(other) if other != mine => {
                        let text =
                            format!("{} belongs to another {name}; give this node its own folder", path.display());
                        return Err(Error::Corrupt(text));
                    }
                    Some(_) => {}
                }
            }
            let known = identity.get("log")?.is_some();
            if !known {
                identity.insert("log", identity::entropy()?.as_slice())?;
            }
        }
        write.commit()?;
        Ok(Self(Kind::Disk(database)))
    }

    /// What tells this log of statements from any other: drawn when the store was made. In memory there is none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn log_id(&self) -> Result<Option<Digest>, Error> {
        let Kind::Disk(database) = &self.0 else { return Ok(None) };
        let table = database.begin_read()?.open_table(IDENTITY)?;
        let id = table.get("log")?.and_then(|found| <[u8; 32]>::try_from(found.value()).ok());
        id.map(|id| Some(Digest(id))).ok_or_else(|| Error::Corrupt("the store's own id is damaged".to_owned()))
    }

    /// Makes a statement durable.
    ///
    /// # Errors
    /// [`Error::Store`]; the statement must then not be sent.
    pub fn keep_statement(&self, round: u64, bytes: &[u8]) -> Result<(), Error> {
        self.keep_with(round, bytes, &[])
    }

    /// Makes a statement durable together with the messages that it rests on; they come before it.
    ///
    /// # Errors
    /// [`Error::Store`]; the statement must then not be sent.
    pub fn keep_with(&self, round: u64, bytes: &[u8], rests_on: &[(u64, Vec<u8>)]) -> Result<(), Error> {
        match &self.0 {
            Kind::Memory(memory) => {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.statements.retain(|(r, _)| *r + 1 >= round);
                memory.statements.extend_from_slice(rests_on);
                memory.statements.push((round, bytes.to_vec()));
                Ok(())
            }
            Kind::Disk(database) => {
                let write = database.begin_write()?;
                for (round, bytes) in rests_on {
                    insert_statement(&write, *round, bytes)?;
                }
                insert_statement(&write, round, bytes)?;
                write.commit()?;
                Ok(())
            }
        }
    }

    /// True if there is a place for checkpoints; without one they need not be made.
    #[must_use]
    pub const fn keeps_checkpoints(&self) -> bool {
        matches!(self.0, Kind::Disk(_))
    }

    /// Makes an update durable together with the private state that it came from: a restarted member then sends the same
    /// update again, and never trains a second one for the round.
    ///
    /// # Errors
    /// [`Error::Store`]; the update must then not be sent.
    pub fn keep_update(&self, round: u64, bytes: &[u8], checkpoint: Option<&[u8]>) -> Result<(), Error> {
        let (Kind::Disk(database), Some(checkpoint)) = (&self.0, checkpoint) else {
            return self.keep_statement(round, bytes);
        };
        let write = database.begin_write()?;
        write.open_table(PRIVATE)?.insert(LAST, (round, checkpoint))?;
        insert_statement(&write, round, bytes)?;
        write.commit()?;
        Ok(())
    }

    /// The member's private state as of its last update.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, Error> {
        let Kind::Disk(database) = &self.0 else { return Ok(None) };
        let table = database.begin_read()?.open_table(PRIVATE)?;
        Ok(table.get(LAST)?.map(|entry| entry.value().1.to_vec()))
    }

    /// Own statements of a round, in the order in which they were made.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn statements(&self, round: u64) -> Result<Vec<Vec<u8>>, Error> {
        match &self.0 {
            Kind::Memory(memory) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(memory.statements.iter().filter(|(r, _)| *r == round).map(|(_, b)| b.clone()).collect())
            }
            Kind::Disk(database) => {
                let table = database.begin_read()?.open_table(STATEMENTS)?;
                let mut out = Vec::new();
                for entry in table.range((round, 0)..=(round, u32::MAX))? {
                    out.push(entry?.1.value().to_vec());
                }
                Ok(out)
            }
        }
    }

    /// Makes a record final on disk together with its signed inputs (none if empty), and forgets statements of rounds before
    /// it and inputs of rounds before `inputs_from`. In memory no inputs are kept.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn commit(
        &self,
        committed: &Committed,
        inputs: &[Verified],
        inputs_from: u64,
        next: Option<&Committee>,
    ) -> Result<(), Error> {
        let round = committed.record.round;
        match &self.0 {
            Kind::Memory(memory) => {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.records.push(committed.clone());
                if let Some(next) = next {
                    memory.committee = Some(next.clone());
                }
                Ok(())
            }
            Kind::Disk(database) => {
                let bytes = codec::encode(committed).map_err(|e| Error::Store(e.to_string()))?;
                let write = database.begin_write()?;
                {
                    write.open_table(RECORDS)?.insert(round, bytes.as_slice())?;
                    let mut kept = write.open_table(INPUTS)?;
                    if !inputs.is_empty() {
                        kept.insert(round, bundle::pack(inputs).as_slice())?;
                    }
                    kept.retain(|round, _| round >= inputs_from)?;
                    let mut statements = write.open_table(STATEMENTS)?;
                    statements.retain(|key, _| key.0 >= round)?;
                    if let Some(next) = next {
                        let bytes = codec::encode(next).map_err(|e| Error::Store(e.to_string()))?;
                        write.open_table(COMMITTEE)?.insert(LAST, bytes.as_slice())?;
                        write.open_table(CLOSING)?.insert(committed.record.epoch, round)?;
                    }
                }
                write.commit()?;
                Ok(())
            }
        }
    }

    /// The committee of the round after the last record; nothing before the first epoch has ended.
    ///
    /// # Errors
    /// [`Error::Store`], or [`Error::Corrupt`] for bytes that are no committee.
    pub fn committee(&self) -> Result<Option<Committee>, Error> {
        match &self.0 {
            Kind::Memory(memory) => Ok(memory.lock().unwrap_or_else(PoisonError::into_inner).committee.clone()),
            Kind::Disk(database) => {
                let table = database.begin_read()?.open_table(COMMITTEE)?;
                let Some(bytes) = table.get(LAST)? else { return Ok(None) };
                codec::decode_committee(bytes.value())
                    .map(Some)
                    .map_err(|e| Error::Corrupt(format!("the stored committee is damaged: {e}")))
            }
        }
    }

    /// The first few records, in order, that close an epoch, from this epoch on: the way to the present for whoever is there.
    ///
    /// # Errors
    /// As [`Store::records`].
    pub fn closing_records(&self, epoch: u32, most: usize) -> Result<Vec<Committed>, Error> {
        match &self.0 {
            Kind::Memory(memory) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                let closing = memory.records.iter().filter(|c| c.record.closes_epoch && c.record.epoch >= epoch);
                Ok(closing.take(most).cloned().collect())
            }
            Kind::Disk(database) => {
                let read = database.begin_read()?;
                let (closing, records) = (read.open_table(CLOSING)?, read.open_table(RECORDS)?);
                let mut out = Vec::new();
                for entry in closing.range(epoch..)?.take(most) {
                    let round = entry?.1.value();
                    if let Some(bytes) = records.get(round)? {
                        out.push(read_record(round, bytes.value())?);
                    }
                }
                Ok(out)
            }
        }
    }

    /// The last record that closes an epoch.
    ///
    /// # Errors
    /// As [`Store::records`].
    pub fn last_closing_record(&self) -> Result<Option<Committed>, Error> {
        match &self.0 {
            Kind::Memory(memory) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(memory.records.iter().rev().find(|c| c.record.closes_epoch).cloned())
            }
            Kind::Disk(database) => {
                let read = database.begin_read()?;
                let Some(round) = read.open_table(CLOSING)?.last()?.map(|(_, round)| round.value()) else {
                    return Ok(None);
                };
                let records = read.open_table(RECORDS)?;
                let found = records.get(round)?;
                found.map(|bytes| read_record(round, bytes.value())).transpose()
            }
        }
    }

    /// Hands the store over to another key of the same member.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn rebind(&self, key: &[u8; 32]) -> Result<(), Error> {
        if let Kind::Disk(database) = &self.0 {
            let write = database.begin_write()?;
            write.open_table(IDENTITY)?.insert("key", key.as_slice())?;
            write.commit()?;
        }
        Ok(())
    }

    /// All records, by round.
    ///
    /// # Errors
    /// [`Error::Store`], or [`Error::Corrupt`] for bytes that are no record.
    pub fn records(&self) -> Result<Vec<Committed>, Error> {
        self.records_from(0)
    }

    /// Records of this round and later ones.
    ///
    /// # Errors
    /// As [`Store::records`].
    pub fn records_from(&self, from: u64) -> Result<Vec<Committed>, Error> {
        match &self.0 {
            Kind::Memory(memory) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(memory.records.iter().filter(|committed| committed.record.round >= from).cloned().collect())
            }
            Kind::Disk(database) => {
                let table = database.begin_read()?.open_table(RECORDS)?;
                let mut out = Vec::new();
                for entry in table.range(from..)? {
                    let (round, bytes) = entry?;
                    out.push(read_record(round.value(), bytes.value())?);
                }
                Ok(out)
            }
        }
    }

    /// The packed inputs that are kept, by round.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn inputs(&self) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let Kind::Disk(database) = &self.0 else { return Ok(Vec::new()) };
        let table = database.begin_read()?.open_table(INPUTS)?;
        table
            .iter()?
            .map(|entry| entry.map(|(round, bytes)| (round.value(), bytes.value().to_vec())))
            .map(|e| Ok(e?))
            .collect()
    }

    /// The last record.
    ///
    /// # Errors
    /// As [`Store::records`].
    pub fn head(&self) -> Result<Option<Committed>, Error> {
        match &self.0 {
            Kind::Memory(_) => Ok(self.records()?.pop()),
            Kind::Disk(database) => {
                let table = database.begin_read()?.open_table(RECORDS)?;
                let Some((round, bytes)) = table.last()? else { return Ok(None) };
                read_record(round.value(), bytes.value()).map(Some)
            }
        }
    }
}

fn read_record(round: u64, bytes: &[u8]) -> Result<Committed, Error> {
    codec::decode(bytes, MAX_RECORD_BYTES)
        .map_err(|e| Error::Corrupt(format!("the stored record of round {round} is damaged: {e}")))
}

fn insert_statement(write: &redb::WriteTransaction, round: u64, bytes: &[u8]) -> Result<(), Error> {
    let mut table = write.open_table(STATEMENTS)?;
    let last = table.range((round, 0)..=(round, u32::MAX))?.next_back().transpose()?;
    let next = last.map_or(0, |(key, _)| key.value().1.saturating_add(1));
    table.insert((round, next), bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn statements_come_back_in_order_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.redb");
        {
            let store = Store::open(&path, &[1; 32], &[2; 32]).unwrap();
            for i in 0..12u8 {
                store.keep_statement(3, &[i]).unwrap();
            }
            store.keep_statement(4, &[99]).unwrap();
        }
        let store = Store::open(&path, &[1; 32], &[2; 32]).unwrap();
        assert_eq!(store.statements(3).unwrap(), (0..12u8).map(|i| vec![i]).collect::<Vec<_>>());
        assert_eq!(store.statements(4).unwrap(), [vec![99]]);
        assert!(store.head().unwrap().is_none());
    }

    #[test]
    fn what_a_statement_rests_on_comes_back_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.redb");
        Store::open(&path, &[1; 32], &[2; 32]).unwrap().keep_with(3, b"vote", &[(3, b"proof".to_vec())]).unwrap();
        let store = Store::open(&path, &[1; 32], &[2; 32]).unwrap();
        assert_eq!(store.statements(3).unwrap(), [b"proof".to_vec(), b"vote".to_vec()]);
    }

    #[test]
    fn an_update_and_the_state_it_came_from_are_kept_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.redb");
        {
            let store = Store::open(&path, &[1; 32], &[2; 32]).unwrap();
            assert!(store.checkpoint().unwrap().is_none());
            store.keep_update(1, b"first", Some(b"state 1")).unwrap();
            store.keep_update(2, b"second", Some(b"state 2")).unwrap();
        }
        let store = Store::open(&path, &[1; 32], &[2; 32]).unwrap();
        assert_eq!(store.statements(2).unwrap(), [b"second"]);
        assert_eq!(store.checkpoint().unwrap().unwrap(), b"state 2");
    }

    #[test]
    fn a_store_of_another_key_or_network_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.redb");
        drop(Store::open(&path, &[1; 32], &[2; 32]).unwrap());
        let text = Store::open(&path, &[1; 32], &[3; 32]).unwrap_err().to_string();
        assert!(text.contains("another key"), "{text}");
        let text = Store::open(&path, &[9; 32], &[2; 32]).unwrap_err().to_string();
        assert!(text.contains("another network"), "{text}");
    }

    #[test]
    fn two_nodes_cannot_share_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.redb");
        let _first = Store::open(&path, &[1; 32], &[2; 32]).unwrap();
        let text = Store::open(&path, &[1; 32], &[2; 32]).unwrap_err().to_string();
        assert!(text.contains("another node"), "{text}");
    }
}
