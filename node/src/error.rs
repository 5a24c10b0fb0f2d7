//! What can go wrong in a node.

use std::path::PathBuf;

/// An error of this crate: what is wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder that cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A setting that cannot work.
    #[error("{0}")]
    Config(String),
    /// The store on disk.
    #[error("store: {0}")]
    Store(String),
    /// Stored things that do not belong together.
    #[error("{0}")]
    Corrupt(String),
    /// A key that has spoken, without the log of what it said.
    #[error(
        "{} does not hold the vote log of key {}: {reason}. With another log this member might say two things, for which \
         it is evicted, so it does not start. Put the folder back as it was; or, if it is lost, rejoin as somebody new: make \
         a key (fedswarm network key), let a member invite it (fedswarm network invite) and join with that (fedswarm network \
         join). Only if all members start over together, delete {}",
        folder.display(), key.display(), mark.display()
    )]
    VoteLog {
        /// The key file.
        key: PathBuf,
        /// The node's folder.
        folder: PathBuf,
        /// What the key remembers of its log.
        mark: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The network.
    #[error(transparent)]
    Network(#[from] fedswarm_network::Error),
    /// The key file.
    #[error(transparent)]
    Key(#[from] fedswarm_network::key_file::KeyError),
    /// Learning.
    #[error(transparent)]
    Learning(#[from] fedswarm_learning::Error),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] fedswarm_protocol::manifest::ManifestError),
    /// A message that cannot be built.
    #[error(transparent)]
    Envelope(#[from] fedswarm_protocol::envelope::EnvelopeError),
}

impl Error {
    /// A file error.
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }
}

/// Every storage error of redb means the same to a node: stop before anything unsaved is said.
macro_rules! store_errors {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Error {
            fn from(error: $kind) -> Self {
                Self::Store(error.to_string())
            }
        })*
    };
}

store_errors!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);
