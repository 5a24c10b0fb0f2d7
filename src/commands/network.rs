//! `fedswarm network`: found a network, look at one, decide who belongs to it.

use std::path::{Path, PathBuf};

use fedswarm_network::NodeId;
use fedswarm_node::{founding, identity};
use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::Admission;
use serde_json::json;

use crate::failure::Failure;

/// Found a network, look at one, decide who belongs to it.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a node's key file, if there is none, and print its public key.
    Key {
        /// The key file; keep it, and keep it secret.
        #[arg(long, value_name = "FILE", default_value = "node.key")]
        key: PathBuf,
    },
    /// Found a network, alone or of given members.
    Create(Box<Create>),
    /// Sign an invitation: a file with which one newcomer can join.
    Invite(Invite),
    /// Accept an invitation: write what a node needs to run as a new member, and run it.
    Join(Join),
    /// Vote for a newcomer that waits to be let in, or list who waits.
    Approve(Approve),
    /// Vote to send a member away.
    Evict(Evict),
    /// Print what a manifest says.
    Show {
        /// The manifest file.
        manifest: PathBuf,
    },
}

mod admission;
mod create;
mod generator;
mod votes;
use admission::{Invite, Join};
use create::Create;
use votes::{Approve, Evict};

impl Command {
    /// True if it ends with a node that runs.
    pub(crate) fn starts_a_node(&self) -> bool {
        match self {
            Self::Create(create) => create.start,
            Self::Join(join) => join.start,
            _ => false,
        }
    }
}

pub(crate) fn run(command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Key { key } => {
            let public = identity::load_or_create(key)?.public();
            if json {
                // As addresses name it: an entry point's key is one, too.
                let peer_id = NodeId(public.0).peer_id().map_err(|e| Failure::failed(e.to_string()))?.to_string();
                println!("{}", json!({ "key_file": key, "public_key": public.to_string(), "peer_id": peer_id }));
            } else {
                println!("{public}");
            }
            Ok(())
        }
        Command::Create(create) => create.run(json),
        Command::Invite(invite) => invite.run(json),
        Command::Join(join) => join.run(json),
        Command::Approve(approve) => approve.run(json),
        Command::Evict(evict) => evict.run(json),
        Command::Show { manifest } => {
            let loaded = founding::load(manifest)?;
            print(&loaded, json)
        }
    }
}

/// The last step of founding and of joining: runs the node whose folder was written, or says how.
fn start_or_say(config: &Path, start: bool, has_data: bool, json: bool) -> Result<(), Failure> {
    if start {
        return super::run::run(&super::run::Args::with_config(config.to_owned()), json);
    }
    if !json {
        let before = if has_data { "" } else { "Say in it where your images are, then: " };
        println!("{before}fedswarm run --config {}", config.display());
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// As in `--admission`.
const fn admission_name(admission: Admission) -> &'static str {
    match admission {
        Admission::Sponsor => "sponsor",
        Admission::Vote => "vote",
    }
}

fn print(manifest: &Manifest, json: bool) -> Result<(), Failure> {
    let id = manifest.network_id().map_err(|e| Failure::failed(e.to_string()))?;
    let quorum = Quorum::of(manifest.founders.len());
    let task = &manifest.task;
    if json {
        let members: Vec<_> =
            manifest.founders.iter().map(|f| json!({ "name": f.name, "key": f.key.to_string() })).collect();
        println!(
            "{}",
            json!({
                "network": id.to_string(), "name": manifest.name, "method": manifest.method, "members": members,
                "quorum": quorum.quorum, "byzantine": quorum.is_byzantine(), "faulty": quorum.faulty,
                "shape": [task.channels, task.height, task.width], "classes": task.classes,
                "shared_parameters": manifest.schema.len(), "codec": manifest.codec.to_string(),
                "generator": manifest.generator.as_ref().map(generator::json), "rounds": manifest.rounds, "admission": admission_name(manifest.admission),
                "sponsor_cap": manifest.sponsor_cap,
            })
        );
        return Ok(());
    }
    println!("network    {} ({id})", manifest.name);
    println!("method     {}", manifest.method);
    println!("images     {}x{}x{}, {} classes", task.channels, task.height, task.width, task.classes.len());
    println!("shared     {} parameters, as {}", manifest.schema.len(), manifest.codec);
    generator::print(manifest);
    match manifest.rounds {
        0 => println!("rounds     without end"),
        n => println!("rounds     {n}"),
    }
    let n = manifest.founders.len();
    if quorum.is_byzantine() {
        println!("quorum     {} of {n}; up to {} may lie or be down", quorum.quorum, quorum.faulty);
    } else {
        println!("quorum     {} of {n}; crashes are survived, lies are not: that takes four members", quorum.quorum);
    }
    match manifest.admission {
        Admission::Sponsor => println!("admission  by the invitation of one voter"),
        Admission::Vote => {
            println!("admission  by the invitation of one voter and the approval of a quorum, now {}", quorum.quorum)
        }
    }
    for founder in &manifest.founders {
        println!("member     {}  {}", founder.key, founder.name);
    }
    Ok(())
}
