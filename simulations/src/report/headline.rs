//! The top of the page: what came out, in one sentence and a few figures; and its foot: how to make it again.

use super::escape;
use crate::results::{Results, Summary};
use crate::table::{bytes, percent, points};

pub(super) fn section(results: &Results) -> String {
    let summary = &results.summary;
    let figures: String = figures(results)
        .into_iter()
        .map(|(value, what, detail)| {
            format!(
                "<div class=\"figure\"><dt>{what}</dt><dd>{}</dd><dd class=\"detail\">{}</dd></div>\n",
                escape(&value),
                escape(&detail)
            )
        })
        .collect();
    format!(
        "<header>\n<p class=\"brand\">fedswarm <span>simulation report</span></p>\n\
         <h1>{}</h1>\n<p class=\"setting\">{}</p>\n<dl class=\"figures\">\n{figures}</dl>\n</header>\n",
        escape(&sentence(summary)),
        escape(&setting(results)),
    )
}

/// What came out, without praise: the same words whether the swarm won or lost.
fn sentence(summary: &Summary) -> String {
    if summary.rounds_certified == 0 {
        return "No round was certified".to_owned();
    }
    let accuracy = percent(summary.accuracy.last);
    let peers = match summary.nodes {
        1 => format!("One peer reaches {accuracy}"),
        nodes => format!("{nodes} peers reach {accuracy} together"),
    };
    match (&summary.local_accuracy, summary.gain()) {
        (Some(local), Some(gain)) if gain.abs() >= 5e-5 => {
            let side = if gain > 0.0 { "more" } else { "less" };
            let (amount, alone) = (100.0 * gain.abs(), percent(local.last));
            format!("{peers}, {amount:.2} points {side} than the {alone} of training alone")
        }
        (Some(_), _) => format!("{peers}, the same as training alone"),
        (None, _) => peers,
    }
}

fn setting(results: &Results) -> String {
    let scenario = &results.scenario;
    let mut architectures: Vec<&str> = results.peers.iter().map(|peer| peer.architecture.as_str()).collect();
    architectures.sort_unstable();
    architectures.dedup();
    let architectures = match architectures.len() {
        1 => "one architecture".to_owned(),
        count => format!("{count} architectures"),
    };
    let rounds = match results.summary.rounds {
        1 => "1 round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    format!(
        "{} over {}, {rounds}, {architectures}, {} images, partition {}, seed {}",
        results.summary.method, scenario.transport, scenario.data, scenario.partition, scenario.seed
    )
}

fn figures(results: &Results) -> Vec<(String, &'static str, String)> {
    let summary = &results.summary;
    let mut figures = vec![(
        percent(summary.accuracy.last),
        "Accuracy, last round",
        format!("best round {}", percent(summary.accuracy.best)),
    )];
    if let (Some(local), Some(gain)) = (&summary.local_accuracy, summary.gain()) {
        let detail = format!("points, against {} alone", percent(local.last));
        figures.push((points(gain), "Gain over local training", detail));
    }
    let agreement = match summary.distinct_record_hashes {
        1 => "all peers hold the same record".to_owned(),
        0 => "no record".to_owned(),
        count => format!("peers hold {count} different records"),
    };
    figures.push((format!("{} of {}", summary.rounds_certified, summary.rounds), "Rounds certified", agreement));
    figures.push((
        seconds(summary.seconds.per_round_median),
        "Median round",
        format!("{} in all, {} to find each other", seconds(summary.seconds.total), seconds(summary.seconds.start)),
    ));
    figures.push((
        bytes(summary.bytes_per_peer_and_round()),
        "Sent per peer and round",
        format!("{} in all", bytes(summary.bytes.sent as f64)),
    ));
    if let Some(peak) = summary.peak_rss_bytes {
        let each = peak as f64 / summary.nodes.max(1) as f64;
        figures.push((bytes(peak as f64), "Peak memory", format!("whole process; {} per peer", bytes(each))));
    }
    figures
}

/// Seconds for people: `0.42 s`, `12.3 s`, `3 min 5 s`.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds >= 119.5 {
        let whole = seconds.round() as u64;
        format!("{} min {} s", whole / 60, whole % 60)
    } else if seconds >= 9.95 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.2} s")
    }
}

pub(super) fn footer(results: &Results) -> String {
    let hash = |name: &str, hash: &str| format!("<dt>{name}</dt><dd><code>{}</code></dd>\n", escape(hash));
    format!(
        "<footer>\n<h2>Make it again</h2>\n<pre><code>{}</code></pre>\n<dl class=\"hashes\">\n{}{}</dl>\n\
         <p>fedswarm {}. The numbers are in <code>results.json</code> and <code>rounds.csv</code> beside this page.</p>\n\
         </footer>\n",
        escape(&results.command),
        hash("Last record", &results.summary.record_hash),
        hash("Last state", &results.summary.state_hash),
        escape(&results.version),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn a_swarm_that_loses_is_said_to_lose() {
        let mut summary = fixture::fedmoe().summary;
        summary.accuracy.last = 0.80;
        if let Some(local) = &mut summary.local_accuracy {
            local.last = 0.85;
        }
        assert_eq!(
            sentence(&summary),
            "8 peers reach 80.00 % together, 5.00 points less than the 85.00 % of training alone"
        );
    }

    #[test]
    fn disagreement_is_said_plainly() {
        let mut results = fixture::fedmoe();
        results.summary.distinct_record_hashes = 2;
        assert!(section(&results).contains("peers hold 2 different records"));
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(
            (seconds(0.4219).as_str(), seconds(12.34).as_str(), seconds(185.2).as_str()),
            ("0.42 s", "12.3 s", "3 min 5 s")
        );
    }
}
