//! `compare.html`: one page that shows a comparison, all curves in one plot.

use std::fmt::Write as _;

use super::chart::{self, Scale};
use super::{escape, head, section};
use crate::compare::print::{COSTS, method_cells, pair_cells, pair_header};
use crate::compare::{Comparison, MethodRow};

const WIDTH: f64 = 980.0;
const LEFT: f64 = 52.0;
/// For the names at the lines' ends.
const RIGHT: f64 = 210.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
const LEAST_HEIGHT: f64 = 420.0;

/// Names closer than this would overlap.
const NAME_HEIGHT: f64 = 16.0;

/// Letters of a name that have room beside the plot.
const MOST_LETTERS: usize = 30;

/// Lines that hues alone can tell apart; behind them come dashes.
const HUES: usize = 7;
const DASHES: [&str; 4] = ["none", "8 4", "2 4", "10 4 2 4"];

const CURVES: &str = "Accuracy over all peers' own test images after every round, the mean over seeds; a line's name is at its end. Round 0 is \
    untrained. Lines of one seed each are thin behind it.";
const METHODS: &str = "Accuracy in per cent. The spread and the worst peer are over peers, after the last round.";
const PAIRS: &str = "Runs with one seed hold the same images and begin with the same weights, so methods are compared seed by seed. An interval \
    that leaves out zero is more than chance.";

/// The page.
#[must_use]
pub fn html(comparison: &Comparison) -> String {
    let (methods, seeds) = (comparison.methods.len(), comparison.seeds.len());
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let rounds = usize::try_from(comparison.scenario.rounds).unwrap_or(usize::MAX);
    let title = format!("{} compared over {}", plural(methods, "method"), plural(rounds, "round"));
    let scenario = &comparison.scenario;
    let setting = format!("{}, {} images, partition {}", plural(seeds, "seed"), scenario.data, scenario.partition);
    let mut page = head(&title);
    let _ = write!(
        page,
        "<header>\n<p class=\"brand\">fedswarm <span>comparison</span></p>\n<h1>{}</h1>\n<p class=\"setting\">{}</p>\n</header>\n",
        escape(&title),
        escape(&setting)
    );
    page.push_str(&section("curves", "Accuracy by round", CURVES, &curves(comparison)));
    let rows = comparison.methods.iter().map(method_cells);
    let table = table(&comparison.method_header(), rows) + &format!("<p class=\"intro\">{COSTS}</p>\n");
    page.push_str(&section("methods", "Methods", METHODS, &table));
    if !comparison.pairs.is_empty() {
        let table = self::table(&pair_header(), comparison.pairs.iter().map(pair_cells));
        let title = format!("<p class=\"setting\">{}</p>\n", escape(&comparison.pairs_title()));
        page.push_str(&section("pairs", "Differences", PAIRS, &(title + &table)));
    }
    let _ = write!(
        page,
        "<footer>\n<h2>Make it again</h2>\n<pre><code>{}</code></pre>\n<p>The numbers are in <code>compare.json</code>, \
         <code>compare.csv</code> and <code>methods.csv</code> beside this page; each run has a folder with a report of its own.</p>\n\
         </footer>\n</main>\n</body>\n</html>\n",
        escape(&comparison.command)
    );
    page
}

/// A line's colour and dashes: neighbours in the list differ in hue.
fn stroke(i: usize) -> String {
    let hue = (i % HUES) * 360 / HUES + 14 * (i / HUES);
    format!("--hue:{hue};stroke-dasharray:{}", DASHES[(i / HUES) % DASHES.len()])
}

fn curves(comparison: &Comparison) -> String {
    let lines: Vec<(&MethodRow, Vec<f64>)> = comparison.methods.iter().map(|row| (row, row.curve())).collect();
    let height = (lines.len() as f64 * NAME_HEIGHT + TOP + BOTTOM).max(LEAST_HEIGHT);
    let last = lines.iter().map(|(_, curve)| curve.len()).max().unwrap_or(0).saturating_sub(1).max(1);
    let high = comparison.methods.iter().flat_map(|row| &row.by_seed).flat_map(|of| of.by_round.iter().copied());
    let ticks = chart::ticks(0.0, 100.0 * high.fold(0.1, f64::max), 6);
    let top = ticks.last().copied().unwrap_or(100.0);
    let x = Scale::new(0.0, last as f64, LEFT, WIDTH - RIGHT);
    let y = Scale::new(0.0, top / 100.0, height - BOTTOM, TOP);
    let mut svg = chart::open(WIDTH, height, 760, "Accuracy by round, a line per method");
    let percents = Scale::new(0.0, top, height - BOTTOM, TOP);
    chart::grid(&mut svg, &ticks, percents, LEFT, WIDTH - RIGHT, |tick| format!("{tick:.0} %"));
    for round in (0..=last).step_by(chart::label_step(last + 1, WIDTH - LEFT - RIGHT, 34.0)) {
        let (at, below) = (x.at(round as f64), height - BOTTOM + 18.0);
        let _ = writeln!(svg, "<text class=\"tick middle\" x=\"{at:.1}\" y=\"{below:.1}\">{round}</text>");
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let _ = writeln!(svg, "<text class=\"axis middle\" x=\"{middle:.1}\" y=\"{:.1}\">round</text>", height - 6.0);
    let points = |curve: &[f64]| -> String {
        let point = |(round, accuracy): (usize, &f64)| format!("{:.1},{:.1}", x.at(round as f64), y.at(*accuracy));
        curve.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
    };
    if comparison.seeds.len() > 1 {
        svg.push_str("<g opacity=\"0.3\">\n");
        for (i, (row, _)) in lines.iter().enumerate() {
            for of in &row.by_seed {
                let path = points(&of.by_round);
                let _ = writeln!(svg, "<polyline class=\"seed-line\" style=\"{}\" points=\"{path}\"/>", stroke(i));
            }
        }
        svg.push_str("</g>\n");
    }
    for (i, (row, curve)) in lines.iter().enumerate() {
        let title = escape(&row.method);
        let (path, stroke) = (points(curve), stroke(i));
        let _ = writeln!(
            svg,
            "<polyline class=\"method-line\" style=\"{stroke}\" points=\"{path}\"><title>{title}</title></polyline>"
        );
    }
    names(&mut svg, &lines, y, height);
    svg.push_str(chart::CLOSE);
    svg
}

/// The methods' names and last accuracies at the ends of their lines, kept apart, each joined to its end.
fn names(svg: &mut String, lines: &[(&MethodRow, Vec<f64>)], y: Scale, height: f64) {
    let mut ends: Vec<(usize, f64, f64)> = lines
        .iter()
        .enumerate()
        .filter_map(|(i, (_, curve))| Some((i, *curve.last()?, y.at(*curve.last()?))))
        .collect();
    ends.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut places: Vec<f64> = ends.iter().map(|(_, _, at)| *at).collect();
    // Down the picture each keeps below the one before, then up again from the lower edge.
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + NAME_HEIGHT);
    }
    let mut floor = height - BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(floor);
        floor = *place - NAME_HEIGHT;
    }
    let from = WIDTH - RIGHT;
    for ((i, accuracy, at), place) in ends.into_iter().zip(places) {
        let method = &lines[i].0.method;
        let name: String = if method.chars().count() > MOST_LETTERS {
            method.chars().take(MOST_LETTERS - 1).chain(['…']).collect()
        } else {
            method.clone()
        };
        let _ = writeln!(
            svg,
            "<line class=\"join\" style=\"{}\" x1=\"{from:.1}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{place:.1}\"/>\
             <text class=\"method-name\" style=\"{}\" x=\"{:.1}\" y=\"{:.1}\">{:.1} {}</text>",
            stroke(i),
            from + 14.0,
            stroke(i),
            from + 18.0,
            place + 4.0,
            100.0 * accuracy,
            escape(&name)
        );
    }
}

fn table(header: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let class = |i: usize| if i == 0 { "" } else { " class=\"number\"" };
    let cells = |cells: &[String]| -> String {
        cells.iter().enumerate().map(|(i, cell)| format!("<td{}>{}</td>", class(i), escape(cell))).collect()
    };
    let head: String =
        header.iter().enumerate().map(|(i, cell)| format!("<th{}>{}</th>", class(i), escape(cell))).collect();
    let body: String = rows.map(|row| format!("<tr>{}</tr>\n", cells(&row))).collect();
    format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n")
}
