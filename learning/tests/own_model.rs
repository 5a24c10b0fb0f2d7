//! The worked example runs, and learns.

#[path = "../examples/own_model.rs"]
mod own_model;

#[test]
fn an_architecture_from_outside_the_crate_learns_in_a_mixture() {
    if let Err(error) = own_model::main() {
        panic!("{error}");
    }
}
