//! `fedswarm network create`.

use std::path::PathBuf;

use fedswarm_learning::data::{BUNDLED, Dataset, ImageShape};
use fedswarm_learning::generator;
use fedswarm_learning::methods::{Task, method};
use fedswarm_node::founding::{self, Plan};
use fedswarm_node::invitation::Invitation;
use fedswarm_node::member_folder::{self, CONFIG, Papers, invitation_name};
use fedswarm_node::run_config::RunConfig;
use fedswarm_node::{files, identity};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::{PublicKey, SecretKey};
use fedswarm_protocol::manifest::{Founder, Manifest, Timers};
use fedswarm_protocol::membership::{Admission, Role};
use fedswarm_protocol::update::UpdateCodec;
use serde_json::json;

use super::generator::{USUAL, choose};
use crate::failure::Failure;

/// Rounds for which the first invitations are good: a network of one has made many before anybody comes.
const FIRST_VALID_ROUNDS: u64 = 1_000_000;

/// Founds a network: alone, with invitations for others to come, or of members whose public keys are known.
///
/// Alone (no --member), it writes a folder with all that your node needs, and invitations; whoever gets one runs `fedswarm network
/// join`. With --member, every member makes a key with `fedswarm network key` and sends its public key to the founder, who sends
/// the manifest back: the first round has all of them. A manifest is not secret; changing anything in it founds another network.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fedswarm network create --name clinic --data images --start
  fedswarm network create --name clinic --member ana=3f0c... --member ben=91d2... --classes 10 --shape 1x28x28 \\
      --out clinic.manifest")]
pub(crate) struct Create {
    /// Name of the network.
    #[arg(long)]
    name: String,
    /// A member: NAME=PUBLIC KEY (64 hexadecimal digits); once for each. Without any, you found the network alone.
    #[arg(long = "member", value_name = "NAME=KEY")]
    members: Vec<String>,
    /// Your images (a path, or `bundled`), when you found a network alone: it learns from images like these.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["members", "shape", "classes", "like"])]
    data: Option<PathBuf>,
    /// Your name, for people, when you found a network alone.
    #[arg(long, value_name = "NAME", default_value = "founder", conflicts_with = "members")]
    user: String,
    /// How many invitations to write, when you found a network alone.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "members")]
    invitations: u16,
    /// An entry point that members use, ending in `/p2p/PEER`; once for each. In one local network none is needed.
    #[arg(long = "bootstrap", value_name = "MULTIADDR", conflicts_with = "members")]
    bootstraps: Vec<String>,
    /// Run your node at once, when you found a network alone.
    #[arg(long, conflicts_with = "members", requires = "data")]
    pub(super) start: bool,
    /// The method and its options.
    #[arg(long, default_value = "moe-ktl")]
    pub(super) method: String,
    /// Channels, height and width of an image, such as 1x28x28.
    #[arg(long, value_name = "CxHxW", required_unless_present_any = ["like", "data"])]
    shape: Option<String>,
    /// Names of the classes, separated by commas, or how many there are.
    #[arg(long, value_name = "LIST|N", required_unless_present_any = ["like", "data"])]
    classes: Option<String>,
    /// Take shape and classes from this data set instead (a path, or `bundled`).
    #[arg(long, value_name = "PATH", conflicts_with_all = ["shape", "classes"])]
    like: Option<PathBuf>,
    /// The generator that members learn from, for methods that have a use for one: digits, fashion, a file (.safetensors,
    /// .onnx, .npz), or none [default: digits]. Who founds a network alone also hosts it.
    #[arg(long, value_name = "G")]
    pub(super) generator: Option<PathBuf>,
    /// A member that may host the generator, by its name; once for each [default: any member may].
    #[arg(long = "host", value_name = "NAME")]
    pub(super) hosts: Vec<String>,
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
    /// The manifest file to write; of a network that is founded alone, the folder [default: the network's name].
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AdmissionRule {
    /// An invitation by one voter is enough.
    Sponsor,
    /// It takes the invitation, and the approval of a quorum of the voters.
    Vote,
}

impl Create {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        if self.members.is_empty() {
            return self.alone(json);
        }
        let Some(out) = &self.out else {
            return Err(Failure::input("--out: say which manifest file to write"));
        };
        let founders = self.members.iter().map(|text| member(text)).collect::<Result<Vec<_>, _>>()?;
        let manifest = self.manifest(founders)?;
        founding::save(&manifest, out)?;
        super::print(&manifest, json)
    }

    /// A network of one, and a folder with what its node needs.
    fn alone(&self, json: bool) -> Result<(), Failure> {
        RunConfig::addresses(&self.bootstraps)?;
        if self.invitations > self.sponsor_cap {
            let cap = self.sponsor_cap;
            let text = format!(
                "--invitations {}: one member may have invited {cap} at a time; raise --sponsor-cap, or let those that you \
                 invite invite others",
                self.invitations
            );
            return Err(Failure::input(text));
        }
        let out = self.out.clone().unwrap_or_else(|| member_folder::name_for(&self.name).into());
        let papers = member_folder::make(&out, |secret| self.papers(secret))?;
        let config = out.join(CONFIG);
        let invitations: Vec<PathBuf> = (0..papers.invitations.len()).map(|i| out.join(invitation_name(i))).collect();
        if json {
            let network = papers.manifest.network_id().map_err(|e| Failure::failed(e.to_string()))?;
            let key = papers.manifest.founders.first().map(|founder| founder.key.to_string());
            let line = json!({
                "network": network.to_string(), "config": config, "public_key": key, "invitations": invitations,
            });
            println!("{line}");
        } else {
            super::print(&papers.manifest, false)?;
            println!();
            for path in &invitations {
                println!("{}: for one newcomer, to be handed over in confidence;", path.display());
                println!(
                    "    it is accepted with: fedswarm network join {} --data THEIR_IMAGES --start",
                    super::file_name(path)
                );
            }
        }
        super::start_or_say(&config, self.start, self.data.is_some(), json)
    }

    fn papers(&self, secret: &SecretKey) -> Result<Papers, Failure> {
        let manifest = self.manifest(vec![Founder { key: secret.public(), name: self.user.clone() }])?;
        let invite = |_| {
            let addresses = self.bootstraps.clone();
            Invitation::new(&manifest, secret, Role::Voter, FIRST_VALID_ROUNDS, None, addresses)
        };
        let invitations = (0..self.invitations).map(invite).collect::<Result<_, _>>()?;
        let generator = manifest.generator.is_some().then(|| match &self.generator {
            Some(source) => files::absolute(source, &generator::BUNDLED),
            None => Ok(USUAL.into()),
        });
        Ok(Papers {
            joining: None,
            invitations,
            bootstraps: self.bootstraps.clone(),
            generator: generator.transpose()?,
            data: self.data.as_deref().map(|path| files::absolute(path, &[BUNDLED])).transpose()?,
            manifest,
        })
    }

    fn manifest(&self, founders: Vec<Founder>) -> Result<Manifest, Failure> {
        let (input, classes) = self.task()?;
        let method = method(&self.method)?;
        let task = Task { input, classes: classes.len() };
        let generator = choose(self, method.as_ref(), &task, &founders)?;
        let plan = Plan {
            name: self.name.clone(),
            classes,
            codec: self.codec,
            genesis_seed: Digest(identity::generate()?.to_bytes()),
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
        Ok(founding::found(plan, method.as_ref(), &task, founders)?)
    }

    fn task(&self) -> Result<(ImageShape, Vec<String>), Failure> {
        if let Some(path) = self.like.as_deref().or(self.data.as_deref()) {
            let dataset = Dataset::open(path).map_err(|e| Failure::input(e.to_string()))?;
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
