//! `members.json` in a node's folder: who belongs to the network, who waits to be let in, and what votes there are; for
//! people and scripts, and for the votes that they cast.

use std::path::Path;

use fedswarm_protocol::codec;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::membership::{Committee, Operation, Role};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::write_atomically;

/// Name of the file.
pub const ROSTER_FILE: &str = "members.json";

/// What a running node last knew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The network's id.
    pub network: String,
    /// The last certified round.
    pub round: u64,
    /// The epoch in progress.
    pub epoch: u32,
    /// Votes that decide in it.
    pub quorum: usize,
    /// The members.
    pub members: Vec<Listed>,
    /// Newcomers that wait for approval.
    pub waiting: Vec<Waiting>,
    /// Members that somebody has voted to send away.
    pub unwanted: Vec<Unwanted>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its public key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Whether it votes.
    pub voter: bool,
    /// First round of its membership under this key.
    pub since: u64,
}

/// A newcomer that waits for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its public key.
    pub key: String,
    /// The name that it gives itself.
    pub name: String,
    /// Whether it is to vote.
    pub voter: bool,
    /// Who invited it: a public key.
    pub sponsor: String,
    /// Last round in which a record may take it in.
    pub expires: u64,
    /// Who has approved: public keys.
    pub votes: Vec<String>,
    /// The request, to be signed: hexadecimal.
    request: String,
}

impl Waiting {
    /// The request that is to be approved, without the votes that there are.
    #[must_use]
    pub fn request(&self) -> Option<Operation> {
        let hex = self.request.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            hex.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        codec::decode(&bytes?, codec::MAX_STRUCT_BYTES).ok()
    }
}

/// A member that somebody has voted to send away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwanted {
    /// Its public key.
    pub key: String,
    /// Who has voted: public keys.
    pub votes: Vec<String>,
}

impl Roster {
    /// What a committee and the open votes say.
    #[must_use]
    pub fn new(network: &Digest, round: u64, committee: &Committee, motions: &[Operation]) -> Self {
        let members = committee.members.iter().map(|m| Listed {
            key: m.key.to_string(),
            name: m.name.clone(),
            voter: m.role == Role::Voter,
            since: m.since,
        });
        let mut roster = Self {
            network: network.to_string(),
            round,
            epoch: committee.epoch,
            quorum: committee.quorum().quorum,
            members: members.collect(),
            ..Self::default()
        };
        for motion in motions {
            let votes = motion.ballots().iter().map(|ballot| ballot.voter.to_string()).collect();
            let key = motion.subject().to_string();
            if let Operation::Join(join) = motion {
                // Encodes whatever is of this type.
                let request = codec::encode(&motion.with_ballots(Vec::new())).unwrap_or_default();
                roster.waiting.push(Waiting {
                    key,
                    name: join.name.clone(),
                    voter: join.invite.role == Role::Voter,
                    sponsor: join.invite.sponsor.to_string(),
                    expires: join.invite.expires,
                    votes,
                    request: request.iter().map(|byte| format!("{byte:02x}")).collect(),
                });
            } else {
                roster.unwanted.push(Unwanted { key, votes });
            }
        }
        roster
    }

    /// Replaces the file in a node's folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(ROSTER_FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::file(&path, e))?;
        write_atomically(&path, &text).map_err(|e| Error::file(&path, e))
    }

    /// Reads the file of a node's folder.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(ROSTER_FILE);
        let bytes = std::fs::read(&path).map_err(|e| {
            Error::file(&path, format!("{e}; a node writes it while it runs (fedswarm run), is this its folder?"))
        })?;
        serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, e))
    }

    /// The member with this key.
    #[must_use]
    pub fn member(&self, key: &PublicKey) -> Option<&Listed> {
        let key = key.to_string();
        self.members.iter().find(|member| member.key == key)
    }

    /// A name for people of a member's key: its own, or the beginning of the key.
    #[must_use]
    pub fn name<'a>(&'a self, key: &'a str) -> &'a str {
        let named = self.members.iter().find(|member| member.key == key && !member.name.is_empty());
        named.map_or_else(|| key.get(..8).unwrap_or(key), |member| member.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fedswarm_protocol::keys::SecretKey;
    use fedswarm_protocol::membership::{EvictVote, Invite, Join};

    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_request_can_be_signed_from_it() {
        let key = |i| SecretKey::from_bytes(&[i; 32]);
        let network = Digest([5; 32]);
        let committee = Committee::of_keys(3, [1, 2, 3, 4].map(|i| key(i).public()));
        let invite = Invite::new(&network, &key(1), key(9).public(), Role::Contributor, 15);
        let join = Join::new(&network, invite, &key(9), &key(6), "ana".into());
        let approval = join.approve(&network, &key(2), 20);
        let request = Operation::Join(Box::new(join));
        let evict = Operation::EvictVote(EvictVote::new(&network, key(4).public(), 0, &key(3), 20));
        let motions = [request.with_ballots(vec![approval]), evict];
        let roster = Roster::new(&network, 7, &committee, &motions);
        let folder = tempfile::tempdir().unwrap();
        roster.save(folder.path()).unwrap();
        let read = Roster::load(folder.path()).unwrap();
        assert_eq!(read, roster);
        assert_eq!((read.quorum, read.members.len(), read.waiting.len(), read.unwanted.len()), (3, 4, 1, 1));
        assert_eq!(read.waiting[0].request(), Some(request));
        assert_eq!(read.waiting[0].votes, [key(2).public().to_string()]);
        assert_eq!(Waiting { request: "0g".into(), ..read.waiting[0].clone() }.request(), None);
        assert_eq!(read.name(&key(4).public().to_string()), key(4).public().short());
    }
}
