//! Beside the key: which vote log it speaks with, and how far that went.
//!
//! A member that lost its statements would say something else the second time and be evicted as an equivocator; worse, enough
//! of them could certify two records for one round. So a key that has spoken refuses to speak again without its log.

use std::fs;
use std::path::{Path, PathBuf};

use fedswarm_protocol::hash::Digest;

use crate::Error;
use crate::files::write_atomically;

/// Networks that one key's mark may name. Too low and a key used in many networks is refused in the next.
const MAX_NETWORKS: usize = 1024;

/// Longest line: two digests, a round, spaces.
const MAX_LINE_BYTES: usize = 160;

const HEADER: &str = "# The vote log that this key speaks with: network, log, last certified round. Deleting this file while the \
                      network goes on can make this member say two things, for which it is evicted.\n";

/// One network's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    network: Digest,
    log: Digest,
    round: u64,
}

/// The mark beside a key file.
#[derive(Debug)]
pub(crate) struct VoteMark {
    path: PathBuf,
    network: Digest,
    log: Digest,
}

impl VoteMark {
    /// Where the mark of a key file is: the same name with `.votes` appended.
    pub(crate) fn path_of(key: &Path) -> PathBuf {
        let mut name = key.as_os_str().to_owned();
        name.push(".votes");
        PathBuf::from(name)
    }

    /// Checks that `log`, with `round` as its last certified round, is the one that this key last spoke with in this network,
    /// and writes that down if the key is new there.
    ///
    /// # Errors
    /// [`Error::VoteLog`] if the key has spoken with another log or got further, [`Error::File`] for a mark that cannot be
    /// read or written.
    pub(crate) fn check(key: &Path, network: Digest, folder: &Path, log: Digest, round: u64) -> Result<Self, Error> {
        let mark = Self { path: Self::path_of(key), network, log };
        let found = mark.read()?.into_iter().find(|line| line.network == network);
        let lost = |reason: String| Error::VoteLog {
            key: key.to_owned(),
            folder: folder.to_owned(),
            mark: mark.path.clone(),
            reason,
        };
        match found {
            Some(line) if line.log != log => {
                Err(lost("its store is missing, or is not the one that it used".to_owned()))
            }
            Some(line) if line.round > round => {
                Err(lost(format!("its store ends with round {round}, but it has been at round {}", line.round)))
            }
            Some(_) => Ok(mark),
            None => {
                mark.write(Line { network, log, round })?;
                Ok(mark)
            }
        }
    }

    /// Writes down that the log has got to this round.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn advance(&self, round: u64) -> Result<(), Error> {
        self.write(Line { network: self.network, log: self.log, round })
    }

    fn read(&self) -> Result<Vec<Line>, Error> {
        let most = (HEADER.len() + MAX_NETWORKS * MAX_LINE_BYTES) as u64;
        match fs::metadata(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::file(&self.path, e)),
            Ok(found) if found.len() > most => {
                return Err(Error::file(&self.path, format!("{} bytes, more than a vote mark has", found.len())));
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(&self.path).map_err(|e| Error::file(&self.path, e))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
        lines
            .map(|(number, line)| {
                parse(line).ok_or_else(|| {
                    let reason =
                        format!("line {}: expected a network, a log and a round; restore the file", number + 1);
                    Error::file(&self.path, reason)
                })
            })
            .collect()
    }

    fn write(&self, line: Line) -> Result<(), Error> {
        let mut lines = self.read()?;
        lines.retain(|known| known.network != line.network);
        if lines.len() >= MAX_NETWORKS {
            return Err(Error::file(&self.path, format!("{MAX_NETWORKS} networks already; use another key")));
        }
        lines.push(line);
        let mut text = HEADER.to_owned();
        for Line { network, log, round } in lines {
            text.push_str(&format!("{network} {log} {round}\n"));
        }
        write_atomically(&self.path, text.as_bytes()).map_err(|e| Error::file(&self.path, e))?;
        // Without this a power loss may undo the renaming.
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        fs::File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::file(folder, e))
    }
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split_whitespace();
    let line = Line {
        network: Digest::from_hex(words.next()?)?,
        log: Digest::from_hex(words.next()?)?,
        round: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NETWORK: Digest = Digest([1; 32]);
    const LOG: Digest = Digest([2; 32]);

    fn check(key: &Path, log: Digest, round: u64) -> Result<VoteMark, Error> {
        VoteMark::check(key, NETWORK, Path::new("state"), log, round)
    }

    #[test]
    fn a_key_goes_on_with_the_log_that_it_began_with() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("node.key");
        check(&key, LOG, 0).unwrap().advance(7).unwrap();
        check(&key, LOG, 7).unwrap();
        check(&key, LOG, 8).unwrap();
    }

    #[test]
    fn another_log_or_an_older_copy_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("node.key");
        check(&key, LOG, 0).unwrap().advance(7).unwrap();
        let text = check(&key, Digest([3; 32]), 0).unwrap_err().to_string();
        assert!(text.contains("fedswarm network invite") && text.contains("node.key.votes"), "{text}");
        let text = check(&key, LOG, 6).unwrap_err().to_string();
        assert!(text.contains("round 6") && text.contains("round 7"), "{text}");
    }

    #[test]
    fn networks_do_not_get_in_each_others_way() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("node.key");
        check(&key, LOG, 5).unwrap();
        VoteMark::check(&key, Digest([9; 32]), Path::new("other"), Digest([4; 32]), 0).unwrap();
        check(&key, LOG, 5).unwrap();
        assert!(check(&key, Digest([4; 32]), 5).is_err());
    }

    #[test]
    fn a_damaged_mark_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("node.key");
        let path = VoteMark::path_of(&key);
        fs::write(&path, "rubbish\n").unwrap();
        let text = check(&key, LOG, 0).unwrap_err().to_string();
        assert!(text.contains("line 1"), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "rubbish\n");
    }
}
