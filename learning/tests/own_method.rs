//! The worked example of the book's chapter on methods runs, and learns.

#[path = "../examples/own_method.rs"]
mod own_method;

#[test]
fn a_method_from_outside_the_crate_learns_what_no_shared_head_could() {
    if let Err(error) = own_method::main() {
        panic!("{error}");
    }
}
