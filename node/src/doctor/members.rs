//! Who was met, and how.

use fedswarm_network::{Missing, NodeId, Path, PeerInfo};

use super::ways::dialed;
use super::{Finding, Learned, bad, good, note};

/// One finding for each member, and one if no hole can be punched.
pub(super) fn met(members: &[(NodeId, String)], learned: &Learned, findings: &mut Vec<Finding>) {
    for (id, name) in members.iter().filter(|(id, _)| *id != learned.me) {
        let what = format!("member {name}");
        findings.push(match learned.peers.iter().find(|peer| peer.id == *id) {
            Some(peer) => connected(&what, peer),
            None => absent(&what, learned.missing.iter().find(|missing| missing.id == *id)),
        });
    }
    let relayed: Vec<&PeerInfo> =
        learned.peers.iter().filter(|peer| peer.member && peer.path == Path::Relayed).collect();
    let straight = learned.peers.iter().filter(|peer| peer.member && peer.path != Path::Relayed).count();
    if relayed.is_empty() {
        return;
    }
    let found = format!("{} members are reached through a relay only: no hole could be punched", relayed.len());
    let advice = "the router here or there gives every destination another port (symmetric NAT), or lets no UDP and no answered \
                  TCP through: forward a port on one side, and name it under reach.external";
    findings.push(if straight == 0 {
        let text = "; as no member is reached straight, no payload can be fetched";
        bad("hole punching", format!("{found}{text}")).advice(advice)
    } else {
        note("hole punching", format!("{found}; payloads come from the {straight} that are reached straight"))
            .advice(advice)
    });
}

fn connected(what: &str, peer: &PeerInfo) -> Finding {
    let trip = peer.round_trip_us.map_or_else(String::new, |us| format!(", {:.1} ms", us as f64 / 1000.0));
    match peer.path {
        Path::Relayed => {
            // Whoever is called begins to punch, and counts.
            let tried = match peer.not_punched {
                0 => String::new(),
                count => format!("; {count} attempts to punch a hole failed"),
            };
            let text = format!("through a relay only{trip}{tried}");
            note(what, text).advice("messages travel; payloads come from members that both of you reach straight")
        }
        path => good(what, format!("{} at {}{trip}", path.name(), peer.address)),
    }
}

fn absent(what: &str, missing: Option<&Missing>) -> Finding {
    let Some(missing) = missing else { return bad(what, "not reached") };
    let (found, advice) = dialed(missing);
    if missing.addresses.is_empty() {
        let lookups = missing.lookups;
        return bad(what, format!("not reached: nobody knows its address ({lookups} lookups)"))
            .advice("is it running, with the same bootstraps as here? let it run `fedswarm doctor` as well");
    }
    let found = found.unwrap_or_else(|| format!("no answer yet from {}", super::list(&missing.addresses)));
    bad(what, format!("not reached: {found}")).advice(advice)
}
