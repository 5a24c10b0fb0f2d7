//! What the generator peer made: its pictures by round beside real ones, and the prototypes before and after alignment.

use std::fmt::Write as _;

use super::{chart, escape};
use crate::results::{Generated, Picture, Projected, Results};
use crate::table::percent;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 130.0;
const TOP: f64 = 74.0;
/// Room for the end of the last name.
const RIGHT: f64 = 44.0;
/// A picture's place is a square of at most this width.
const MOST_CELL: f64 = 76.0;
/// Above this many classes only the first are shown.
const MOST_CLASSES: usize = 20;
/// Radius of a prototype's dot.
const DOT: f64 = 4.5;

/// The pictures.
pub(super) fn pictures(results: &Results, generated: &Generated) -> String {
    let classes = results.classes.len().min(MOST_CLASSES);
    let pictured: Vec<_> = generated.artefacts.iter().filter(|a| !a.pictures.is_empty()).collect();
    if classes == 0 || pictured.is_empty() {
        return "<p class=\"empty\">No artefact was certified.</p>\n".to_owned();
    }
    let cell = ((WIDTH - LEFT - RIGHT) / classes as f64).min(MOST_CELL);
    let height = TOP + cell * (pictured.len() + 1) as f64 + 10.0;
    let width = LEFT + cell * classes as f64 + RIGHT;
    let mut svg = chart::open(width, height, 640, "Generated pictures of each class, by round");
    for (i, class) in results.classes.iter().take(classes).enumerate() {
        let (x, y) = (LEFT + cell * (i as f64 + 0.4), TOP - 8.0);
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{x:.1}\" y=\"{y:.1}\" transform=\"rotate(-35 {x:.1} {y:.1})\">{}</text>",
            escape(class)
        );
    }
    for (row, artefact) in pictured.iter().enumerate() {
        let host = results.peers.get(artefact.host).map_or("", |peer| peer.name.as_str());
        let title = format!("round {}, by {host}: {} got it", artefact.round, artefact.received);
        line(&mut svg, row, cell, &format!("round {}", artefact.round), &title, &artefact.pictures, classes);
    }
    let title = "images that peers hold";
    line(&mut svg, pictured.len(), cell, "real images", title, &generated.samples, classes);
    svg.push_str(chart::CLOSE);
    svg
}

/// One row: a picture of each class.
fn line(svg: &mut String, row: usize, cell: f64, label: &str, title: &str, pictures: &[Picture], classes: usize) {
    let y = TOP + cell * row as f64;
    let _ = writeln!(
        svg,
        "<g><title>{}</title><text class=\"name end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        escape(title),
        LEFT - 12.0,
        y + cell / 2.0 + 3.0,
        escape(label)
    );
    for picture in pictures.iter().filter(|picture| usize::from(picture.class) < classes && is_base64(&picture.png)) {
        let _ = writeln!(
            svg,
            "<image class=\"picture\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{w:.1}\" \
             href=\"data:image/png;base64,{}\"/>",
            LEFT + cell * f64::from(picture.class),
            picture.png,
            w = cell - 3.0
        );
    }
    svg.push_str("</g>\n");
}

/// Results are read from a file: nothing else may get into the page.
fn is_base64(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
}

/// The prototypes: two planes side by side, a colour for each class.
pub(super) fn prototypes(results: &Results, generated: &Generated) -> String {
    const SIDE: f64 = 400.0;
    const GAP: f64 = 80.0;
    let points = &generated.prototypes;
    if points.is_empty() {
        return String::new();
    }
    let label = "Class prototypes before and after alignment with the generator's latent space";
    let mut svg = chart::open(2.0 * SIDE + GAP + 2.0, SIDE + 34.0, 640, label);
    type Place = fn(&Projected) -> [f64; 2];
    let planes: [(&str, f64, Place); 2] =
        [("as the peers publish them", 1.0, |p| p.before), ("as the host aligns them", SIDE + GAP + 1.0, |p| p.after)];
    for (name, left, place) in planes {
        let _ = writeln!(
            svg,
            "<text class=\"axis middle\" x=\"{:.1}\" y=\"16\">{name}</text>\
             <rect class=\"plane\" x=\"{left:.1}\" y=\"26\" width=\"{SIDE}\" height=\"{SIDE}\" rx=\"6\"/>",
            left + SIDE / 2.0
        );
        let x = chart::Scale::new(-1.0, 1.0, left + 16.0, left + SIDE - 16.0);
        let y = chart::Scale::new(-1.0, 1.0, 26.0 + SIDE - 16.0, 26.0 + 16.0);
        for point in points {
            let [a, b] = place(point).map(|v| if v.is_finite() { v.clamp(-1.0, 1.0) } else { 0.0 });
            let class = results.classes.get(usize::from(point.class)).map_or("", String::as_str);
            let _ = writeln!(
                svg,
                "<g><title>{}</title><circle class=\"prototype\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{DOT}\" \
                 style=\"--hue:{:.0}\"/></g>",
                escape(class),
                x.at(a),
                y.at(b),
                hue(point.class, results.classes.len())
            );
        }
    }
    svg.push_str(chart::CLOSE);
    let keys = results.classes.iter().take(MOST_CLASSES).enumerate().map(|(i, class)| {
        let hue = hue(i as u16, results.classes.len());
        format!("<li><span class=\"swatch round\" style=\"--hue:{hue:.0}\"></span>{}</li>", escape(class))
    });
    format!("<ul class=\"legend\">{}</ul>\n{svg}", keys.collect::<String>())
}

/// Hues in degrees, evenly round the circle.
fn hue(class: u16, classes: usize) -> f64 {
    360.0 * f64::from(class) / classes.max(1) as f64
}

/// What was refused, and how many got what was certified.
pub(super) fn notes(results: &Results, generated: &Generated) -> String {
    let rounds = generated.artefacts.len();
    let mut out = format!(
        "<p>{} of {} rounds certified a new artefact of generator <code>{}</code>.",
        rounds,
        results.rounds.len(),
        escape(&generated.generator)
    );
    if let Some(last) = generated.artefacts.last() {
        let _ =
            write!(out, " {} peers got the last one; each leaves it if it makes its own model worse.", last.received);
    }
    if let Some(without) = &generated.without {
        let (with, without) = (percent(results.summary.accuracy.last), percent(without.last));
        let _ = write!(out, " The same swarm without it ends at {without}, with it at {with}.");
    }
    out.push_str("</p>\n");
    if !generated.refused.is_empty() {
        out.push_str("<ul class=\"refused\">\n");
        for refused in generated.refused.iter().take(20) {
            let host = results.peers.get(refused.host).map_or("", |peer| peer.name.as_str());
            let _ = writeln!(
                out,
                "<li>round {}: {} peers refused what {} made: {}</li>",
                refused.round,
                refused.by,
                escape(host),
                escape(&refused.reason)
            );
        }
        out.push_str("</ul>\n");
    }
    out
}
