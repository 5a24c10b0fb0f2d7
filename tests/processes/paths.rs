//! How nodes reach each other, as they tell it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::journal::Seen;
use crate::network::Run;

/// By node and member, how it is reached, and since when.
pub(crate) type Paths = BTreeMap<(usize, usize), (String, Instant)>;

/// The last word of every node about every other one.
pub(crate) fn paths(run: &Run<'_>, seen: &[Seen]) -> Paths {
    let places: BTreeMap<String, usize> = (0..run.size()).map(|node| (run.key(node), node)).collect();
    let mut paths = Paths::new();
    for seen in seen {
        let Some(member) = places.get(seen.text("member")) else { continue };
        if seen.is("path") {
            paths.insert((seen.node, *member), (seen.text("path").to_owned(), seen.at));
        } else if seen.is("peer") && seen.is_false("connected") {
            paths.remove(&(seen.node, *member));
        }
    }
    paths
}

/// The path of a pair: both must say the same, but that one calls punched what the other does not know to be.
pub(crate) fn path_of(paths: &Paths, (a, b): (usize, usize)) -> Option<String> {
    let (one, other) = (&paths.get(&(a, b))?.0, &paths.get(&(b, a))?.0);
    let relayed = [one, other].iter().any(|path| *path == "relayed");
    let punched = [one, other].iter().any(|path| *path == "punched");
    Some(
        if relayed {
            "relayed"
        } else if punched {
            "punched"
        } else {
            "direct"
        }
        .to_owned(),
    )
}

/// Since when a pair has its path.
pub(crate) fn since(paths: &Paths, (a, b): (usize, usize)) -> Option<Instant> {
    Some(paths.get(&(a, b))?.1.max(paths.get(&(b, a))?.1))
}

/// When each node said that it listens, in its present life.
pub(crate) fn started(run: &Run<'_>, seen: &[Seen]) -> Vec<Instant> {
    let of = |node| seen.iter().find(|s| s.node == node && s.life == run.lives[node] && s.is("started")).map(|s| s.at);
    (0..run.size()).map(|node| of(node).expect("it listens")).collect()
}

/// From the last start to the moment at which all of them were connected with all others.
pub(crate) fn all_connected(run: &Run<'_>) -> Duration {
    let size = run.size();
    let mut cursor = 0;
    let mut missing: Vec<(usize, String)> = (0..size)
        .flat_map(|node| (0..size).filter(move |member| *member != node).map(move |member| (node, member)))
        .map(|(node, member)| (node, run.key(member)))
        .collect();
    let mut last = None;
    while !missing.is_empty() {
        let text = format!("{} connections", missing.len());
        let (node, member, at) = run.journal.next(&text, &mut cursor, |seen| {
            let here = seen.is("peer") && !seen.is_false("connected") && seen.life == run.lives[seen.node];
            here.then(|| (seen.node, seen.text("member").to_owned(), seen.at))
        });
        missing.retain(|wanted| *wanted != (node, member.clone()));
        last = Some(at);
    }
    let last_start = started(run, &run.journal.all()).into_iter().max().expect("somebody");
    last.expect("somebody").saturating_duration_since(last_start)
}
