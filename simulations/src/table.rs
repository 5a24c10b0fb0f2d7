//! The table of peers that ends a run.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, presets};

use crate::results::Results;

/// One line per peer and one for all of them, without a trailing line break.
#[must_use]
pub fn peers(results: &Results) -> String {
    let has_gate = results.peers.iter().any(|peer| peer.gate.is_some());
    let has_local = results.summary.local_accuracy.is_some();
    let mut header = vec!["peer", "architecture", "parameters", "train", "test"];
    if has_local {
        header.push("alone");
    }
    header.push("swarm");
    if has_local {
        header.push("gain");
    }
    if has_gate {
        header.push("gate: shared");
    }
    let mut table = plain(&header, 2);
    for peer in &results.peers {
        let mut row = vec![
            peer.name.clone(),
            peer.architecture.clone(),
            thousands(peer.parameters),
            peer.train_samples.to_string(),
            peer.test_samples.to_string(),
        ];
        accuracies(&mut row, has_local, peer.local_accuracy, peer.accuracy);
        if has_gate {
            row.push(peer.gate.map(|gate| format!("{gate:.2}")).unwrap_or_default());
        }
        add(&mut table, row, 2);
    }
    let summary = &results.summary;
    let sum = |f: fn(&crate::results::Peer) -> u64| results.peers.iter().map(f).sum::<u64>().to_string();
    let mut row =
        vec!["all".to_owned(), String::new(), String::new(), sum(|p| p.train_samples), sum(|p| p.test_samples)];
    accuracies(&mut row, has_local, summary.local_accuracy.as_ref().map(|a| a.last), summary.accuracy.last);
    if has_gate {
        row.push(String::new());
    }
    add(&mut table, row, 2);
    table.trim_fmt()
}

fn accuracies(row: &mut Vec<String>, has_local: bool, local: Option<f64>, swarm: f64) {
    if has_local {
        row.push(local.map(percent).unwrap_or_default());
    }
    row.push(percent(swarm));
    if has_local {
        row.push(local.map(|local| points(swarm - local)).unwrap_or_default());
    }
}

/// A table without lines between rows; all but the first `left` columns are aligned to the right.
pub(crate) fn plain(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header(header.iter().enumerate().map(|(i, text)| aligned((*text).to_owned(), i >= left)));
    table
}

pub(crate) fn add(table: &mut Table, row: Vec<String>, left: usize) {
    table.add_row(row.into_iter().enumerate().map(|(i, text)| aligned(text, i >= left)).collect::<Vec<_>>());
}

fn aligned(text: String, right: bool) -> Cell {
    Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
}

/// `0.8731` as `87.31 %`.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// A difference of fractions in percentage points, with its sign.
pub(crate) fn points(fraction: f64) -> String {
    format!("{:+.2}", 100.0 * fraction)
}

/// `1234567` as `1 234 567`, so that one can read it.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the largest decimal unit that keeps the number above one.
pub(crate) fn bytes(count: f64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) if count / size >= 100.0 => format!("{:.0} {unit}", count / size),
        Some((unit, size)) => format!("{:.1} {unit}", count / size),
        None => format!("{count:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::results::fixture;

    #[test]
    fn the_table_has_a_line_per_peer_and_one_for_all() {
        let results = fixture::fedmoe();
        let text = peers(&results);
        for peer in &results.peers {
            let line = text.lines().find(|line| line.contains(&peer.name)).unwrap();
            assert!(line.contains(&peer.architecture) && line.contains(&percent(peer.accuracy)), "{line}");
        }
        assert!(
            text.lines().any(|line| line.contains("all") && line.contains(&percent(results.summary.accuracy.last)))
        );
        assert!(text.contains("gate: shared"));
    }

    #[test]
    fn a_method_without_gate_or_baseline_has_no_empty_columns() {
        let mut results = fixture::fedmoe();
        results.summary.local_accuracy = None;
        for peer in &mut results.peers {
            peer.gate = None;
            peer.local_accuracy = None;
        }
        let text = peers(&results);
        assert!(!text.contains("gate") && !text.contains("alone") && !text.contains("gain"), "{text}");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(825_740), "825 740");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000_000), "1 000 000");
        assert_eq!(
            (bytes(999.0).as_str(), bytes(1_500.0).as_str(), bytes(733_184_000.0).as_str()),
            ("999 B", "1.5 kB", "733 MB")
        );
        assert_eq!(points(-0.0123), "-1.23");
    }
}
