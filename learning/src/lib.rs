//! What a peer learns: data, models, methods.
//!
//! * [`architectures`]: feature extractors by name, and the trait with which a user brings their own.
//! * [`methods`]: what is trained and shared, one file per method, written like its paper's algorithm box.
//! * [`parameters`]: weights as flat vectors, so that merging, checkpoints and files treat every model alike.
//! * [`data`] and [`partition`]: labelled images, and who holds which.
//! * [`device`]: where tensors live.
//! * [`generator`] and [`transfer`]: pretrained generators, and what peers learn from them.
//! * [`export`]: trained models as safetensors files.

#![forbid(unsafe_code)]

pub mod architectures;
pub mod certified;
pub mod data;
pub mod device;
mod error;
pub mod export;
pub mod generator;
mod kernels;
pub mod methods;
pub mod parameters;
pub mod partition;
pub mod training;
pub mod transfer;

pub use error::Error;
pub use kernels::rates;
