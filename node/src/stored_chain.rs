//! A stopped node's records and signed inputs, to look at and not to change.

use std::path::Path;

use redb::{Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase as _, ReadableTable as _};

use crate::Error;
use crate::store::{INPUTS, RECORDS};

/// A node's records and inputs as they stand on disk, for those who check them.
pub(crate) struct StoredChain {
    database: ReadOnlyDatabase,
    /// A copy is gone once it is no longer needed.
    _copy: Option<tempfile::TempDir>,
}

impl std::fmt::Debug for StoredChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredChain")
    }
}

impl StoredChain {
    /// Opens the store of a stopped node; nothing in it is changed.
    ///
    /// # Errors
    /// [`Error::File`] if the node is running, [`Error::Store`] if it is no store.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        match ReadOnlyDatabase::open(path) {
            Ok(database) => Ok(Self { database, _copy: None }),
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                let text =
                    "in use by a running node; stop the node, or verify a copy that was made while it was stopped";
                Err(Error::file(path, text))
            }
            // The node was killed. The repair that it would do itself is done on a copy.
            Err(DatabaseError::RepairAborted) => Self::open_copy(path),
            Err(error) => Err(Error::Store(format!("{}: {error}", path.display()))),
        }
    }

    fn open_copy(path: &Path) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(|e| Error::file(std::env::temp_dir(), e))?;
        let copy = folder.path().join("node.redb");
        std::fs::copy(path, &copy).map_err(|e| Error::file(path, e))?;
        drop(Database::open(&copy)?);
        Ok(Self { database: ReadOnlyDatabase::open(&copy)?, _copy: Some(folder) })
    }

    /// Rounds that have a record, ascending.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) fn rounds(&self) -> Result<Vec<u64>, Error> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        table.iter()?.map(|entry| Ok(entry?.0.value())).collect()
    }

    /// The stored bytes of a record.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) fn record(&self, round: u64) -> Result<Option<Vec<u8>>, Error> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        Ok(table.get(round)?.map(|bytes| bytes.value().to_vec()))
    }

    /// The packed inputs of a record, if they are kept.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) fn inputs(&self, round: u64) -> Result<Option<Vec<u8>>, Error> {
        let table = match self.database.begin_read()?.open_table(INPUTS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        Ok(table.get(round)?.map(|bytes| bytes.value().to_vec()))
    }
}
