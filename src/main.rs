//! The `fedswarm` command.
fn main() {}
