//! `fedswarm generator`: make a generator that a peer can host, or look at one.

mod inspect;
mod train;

use crate::failure::Failure;

/// Make a generator that a peer can host, or look at one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Train a generator on images that are not the members' data.
    Train(train::Args),
    /// Draw samples of a generator and print what its latent vectors are like.
    Inspect(inspect::Args),
}

pub(crate) fn run(command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Train(args) => train::run(args, json),
        Command::Inspect(args) => inspect::run(args, json),
    }
}
