//! What needs no network: the folder, its disk, the manifest, the key, the invitation; and the clock, which others' judge.

use std::path::Path;
use std::time::SystemTime;

use fedswarm_network::NodeId;
use fedswarm_protocol::hash::Digest;

use super::{Finding, bad, good, note};
use crate::audit::layout::STORE;
use crate::invitation::Joining;
use crate::roster::Roster;
use crate::run_config::RunConfig;
use crate::{founding, identity};

/// A clock that says less than this (2026-01-01) was never set: seconds since 1970.
const NOT_BEFORE: u64 = 1_767_225_600;

/// Clocks may differ by this, in seconds: more than what messages are on their way, less than what an operator would notice.
const SKEW: u64 = 60;

/// Below this, in bytes, a node is about to stop: every round writes payloads, and the store must have room to grow.
const LITTLE_DISK: u64 = 256 << 20;

/// Below this it is worth looking at.
const SOME_DISK: u64 = 2 << 30;

/// How our clock compares with those of the peers that were met: seconds that it is ahead, the median.
pub(super) fn clock(ahead: Option<i64>) -> Finding {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let advice = "set the clock, or let NTP do so; rounds do not depend on it, but the peer book forgets by it, and logs are dated";
    match ahead {
        _ if now < NOT_BEFORE => {
            note("clock", format!("it says {now} s since 1970, which is long past")).advice(advice)
        }
        None => note("clock", "set; nobody was met to compare it with"),
        Some(ahead) if ahead.unsigned_abs() <= SKEW => good("clock", "agrees with those of the others"),
        Some(ahead) => {
            let way = if ahead > 0 { "ahead of" } else { "behind" };
            note("clock", format!("{} s {way} those of the others", ahead.unsigned_abs())).advice(advice)
        }
    }
}

/// Whether the folder can be written, has room, and is used by nobody else.
pub(super) fn folder(folder: &Path) -> Vec<Finding> {
    let tried = std::fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop));
    let mut findings = vec![match tried {
        Ok(()) => good("folder", format!("{} can be written", folder.display())),
        Err(error) => bad("folder", format!("{}: {error}", folder.display()))
            .advice("let this user write there; a node keeps its votes on disk before it speaks"),
    }];
    findings.extend(free_bytes(folder).map(disk));
    let store = folder.join(STORE);
    if store.exists() {
        let open = redb::Database::open(&store);
        findings.push(match open {
            Ok(_) => good("store", format!("{} is readable, and no node runs on it", store.display())),
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                bad("store", "the node is running, so it cannot be examined")
                    .advice("look at `fedswarm status`; to have every way tried, stop the node first")
            }
            Err(error) => bad("store", format!("{}: {error}", store.display()))
                .advice("put the folder back as it was; see \"After a restart\" in the guide"),
        });
    }
    findings
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
const fn free_bytes(_: &Path) -> Option<u64> {
    None
}

fn disk(free: u64) -> Finding {
    let found = format!("{} MiB are free", free >> 20);
    match free {
        _ if free < LITTLE_DISK => bad("disk", found).advice("make room: without it the node stops at its next write"),
        _ if free < SOME_DISK => note("disk", found).advice("make room; with keep_inputs, every round stays on disk"),
        _ => good("disk", found),
    }
}

/// What the files say.
pub(super) struct Files {
    pub(super) secret: [u8; 32],
    pub(super) me: NodeId,
    pub(super) network: Digest,
    /// Who belongs to the network as far as is known here, with a name.
    pub(super) members: Vec<(NodeId, String)>,
}

/// Manifest, key and invitation; `None` if there is no going on.
pub(super) fn files(config: &RunConfig, findings: &mut Vec<Finding>) -> Option<Files> {
    if findings.iter().any(|finding| finding.what == "store" && finding.verdict == super::Verdict::Bad) {
        return None;
    }
    let loaded = founding::load(&config.manifest).and_then(|manifest| {
        let id = manifest.network_id()?;
        Ok((manifest, id))
    });
    let (manifest, network) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            let text = "ask a member for the manifest, and compare the network's id with `fedswarm network show`";
            findings.push(bad("manifest", error.to_string()).advice(text));
            return None;
        }
    };
    let found = format!("{:?}, {} founders, network {network}", manifest.name, manifest.founders.len());
    findings.push(good("manifest", found));
    if !config.key.exists() {
        let found = format!("{} is not there", config.key.display());
        findings
            .push(bad("key", found).advice("make one with `fedswarm network key`, or put back the copy that you kept"));
        return None;
    }
    let secret = match identity::load_or_create(&config.key) {
        Ok(secret) => secret,
        Err(error) => {
            findings.push(bad("key", error.to_string()));
            return None;
        }
    };
    let me = secret.public();
    let members = members(config, &manifest.founders, &network);
    let member = members.iter().any(|(id, _)| id.0 == me.0);
    findings.push(match (&config.join, member) {
        (_, true) => good("key", format!("{me} is a member's")),
        (Some(path), false) => match Joining::load(path, &manifest, &secret) {
            Ok(_) => good("invitation", format!("{} is for this key and network", path.display())),
            Err(error) => bad("invitation", error.to_string())
                .advice("accept the invitation again with `fedswarm network join`, or ask for another one"),
        },
        (None, false) => bad("key", format!("{me} belongs to no member, and there is no invitation")).advice(
            "is it the right key file? if it was never let in, ask a member for an invitation, and name it under join",
        ),
    });
    Some(Files { secret: secret.to_bytes(), me: NodeId(me.0), network, members })
}

/// Members as the node last knew them, or else the founders.
fn members(
    config: &RunConfig,
    founders: &[fedswarm_protocol::manifest::Founder],
    network: &Digest,
) -> Vec<(NodeId, String)> {
    let roster = Roster::load(&config.folder).ok().filter(|roster| roster.network == network.to_string());
    let named = |id: NodeId, name: &str| (id, if name.is_empty() { id.short() } else { name.to_owned() });
    match roster {
        Some(roster) => {
            let known = roster.members.iter();
            known.filter_map(|m| Some(named(NodeId(*Digest::from_hex(&m.key)?.as_bytes()), &m.name))).collect()
        }
        None => founders.iter().map(|founder| named(NodeId(founder.key.0), &founder.name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_differs_is_told_which_way() {
        assert_eq!(clock(Some(-3)).verdict, Verdict::Good);
        assert_eq!(clock(Some(7200)).found, "7200 s ahead of those of the others");
        assert_eq!(clock(Some(-7200)).found, "7200 s behind those of the others");
        assert_eq!(clock(None).verdict, Verdict::Note);
    }

    #[test]
    fn a_full_disk_is_bad_and_one_that_fills_is_noted() {
        let verdicts = [100 << 20, 1 << 30, 50 << 30].map(|free| disk(free).verdict);
        assert_eq!(verdicts, [Verdict::Bad, Verdict::Note, Verdict::Good]);
    }
}
