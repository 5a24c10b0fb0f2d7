//! The ways by which others are found, and by which they find this node.

use std::collections::BTreeSet;

use fedswarm_network::{DialFailure, Missing, Multiaddr, NodeId, Reachability, Router};

use super::{Finding, Learned, bad, good, list, note};
use crate::run_config::RunConfig;

/// Where this host listens.
pub(super) fn listening(addrs: &[Multiaddr]) -> Finding {
    let outward = |addr: &&Multiaddr| {
        let text = addr.to_string();
        !text.starts_with("/ip4/127.") && !text.starts_with("/ip6/::1/")
    };
    if addrs.iter().any(|addr| outward(&addr)) {
        return good("listening", list(addrs));
    }
    note("listening", format!("{}: nobody else's machine can get there", list(addrs)))
        .advice("is the network up? if it is, remove listen from the configuration, or name an address of this host")
}

/// In the order in which they are tried.
pub(super) fn all(config: &RunConfig, learned: &Learned, findings: &mut Vec<Finding>) {
    let reach = &learned.reach;
    findings.push(match (config.mdns, reach.heard_by_mdns) {
        (false, _) => note("mDNS", "switched off"),
        (true, 0) => note("mDNS", "no member answered in the local network").advice(
            "if members are in this network, let multicast through (UDP 5353); Wi-Fi guest networks often do not",
        ),
        (true, count) => good("mDNS", format!("{count} addresses of members were heard")),
    });
    bootstraps(config, learned, findings);
    findings.push(finding_members(learned));
    findings.push(nat(reach));
    findings.push(match &reach.router {
        Router::NotAsked => note("UPnP", "the router was not asked"),
        Router::Asked => note("UPnP", "no answer yet"),
        Router::Absent => note("UPnP", "no router answers"),
        Router::BehindAnother => note("UPnP", "the router is itself behind another one"),
        Router::Forwards(addrs) => good("UPnP", format!("forwards {}", list(addrs))),
    });
    findings.push(relay(config, reach));
}

fn bootstraps(config: &RunConfig, learned: &Learned, findings: &mut Vec<Finding>) {
    if config.bootstraps.is_empty() {
        findings.push(note("bootstraps", "none is configured"));
    }
    let connected: BTreeSet<NodeId> = learned.peers.iter().map(|peer| peer.id).collect();
    for (entry, addrs) in entries(config) {
        let shown = addrs.first().and_then(|addr| addr.split("/p2p/").next()).unwrap_or_default();
        let what = format!("bootstrap {shown}");
        let missing = learned.missing.iter().find(|missing| missing.id == entry);
        findings.push(match missing.filter(|_| !connected.contains(&entry)) {
            None => good(&what, "connected"),
            Some(missing) => {
                let (found, advice) = dialed(missing);
                let found = found.unwrap_or_else(|| format!("no answer from {}", addrs.join(", ")));
                bad(&what, found).advice(advice)
            }
        });
    }
}

/// What came of the attempts to reach somebody, and what to do about it.
pub(super) fn dialed(missing: &Missing) -> (Option<String>, &'static str) {
    let each = |(addr, failure): &(Multiaddr, DialFailure)| format!("{addr}: {failure}");
    let told = missing.failures.iter().map(each).collect::<Vec<_>>().join("; ");
    let any = |which: fn(&DialFailure) -> bool| missing.failures.iter().any(|(_, failure)| which(failure));
    let advice = if any(|failure| matches!(failure, DialFailure::Stranger(_))) {
        "another key answers there: ask for its address again, its key may have been made anew"
    } else if any(|failure| matches!(failure, DialFailure::Ourselves)) {
        "this address is this node's own: ask for the other's"
    } else if any(|failure| *failure == DialFailure::Refused) {
        "its host answers, but nobody listens at that port: is it running, is this still its port?"
    } else if missing.failures.is_empty() {
        "is it running, is this its address, is its port open in the firewall on its side?"
    } else {
        "nothing comes back: is it running, is its port open in the firewall on its side, is this host's way out open?"
    };
    ((!told.is_empty()).then_some(told), advice)
}

fn finding_members(learned: &Learned) -> Finding {
    let lookups: u64 = learned.missing.iter().map(|missing| missing.lookups).sum();
    match learned.reach.routing {
        0 => note("finding members", "nobody is connected who could be asked where members are")
            .advice("one bootstrap or member that is reached is enough"),
        count if lookups == 0 => good("finding members", format!("{count} peers can be asked")),
        count => {
            note("finding members", format!("{count} peers can be asked; asked {lookups} times for missing members"))
        }
    }
}

fn nat(reach: &Reachability) -> Finding {
    let verdict = reach.verdict();
    let mut found = match reach.behind_nat {
        Some(true) => format!("{verdict}; seen as {}", list(&reach.observed)),
        _ => verdict.to_owned(),
    };
    if !reach.refused.is_empty() {
        found = format!("{found}; probed in vain: {}", list(&reach.refused));
    }
    if reach.is_public() {
        return good("reachability", format!("{found}: {}", list(&reach.confirmed)));
    }
    if reach.behind_nat.is_none() && reach.refused.is_empty() {
        return note("reachability", found);
    }
    note("reachability", found)
        .advice("forward the node's port in the router, and name it under reach.external; or rely on holes and relays")
}

fn relay(config: &RunConfig, reach: &Reachability) -> Finding {
    match (reach.relays.len(), reach.relays_offered.len()) {
        _ if config.reach.relay == "never" => note("relay", "switched off (reach.relay)"),
        (0, 0) => note("relay", "no bootstrap that is connected offers one"),
        (0, offered) if reach.behind_nat == Some(true) => bad(
            "relay",
            format!("{offered} are offered, none gave this node a place"),
        )
        .advice(
            "ask the bootstrap's operator whether its relay is full, and under which address it is seen (--external)",
        ),
        (0, offered) => good("relay", format!("{offered} are offered, none is needed")),
        (places, _) => good("relay", format!("a place at {places}")),
    }
}

/// Configured entry points, each with its addresses.
fn entries(config: &RunConfig) -> Vec<(NodeId, Vec<String>)> {
    let mut all: Vec<(NodeId, Vec<String>)> = Vec::new();
    for addr in RunConfig::addresses(&config.bootstraps).unwrap_or_default() {
        let Some(id) = NodeId::at_end_of(&addr) else { continue };
        match all.iter_mut().find(|(known, _)| *known == id) {
            Some((_, addrs)) => addrs.push(addr.to_string()),
            None => all.push((id, vec![addr.to_string()])),
        }
    }
    all
}
