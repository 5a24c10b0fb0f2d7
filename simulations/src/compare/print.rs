//! A comparison for people: on a terminal, and as Markdown for `docs/results/`.

use std::fmt::Write as _;

use super::{Comparison, MethodRow, Pair, Point, Reached};
use crate::table;

/// What the columns of bytes are.
pub(crate) const COSTS: &str = "Bytes per peer and round. Up: the numbers that a peer publishes, counted once; down: those that it takes in. \
    Recomputed: payloads sent once more, so that every voter can merge them itself. Overhead: everything else.";

impl Comparison {
    /// Both tables for a terminal, without a trailing line break.
    #[must_use]
    pub fn table(&self) -> String {
        let mut methods = table::plain(&refs(&self.method_header()), 1);
        for row in &self.methods {
            table::add(&mut methods, method_cells(row), 1);
        }
        let mut text = methods.trim_fmt();
        if !self.pairs.is_empty() {
            let mut pairs = table::plain(&refs(&pair_header()), 1);
            for pair in &self.pairs {
                table::add(&mut pairs, pair_cells(pair), 1);
            }
            let _ = write!(text, "\n\n{}\n{}", self.pairs_title(), pairs.trim_fmt());
        }
        let _ = write!(text, "\n\n{COSTS}");
        text
    }

    /// Both tables and the command as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        if !self.command.is_empty() {
            let _ = writeln!(text, "```\n{}\n```\n", self.command);
        }
        markdown_table(&mut text, &self.method_header(), self.methods.iter().map(method_cells));
        let _ = writeln!(text, "\n{COSTS}");
        if !self.pairs.is_empty() {
            let _ = writeln!(text, "\n{}\n", self.pairs_title());
            markdown_table(&mut text, &pair_header(), self.pairs.iter().map(pair_cells));
        }
        text
    }

    pub(crate) fn pairs_title(&self) -> String {
        let seeds = self.seeds.len();
        match seeds {
            1 => "Differences in points. One seed: no interval can be given.".to_owned(),
            _ => format!("Paired differences in points over {seeds} seeds, with 95 % intervals (Student t):"),
        }
    }

    pub(crate) fn method_header(&self) -> Vec<String> {
        let points = self.methods.first().map(|row| row.points.as_slice()).unwrap_or_default();
        let mut header = vec!["method".to_owned()];
        header.extend(points.iter().map(|point| format!("accuracy at {}", point.round)));
        header.push("best".to_owned());
        header.extend(self.reach.map(|reach| format!("rounds to {} %", shortest(100.0 * reach))));
        let rest = ["peer spread", "worst peer", "up", "down", "recomputed", "overhead", "s/round"];
        header.extend(rest.map(str::to_owned));
        header
    }
}

pub(crate) fn method_cells(row: &MethodRow) -> Vec<String> {
    let mut cells = vec![row.method.clone()];
    cells.extend(row.points.iter().map(point));
    cells.push(number(row.mean_best));
    cells.extend(row.reached.as_ref().map(|reached| rounds(reached, row.by_seed.len())));
    cells.push(row.peer_spread.map(number).unwrap_or_default());
    cells.push(number(row.worst_peer));
    let costs = &row.costs;
    cells.extend([costs.up, costs.down].map(table::bytes));
    cells.push(costs.recomputation.map_or_else(|| "-".to_owned(), table::bytes));
    cells.push(table::bytes(costs.overhead));
    cells.push(format!("{:.2}", row.seconds_per_round));
    cells
}

/// The mean round, and how many seeds got there if not all did.
fn rounds(reached: &Reached, seeds: usize) -> String {
    match reached.round {
        None => "never".to_owned(),
        Some(round) if reached.seeds == seeds => shortest(round),
        Some(round) => format!("{} ({} of {seeds})", shortest(round), reached.seeds),
    }
}

/// One decimal, or none if it would be zero.
fn shortest(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn point(point: &Point) -> String {
    let deviation = point.deviation.map(|deviation| format!(" ± {}", number(deviation)));
    format!("{}{}", number(point.mean), deviation.unwrap_or_default())
}

pub(crate) fn pair_header() -> Vec<String> {
    ["difference", "round", "mean", "95 % interval", "sign is clear"].map(str::to_owned).to_vec()
}

pub(crate) fn pair_cells(pair: &Pair) -> Vec<String> {
    let difference = pair.difference;
    let interval = difference.interval.map(|(low, high)| format!("{} to {}", table::points(low), table::points(high)));
    vec![
        format!("{} − {}", pair.method, pair.against),
        pair.round.to_string(),
        table::points(difference.mean),
        interval.unwrap_or_else(|| "-".to_owned()),
        if difference.is_clear() { "yes" } else { "no" }.to_owned(),
    ]
}

/// A fraction in percent, two decimals.
fn number(fraction: f64) -> String {
    format!("{:.2}", 100.0 * fraction)
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn markdown_table(out: &mut String, header: &[String], rows: impl Iterator<Item = Vec<String>>) {
    let line = |cells: &[String]| {
        format!("| {} |", cells.iter().map(|c| c.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = (0..header.len()).map(|i| if i == 0 { "---" } else { "---:" }.to_owned()).collect();
    let _ = writeln!(out, "{}\n| {} |", line(header), rule.join(" | "));
    for row in rows {
        let _ = writeln!(out, "{}", line(&row));
    }
}
