//! `fedswarm network invite` and `join`.

use std::path::PathBuf;

use clap::ValueEnum;
use fedswarm_learning::data::BUNDLED;
use fedswarm_node::invitation::Invitation;
use fedswarm_node::member_folder::{self, CONFIG, Papers};
use fedswarm_node::run_config::{self, RunConfig};
use fedswarm_node::status::NodeStatus;
use fedswarm_node::{files, founding, identity};
use fedswarm_protocol::membership::{self, Admission};
use serde_json::json;

use crate::failure::Failure;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Votes, aggregates and contributes; at most 64.
    Voter,
    /// Contributes, without a vote.
    Contributor,
}

/// Signs an invitation for one newcomer. Hand the file over in confidence: whoever has it can join once. Needs no connection;
/// the node's folder says where the network stands and how it is reached.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm network invite --config node.toml --out cleo.invitation")]
pub(crate) struct Invite {
    /// Configuration of the inviting member's node.
    #[arg(long, value_name = "FILE", default_value = "node.toml")]
    config: PathBuf,
    /// What the newcomer will be.
    #[arg(long, value_enum, default_value = "voter")]
    role: Role,
    /// Rounds for which the invitation is good.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    valid_rounds: u64,
    /// An address of the network, ending in `/p2p/PEER`; once for each. Default: the node's own and its entry points.
    #[arg(long = "address", value_name = "MULTIADDR")]
    addresses: Vec<String>,
    /// The invitation file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Invite {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        let config = RunConfig::load(&self.config)?;
        let manifest = founding::load(&config.manifest)?;
        let secret = identity::load_or_create(&config.key)?;
        let status = NodeStatus::load(&config.folder)?;
        let addresses = if self.addresses.is_empty() {
            // Loopback addresses are of use on this machine only; without others they are better than nothing.
            let own = status.addresses.iter().filter(|a| !a.starts_with("/ip4/127.") && !a.starts_with("/ip6/::1/"));
            let mut all: Vec<String> = own.chain(&config.bootstraps).cloned().collect();
            if all.is_empty() {
                all.clone_from(&status.addresses);
            }
            all
        } else {
            RunConfig::addresses(&self.addresses)?;
            self.addresses.clone()
        };
        let role = match self.role {
            Role::Voter => membership::Role::Voter,
            Role::Contributor => membership::Role::Contributor,
        };
        let expires = status.round.saturating_add(self.valid_rounds);
        let invitation = Invitation::new(&manifest, &secret, role, expires, status.checkpoint(), addresses.clone())?;
        invitation.save(&self.out)?;
        if json {
            println!(
                "{}",
                json!({
                    "file": self.out, "expires_after_round": expires, "addresses": addresses,
                    "admission": super::admission_name(manifest.admission),
                })
            );
        } else {
            println!("{}: good for one newcomer to {:?}, until round {expires}", self.out.display(), manifest.name);
            println!("The newcomer runs: fedswarm network join {}", super::file_name(&self.out));
            if manifest.admission == Admission::Vote {
                println!(
                    "Once its node runs, a quorum of the voters must approve it, you too: fedswarm network approve"
                );
            }
        }
        Ok(())
    }
}

/// Accepts an invitation: makes a key, and writes a folder with all that the node of a new member needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm network join cleo.invitation --name cleo --data images --start")]
pub(crate) struct Join {
    /// The invitation.
    invitation: PathBuf,
    /// Your name, for people.
    #[arg(long, default_value = "")]
    name: String,
    /// Your images: a path, or `bundled`. Without it, write into the configuration where they are.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The folder to write [default: the network's name].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run the node at once.
    #[arg(long, requires = "data")]
    pub(super) start: bool,
}

impl Join {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        let (invitation, manifest) = Invitation::load(&self.invitation)?;
        if let Some(path) = &self.data {
            run_config::images(path, &manifest)?;
        }
        let out = self.out.clone().unwrap_or_else(|| member_folder::name_for(&manifest.name).into());
        let mut key = None;
        let papers = member_folder::make::<Failure>(&out, |secret| {
            key = Some(secret.public());
            Ok(Papers {
                joining: Some(invitation.accept(&manifest, secret, &self.name)?),
                manifest,
                invitations: Vec::new(),
                bootstraps: invitation.addresses.clone(),
                generator: None,
                data: self.data.as_deref().map(|path| files::absolute(path, &[BUNDLED])).transpose()?,
            })
        })?;
        let (manifest, config) = (papers.manifest, out.join(CONFIG));
        let public = key.map(|key| key.to_string()).unwrap_or_default();
        if json {
            let admission = super::admission_name(manifest.admission);
            println!("{}", json!({ "config": config, "public_key": public, "admission": admission }));
        } else {
            let t = &manifest.task;
            println!("{}: a configuration for {:?}", config.display(), manifest.name);
            println!("images     {}x{}x{}, {} classes", t.channels, t.height, t.width, t.classes.len());
            if manifest.admission == Admission::Vote {
                println!(
                    "The voters decide whether you come in: once your node runs it waits until a quorum of them has approved. \
                     Each does so with: fedswarm network approve {public}"
                );
            }
        }
        super::start_or_say(&config, self.start, self.data.is_some(), json)
    }
}
