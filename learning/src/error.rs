//! What can go wrong in learning.

use std::path::PathBuf;

use fedswarm_protocol::merge::MergeError;
use fedswarm_protocol::prototypes::PrototypeError;
use fedswarm_protocol::tensor::TensorError;

/// An error of this crate: what is wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that no registry entry has.
    #[error("unknown {kind} {name:?}; known: {known}")]
    Unknown {
        /// What was looked for, such as `architecture`.
        kind: &'static str,
        /// The name that was given.
        name: String,
        /// The names that exist, comma-separated.
        known: String,
    },
    /// A method option that does not exist or has a bad value.
    #[error("method {method}: {reason}")]
    Option {
        /// The method's name.
        method: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// An architecture that does not fit its input, or whose code and declaration disagree.
    #[error("architecture {name}: {reason}")]
    Architecture {
        /// The architecture's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A peer's set-up that its method cannot work with.
    #[error("cannot set up a member: {0}")]
    Setup(String),
    /// A device that this build does not have.
    #[error("device {device:?} is not in this build: rebuild with `--features {device}`")]
    DeviceMissing {
        /// The device, which is also the name of its cargo feature.
        device: &'static str,
    },
    /// A vector of the wrong length.
    #[error("{what}: expected {expected} values, found {found}")]
    Length {
        /// What the vector holds.
        what: &'static str,
        /// How many values it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// Training produced numbers that are not finite; the member is as it was before.
    #[error(
        "training diverged: the loss is {loss} after {steps} steps (try a smaller learning rate or a gradient clip)"
    )]
    Diverged {
        /// The mean loss.
        loss: f32,
        /// Steps taken.
        steps: u32,
    },
    /// Training was told to stop; the member is as it was before.
    #[error("training was cancelled")]
    Cancelled,
    /// Bytes that are not a checkpoint of this member.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// Named tensors that are not this member's.
    #[error("tensors: {0}")]
    Tensors(String),
    /// A model file that cannot be read or written.
    #[error("model file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A device that failed to hand data back.
    #[error("device: {0}")]
    Device(String),
    /// A generator that cannot be read, built or run.
    #[error("generator: {0}")]
    Generator(String),
    /// Updates that cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Prototypes that the protocol refuses.
    #[error(transparent)]
    Prototypes(#[from] PrototypeError),
    /// A schema or vector that the protocol refuses.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
