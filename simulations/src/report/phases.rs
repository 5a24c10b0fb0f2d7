//! One stacked bar per round: training, collecting, agreeing; under it the peer that aggregated.

use std::fmt::Write as _;

use super::chart::{self, Scale};
use super::{escape, headline};
use crate::results::Results;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const PLOT: f64 = 240.0;
/// Room for the round's number under the bars.
const NUMBERS: f64 = 22.0;
/// Width of a letter in the aggregators' names, which are written slanting.
const LETTER: f64 = 7.0;
/// Longest name that is written in full.
const LONGEST_NAME: usize = 16;
/// Least pixels for each bar's labels.
const LABEL_WIDTH: f64 = 26.0;

pub(super) fn chart(results: &Results) -> String {
    let rounds = &results.rounds;
    if rounds.is_empty() {
        return "<p class=\"empty\">No round was certified.</p>\n".to_owned();
    }
    let name = |peer: usize| results.peers.get(peer).map_or_else(|| format!("#{peer}"), |peer| shorten(&peer.name));
    let longest = rounds.iter().map(|round| name(round.aggregator).chars().count()).max().unwrap_or(0);
    // Names slant at 45 degrees, so that much of their length goes down.
    let names_height = longest as f64 * LETTER * std::f64::consts::FRAC_1_SQRT_2 + 14.0;
    let height = TOP + PLOT + NUMBERS + names_height + 4.0;
    let base = TOP + PLOT;

    let most = rounds.iter().map(|round| round.phases_ms.total() / 1e3).fold(0.0, f64::max);
    let ticks = chart::ticks(0.0, most.max(0.001), 4);
    let top = ticks.last().copied().unwrap_or(1.0);
    let y = Scale::new(0.0, top, base, TOP);
    let digits = if top >= 4.0 {
        0
    } else if top >= 0.4 {
        1
    } else {
        3
    };

    let mut svg = chart::open(WIDTH, height, 720, "Duration of every round by phase, with its aggregator");
    chart::grid(&mut svg, &ticks, y, LEFT, WIDTH - RIGHT, |tick| format!("{tick:.digits$} s"));
    let slot = (WIDTH - LEFT - RIGHT) / rounds.len() as f64;
    let bar = (slot * 0.72).min(46.0);
    let step = chart::label_step(rounds.len(), WIDTH - LEFT - RIGHT, LABEL_WIDTH);
    for (i, round) in rounds.iter().enumerate() {
        let centre = LEFT + slot * (i as f64 + 0.5);
        let phases = round.phases_ms;
        let aggregator = name(round.aggregator);
        let title = format!(
            "Round {}, aggregated by {aggregator} in view {}: train {}, collect {}, agree {}; {} updates",
            round.round,
            round.view,
            headline::seconds(phases.train / 1e3),
            headline::seconds(phases.collect / 1e3),
            headline::seconds(phases.agree / 1e3),
            round.inputs
        );
        let _ = write!(svg, "<g><title>{}</title>", escape(&title));
        let mut below = 0.0;
        for (class, milliseconds) in [("train", phases.train), ("collect", phases.collect), ("agree", phases.agree)] {
            let above = below + milliseconds / 1e3;
            let (from, to) = (y.at(below), y.at(above));
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{to:.1}\" width=\"{bar:.1}\" height=\"{:.1}\"/>",
                centre - bar / 2.0,
                (from - to).max(0.0)
            );
            below = above;
        }
        if round.view > 0 {
            let tip = y.at(below) - 6.0;
            let _ = write!(svg, "<path class=\"passed\" d=\"M{centre:.1} {tip:.1}l-5 -9h10z\"/>");
        }
        svg.push_str("</g>\n");
        // A labelled thinning starts at the first round and keeps round numbers such as 5, 10, 15 where it can.
        if step == 1 || (round.round as usize).is_multiple_of(step) {
            let under = base + 16.0;
            let _ =
                writeln!(svg, "<text class=\"tick middle\" x=\"{centre:.1}\" y=\"{under:.1}\">{}</text>", round.round);
            let (nx, ny) = (centre + 4.0, base + NUMBERS + 10.0);
            let _ = writeln!(
                svg,
                "<text class=\"name end\" x=\"{nx:.1}\" y=\"{ny:.1}\" transform=\"rotate(-45 {nx:.1} {ny:.1})\">{}</text>",
                escape(&aggregator)
            );
        }
    }
    svg.push_str(chart::CLOSE);
    let mut key = [("train", "train"), ("collect", "collect updates"), ("agree", "agree on the merge")]
        .map(|(class, text)| (class.to_owned(), text.to_owned()))
        .to_vec();
    if rounds.iter().any(|round| round.view > 0) {
        key.push(("passed".to_owned(), "first in line passed over".to_owned()));
    }
    format!("{}{svg}", chart::legend(&key))
}

/// A name that fits under a bar.
fn shorten(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        name.to_owned()
    } else {
        name.chars().take(LONGEST_NAME - 1).chain(std::iter::once('…')).collect()
    }
}
