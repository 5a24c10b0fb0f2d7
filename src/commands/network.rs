//! `fedswarm network`: found a network, look at one, decide who belongs to it.

use std::path::PathBuf;

use fedswarm_learning::data::{Dataset, ImageShape};
use fedswarm_learning::methods::{Task, method};
use fedswarm_node::founding::{self, Plan};
use fedswarm_node::identity;
use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::manifest::{Founder, Manifest, Timers};
use fedswarm_protocol::membership::Admission;
use fedswarm_protocol::update::UpdateCodec;
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
    /// Found a network of given members and write its manifest.
    Create(Create),
    /// Sign an invitation: a file with which one newcomer can join.
    Invite(Invite),
    /// Accept an invitation: write what a node needs to run as a new member.
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

/// Founds a network. Every member makes a key with `fedswarm network key` and sends its public key to the founder, who
/// sends the manifest back. A manifest is not secret; changing anything in it founds another network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm network create --name clinic --member ana=3f0c... --member ben=91d2... --classes 10 --shape 1x28x28 \\
      --out clinic.manifest")]
pub(crate) struct Create {
    /// Name of the network.
    #[arg(long)]
    name: String,
    /// A member: NAME=PUBLIC KEY (64 hexadecimal digits); once for each.
    #[arg(long = "member", value_name = "NAME=KEY", required = true)]
    members: Vec<String>,
    /// The method and its options.
    #[arg(long, default_value = "moe-ktl")]
    method: String,
    /// Channels, height and width of an image, such as 1x28x28.
    #[arg(long, value_name = "CxHxW", required_unless_present = "like")]
    shape: Option<String>,
    /// Names of the classes, separated by commas, or how many there are.
    #[arg(long, value_name = "LIST|N", required_unless_present = "like")]
    classes: Option<String>,
    /// Take shape and classes from this data set instead (a path, or `bundled`).
    #[arg(long, value_name = "PATH", conflicts_with_all = ["shape", "classes"])]
    like: Option<PathBuf>,
    /// The generator that members learn from, for methods that have a use for one: digits, fashion, a file (.safetensors,
    /// .onnx, .npz), or none [default: digits].
    #[arg(long, value_name = "G")]
    generator: Option<PathBuf>,
    /// A member that may host the generator, by its name; once for each [default: any member may].
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// How updates are packed: i32, f16 or int8.
    #[arg(long, default_value = "i32")]
    codec: UpdateCodec,
    /// Rounds until the network is done; 0 for no end.
    #[arg(long, default_value_t = 0)]
    rounds: u64,
    /// How long members wait for stragglers once a quorum of updates is there, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = Timers::default().collect_ms)]
    collect_ms: u64,
    /// Members that one member may have invited at a time: a corrupt one can bring in as many liars.
    #[arg(long, value_name = "N", default_value_t = founding::SPONSOR_CAP)]
    sponsor_cap: u16,
    /// Who lets newcomers in: `sponsor`, the voter that invites them, or `vote`, a quorum of the voters beside it.
    #[arg(long, value_enum, default_value = "sponsor")]
    admission: AdmissionRule,
    /// The manifest file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AdmissionRule {
    /// An invitation by one voter is enough.
    Sponsor,
    /// It takes the invitation, and the approval of a quorum of the voters.
    Vote,
}

mod admission;
mod generator;
mod votes;
use admission::{Invite, Join};
use votes::{Approve, Evict};

pub(crate) fn run(command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Key { key } => {
            let public = identity::load_or_create(key)?.public();
            if json {
                println!("{}", json!({ "key_file": key, "public_key": public.to_string() }));
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

impl Create {
    fn run(&self, json: bool) -> Result<(), Failure> {
        let founders = self.members.iter().map(|text| member(text)).collect::<Result<Vec<_>, _>>()?;
        let (input, classes) = self.task()?;
        let method = method(&self.method)?;
        let task = Task { input, classes: classes.len() };
        let generator = generator::choose(self, method.as_ref(), &task, &founders)?;
        let mut seed = [0; 32];
        seed.copy_from_slice(&identity::generate()?.to_bytes());
        let plan = Plan {
            name: self.name.clone(),
            classes,
            codec: self.codec,
            genesis_seed: Digest(seed),
            rounds: self.rounds,
            min_inputs: 0,
            sponsor_cap: self.sponsor_cap,
            admission: match self.admission {
                AdmissionRule::Sponsor => Admission::Sponsor,
                AdmissionRule::Vote => Admission::Vote,
            },
            timers: Timers { collect_ms: self.collect_ms, ..Timers::default() },
            generator,
        };
        let manifest = founding::found(plan, method.as_ref(), &task, founders)?;
        founding::save(&manifest, &self.out)?;
        print(&manifest, json)
    }

    fn task(&self) -> Result<(ImageShape, Vec<String>), Failure> {
        if let Some(path) = &self.like {
            let dataset = if path.as_os_str() == "bundled" { Dataset::bundled() } else { Dataset::load(path) };
            let dataset = dataset.map_err(|e| Failure::input(e.to_string()))?;
            return Ok((dataset.shape, dataset.class_names));
        }
        let text = self.shape.as_deref().unwrap_or_default();
        let extents: Vec<usize> = text.split('x').filter_map(|n| n.parse().ok()).collect();
        let &[channels, height, width] = extents.as_slice() else {
            return Err(Failure::input(format!("--shape {text:?}: expected CHANNELSxHEIGHTxWIDTH, such as 1x28x28")));
        };
        let list = self.classes.as_deref().unwrap_or_default();
        let classes = match list.parse::<usize>() {
            Ok(count) if count > 65_535 => return Err(Failure::input(format!("--classes {count}: at most 65535"))),
            Ok(count) => (0..count).map(|i| i.to_string()).collect(),
            Err(_) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        Ok((ImageShape { channels, height, width }, classes))
    }
}

fn member(text: &str) -> Result<Founder, Failure> {
    let wrong = || Failure::input(format!("--member {text:?}: expected NAME=KEY with a key of 64 hexadecimal digits"));
    let (name, key) = text.split_once('=').ok_or_else(wrong)?;
    let key = PublicKey(Digest::from_hex(key.trim()).ok_or_else(wrong)?.0);
    Ok(Founder { key, name: name.trim().to_owned() })
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
