//! The table of peers.

use std::fmt::Write as _;

use super::escape;
use crate::results::Results;
use crate::table::{percent, points, thousands};

pub(super) fn table(results: &Results) -> String {
    let has_local = results.peers.iter().any(|peer| peer.local_accuracy.is_some());
    let has_gate = results.peers.iter().any(|peer| peer.gate.is_some());
    let mut out =
        String::from("<div class=\"scroll\"><table class=\"peers\"><thead><tr><th>peer</th><th>architecture</th>");
    out.push_str("<th class=\"number\">parameters</th><th class=\"number\">train</th><th class=\"number\">test</th>");
    if has_local {
        out.push_str("<th class=\"number\">alone</th>");
    }
    out.push_str("<th class=\"number\">swarm</th>");
    if has_local {
        out.push_str("<th class=\"number\">gain</th>");
    }
    if has_gate {
        out.push_str("<th>gate: weight of the shared extractor</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for peer in &results.peers {
        let _ = write!(
            out,
            "<tr><th scope=\"row\" title=\"{}\">{}</th><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>",
            escape(&peer.id),
            escape(&peer.name),
            escape(&peer.architecture),
            thousands(peer.parameters),
            peer.train_samples,
            peer.test_samples
        );
        if has_local {
            let _ = write!(out, "<td class=\"number\">{}</td>", peer.local_accuracy.map(percent).unwrap_or_default());
        }
        let _ = write!(out, "<td class=\"number strong\">{}</td>", percent(peer.accuracy));
        if has_local {
            let gain = peer.local_accuracy.map(|local| peer.accuracy - local);
            let class = match gain {
                Some(gain) if gain > 0.0 => "up",
                Some(gain) if gain < 0.0 => "down",
                _ => "level",
            };
            let _ = write!(out, "<td class=\"number {class}\">{}</td>", gain.map(points).unwrap_or_default());
        }
        if has_gate {
            out.push_str(&gate(peer.gate));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

fn gate(weight: Option<f64>) -> String {
    match weight {
        Some(weight) => format!(
            "<td class=\"bar gate\"><span style=\"width:{:.1}%\"></span><b>{weight:.2}</b></td>",
            100.0 * weight.clamp(0.0, 1.0)
        ),
        None => "<td></td>".to_owned(),
    }
}
