//! What peers say and agree on: pure, without I/O, clock, entropy or floats in agreed state.

pub mod blob;
pub mod hash;
pub mod tensor;
