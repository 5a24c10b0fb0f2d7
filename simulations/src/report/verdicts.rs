//! What each peer made of each round's artefact: it learnt from it, or refused it.

use std::fmt::Write as _;

use super::{chart, escape};
use crate::results::{Generated, Results, Verdict};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 24.0;
/// Height of a peer's row.
const ROW: f64 = 20.0;
/// Width of a round is at most this.
const MOST_CELL: f64 = 34.0;

/// A row for each peer, a cell for each round.
pub(super) fn chart(results: &Results, generated: &Generated) -> String {
    let (rounds, peers) = (results.rounds.len().max(1), results.peers.len());
    let cell = ((WIDTH - LEFT) / rounds as f64).min(MOST_CELL);
    let mut svg = chart::open(WIDTH, TOP + ROW * peers as f64 + 6.0, 640, "Verdicts on artefacts, by peer and round");
    let step = chart::label_step(rounds, cell * rounds as f64, 24.0);
    for round in (1..=rounds).filter(|round| round.is_multiple_of(step)) {
        let x = LEFT + cell * (round as f64 - 0.5);
        let _ = writeln!(svg, "<text class=\"tick middle\" x=\"{x:.1}\" y=\"14\">{round}</text>");
    }
    for (row, peer) in results.peers.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let (x, base) = (LEFT - 10.0, y + ROW / 2.0 + 4.0);
        let _ = writeln!(svg, "<text class=\"name end\" x=\"{x:.1}\" y=\"{base:.1}\">{}</text>", escape(&peer.name));
        for round in 1..=rounds {
            let known = |verdict: &&Verdict| (verdict.peer, verdict.round) == (row, round as u64);
            let verdict = generated.verdicts.iter().find(known);
            let class = match verdict {
                None => "untried",
                Some(verdict) if verdict.refused => "declined",
                Some(_) => "taken",
            };
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"><title>{}</title></rect>",
                LEFT + cell * (round - 1) as f64,
                (cell - 2.0).max(1.0),
                ROW - 3.0,
                escape(&title(results, round, verdict))
            );
        }
    }
    svg.push_str(chart::CLOSE);
    let key = [("taken", "learnt from it"), ("declined", "refused it"), ("untried", "had nothing to try")];
    let key = key.map(|(class, text)| (class.to_owned(), text.to_owned()));
    format!("{}{svg}{}", chart::legend(&key), refusals(results, generated))
}

fn title(results: &Results, round: usize, verdict: Option<&Verdict>) -> String {
    let Some(verdict) = verdict else { return format!("round {round}: nothing to try") };
    let host = results.peers.get(verdict.host).map_or("", |peer| peer.name.as_str());
    let loss = |x: Option<f64>| x.map_or_else(|| "beyond measure".to_owned(), |x| format!("{x:.2}"));
    let what = if verdict.refused { "refused" } else { "learnt from" };
    let (with, without) = (loss(verdict.with), loss(verdict.without));
    let job = verdict.job_round;
    format!("round {round}: {what} what {host} made of round {job}; loss {with} with it, {without} without")
}

/// In words, by artefact, the first few.
fn refusals(results: &Results, generated: &Generated) -> String {
    let mut by_artefact: Vec<(u64, usize, Vec<&Verdict>)> = Vec::new();
    for verdict in generated.verdicts.iter().filter(|verdict| verdict.refused) {
        let key = (verdict.job_round, verdict.host);
        match by_artefact.iter_mut().find(|(job, host, _)| (*job, *host) == key) {
            Some((_, _, verdicts)) => verdicts.push(verdict),
            None => by_artefact.push((key.0, key.1, vec![verdict])),
        }
    }
    if by_artefact.is_empty() {
        return "<p>Nobody refused anything.</p>\n".to_owned();
    }
    let mut out = "<ul class=\"refused\">\n".to_owned();
    for (job, host, verdicts) in by_artefact.iter().take(20) {
        let name = |peer: usize| results.peers.get(peer).map_or("", |peer| peer.name.as_str());
        let mut names: Vec<&str> = verdicts.iter().map(|verdict| name(verdict.peer)).collect();
        names.sort_unstable();
        names.dedup();
        let _ = writeln!(
            out,
            "<li>What {} made of round {job} raised the loss of {}: they did without.</li>",
            escape(name(*host)),
            escape(&names.join(", "))
        );
    }
    out.push_str("</ul>\n");
    out
}
