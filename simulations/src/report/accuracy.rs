//! Accuracy by round: a thin line per peer, the pooled accuracy in bold, the same peers alone in dashes.

use std::fmt::Write as _;

use super::chart::{self, Scale};
use super::escape;
use crate::results::Results;
use crate::table::percent;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// From this many rounds on the axis need not begin at zero.
const LONG_RUN: usize = 20;

/// Labels at the right end closer than this would overlap.
const LABEL_HEIGHT: f64 = 15.0;

pub(super) fn chart(results: &Results) -> String {
    let summary = &results.summary;
    let swarm = &summary.accuracy.by_round;
    let alone = summary.local_accuracy.as_ref().map(|local| local.by_round.as_slice()).unwrap_or_default();
    let without = results.generated.as_ref().and_then(|generated| generated.without.as_ref());
    let without = without.map(|accuracy| accuracy.by_round.as_slice()).unwrap_or_default();
    let peers: Vec<Vec<(usize, f64)>> = (0..results.peers.len())
        .map(|peer| {
            let point = |round: &crate::results::Round| Some((round.round as usize, *round.accuracies.get(peer)?));
            results.rounds.iter().filter_map(point).collect()
        })
        .collect();
    let last = swarm.len().max(alone.len()).saturating_sub(1).max(1);
    let series = || peers.iter().flatten().copied().chain(pairs(swarm)).chain(pairs(alone)).chain(pairs(without));
    let high = series().map(|(_, accuracy)| accuracy).fold(0.1, f64::max);
    // Where a long run's lines lie close together, the axis begins below all that happens after the first quarter.
    let settled = series().filter(|(round, _)| *round >= last / 4).map(|(_, accuracy)| accuracy);
    let low = if last > LONG_RUN { settled.fold(1.0, f64::min) } else { 0.0 };
    let ticks = chart::ticks(100.0 * low, 100.0 * high, 5);
    let (bottom, top) = (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(100.0));
    let x = Scale::new(0.0, last as f64, LEFT, WIDTH - RIGHT);
    let y = Scale::new(bottom / 100.0, top / 100.0, HEIGHT - BOTTOM, TOP);

    let mut svg = chart::open(WIDTH, HEIGHT, 720, "Accuracy by round, per peer and over all peers");
    let percents = Scale::new(bottom, top, HEIGHT - BOTTOM, TOP);
    chart::grid(&mut svg, &ticks, percents, LEFT, WIDTH - RIGHT, |tick| format!("{tick:.0} %"));
    let step = chart::label_step(last + 1, WIDTH - LEFT - RIGHT, 34.0);
    for round in (0..=last).step_by(step) {
        let at = x.at(round as f64);
        let _ = writeln!(
            svg,
            "<text class=\"tick middle\" x=\"{at:.1}\" y=\"{:.1}\">{round}</text>",
            HEIGHT - BOTTOM + 18.0
        );
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let note =
        if bottom > 0.0 { format!("round (the axis of accuracy begins at {bottom:.0} %)") } else { "round".to_owned() };
    let _ = writeln!(svg, "<text class=\"axis middle\" x=\"{middle:.1}\" y=\"{:.1}\">{note}</text>", HEIGHT - 6.0);

    // An inner picture cuts off what lies under the axis; a margin leaves the lines their width.
    let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT + 4.0, HEIGHT - TOP - BOTTOM + 4.0);
    let corner = format!("{:.0} {:.0} {inner_width:.0} {inner_height:.0}", LEFT - 2.0, TOP - 2.0);
    let (left, over) = (LEFT - 2.0, TOP - 2.0);
    let _ = writeln!(
        svg,
        "<svg x=\"{left:.0}\" y=\"{over:.0}\" width=\"{inner_width:.0}\" height=\"{inner_height:.0}\" viewBox=\"{corner}\">"
    );
    // Many lines are fainter, so that together they are a band.
    let faint = (2.2 / (results.peers.len().max(1) as f64).sqrt()).clamp(0.25, 0.7);
    let _ = writeln!(svg, "<g opacity=\"{faint:.2}\">");
    for (peer, line) in results.peers.iter().zip(&peers) {
        let end = line.last().map(|(_, a)| percent(*a)).unwrap_or_default();
        let title = format!("{} ({}): {end}", peer.name, peer.architecture);
        polyline(&mut svg, "peer-line", line.iter().copied(), x, y, &title);
    }
    svg.push_str("</g>\n");
    polyline(&mut svg, "alone-line", pairs(alone), x, y, "All peers, each trained alone");
    polyline(&mut svg, "without-line", pairs(without), x, y, "All peers, in the swarm without its generator");
    polyline(&mut svg, "swarm-line", pairs(swarm), x, y, "All peers, in the swarm");
    svg.push_str("</svg>\n");
    end_labels(&mut svg, swarm.last().copied(), alone.last().copied(), y);
    svg.push_str(chart::CLOSE);

    let mut key = vec![("line swarm".to_owned(), "all peers, in the swarm".to_owned())];
    if !alone.is_empty() {
        key.push(("line alone".to_owned(), "all peers, each trained alone".to_owned()));
    }
    if !without.is_empty() {
        key.push(("line without".to_owned(), "all peers, in the same swarm without its generator".to_owned()));
    }
    key.push(("line peer".to_owned(), "one peer, in the swarm".to_owned()));
    format!("{}{svg}", chart::legend(&key))
}

/// A list as points: its indices are the rounds.
fn pairs(by_round: &[f64]) -> impl Iterator<Item = (usize, f64)> + '_ {
    by_round.iter().copied().enumerate()
}

fn polyline(
    svg: &mut String,
    class: &str,
    points: impl Iterator<Item = (usize, f64)>,
    x: Scale,
    y: Scale,
    title: &str,
) {
    let path: Vec<String> = points.map(|(r, a)| format!("{:.1},{:.1}", x.at(r as f64), y.at(a))).collect();
    match path.as_slice() {
        [] => {}
        // One point has no line.
        [point] => {
            let (cx, cy) = point.split_once(',').unwrap_or_default();
            let _ = writeln!(
                svg,
                "<circle class=\"{class} dot\" cx=\"{cx}\" cy=\"{cy}\" r=\"3\"><title>{}</title></circle>",
                escape(title)
            );
        }
        _ => {
            let _ = writeln!(
                svg,
                "<polyline class=\"{class}\" points=\"{}\"><title>{}</title></polyline>",
                path.join(" "),
                escape(title)
            );
        }
    }
}

/// The two figures that matter, written at the ends of their lines and kept apart.
fn end_labels(svg: &mut String, swarm: Option<f64>, alone: Option<f64>, y: Scale) {
    let Some(swarm) = swarm else { return };
    let mut swarm_at = y.at(swarm);
    let mut alone_at = alone.map(|a| y.at(a));
    if let Some(alone_at) = &mut alone_at
        && (*alone_at - swarm_at).abs() < LABEL_HEIGHT
    {
        let middle = f64::midpoint(*alone_at, swarm_at);
        let half = LABEL_HEIGHT / 2.0;
        let swarm_above = alone.is_none_or(|alone| swarm >= alone);
        (swarm_at, *alone_at) =
            if swarm_above { (middle - half, middle + half) } else { (middle + half, middle - half) };
    }
    let x = WIDTH - RIGHT + 8.0;
    let _ = writeln!(
        svg,
        "<text class=\"end-label swarm-text\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
        swarm_at + 4.0,
        percent(swarm)
    );
    if let (Some(alone), Some(at)) = (alone, alone_at) {
        let _ = writeln!(
            svg,
            "<text class=\"end-label alone-text\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            at + 4.0,
            percent(alone)
        );
    }
}
