//! Bytes by kind, as bars with their numbers: most are too small to be seen beside the updates.

use super::escape;
use crate::results::{Results, Summary};
use crate::table::bytes;

pub(super) fn chart(results: &Results) -> String {
    let mut kinds: Vec<(&String, u64)> =
        results.summary.bytes.by_kind.iter().map(|(kind, count)| (kind, *count)).collect();
    if kinds.is_empty() {
        return "<p class=\"empty\">Nothing was counted.</p>\n".to_owned();
    }
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let most = kinds[0].1.max(1) as f64;
    let total = kinds.iter().map(|(_, count)| *count).sum::<u64>().max(1) as f64;
    let rows: String = kinds
        .iter()
        .map(|(kind, count)| {
            let count = *count as f64;
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"bar\"><span style=\"width:{:.2}%\"></span></td>\
                 <td class=\"number\">{}</td><td class=\"number share\">{}</td></tr>\n",
                escape(kind),
                100.0 * count / most,
                bytes(count),
                share(count / total)
            )
        })
        .collect();
    format!("<table class=\"traffic\"><tbody>\n{rows}</tbody></table>\n{}", costs(&results.summary))
}

/// What the method itself needs, beside what it costs to trust nobody.
fn costs(summary: &Summary) -> String {
    let Some(costs) = summary.costs() else { return String::new() };
    let recomputed = costs.recomputation.map(|count| format!(", {} to let every voter recompute", bytes(count)));
    format!(
        "<p class=\"intro\">Per peer and round: {} up and {} down by the method's formula{}, {} overhead.</p>\n",
        bytes(costs.up),
        bytes(costs.down),
        recomputed.unwrap_or_default(),
        bytes(costs.overhead)
    )
}

/// A share in percent; neither a little is nothing nor almost all is all.
fn share(fraction: f64) -> String {
    match 100.0 * fraction {
        percent if percent > 0.0 && percent < 0.1 => "&lt; 0.1 %".to_owned(),
        percent if percent > 99.9 && percent < 100.0 => "&gt; 99.9 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}
