//! `report.html`: one page that shows a run, without scripts, fonts or anything from elsewhere.
//!
//! Every chart is SVG written here: its colours are the page's CSS variables, so it follows the reader's light or dark
//! scheme, which images drawn with fixed colours cannot. A wide chart scrolls sideways on a phone instead of
//! shrinking until nobody can read it. Whatever comes from outside (names, paths) passes `escape`.

mod accuracy;
mod chart;
mod comparison;
mod generator;
mod headline;
mod labels;
mod peers;
mod phases;
mod traffic;
mod verdicts;

use std::fmt::Write as _;

use crate::results::Results;

pub use comparison::html as comparison;

const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn html(results: &Results) -> String {
    let summary = &results.summary;
    let title = format!("{} · {} peers · {} rounds", summary.method, summary.nodes, summary.rounds);
    let mut page = head(&title);
    page.push_str(&headline::section(results));
    page.push_str(&section("accuracy", "Accuracy by round", ACCURACY, &accuracy::chart(results)));
    if let Some(generated) = &results.generated {
        let body = generator::notes(results, generated) + &generator::pictures(results, generated);
        page.push_str(&section("generator", "What the generator made", GENERATOR, &body));
        if !generated.verdicts.is_empty() {
            page.push_str(&section("verdicts", "Who learnt from it", VERDICTS, &verdicts::chart(results, generated)));
        }
        if !generated.prototypes.is_empty() {
            let body = generator::prototypes(results, generated);
            page.push_str(&section("prototypes", "Where the prototypes are", PROTOTYPES, &body));
        }
    }
    page.push_str(&section("rounds", "Who aggregated, and how long it took", PHASES, &phases::chart(results)));
    page.push_str(&section("traffic", "What the bytes were for", TRAFFIC, &traffic::chart(results)));
    page.push_str(&section("labels", "Who holds which images", LABELS, &labels::chart(results)));
    page.push_str(&section("peers", "Peers", PEERS, &peers::table(results)));
    page.push_str(&headline::footer(results));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// A page up to its first section.
fn head(title: &str) -> String {
    let mut page = String::with_capacity(64 << 10);
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} · fedswarm</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(title)
    );
    page
}

const ACCURACY: &str = "Each peer is tested on its own test images after every round. The bold line counts all peers' \
    right answers together, so a peer with more images counts for more. Round 0 is untrained.";
const GENERATOR: &str = "A peer hosts a pretrained generator. It aligns the prototypes that the round certified with the \
    generator's latent space and makes one picture of each class; the others learn to find the latent vector in the \
    picture. The pictures need not look like the class: what counts is that they keep the classes apart.";
const VERDICTS: &str = "Before a peer learns from new pictures it takes a few steps with them and a few without, and measures both on \
    images of its own. Where they raise its loss it refuses them for that round.";
const PROTOTYPES: &str = "A dot is one peer's mean feature of one class. Each plane shows the two directions in which \
    its dots differ most, so the two planes have no axis in common.";
const PHASES: &str = "A round lasts until its record is certified. The peer under each bar was elected to propose the \
    merge; every other peer recomputed it before it voted. A triangle marks a round in which the first in line was \
    passed over.";
const TRAFFIC: &str = "Bytes sent, summed over all peers. With recomputation every peer fetches every update, so \
    updates are most of it.";
const LABELS: &str = "Training images of each class per peer. Uneven rows are what makes learning together hard, and \
    worth while.";
const PEERS: &str = "Accuracy on the peer's own test images after the last round.";

/// A titled part of the page; `intro` is our own text, `body` is HTML.
fn section(id: &str, title: &str, intro: &str, body: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{title}</h2>\n<p class=\"intro\">{intro}</p>\n{body}</section>\n")
}

/// Makes text safe inside an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::results::fixture;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = html(&fixture::fedmoe());
        for outside in ["http:", "https:", "<script", "<link", "@import", "url(", "src="] {
            assert!(!page.contains(outside), "the page contains {outside}");
        }
    }

    #[test]
    fn the_page_has_every_part_and_every_peer() {
        let results = fixture::fedmoe();
        let page = html(&results);
        for id in ["accuracy", "rounds", "traffic", "labels", "peers"] {
            assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
        }
        for peer in &results.peers {
            assert!(page.contains(&peer.name));
        }
        assert!(page.contains(&results.command));
        assert!(page.contains("733 kB up and 733 kB down by the method's formula"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn a_run_with_a_generator_shows_its_pictures_beside_real_ones_and_what_was_refused() {
        let results = fixture::with_generator();
        let page = html(&results);
        assert_eq!(page.matches("<image").count(), 9 * 10, "eight rounds and the real ones, ten classes");
        assert!(page.contains("6 peers refused what peer-2 made: its pictures are not numbers"));
        assert!(page.contains("7 peers got the last one"));
        assert_eq!(page.matches("<circle class=\"prototype\"").count(), 80);
        for outside in ["http:", "https:", "<script", "src="] {
            assert!(!page.contains(outside), "the page contains {outside}");
        }
        assert!(!html(&fixture::fedmoe()).contains("generator"), "no word of it where there is none");
    }

    #[test]
    fn a_picture_from_a_forged_file_is_left_out() {
        let mut results = fixture::with_generator();
        let generated = results.generated.as_mut().unwrap();
        generated.samples[0].png = "\"/><script>".to_owned();
        generated.samples[1].class = 900;
        let page = html(&results);
        assert!(!page.contains("<script") && page.matches("<image").count() == 88);
    }

    #[test]
    fn names_from_outside_cannot_become_markup() {
        let mut results = fixture::fedmoe();
        let evil = "<img onerror='x'>\"&";
        results.peers[0].name = evil.to_owned();
        results.peers[1].architecture = evil.to_owned();
        results.classes[0] = evil.to_owned();
        results.command = evil.to_owned();
        results.summary.method = evil.to_owned();
        results.summary.record_hash = evil.to_owned();
        results.summary.bytes.by_kind.insert(evil.to_owned(), 5);
        let page = html(&results);
        assert!(!page.contains("<img") && page.contains("&lt;img onerror=&#39;x&#39;&gt;&quot;&amp;"));
    }

    #[test]
    fn the_smallest_and_the_largest_runs_make_sound_pages() {
        for (nodes, rounds) in [(1, 1), (64, 200)] {
            let page = html(&fixture::run(nodes, rounds, 5));
            assert!(!page.contains("NaN") && !page.contains("inf"), "{nodes} peers, {rounds} rounds");
        }
    }

    #[test]
    fn a_run_in_which_nothing_was_certified_still_has_a_page() {
        let mut results = fixture::fedmoe();
        results.rounds.clear();
        results.summary.rounds_certified = 0;
        results.summary.local_accuracy = None;
        results.summary.accuracy.by_round.truncate(1);
        results.summary.bytes.by_kind.clear();
        let page = html(&results);
        assert!(!page.contains("NaN") && !page.contains("inf"));
        assert!(page.contains("No round was certified"));
    }
}
