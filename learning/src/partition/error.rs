//! What can be wrong with a partition.

use std::path::PathBuf;

/// Why a partition could not be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// A parameter is out of its range.
    #[error("{what} is {found}; {expected}")]
    Parameter {
        /// Which parameter.
        what: &'static str,
        /// Its value.
        found: String,
        /// The values that are possible.
        expected: String,
    },
    /// Not enough images for so many peers.
    #[error(
        "{peers} peers cannot share {images} images: each needs at least {least} (one to learn from, one to be tested on), so at most {possible} peers are possible"
    )]
    TooManyPeers {
        /// Peers asked for.
        peers: usize,
        /// Images there are.
        images: usize,
        /// Images that each peer needs.
        least: usize,
        /// Peers that would be possible.
        possible: usize,
    },
    /// One class cannot be dealt to those who are to hold it.
    #[error(
        "class {class} has {images} images, too few to deal random shares of at least {least} to {takers} peers; use fewer peers or fewer classes per peer"
    )]
    ClassTooSmall {
        /// The class number.
        class: usize,
        /// Its images.
        images: usize,
        /// The peers that are to share it.
        takers: usize,
        /// The least share.
        least: u32,
    },
    /// A peer ended up with too little.
    #[error(
        "peer {peer} would get {found} of {images} images and needs at least {least}; use fewer peers or more classes per peer"
    )]
    PeerTooSmall {
        /// The peer.
        peer: usize,
        /// Images it would get.
        found: usize,
        /// Images there are.
        images: usize,
        /// Images it needs.
        least: usize,
    },
    /// No Dirichlet draw gave every peer enough.
    #[error(
        "{tries} Dirichlet draws with alpha {alpha} left some of {peers} peers with fewer than {least} of {images} images (the best draw's poorest peer had {best}); use a larger alpha or fewer peers"
    )]
    DirichletStuck {
        /// Draws made.
        tries: usize,
        /// The concentration.
        alpha: f64,
        /// Peers asked for.
        peers: usize,
        /// Images each needs.
        least: usize,
        /// Images there are.
        images: usize,
        /// The largest minimum seen.
        best: usize,
    },
    /// The partition file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The partition file is larger than the bound.
    #[error("{} has {found} bytes, more than the {limit} that fedswarm accepts for a partition file", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// The file is not JSON of the expected form.
    #[error(
        "{} is no partition file: {source}; expected {{\"clients\": {{\"0\": {{\"train\": [indices], \"test\": [indices]}}, ...}}}}",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
    /// The file was made for other data.
    #[error(
        "{} was made for other data (dataset \"{made_for}\"): its {what} is {expected}, but that of the {images} images loaded is {found}",
        path.display()
    )]
    OtherData {
        /// The file.
        path: PathBuf,
        /// The data set that the file names.
        made_for: String,
        /// What was compared.
        what: &'static str,
        /// The value in the file.
        expected: String,
        /// Images in the loaded data set.
        images: usize,
        /// The loaded data set's value.
        found: String,
    },
    /// An index points past the data.
    #[error(
        "{}: client {client}, {list}[{position}] is {index}, but {dataset} has {images} images: valid are 0 to {}",
        path.display(),
        images.saturating_sub(1)
    )]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// The client's id.
        client: usize,
        /// `train` or `test`.
        list: &'static str,
        /// Position in that list, from 0.
        position: usize,
        /// The index there.
        index: u64,
        /// The data set's name.
        dataset: String,
        /// Its size.
        images: usize,
    },
    /// A client names one image twice.
    #[error("{}: client {client} names image {index} twice (again at {list}[{position}]); each image may be named once in train and test together", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The client's id.
        client: usize,
        /// Where the second mention is.
        list: &'static str,
        /// Its position in that list, from 0.
        position: usize,
        /// The image.
        index: u32,
    },
    /// The client ids are not 0, 1, 2, ...
    #[error("{}: {reason}; clients must be numbered \"0\" to \"{}\"", path.display(), count.saturating_sub(1))]
    Clients {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// How many clients there should be.
        count: usize,
    },
    /// A partition in memory does not fit the data set.
    #[error(
        "peer {peer} owns image {index}, but {dataset} has {images} images: this partition was made for other data"
    )]
    Foreign {
        /// The peer.
        peer: usize,
        /// The index.
        index: u32,
        /// The data set's name.
        dataset: String,
        /// Its size.
        images: usize,
    },
}
