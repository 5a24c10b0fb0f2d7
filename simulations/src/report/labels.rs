//! The partition as a heat map: peers by classes, darker where a peer has more images.

use std::fmt::Write as _;

use super::{chart, escape};
use crate::results::Results;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 52.0;
const ROW: f64 = 26.0;
/// Above this many classes the cells are too narrow for numbers and names.
const MOST_NAMED_CLASSES: usize = 20;
/// Room for the classes' names above the map.
const NAMES: f64 = 74.0;
/// Above this shade the number in a cell is written in the light colour.
const DARK: f64 = 0.55;

pub(super) fn chart(results: &Results) -> String {
    let classes = results.classes.len();
    if classes == 0 || results.peers.is_empty() {
        return "<p class=\"empty\">The run did not say which images its peers hold.</p>\n".to_owned();
    }
    let named = classes <= MOST_NAMED_CLASSES;
    let top = if named { NAMES } else { 24.0 };
    let column = (WIDTH - LEFT - RIGHT) / classes as f64;
    let height = top + ROW * results.peers.len() as f64 + 6.0;
    let most = results.peers.iter().flat_map(|peer| &peer.label_counts).copied().max().unwrap_or(0).max(1) as f64;

    let mut svg = chart::open(WIDTH, height, 720, "Training images of each class per peer");
    let step = if named { 1 } else { chart::label_step(classes, WIDTH - LEFT - RIGHT, 30.0) };
    for (i, class) in results.classes.iter().enumerate().step_by(step) {
        let x = LEFT + column * (i as f64 + 0.5);
        if named {
            let y = top - 8.0;
            let _ = writeln!(
                svg,
                "<text class=\"name\" x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate(-35 {x:.1} {y:.1})\">{}</text>",
                escape(class)
            );
        } else {
            let _ = writeln!(svg, "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{:.1}\">{i}</text>", top - 8.0);
        }
    }
    let _ = writeln!(svg, "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">all</text>", WIDTH - 4.0, top - 8.0);
    for (row, peer) in results.peers.iter().enumerate() {
        let y = top + ROW * row as f64;
        let _ = writeln!(
            svg,
            "<text class=\"name end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 10.0,
            y + ROW / 2.0 + 4.0,
            escape(&peer.name)
        );
        for (i, class) in results.classes.iter().enumerate() {
            let count = peer.label_counts.get(i).copied().unwrap_or(0);
            // The root makes few images visible beside many.
            let shade = (count as f64 / most).sqrt();
            let x = LEFT + column * i as f64;
            let gap = if column > 8.0 { 2.0 } else { 0.5 };
            let _ = write!(
                svg,
                "<g><title>{}, {}: {count}</title><rect class=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"",
                escape(&peer.name),
                escape(class),
                if count == 0 { "cell none" } else { "cell" },
                column - gap,
                ROW - 2.0
            );
            if count > 0 {
                let _ = write!(svg, " fill-opacity=\"{:.2}\"", 0.12 + 0.88 * shade);
            }
            svg.push_str("/>");
            if named && count > 0 {
                let class = if shade > DARK { "count on-dark" } else { "count" };
                let _ = write!(
                    svg,
                    "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{count}</text>",
                    x + (column - gap) / 2.0,
                    y + ROW / 2.0 + 3.0
                );
            }
            svg.push_str("</g>\n");
        }
        let all: u64 = peer.label_counts.iter().sum();
        let _ = writeln!(
            svg,
            "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{all}</text>",
            WIDTH - 4.0,
            y + ROW / 2.0 + 4.0
        );
    }
    svg.push_str(chart::CLOSE);
    svg
}
