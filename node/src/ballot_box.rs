//! Votes that a node's operator has cast: files in the node's folder. The command that casts a vote signs it and needs no
//! connection; the node, if it runs, says it, and says it again until it is decided or lapses.

use std::fs;
use std::path::{Path, PathBuf};

use fedswarm_protocol::codec;
use fedswarm_protocol::membership::{Committee, Operation};

use crate::Error;
use crate::files::write_atomically;

/// Where they are in a node's folder.
pub const BALLOT_FOLDER: &str = "ballots";

/// Most votes that a node keeps and says. Too low and an operator that votes on many must wait until some are decided.
pub const MAX_BALLOTS: usize = 64;

const MAGIC: &[u8] = b"fedswarm ballot 1\n";

/// Largest file; a join with one vote is half a kilobyte.
const MAX_FILE_BYTES: u64 = 4 * 1024;

/// Writes a vote into a node's folder. There is one file for each key that is voted on.
///
/// # Errors
/// A file that cannot be written.
pub fn save(folder: &Path, operation: &Operation) -> Result<PathBuf, Error> {
    let folder = folder.join(BALLOT_FOLDER);
    fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
    let path = folder.join(format!("{}.ballot", operation.subject()));
    let body = codec::encode(operation).map_err(|e| Error::file(&path, e))?;
    write_atomically(&path, &[MAGIC, &body].concat()).map_err(|e| Error::file(&path, e))?;
    Ok(path)
}

/// The votes in a node's folder, by the names of their files; those that cannot be read are left out, and named in the log.
#[must_use]
pub fn load(folder: &Path) -> Vec<(PathBuf, Operation)> {
    // Without the folder nobody has voted.
    let Ok(entries) = fs::read_dir(folder.join(BALLOT_FOLDER)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ballot"));
    paths.sort();
    paths.truncate(MAX_BALLOTS);
    let read = |path: PathBuf| match read(&path) {
        Ok(operation) => Some((path, operation)),
        Err(error) => {
            tracing::warn!(%error, "a vote is left out");
            None
        }
    };
    paths.into_iter().filter_map(read).collect()
}

fn read(path: &Path) -> Result<Operation, Error> {
    let size = fs::metadata(path).map_err(|e| Error::file(path, e))?.len();
    if size > MAX_FILE_BYTES {
        return Err(Error::file(path, format!("not a vote: {size} bytes")));
    }
    let bytes = fs::read(path).map_err(|e| Error::file(path, e))?;
    let body =
        bytes.strip_prefix(MAGIC).ok_or_else(|| Error::file(path, "not a vote: it does not begin as one does"))?;
    codec::decode(body, MAX_FILE_BYTES as usize).map_err(|e| Error::file(path, format!("not a vote: {e}")))
}

/// Whether a vote can have no effect any more, given the committee after this round: what it is about has happened or has
/// become impossible, or it has lapsed. A node that is behind keeps what it does not know of yet.
#[must_use]
pub fn is_settled(operation: &Operation, committee: &Committee, round: u64) -> bool {
    let key = operation.subject();
    let member = committee.members.iter().find(|member| member.key == key);
    let over = match operation {
        Operation::Join(join) => {
            let spent = committee.spent.iter().any(|(ticket, _)| *ticket == join.invite.ticket);
            member.is_some() || spent || join.invite.expires <= round
        }
        Operation::EvictVote(vote) => match member {
            Some(member) => member.since > vote.since,
            None => vote.since <= round,
        },
        Operation::Leave(_) | Operation::Rotate(_) | Operation::Evict(_) => true,
    };
    over || committee.evicted.contains(&key) || operation.ballots().iter().all(|ballot| ballot.until <= round)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fedswarm_protocol::hash::Digest;
    use fedswarm_protocol::keys::SecretKey;
    use fedswarm_protocol::membership::{EvictVote, Invite, Join, Role};

    use super::*;

    const NETWORK: Digest = Digest([5; 32]);

    fn key(i: u8) -> SecretKey {
        SecretKey::from_bytes(&[i; 32])
    }

    fn evict(since: u64, until: u64) -> Operation {
        Operation::EvictVote(EvictVote::new(&NETWORK, key(2).public(), since, &key(1), until))
    }

    #[test]
    fn a_vote_is_read_as_it_was_written_and_what_is_no_vote_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).is_empty());
        save(folder.path(), &evict(0, 10)).unwrap();
        let path = save(folder.path(), &evict(0, 20)).unwrap();
        fs::write(folder.path().join(BALLOT_FOLDER).join("damaged.ballot"), b"fedswarm ballot 1\nxyz").unwrap();
        fs::write(folder.path().join(BALLOT_FOLDER).join("another"), b"fedswarm ballot 1\nxyz").unwrap();
        assert_eq!(load(folder.path()), [(path, evict(0, 20))], "the last one on each key");
    }

    #[test]
    fn a_vote_is_settled_once_it_can_have_no_effect_and_not_before() {
        let committee = Committee::of_keys(0, [1, 2, 3].map(|i| key(i).public()));
        assert!(!is_settled(&evict(0, 20), &committee, 7));
        assert!(is_settled(&evict(0, 7), &committee, 7), "the next round is the eighth");
        let mut later = committee.clone();
        later.members[1].since = 5;
        assert!(is_settled(&evict(0, 20), &later, 7), "of the membership before");
        later.members.remove(1);
        assert!(is_settled(&evict(0, 20), &later, 7), "it has left");
        assert!(!is_settled(&evict(9, 20), &later, 7), "this node is behind");
        let invite = Invite::new(&NETWORK, &key(1), key(9).public(), Role::Voter, 15);
        let join = Join::new(&NETWORK, invite, &key(9), &key(4), "ana".into());
        let approval = join.approve(&NETWORK, &key(1), 20);
        let operation = Operation::Join(Box::new(join)).with_ballots(vec![approval]);
        assert!(!is_settled(&operation, &committee, 14));
        assert!(is_settled(&operation, &committee, 15));
        let spent = Committee { spent: vec![(key(9).public(), 15)], ..committee.clone() };
        assert!(is_settled(&operation, &spent, 7));
        let joined = Committee::of_keys(0, [1, 4].map(|i| key(i).public()));
        assert!(is_settled(&operation, &joined, 7));
        let evicted = Committee { evicted: vec![key(4).public()], ..committee };
        assert!(is_settled(&operation, &evicted, 7));
    }
}
