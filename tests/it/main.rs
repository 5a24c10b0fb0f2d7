//! End-to-end tests: real processes, real sockets, real images. One file per behaviour.

#![allow(clippy::unwrap_used, missing_docs)]

mod aggregator_killed;
mod bad_input;
mod command;
mod damaged_store;
mod determinism;
mod doctor;
mod generator;
mod generator_host;
mod host_of_a_network;
mod late_joiner;
mod layers;
mod membership;
mod real_nodes;
mod repeats;
mod restart;
mod resume;

mod swarm;
mod verify;
mod verify_node;
mod virtual_hosts;
mod vote_log;
mod votes;
