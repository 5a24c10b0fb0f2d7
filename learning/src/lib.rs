//! What a peer learns: data, models, methods.

pub mod data;
pub mod partition;
