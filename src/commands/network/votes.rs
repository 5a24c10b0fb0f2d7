//! `fedswarm network approve` and `evict`: the votes of a voter, cast without a connection. The node, if it runs, says them.

use std::path::PathBuf;

use fedswarm_node::roster::{Listed, Roster, Waiting};
use fedswarm_node::run_config::RunConfig;
use fedswarm_node::{ballot_box, founding, identity};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::{PublicKey, SecretKey};
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::{Admission, EvictVote, Operation};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Votes for a newcomer that waits to be let in; without a name, lists who waits. For networks whose manifest says
/// `admission = vote`. Needs no connection; the node, if it runs, says the vote within seconds, otherwise when it starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm network approve                   # who waits, and who has approved
  fedswarm network approve cleo")]
pub(crate) struct Approve {
    /// The newcomer's name, or its public key.
    #[arg(value_name = "KEY|NAME")]
    who: Option<String>,
    #[command(flatten)]
    vote: Vote,
}

/// Votes to send a member away. A quorum of the voters ends its membership, whatever it did; its key stays out for good. Whoever
/// holds it can be invited anew, with another key. A vote cannot be taken back, but it lapses. Needs no connection; the
/// node, if it runs, says the vote within seconds, otherwise when it starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm network evict ben")]
pub(crate) struct Evict {
    /// The member's name, or its public key.
    #[arg(value_name = "KEY|NAME")]
    who: String,
    #[command(flatten)]
    vote: Vote,
}

#[derive(Debug, clap::Args)]
struct Vote {
    /// Configuration of the voting member's node.
    #[arg(long, value_name = "FILE", default_value = "node.toml")]
    config: PathBuf,
    /// Rounds for which the vote is good.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    valid_rounds: u64,
}

/// Names that an error lists at most.
const MOST_LISTED: usize = 20;

/// What a vote is cast from.
struct Booth {
    manifest: Manifest,
    network: Digest,
    secret: SecretKey,
    folder: PathBuf,
    roster: Roster,
    until: u64,
}

impl Approve {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        let booth = self.vote.booth()?;
        let name = &booth.manifest.name;
        if booth.manifest.admission == Admission::Sponsor && self.who.is_some() {
            let text = format!("network {name:?} admits by invitation alone: there is nothing to approve");
            return Err(Failure::input(text));
        }
        let Some(who) = &self.who else { return booth.list(json) };
        let waiting = pick(who, &booth.roster.waiting, |w| (&w.key, &w.name), "newcomer waits")?;
        booth.check_voter()?;
        let unreadable = || Failure::failed(format!("the request of {} is unreadable; restart the node", waiting.key));
        let request = waiting.request().ok_or_else(unreadable)?;
        let Operation::Join(join) = &request else { return Err(unreadable()) };
        let until = booth.until.min(join.invite.expires);
        let ballot = join.approve(&booth.network, &booth.secret, until);
        booth.cast(&request.with_ballots(vec![ballot]), &waiting.name, &waiting.votes, "lets it in", json)
    }
}

impl Evict {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        let booth = self.vote.booth()?;
        let member = pick(&self.who, &booth.roster.members, |m| (&m.key, &m.name), "member is called")?;
        booth.check_voter()?;
        let key = public_key(&member.key)?;
        if key == booth.secret.public() {
            return Err(Failure::input(format!("{} is this node itself; to leave: fedswarm run --leave", self.who)));
        }
        let open = booth.roster.unwanted.iter().find(|unwanted| unwanted.key == member.key);
        let votes = open.map_or(&[][..], |unwanted| &unwanted.votes);
        let vote = EvictVote::new(&booth.network, key, member.since, &booth.secret, booth.until);
        booth.cast(&Operation::EvictVote(vote), &member.name, votes, "sends it away", json)
    }
}

impl Vote {
    fn booth(&self) -> Result<Booth, Failure> {
        let config = RunConfig::load(&self.config)?;
        let manifest = founding::load(&config.manifest)?;
        let network = manifest.network_id().map_err(|e| Failure::failed(e.to_string()))?;
        let roster = Roster::load(&config.folder)?;
        if roster.network != network.to_string() {
            let text = format!("{}: the folder of another network than {:?}", config.folder.display(), manifest.name);
            return Err(Failure::input(text));
        }
        let until = roster.round.saturating_add(self.valid_rounds);
        let secret = identity::load_or_create(&config.key)?;
        Ok(Booth { manifest, network, secret, folder: config.folder, roster, until })
    }
}

impl Booth {
    fn check_voter(&self) -> Result<(), Failure> {
        let mine = self.secret.public();
        match self.roster.member(&mine) {
            Some(Listed { voter: true, .. }) => Ok(()),
            Some(_) => Err(Failure::input("this node is a contributor: only voters vote")),
            None => Err(Failure::input(format!(
                "key {mine} is not a member of {:?} in epoch {}: only voters vote",
                self.manifest.name, self.roster.epoch
            ))),
        }
    }

    /// Leaves the vote where the node finds it, and says how votes stand with it.
    fn cast(&self, operation: &Operation, name: &str, votes: &[String], does: &str, json: bool) -> Result<(), Failure> {
        let (mine, needed) = (self.secret.public().to_string(), self.roster.quorum);
        let again = votes.contains(&mine);
        let file = if again { None } else { Some(ballot_box::save(&self.folder, operation)?) };
        let count = votes.len() + usize::from(!again);
        let (key, round) = (operation.subject().to_string(), self.roster.round);
        if json {
            println!(
                "{}",
                json!({ "key": key, "name": name, "votes": count, "needed": needed, "voted_before": again, "as_of_round": round, "file": file })
            );
            return Ok(());
        }
        let short = &key[..8];
        let who = if name.is_empty() { short.to_owned() } else { format!("{} ({short})", plain(name)) };
        let before = if again { "you have voted before; " } else { "" };
        let rest = match needed.saturating_sub(count) {
            0 => format!("the next record {does}"),
            1 => format!("one more {does}"),
            n => format!("{n} more are needed"),
        };
        println!("{who}: {before}{count} of {needed} votes; {rest}");
        Ok(())
    }

    fn list(&self, json: bool) -> Result<(), Failure> {
        let Roster { waiting, unwanted, quorum, .. } = &self.roster;
        if json {
            let names = |votes: &[String]| votes.iter().map(|key| self.roster.name(key).to_owned()).collect::<Vec<_>>();
            let waiting: Vec<Value> = waiting
                .iter()
                .map(|w| {
                    json!({
                        "key": w.key, "name": w.name, "role": role(w), "sponsor": w.sponsor, "expires_after_round": w.expires,
                        "votes": w.votes.len(), "needed": quorum, "voters": names(&w.votes),
                    })
                })
                .collect();
            let unwanted: Vec<Value> = unwanted
                .iter()
                .map(|u| {
                    json!({
                        "key": u.key, "name": self.roster.name(&u.key), "votes": u.votes.len(), "needed": quorum,
                        "voters": names(&u.votes),
                    })
                })
                .collect();
            let admission = super::admission_name(self.manifest.admission);
            println!("{}", json!({ "admission": admission, "waiting": waiting, "unwanted": unwanted }));
            return Ok(());
        }
        let voters = |votes: &[String]| {
            let names: Vec<String> = votes.iter().map(|key| plain(self.roster.name(key))).collect();
            let list = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            format!("{} of {quorum} votes{list}", votes.len())
        };
        for w in waiting {
            let sponsor = plain(self.roster.name(&w.sponsor));
            println!("waits      {}  {}", w.key, plain(&w.name));
            println!(
                "           as {}, invited by {sponsor}, until round {}: {}",
                role(w),
                w.expires,
                voters(&w.votes)
            );
        }
        for u in unwanted {
            println!("unwanted   {}  {}: {}", u.key, plain(self.roster.name(&u.key)), voters(&u.votes));
        }
        if waiting.is_empty() {
            match self.manifest.admission {
                Admission::Vote => println!("nobody waits to be let in"),
                Admission::Sponsor => println!("{:?} admits by invitation alone: nobody waits", self.manifest.name),
            }
        }
        Ok(())
    }
}

const fn role(waiting: &Waiting) -> &'static str {
    if waiting.voter { "voter" } else { "contributor" }
}

/// A name that somebody else chose, without what a terminal would take for a command.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn public_key(text: &str) -> Result<PublicKey, Failure> {
    let key = Digest::from_hex(text).map(|digest| PublicKey(digest.0));
    key.ok_or_else(|| Failure::failed(format!("members.json: {text:?} is no key; restart the node")))
}

/// The one of a list that has this key or name.
fn pick<'a, T>(who: &str, list: &'a [T], of: impl Fn(&T) -> (&String, &String), what: &str) -> Result<&'a T, Failure> {
    let is = |item: &&T| {
        let (key, name) = of(item);
        key == who || name == who
    };
    let found: Vec<&T> = list.iter().filter(is).collect();
    let show = |items: &mut dyn Iterator<Item = &T>| {
        let texts: Vec<String> = items
            .map(|item| {
                let (key, name) = of(item);
                if name.is_empty() { key.clone() } else { format!("{} ({key})", plain(name)) }
            })
            .collect();
        texts.join(", ")
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] if list.is_empty() => Err(Failure::input(format!("no {what} {who:?}: there is nobody"))),
        [] => {
            let list = show(&mut list.iter().take(MOST_LISTED));
            Err(Failure::input(format!("no {what} {who:?}; there are: {list}")))
        }
        several => {
            let list = show(&mut several.iter().copied());
            Err(Failure::input(format!("{who:?} is the name of several; say which by its key: {list}")))
        }
    }
}
